//! The sequential test of labelled accuracy: by labels of both arms, and by pairs in a shadow stage. Simulations with
//! fixed seeds print their figures (`--nocapture`).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests only, but not within a test function")]

mod common;

use common::{EVERY, at, at_least, at_most, interval};
use evidence::{
    Draw, Interval, Labelled, Pairs, Process, Reading, References, Rules, Share, State, Tests, Verdict,
    Windows, judge,
};
use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::{Counts, SlotSet, Slots};

/// A rollout of which only labels tell.
struct Rollout {
    tests: Tests,
    false_rollback: f64,
    windows: Windows,
    state: State,
    seconds: i64,
}

impl Rollout {
    /// Judged by this test alone, at this level.
    fn at_level(level: f64) -> Self {
        let tests = Tests { accuracy: Tests::OFF.with_labels().accuracy, ..Tests::OFF };
        Self::new(tests, level / evidence::SEQUENTIAL_SHARE)
    }

    fn new(tests: Tests, false_rollback: f64) -> Self {
        let (windows, state) = (Windows::new(at(0)), State::default());
        Self { tests, false_rollback, windows, state, seconds: 0 }
    }

    fn pass(&mut self, with: impl FnOnce(Interval) -> Interval) -> Reading {
        let (from, to) = (self.seconds, self.seconds + 15);
        self.seconds = to;
        let nothing = Counts::default();
        assert!(self.windows.push(with(interval(from, to, &nothing, &nothing))));
        let rules = Rules {
            metrics: &[],
            tests: &self.tests,
            false_rollback: self.false_rollback,
            interval: EVERY,
            timeout: SignedDuration::ZERO,
            accept: false,
            ends: None,
        };
        let readings = judge(&rules, &self.windows, References::default(), &mut self.state, at(to));
        readings.into_iter().find(|reading| reading.metric == "sequential/accuracy").expect("the test is on")
    }

    /// Labels of both arms: wrong ones of how many.
    fn labels(&mut self, candidate: (u64, u64), stable: (u64, u64), split: f64) -> Reading {
        let right = |(wrong, all)| Share::new(all - wrong, all);
        let labelled = Labelled { candidate: right(candidate), stable: right(stable) };
        self.pass(|interval| Interval { split: Some(split), labelled, ..interval })
    }

    /// Labels of pairs: both right, stable alone, the shadow alone, neither.
    fn pairs(&mut self, labels: [u64; 4]) -> Reading {
        self.pass(|interval| shadow(interval, labels))
    }
}

fn shadow(interval: Interval, labels: [u64; 4]) -> Interval {
    let pairs = wire::Pairs { labels, ..wire::Pairs::default() };
    Interval { draw: Draw::Shadow, split: Some(0.0), pairs: Some(Box::new(pairs)), ..interval }
}

/// How many of `n` happen.
fn hits(random: &mut StdRng, n: u64, p: f64) -> u64 {
    (0..n).filter(|_| random.random_bool(p)).count() as u64
}

/// Labels of 20 answers in each interval at a split that ramps, from arms that are wrong so often; images get harder and
/// easier. Whether the candidate is ever taken back.
fn by_labels(seed: u64, level: f64, ratio: f64) -> bool {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rollout = Rollout::at_level(level);
    (0..60).any(|i| {
        let (split, base) = ([0.1, 0.25, 0.5][i / 20], 0.12 * (1.0 + 0.7 * (i as f64 / 5.0).sin()));
        let n = hits(&mut random, 40, split);
        let (x, x_stable) = (hits(&mut random, n, ratio * base), hits(&mut random, 40 - n, base));
        rollout.labels((x, n), (x_stable, 40 - n), split).verdict == Verdict::Fail
    })
}

/// The same by pairs, of which both are wrong in `common` of stable's mistakes.
fn by_pairs(seed: u64, level: f64, ratio: f64, common: f64) -> bool {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rollout = Rollout::at_level(level);
    (0..60).any(|i| {
        let stable = 0.12 * (1.0 + 0.7 * (f64::from(i) / 5.0).sin());
        let pairs = drawn(&mut random, 40, ratio * stable, stable, common);
        rollout.pairs(pairs).verdict == Verdict::Fail
    })
}

/// Labels of pairs of arms that are wrong so often, both together in `common` of stable's mistakes.
fn drawn(random: &mut StdRng, n: u64, candidate: f64, stable: f64, common: f64) -> [u64; 4] {
    let neither = common * stable;
    let (worse, better) = (candidate - neither, stable - neither);
    let mut labels = [0; 4];
    for _ in 0..n {
        let fate: f64 = random.random();
        let ends = [worse, worse + better, worse + better + neither];
        // Stable alone is right where the candidate is worse.
        let at = ends.iter().position(|end| fate < *end).map_or(0, |i| i + 1);
        labels[at] += 1;
    }
    labels
}

#[test]
fn a_candidate_at_the_tolerance_is_seldom_taken_back() {
    // rule: S2
    const RUNS: u64 = 300;
    const LEVEL: f64 = 0.1;
    let runs = |run: &dyn Fn(u64) -> bool| (0..RUNS).filter(|seed| run(*seed)).count() as u64;
    let labels = runs(&|seed| by_labels(seed, LEVEL, 1.1));
    let pairs = [0.0, 0.5, 0.95].map(|common| runs(&|seed| by_pairs(seed, LEVEL, 1.1, common)));
    let worse = [runs(&|seed| by_labels(seed, LEVEL, 2.0)), runs(&|seed| by_pairs(seed, LEVEL, 2.0, 0.5))];
    println!(
        "of {RUNS} at the tolerance, level {LEVEL}: {labels} by labels, {pairs:?} by pairs; twice as wrong {worse:?}"
    );
    for found in [labels].iter().chain(&pairs) {
        assert!(*found <= at_most(RUNS, LEVEL), "{found}");
    }
    // The simulation would notice harm.
    for found in worse {
        assert!(found >= at_least(RUNS, 0.9), "{found}");
    }
}

#[test]
fn pairs_that_tell_the_two_apart_are_not_all_that_counts() {
    // rule: S2. Stable is wrong in 10 %, the candidate in those and 1 % more: as wrong as the tolerance allows. Of the pairs
    // of which one is wrong it loses all: a sign test that leaves out what both get wrong takes it back.
    let mut random = StdRng::seed_from_u64(5);
    let (mut ours, mut sign) = (Process::new(1.1).unwrap(), Process::new(1.1).unwrap());
    for _ in 0..200 {
        let [_, worse, better, neither] = drawn(&mut random, 50, 0.11, 0.1, 1.0);
        ours.observe_pairs(&Pairs { worse, better, neither, n: 50 }).unwrap();
        sign.observe_pairs(&Pairs { worse, better, neither: 0, n: 50 }).unwrap();
    }
    assert!(sign.crossed(1e-6) && !ours.crossed(0.05), "{} {}", sign.log_e(), ours.log_e());
}

/// Labels until the candidate is taken back, of both arms or of pairs; a median of `RUNS` rollouts.
fn median(seed: u64, step: u64, pass: impl Fn(&mut StdRng, &mut Rollout) -> Reading) -> u64 {
    const RUNS: u64 = 51;
    let mut delays: Vec<u64> = (0..RUNS)
        .map(|run| {
            let mut random = StdRng::seed_from_u64(1_000 * seed + run);
            let mut rollout = Rollout::at_level(0.0014);
            (1..).find(|_| pass(&mut random, &mut rollout).verdict == Verdict::Fail).unwrap() * step
        })
        .collect();
    delays.sort_unstable();
    delays[RUNS as usize / 2]
}

#[test]
fn lost_accuracy_is_found_and_pairs_find_it_sooner() {
    // rule: S1. At the level of the default budget.
    let level = Tests::default().with_labels().levels(0.01)[3];
    assert!((level - 0.0014).abs() < 1e-12, "{level}");
    for (points, stable, candidate, limits) in [
        ("95 % to 90 %", 0.05, 0.1, [2_900, 7_500, 700]),
        ("95 % to 85 %", 0.05, 0.15, [850, 2_000, 250]),
        ("90 % to 80 %", 0.1, 0.2, [1_700, 3_600, 400]),
        ("98 % to 96 %", 0.02, 0.04, [7_900, 18_000, 1_500]),
    ] {
        let by_labels = |split: f64| {
            // A look at about a thirtieth of what it takes.
            let step = limits[usize::from(split < 0.5)] / 30;
            median(1, step, |random, rollout| {
                let n = hits(random, step, split);
                let (x, y) = (hits(random, n, candidate), hits(random, step - n, stable));
                rollout.labels((x, n), (y, step - n), split)
            })
        };
        let step = limits[2] / 30;
        let by_pairs =
            median(2, step, |random, rollout| rollout.pairs(drawn(random, step, candidate, stable, 0.7)));
        let found = [by_labels(0.5), by_labels(0.1), by_pairs];
        println!(
            "{points}: {} labels at half of the traffic, {} at 10 %, {} pairs",
            found[0], found[1], found[2]
        );
        for (found, limit) in found.iter().zip(limits) {
            assert!(*found <= limit, "{points}: {found}, {limit} allowed");
        }
    }
}

#[test]
fn a_proof_is_explained() {
    // rule: S1
    let mut rollout = Rollout::new(Tests::default().with_labels(), 0.01);
    let silent = rollout.labels((0, 0), (1, 4), 0.5);
    assert_eq!((silent.verdict, silent.holds()), (Verdict::NoData, false));
    assert_eq!(
        silent.reason,
        "sequential/accuracy: 0 labels of the candidate's answers and 4 of stable's so far"
    );
    let mut rollout = Rollout::new(Tests::default().with_labels(), 0.01);
    let pass = rollout.labels((9, 100), (5, 100), 0.5);
    assert_eq!((pass.verdict, pass.n, pass.n_stable), (Verdict::Pass, 100, Some(100)), "{}", pass.reason);
    assert!(pass.reason.contains("more labels like these would prove it"), "{}", pass.reason);
    // What the labels of pairs say goes on from there.
    (0..4).for_each(|_| drop(rollout.pairs([80, 15, 2, 3])));
    let fail = rollout.labels((0, 0), (0, 0), 0.5);
    assert_eq!((fail.verdict, fail.low, fail.high), (Verdict::Fail, None, None));
    assert_eq!(
        fail.reason,
        "sequential/accuracy: 81 of 500 labelled answers are wrong, of stable's 25 of 500 (400 to the same requests), \
         3.24 times the rate; more than 1.1 times is proven (p 9.1e-8, level 0.0014)"
    );
    let json = serde_json::to_string(&rollout.state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&json).unwrap(), rollout.state);
}

#[test]
fn labels_that_depend_on_who_answered_prove_nothing() {
    // rule: S2. Only the candidate's wrong answers are reported, of equal arms.
    let mut rollout = Rollout::new(Tests::default().with_labels(), 0.01);
    let mut last = None;
    for _ in 0..40 {
        last = Some(rollout.labels((8, 8), (3, 30), 0.1));
    }
    let last = last.unwrap();
    assert_eq!((last.verdict, last.holds()), (Verdict::NoData, false));
    assert!(
        last.reason.contains(" labels are of the candidate's answers, ")
            && last.reason.ends_with("who is labelled may depend on who answered"),
        "{}",
        last.reason
    );
}

#[test]
fn what_is_drawn_by_user_or_chosen_is_not_compared() {
    // rule: C5, C1
    let slots = || {
        let (candidate, stable): (SlotSet, SlotSet) = ((0..10).collect(), (10..20).collect());
        let now = Slots::default();
        Some(Box::new(evidence::SlotRound { candidate, stable, earlier: now.clone(), now }))
    };
    let labelled = Labelled { candidate: Share::new(0, 500), stable: Share::new(500, 500) };
    let mut rollout = Rollout::new(Tests::default().with_labels(), 0.01);
    let sticky = rollout.pass(|interval| Interval { slots: slots(), labelled, ..interval });
    assert_eq!(sticky.verdict, Verdict::NoData);
    assert_eq!(sticky.reason, "sequential/accuracy: labels are not counted by user, and routing is sticky");
    let copies = rollout.pass(|interval| {
        let interval = shadow(interval, [0, 500, 0, 0]);
        Interval { split: None, slots: slots(), ..interval }
    });
    assert_eq!(copies.verdict, Verdict::NoData, "{}", copies.reason);
    let preview = rollout.pass(|interval| Interval { draw: Draw::Preview, labelled, ..interval });
    assert_eq!(preview.verdict, Verdict::NoData, "{}", preview.reason);
}

#[test]
fn a_rollout_that_began_without_it_goes_on_without_it() {
    // rule: I3, S2. Its levels were shared without this test.
    let mut rollout = Rollout::new(Tests { accuracy: None, ..Tests::default() }, 0.01);
    let nothing = Counts::default();
    assert!(rollout.windows.push(interval(0, 15, &nothing, &nothing)));
    let judged = |state: &mut State, tests: &Tests| {
        let rules = Rules {
            metrics: &[],
            tests,
            false_rollback: 0.01,
            interval: EVERY,
            timeout: SignedDuration::ZERO,
            accept: false,
            ends: None,
        };
        judge(&rules, &rollout.windows, References::default(), state, at(15))
    };
    judged(&mut rollout.state, &Tests::default());
    let json = serde_json::to_string(&rollout.state).unwrap();
    assert!(!json.contains("accuracy") && !json.contains("wrong"), "as a release before wrote it: {json}");
    let mut state: State = serde_json::from_str(&json).unwrap();
    let readings = judged(&mut state, &Tests::default().with_labels());
    assert!(readings.iter().all(|reading| reading.metric != "sequential/accuracy"), "{readings:#?}");
    assert!((readings[0].level - 0.0035).abs() < 1e-12);
}
