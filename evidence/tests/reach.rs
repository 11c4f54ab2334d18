//! How often noise alone breaches a `max` that is exactly the true distance: samples of two distributions,
//! simulated with fixed seeds and judged as classes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a simulation that says what it counted")]

mod common;

use common::{drift, one, read};
use evidence::{Against, Metric, Series, State, Statistic, Verdict, Windows, hellinger, jensen_shannon, psi};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use wire::{Counts, Outcome};

const DRAWS: u64 = 15_000;
const LEVELS: [f64; 2] = [1e-3, 1e-4];
/// More breaches than this at exactly these levels: 1 simulation in 20,000 (binomial law).
const MOST: [u64; 2] = [32, 8];
/// Places in the table that a random number of 12 bits is looked up in.
const PLACES: usize = 4096;
const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
/// Each has a PSI of about 0.2 from even ones.
const SHAPES: [(&str, [f64; 10]); 4] = [
    ("one group nearly empties", [110.0, 110.0, 110.0, 110.0, 11.5, 110.0, 110.0, 110.0, 110.0, 110.0]),
    ("one group grows", [81.0, 81.0, 81.0, 81.0, 268.0, 81.0, 81.0, 81.0, 81.0, 81.0]),
    ("a normal variable moves", [41.0, 56.0, 66.0, 75.5, 85.0, 95.5, 107.5, 123.0, 145.5, 205.0]),
    ("one end loses", [122.0, 122.0, 122.0, 122.0, 122.0, 121.0, 113.5, 88.0, 50.0, 18.5]),
];

/// The group of each place.
fn table(weights: [f64; 10]) -> Vec<u8> {
    let total: f64 = weights.iter().sum();
    let (mut group, mut reached) = (0, weights[0]);
    (0..PLACES)
        .map(|place| {
            while (place as f64 + 0.5) / PLACES as f64 > reached / total && group < 9 {
                group += 1;
                reached += weights[group];
            }
            group as u8
        })
        .collect()
}

/// The share of each group.
fn shares(table: &[u8]) -> [f64; 10] {
    let mut shares = [0.0; 10];
    table.iter().for_each(|group| shares[usize::from(*group)] += 1.0 / PLACES as f64);
    shares
}

/// The distance of the distributions themselves, by its definition.
fn true_distance(statistic: Statistic, ours: &[u8], theirs: &[u8]) -> f64 {
    let pairs = || shares(ours).into_iter().zip(shares(theirs));
    match statistic {
        Statistic::Psi => pairs().map(|(p, q)| (p - q) * (p / q).ln()).sum(),
        Statistic::Hellinger => {
            (0.5 * pairs().map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum::<f64>()).sqrt()
        }
        Statistic::JensenShannon => {
            let half = |p: f64, r: f64| 0.5 * p * (p / r).log2();
            let divergence = |(p, q): (f64, f64)| half(p, 0.5 * (p + q)) + half(q, 0.5 * (p + q));
            pairs().map(divergence).sum::<f64>().sqrt()
        }
        _ => unreachable!("not among those simulated"),
    }
}

fn draw(random: &mut SmallRng, table: &[u8], n: u64) -> [u64; 10] {
    let mut groups = [0; 10];
    let mut left = n;
    while left > 0 {
        let mut bits = random.random::<u64>();
        for _ in 0..left.min(5) {
            groups[usize::from(table[bits as usize % PLACES])] += 1;
            bits >>= 12;
        }
        left -= left.min(5);
    }
    groups
}

fn answered(groups: [u64; 10]) -> Counts {
    let mut counts = Counts::default();
    counts.outcomes[Outcome::Ok.index()] = groups.iter().sum();
    counts.classes = NAMES.map(str::to_owned).into_iter().zip(groups).collect();
    counts
}

fn fails(metric: &Metric, level: f64, windows: &Windows) -> bool {
    let metric = Metric { significance: Some(level), ..metric.clone() };
    read(&metric, windows, &mut State::default(), 15).verdict == Verdict::Fail
}

/// Breaches at each level of these draws, for `max` times the true distance.
fn breaches(
    seed: u64,
    draws: u64,
    of: Statistic,
    weights: [f64; 10],
    (n, m): (u64, u64),
    max: f64,
) -> [u64; 2] {
    let mut random = SmallRng::seed_from_u64(seed);
    let (ours, theirs) = (table(weights), table([1.0; 10]));
    let max = max * true_distance(of, &ours, &theirs);
    let metric = drift(Series::Class, of, Against::Stable, max);
    let mut found = [0; 2];
    for _ in 0..draws {
        let (a, b) = (draw(&mut random, &ours, n), draw(&mut random, &theirs, m));
        // What is within `max` as it is needs no judge (J1).
        if smoothed_distance(of, a, b) <= max {
            continue;
        }
        let windows = one(&answered(a), &answered(b));
        for (level, found) in LEVELS.into_iter().zip(&mut found) {
            // A stricter level finds nothing more.
            if !fails(&metric, level, &windows) {
                break;
            }
            *found += 1;
        }
    }
    found
}

fn smoothed_distance(of: Statistic, ours: [u64; 10], theirs: [u64; 10]) -> f64 {
    let function = match of {
        Statistic::Psi => psi,
        Statistic::JensenShannon => jensen_shannon,
        _ => hellinger,
    };
    function(&ours, &theirs, 0.0).unwrap().value
}

fn keeps_the_levels(seed: u64, of: Statistic, n: u64, m: u64) {
    // rule: J2
    for (shape, weights) in SHAPES {
        let found = breaches(seed, DRAWS, of, weights, (n, m), 1.0);
        println!("{of:?}, n {n}, m {m}, {shape}: {found:?} of {DRAWS}");
        for ((found, most), level) in found.into_iter().zip(MOST).zip(LEVELS) {
            assert!(found <= most, "{of:?}, n {n}, m {m}, {shape}, level {level}: {found} of {DRAWS}");
        }
    }
}

#[test]
fn psi_of_three_hundred() {
    keeps_the_levels(1, Statistic::Psi, 300, 1_500);
}

#[test]
fn psi_of_a_thousand() {
    keeps_the_levels(2, Statistic::Psi, 1_000, 1_500);
}

#[test]
fn jensen_shannon_of_three_hundred() {
    keeps_the_levels(3, Statistic::JensenShannon, 300, 1_500);
}

#[test]
fn hellinger_of_three_hundred() {
    keeps_the_levels(4, Statistic::Hellinger, 300, 1_500);
}

#[test]
fn twice_the_bound_is_found() {
    for (shape, weights) in SHAPES {
        let found = breaches(5, 1_000, Statistic::Psi, weights, (3_000, 3_000), 0.5);
        println!("{shape}: {found:?} of 1,000");
        assert!(found[0] > 500, "{shape}: {found:?} of 1,000");
    }
}
