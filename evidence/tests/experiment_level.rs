//! How often experiments are wrong and how often they find something: simulated, with fixed seeds.

mod common;

use common::{at_least, at_most};
use evidence::Share;
use evidence::experiment::{
    Baseline, Conclusion, Direction, Hypothesis, Mode, Observed, Sample, Wager, chi_square, required_classes,
    two_proportion_z,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const RUNS: u64 = 150;
const LEVEL: f64 = 0.1;

fn hypothesis(mode: Mode, baseline: Baseline, minimum_effect: f64, split: f64) -> Hypothesis {
    Hypothesis {
        metric: "m".into(),
        direction: Direction::Increase,
        minimum_effect,
        significance: LEVEL,
        power: 0.8,
        mode,
        split,
        baseline,
    }
}

fn events(random: &mut StdRng, trials: u64, probability: f64) -> Share {
    Share::new((0..trials).map(|_| u64::from(random.random_bool(probability))).sum(), trials)
}

/// Values with this mean and as large a deviation, and far in the tail: the exponential law.
fn values(random: &mut StdRng, n: u64, mean: f64) -> Sample {
    let mut all = Sample::new(0, 0.0, 0.0).expect("finite");
    for _ in 0..n {
        all.add(Sample::new(1, -mean * (1.0 - random.random::<f64>()).ln(), 0.0).expect("finite"));
    }
    all
}

/// How many of [`RUNS`] experiments end so.
#[derive(Debug, Default)]
struct Ends {
    win: u64,
    lose: u64,
    /// Samples of both arms at the median of the wins.
    median: u64,
}

fn ends(mut run: impl FnMut(&mut StdRng) -> (Conclusion, u64)) -> Ends {
    let mut random = StdRng::seed_from_u64(20_240_614);
    let (mut ends, mut wins) = (Ends::default(), Vec::new());
    for _ in 0..RUNS {
        match run(&mut random) {
            (Conclusion::Win, n) => wins.push(n),
            (Conclusion::Lose, _) => ends.lose += 1,
            _ => {}
        }
    }
    wins.sort_unstable();
    ends.win = wins.len() as u64;
    ends.median = wins.get(wins.len() / 2).copied().unwrap_or_default();
    ends
}

/// One experiment with a look at every 300 items, at most 4,500; and whether a z-test at each look would ever have
/// shown a gain.
fn peeked(
    hypothesis: &Hypothesis,
    random: &mut StdRng,
    shares: impl Fn(u64) -> [f64; 2],
) -> (Conclusion, u64, bool) {
    let (mut candidate, mut stable) = (Share::default(), Share::default());
    let (mut end, mut naive) = (None, false);
    for look in 1..=15 {
        let [p, q] = shares(look);
        let n = (0..300).map(|_| u64::from(random.random_bool(hypothesis.split))).sum();
        candidate.add(events(random, n, p));
        stable.add(events(random, 300 - n, q));
        naive |= two_proportion_z(candidate, stable).is_some_and(|z| z.above <= LEVEL);
        if end.is_none() {
            let reading = hypothesis.judge(&Observed::Shares { candidate, stable }, false, 1.0);
            let reading = reading.expect("valid");
            end = reading.ended.then_some((reading.conclusion, 300 * look));
        }
    }
    let (conclusion, n) = end.unwrap_or((Conclusion::Undecided, 4500));
    (conclusion, n, naive)
}

#[test]
fn peeking_at_shares_is_no_more_often_wrong_than_it_may() {
    for split in [0.5, 0.1] {
        let hypothesis = hypothesis(Mode::Sequential, Baseline::Share(0.08), 0.03, split);
        // What stable does moves with time, and the guess of it was wrong.
        let moving = |look: u64| 0.12 + 0.08 * (look as f64 / 2.0).sin();
        let mut naive = 0;
        let none = ends(|random| {
            let (conclusion, n, peeked) = peeked(&hypothesis, random, |look| [moving(look); 2]);
            naive += u64::from(peeked);
            (conclusion, n)
        });
        let full = ends(|random| {
            let (conclusion, n, _) = peeked(&hypothesis, random, |look| [moving(look) + 0.03, moving(look)]);
            (conclusion, n)
        });
        println!(
            "split {split}: no gain {none:?} (z-test at each look: {naive} wins); minimum effect {full:?}"
        );
        assert!(none.win <= at_most(RUNS, LEVEL), "{none:?}");
        assert!(full.lose <= at_most(RUNS, LEVEL), "{full:?}");
        assert!(naive > at_most(RUNS, LEVEL), "this many looks are enough to go wrong: {naive}");
    }
}

#[test]
fn peeking_at_means_is_no_more_often_wrong_than_it_may() {
    let hypothesis = hypothesis(Mode::Sequential, Baseline::Deviation(1.0), 0.15, 0.3);
    let run = |random: &mut StdRng, mean: f64| {
        let (mut candidate, mut stable) = (values(random, 0, 1.0), values(random, 0, 1.0));
        for look in 1..=30 {
            candidate.add(values(random, 60, mean));
            stable.add(values(random, 140, 1.0));
            let reading =
                hypothesis.judge(&Observed::Means { candidate, stable }, false, 1.0).expect("valid");
            if reading.ended {
                return (reading.conclusion, 200 * look);
            }
        }
        (Conclusion::Undecided, 6000)
    };
    let (none, full) = (ends(|random| run(random, 1.0)), ends(|random| run(random, 1.15)));
    let double = ends(|random| run(random, 1.3));
    println!("means: no gain {none:?}, minimum effect {full:?}, twice {double:?}");
    assert!(none.win <= at_most(RUNS, LEVEL), "{none:?}");
    assert!(full.lose <= at_most(RUNS, LEVEL), "{full:?}");
    assert!(double.win >= at_least(RUNS, 0.9), "{double:?}");
}

#[test]
fn peeking_finds_what_there_is() {
    let hypothesis = hypothesis(Mode::Sequential, Baseline::Share(0.1), 0.04, 0.5);
    let planned: u64 = hypothesis.required().expect("valid").iter().sum();
    let run = |gain: f64| {
        ends(|random| {
            let (conclusion, n, _) = peeked(&hypothesis, random, |_| [0.1 + gain, 0.1]);
            (conclusion, n)
        })
    };
    let (none, full, double) = (run(0.0), run(0.04), run(0.08));
    println!("planned {planned}: no gain {none:?}, minimum effect {full:?}, twice {double:?}");
    assert!(none.lose >= at_least(RUNS, 0.8) && full.win >= at_least(RUNS, 0.8), "{none:?} {full:?}");
    assert!(double.win >= at_least(RUNS, 0.98) && double.median < planned, "{double:?}");
}

#[test]
fn the_planned_samples_have_the_planned_power() {
    for (baseline, effect, split) in [
        (Baseline::Share(0.1), 0.04, 0.5),
        (Baseline::Share(0.9), 0.04, 0.3),
        (Baseline::Deviation(1.0), 0.15, 0.5),
        (Baseline::Deviation(1.0), 0.15, 0.2),
    ] {
        let hypothesis = hypothesis(Mode::Fixed, baseline, effect, split);
        let [n, m] = hypothesis.required().expect("valid");
        let run = |gain: f64| {
            ends(|random| {
                let observed = match baseline {
                    Baseline::Share(q) => Observed::Shares {
                        candidate: events(random, n, q + gain),
                        stable: events(random, m, q),
                    },
                    // Moved by a constant, so that both deviate by 1.
                    Baseline::Deviation(_) => {
                        let mut candidate = values(random, n, 1.0);
                        candidate =
                            Sample::new(n, candidate.mean() + gain, candidate.variance()).expect("finite");
                        Observed::Means { candidate, stable: values(random, m, 1.0) }
                    }
                };
                let reading = hypothesis.judge(&observed, false, 1.0).expect("valid");
                assert!(reading.ended);
                (reading.conclusion, n + m)
            })
        };
        let (none, full) = (run(0.0), run(effect));
        println!("{baseline:?} {split} with {n}/{m}: no gain {none:?}, minimum effect {full:?}");
        assert!(none.win <= at_most(RUNS, LEVEL), "{none:?}");
        assert!(full.lose <= at_most(RUNS, LEVEL), "{full:?}");
        assert!(full.win >= at_least(RUNS, 0.8) && full.win <= at_most(RUNS, 0.8), "{full:?}");
    }
}

#[test]
fn classes_have_their_level_and_the_planned_power() {
    let (p, q) = ([0.36, 0.34, 0.2, 0.1], [0.3, 0.34, 0.22, 0.14]);
    let [n, m] = required_classes(&p, &q, LEVEL, 0.8, 0.4).expect("they differ");
    let draw = |random: &mut StdRng, n: u64, shares: [f64; 4]| {
        let mut counts = [0; 4];
        for _ in 0..n {
            let mut at = random.random::<f64>();
            let class = shares.iter().position(|share| {
                at -= share;
                at < 0.0
            });
            counts[class.unwrap_or(3)] += 1;
        }
        counts
    };
    let found = |p: [f64; 4]| {
        let mut random = StdRng::seed_from_u64(20_240_615);
        let mut run =
            || chi_square(&draw(&mut random, n, p), &draw(&mut random, m, q)).expect("not empty").above;
        (0..RUNS).map(|_| u64::from(run() <= LEVEL)).sum::<u64>()
    };
    let (none, full) = (found(q), found(p));
    println!("classes with {n}/{m}: {none} of {RUNS} without a difference, {full} with it");
    assert!(none <= at_most(RUNS, LEVEL) && none >= at_least(RUNS, LEVEL), "{none}");
    assert!(full >= at_least(RUNS, 0.8) && full <= at_most(RUNS, 0.8), "{full}");
}

/// Totals of one arm, counted in three ways.
#[derive(Default)]
struct Slots {
    /// Slots seen so far, and those with an event so far.
    ever: Share,
    /// Each slot by the interval in which it was first seen.
    first: Share,
    /// Slots without an earlier event, in every interval anew (C5).
    again: Share,
}

/// An interval of 1,000 slots, of which some are busy and some are bound for events, whatever the arm.
fn interval(random: &mut StdRng, slots: &mut [(f64, f64, bool, bool)], arms: &mut [Slots; 2]) {
    for (i, (busy, prone, seen, had)) in slots.iter_mut().enumerate() {
        if !random.random_bool(*busy) {
            continue;
        }
        let (arm, event) = (&mut arms[i % 2], random.random_bool(*prone));
        if !*seen {
            arm.first.add(Share::new(event.into(), 1));
        }
        if !*had {
            arm.again.add(Share::new(event.into(), 1));
        }
        arm.ever.add(Share { events: u64::from(event && !*had), trials: u64::from(!*seen) });
        (*seen, *had) = (true, *had || event);
    }
}

#[test]
fn slots_that_are_counted_once_keep_the_level() {
    // rule: C5
    let wager = Wager { split: 0.5, centre: 0.1, effect: 0.03 };
    let mut random = StdRng::seed_from_u64(20_240_616);
    let (mut ever, mut first, mut again) = (0, 0, 0);
    for _ in 0..RUNS {
        // Few slots make most of the requests, and few have most of the events; which, is drawn anew.
        let mut slots: Vec<_> = (0..1000)
            .map(|_| {
                let (busy, prone): (f64, f64) = (random.random(), random.random());
                (busy.powi(4), prone.powi(9), false, false)
            })
            .collect();
        let mut arms = <[Slots; 2]>::default();
        let (mut won_first, mut won_again) = (false, false);
        for _ in 0..25 {
            interval(&mut random, &mut slots, &mut arms);
            let won =
                |pick: fn(&Slots) -> Share| wager.log_e(pick(&arms[0]), pick(&arms[1]), 0.0) >= -LEVEL.ln();
            won_first |= won(|arm| arm.first);
            won_again |= won(|arm| arm.again);
        }
        let z = two_proportion_z(arms[0].ever, arms[1].ever).expect("slots were seen");
        ever += u64::from(z.above <= LEVEL);
        first += u64::from(won_first);
        again += u64::from(won_again);
    }
    println!(
        "slots: one look at all {ever}, looks at first intervals {first}, at all intervals {again} of {RUNS}"
    );
    assert!(ever <= at_most(RUNS, LEVEL) && first <= at_most(RUNS, LEVEL), "{ever} {first}");
    assert!(again > first, "counted in every interval, a slot weighs more than its draw: {again}");
}
