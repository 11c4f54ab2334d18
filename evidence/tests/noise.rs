//! How often noise alone exceeds the critical values: samples of one distribution, simulated with fixed seeds.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a simulation that says what it counted")]

use evidence::{
    Distance, DistanceError, chi_square, g_test, groups, hellinger, jensen_shannon, ks, l_infinity, psi,
    wasserstein,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const DRAWS: u64 = 100_000;
const LEVELS: [f64; 3] = [1e-2, 1e-4, 1e-6];
/// More false alarms than this at exactly these levels: 1 simulation in 20,000 (binomial law).
const MOST: [u64; 3] = [1_125, 25, 3];
/// Places in the table that a random number of 12 bits is looked up in.
const PLACES: usize = 4096;

type Function = fn(&[u64], &[u64], f64) -> Result<Distance, DistanceError>;

/// On ten groups; the p-value says where a look at the critical value is worth its time.
const GROUPED: [(&str, Function); 6] = [
    ("psi", psi),
    ("chiSquare", chi_square),
    ("g", g_test),
    ("jensenShannon", jensen_shannon),
    ("hellinger", hellinger),
    ("lInfinity", l_infinity),
];

fn places() -> Vec<f64> {
    (0..64).map(|i| (f64::from(i) + 0.5) / 64.0).collect()
}

/// The cell of each place, for these weights of 64 cells.
fn table(weight: impl Fn(f64) -> f64) -> Vec<u8> {
    let total: f64 = (0..64).map(|i| weight(f64::from(i))).sum();
    let (mut cell, mut reached) = (0u8, weight(0.0));
    (0..PLACES)
        .map(|place| {
            while (place as f64 + 0.5) / PLACES as f64 > reached / total && cell < 63 {
                cell += 1;
                reached += weight(f64::from(cell));
            }
            cell
        })
        .collect()
}

fn draw(random: &mut SmallRng, table: &[u8], n: usize) -> Vec<u64> {
    let mut cells = vec![0; 64];
    let mut left = n;
    while left > 0 {
        let mut bits = random.random::<u64>();
        for _ in 0..left.min(5) {
            cells[usize::from(table[bits as usize % PLACES])] += 1;
            bits >>= 12;
        }
        left -= left.min(5);
    }
    cells
}

/// Beyond the critical value at each of the levels. At a stricter level nothing more is found (`distances.rs`), and
/// what is found has a p below the level.
fn beyond(of: impl Fn(f64) -> Distance, p: Option<f64>) -> [u64; 3] {
    let mut found = [0; 3];
    if p.is_some_and(|p| p > 2.0 * LEVELS[0]) {
        return found;
    }
    for (found, level) in found.iter_mut().zip(LEVELS) {
        let distance = of(level);
        if distance.value <= distance.critical.unwrap() {
            break;
        }
        *found = 1;
    }
    found
}

/// False alarms of each statistic at each level, per draw.
fn alarms(seed: u64, table: &[u8], n: usize, m: usize) -> Vec<(&'static str, [u64; 3])> {
    let mut random = SmallRng::seed_from_u64(seed);
    let places = places();
    let mut alarms: Vec<(&str, [u64; 3])> = GROUPED.iter().map(|(name, _)| (*name, [0; 3])).collect();
    alarms.extend([("ks", [0; 3]), ("wasserstein", [0; 3])]);
    for _ in 0..DRAWS {
        let (ours, theirs) = (draw(&mut random, table, n), draw(&mut random, table, m));
        let ranges = groups(&theirs);
        let merge = |cells: &[u64]| -> Vec<u64> {
            ranges.iter().map(|range| cells[range.clone()].iter().sum()).collect()
        };
        let (a, b) = (merge(&ours), merge(&theirs));
        let grouped = GROUPED.map(|(_, of)| {
            let p = of(&a, &b, 0.0).unwrap().p_value;
            beyond(|level| of(&a, &b, level).unwrap(), p)
        });
        let ordered = [
            beyond(|level| ks(&ours, &theirs, level).unwrap(), None),
            beyond(|level| wasserstein(&ours, &theirs, &places, level).unwrap(), None),
        ];
        for ((_, sum), found) in alarms.iter_mut().zip(grouped.into_iter().chain(ordered)) {
            sum.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
        }
    }
    println!("n {n}, m {m}: {alarms:?} of {DRAWS}");
    alarms
}

fn keeps_the_levels(seed: u64, table: &[u8], n: usize, m: usize) -> Vec<(&'static str, [u64; 3])> {
    // rule: J2
    let alarms = alarms(seed, table, n, m);
    for (name, found) in &alarms {
        for ((found, most), level) in found.iter().zip(MOST).zip(LEVELS) {
            assert!(*found <= most, "{name}, n {n}, m {m}, level {level}: {found} of {DRAWS}");
        }
    }
    alarms
}

/// Every value equally likely.
fn even() -> Vec<u8> {
    table(|_| 1.0)
}

/// Nearly all in few cells, and a long thin tail.
fn skewed() -> Vec<u8> {
    table(|cell| (-0.35 * cell).exp() + 1e-4)
}

#[test]
fn fifty_against_a_reference() {
    keeps_the_levels(1, &even(), 50, 3_000);
    keeps_the_levels(2, &skewed(), 50, 3_000);
}

#[test]
fn fifty_against_fifty() {
    keeps_the_levels(3, &even(), 50, 50);
}

#[test]
fn three_hundred_against_a_reference() {
    keeps_the_levels(5, &even(), 300, 3_000);
    keeps_the_levels(6, &skewed(), 300, 3_000);
}

#[test]
fn three_thousand_against_three_thousand() {
    for (name, found) in keeps_the_levels(7, &even(), 3_000, 3_000) {
        // Not so strict that nothing is ever found: with many samples the critical values are nearly exact.
        assert!(found[0] > 150, "{name}: {found:?}");
    }
}

#[test]
fn the_critical_value_of_wasserstein_is_that_of_permutations() {
    // rule: J2
    let places = places();
    for (seed, table, n, m) in [(8, even(), 300, 600), (9, skewed(), 300, 600), (10, skewed(), 50, 1_000)] {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut items: Vec<u8> = (0..n + m).map(|_| table[random.random_range(0..PLACES)]).collect();
        let mut pooled = vec![0u64; 64];
        items.iter().for_each(|cell| pooled[usize::from(*cell)] += 1);
        let mut values: Vec<f64> =
            (0..DRAWS).map(|_| permuted(&mut random, &mut items, &pooled, n).0).collect();
        values.sort_by(f64::total_cmp);
        let (_, ours) = permuted(&mut random, &mut items, &pooled, n);
        let theirs: Vec<u64> = pooled.iter().zip(&ours).map(|(all, a)| all - a).collect();
        for (level, most) in [(1e-2, 1.2), (1e-3, 1.25), (1e-4, 1.3)] {
            let critical = wasserstein(&ours, &theirs, &places, level).unwrap().critical.unwrap();
            let quantile = values[values.len() - (DRAWS as f64 * level) as usize];
            let ratio = critical / quantile;
            println!("n {n}, m {m}, level {level}: {critical} is {ratio} of that of {DRAWS} permutations");
            assert!(ratio > 0.95 && ratio < most, "n {n}, m {m}, level {level}: {ratio}");
        }
    }
}

/// W1 of a random choice of n items from the rest, and the choice.
fn permuted(random: &mut SmallRng, items: &mut [u8], pooled: &[u64], n: usize) -> (f64, Vec<u64>) {
    let mut ours = vec![0u64; 64];
    for i in 0..n {
        let other = random.random_range(i..items.len());
        items.swap(i, other);
        ours[usize::from(items[i])] += 1;
    }
    let (mut a, mut b, mut sum) = (0, 0, 0.0);
    for cell in 0..63 {
        (a, b) = (a + ours[cell], b + pooled[cell] - ours[cell]);
        sum += (a as f64 / n as f64 - b as f64 / (items.len() - n) as f64).abs() / 64.0;
    }
    (sum, ours)
}
