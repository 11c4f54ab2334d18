//! A shadow stage: the candidate's copies against stable's own answers, and the pairs of both.

#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

mod common;

use common::{EVERY, answer, at, at_least, at_most, errors, fail, interval, one, profile};
use evidence::{
    Bound, Draw, Interval, Kind, Metric, OnBreach, Reading, References, Rules, SlotRound, State, Tests,
    Verdict, Windows, judge,
};
use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::{Counts, Outcome, Pairs, SLOTS, Slots};

/// A rollout, of which one stage after the other is judged.
struct Rollout<'a> {
    metrics: Vec<Metric>,
    tests: Tests,
    false_rollback: f64,
    timeout: SignedDuration,
    references: References<'a>,
    windows: Windows,
    state: State,
    seconds: i64,
    readings: Vec<Reading>,
}

impl<'a> Rollout<'a> {
    fn new(metrics: Vec<Metric>, false_rollback: f64, references: References<'a>) -> Self {
        let (windows, state, tests) = (Windows::new(at(0)), State::default(), Tests::default());
        let timeout = SignedDuration::ZERO;
        let readings = Vec::new();
        Self { metrics, tests, false_rollback, timeout, references, windows, state, seconds: 0, readings }
    }

    fn pass(&mut self, [candidate, stable]: &[Counts; 2], with: impl FnOnce(Interval) -> Interval) {
        let from = self.seconds;
        self.seconds += 15;
        assert!(self.windows.push(with(interval(from, self.seconds, candidate, stable))));
        let rules = Rules {
            metrics: &self.metrics,
            tests: &self.tests,
            false_rollback: self.false_rollback,
            interval: EVERY,
            timeout: self.timeout,
            accept: true,
            ends: None,
        };
        self.readings = judge(&rules, &self.windows, self.references, &mut self.state, at(self.seconds));
    }

    fn of(&self, name: &str) -> &Reading {
        self.readings.iter().find(|reading| reading.metric == name).expect("it is judged")
    }
}

fn copied(pairs: [u64; 5]) -> impl FnOnce(Interval) -> Interval {
    let pairs = Pairs { outcomes: pairs, ..Pairs::default() };
    |interval| Interval { draw: Draw::Shadow, split: Some(0.0), pairs: Some(Box::new(pairs)), ..interval }
}

#[test]
fn disagreement_is_judged_where_there_are_pairs() {
    // rule: J2, T2
    let metric = Metric::new("disagreement", Kind::Disagreement, Bound::Max(0.05));
    let mut rollout = Rollout::new(vec![metric], 0.01, References::default());
    let counts = [200, 1000].map(|n| common::with_errors(n, n / 50));
    rollout.pass(&counts, copied([150, 40, 4, 6, 3]));
    let reading = rollout.of("disagreement");
    assert_eq!((reading.verdict, reading.on_breach, reading.n), (Verdict::Fail, OnBreach::Rollback, 190));
    assert_eq!(
        reading.reason,
        "disagreement: disagreement with stable is 21.1 % over 190 pairs in 15s, above 5 % even at its lower limit \
         12.7 % (check 1, level 0.0017)"
    );
    assert_eq!(
        (rollout.state.candidate, rollout.state.stable),
        (194, 1000),
        "a copy that failed was compared"
    );
    // The next stage has no copies.
    rollout.windows.enter_stage(at(20));
    rollout.pass(&counts, |interval| Interval { split: Some(0.2), ..interval });
    assert!(
        rollout.readings.iter().all(|reading| reading.metric != "disagreement"),
        "{:#?}",
        rollout.readings
    );
    assert_eq!(rollout.state.candidate, 200);
}

#[test]
fn the_split_is_not_tested_and_harm_is() {
    // rule: S1
    let mut rollout = Rollout::new(vec![errors(Bound::MaxRatio(3.0))], 0.01, References::default());
    for _ in 0..10 {
        let counts = [(500, 50), (1000, 10)].map(|(n, failed)| common::with_errors(n, failed));
        rollout.pass(&counts, copied([450, 0, 50, 0, 0]));
    }
    assert_eq!(
        rollout.of("sequential/split").reason,
        "sequential/split: copies are made of stable's requests, none is drawn"
    );
    assert_eq!(rollout.of("sequential/split").verdict, Verdict::NoData);
    assert_eq!(rollout.of("errors").verdict, Verdict::Fail);
    let harm = rollout.of("sequential/errors");
    assert_eq!(
        harm.reason,
        "sequential/errors: 500 of 5,000 requests fail, of stable's 100 of 10,000, 10 times the rate (5.92..22.1); more \
         than 1.1 times is proven (p 4.5e-126, level 0.0035)"
    );
    // The same evidence goes on in a stage with a share.
    rollout.windows.enter_stage(at(rollout.seconds));
    rollout.pass(&[100, 900].map(|n| common::with_errors(n, 9)), |interval| Interval {
        split: Some(0.1),
        ..interval
    });
    assert_eq!(
        (rollout.of("sequential/errors").n, rollout.of("sequential/errors").n_stable),
        (5100, Some(10_900))
    );
}

#[test]
fn copies_may_fail_as_late_again() {
    // rule: C2. A copy is sent when stable's answer is there, which may take all of the timeout.
    let mut rollout = Rollout::new(vec![errors(Bound::MaxRatio(3.0))], 0.01, References::default());
    rollout.timeout = SignedDuration::from_secs(30);
    let counts = [500, 1000].map(|n| common::with_errors(n, 50));
    for i in 0..5 {
        let is_ripe = i == 4;
        rollout.pass(&counts, copied([0; 5]));
        let harm = rollout.of("sequential/errors");
        assert_eq!(
            (harm.verdict == Verdict::NoData, rollout.of("errors").n == 0),
            (!is_ripe, !is_ripe),
            "{i}"
        );
        assert!(is_ripe || harm.reason.contains("so far from 1m after a stage began"), "{}", harm.reason);
    }
}

#[test]
fn sticky_users_are_no_units_of_tests_and_limit_thresholds() {
    // rule: C5. Of 40 users one in four fails always; they are all that is known.
    let mut rollout = Rollout::new(vec![errors(Bound::Max(0.1))], 0.01, References::default());
    let mut now = Slots::default();
    (0..40).for_each(|i| now.see(i * 100));
    let stable = (0..SLOTS).collect();
    let round = SlotRound { candidate: (0..0).collect(), stable, now, earlier: Slots::default() };
    let counts = [250, 0].map(|failed| common::with_errors(1000, failed));
    let sticky = |interval| Interval {
        split: None,
        slots: Some(Box::new(round)),
        ..copied([750, 0, 250, 0, 0])(interval)
    };
    rollout.pass(&counts, sticky);
    let errors = rollout.of("errors");
    assert_eq!(errors.verdict, Verdict::Inconclusive, "{}", errors.reason);
    assert!(errors.reason.contains("over 1,000 requests of 40 slots in 15s"), "{}", errors.reason);
    let harm = rollout.of("sequential/errors");
    assert_eq!((harm.verdict, harm.holds()), (Verdict::NoData, false));
    assert_eq!(
        harm.reason,
        "sequential/errors: copies are not drawn by user, and routing is sticky: requests of one user are no units"
    );
    assert!(rollout.readings.iter().all(|reading| reading.metric != "sequential/accept"));
}

#[test]
fn without_a_stable_users_are_those_whose_requests_are_copied() {
    // rule: C5. One in four fails, of few users or of many.
    for (users, expected) in [(40, Verdict::Inconclusive), (400, Verdict::Fail)] {
        let mut rollout = Rollout::new(vec![errors(Bound::Max(0.1))], 0.01, References::default());
        let mut now = Slots::default();
        (0..users).for_each(|i| now.see(i * 10));
        let (candidate, stable) = ((0..0).collect(), (0..0).collect());
        let round = SlotRound { candidate, stable, now, earlier: Slots::default() };
        let counts = [common::with_errors(1000, 250), Counts::default()];
        rollout.pass(&counts, |interval| Interval {
            draw: Draw::Shadow,
            split: None,
            pairs: None,
            slots: Some(Box::new(round)),
            ..interval
        });
        let errors = rollout.of("errors");
        assert_eq!(errors.verdict, expected, "{}", errors.reason);
        assert_eq!((rollout.state.candidate, rollout.state.stable), (1000, 0), "copies that came back");
    }
}

/// Images that are hard for both models: they fail, are slow, and are unsure together.
struct World {
    /// How often a hard image hits each arm, beyond what only one of them shows.
    together: f64,
    alone: f64,
    /// Copies per request.
    share: f64,
    /// How many times as often as stable the candidate fails alone.
    harm: f64,
}

impl World {
    fn pass(&self, random: &mut StdRng, requests: u64) -> [Counts; 2] {
        let mut counts = <[Counts; 2]>::default();
        // Some intervals are worse than others.
        let hour = random.random_range(0.3..1.7);
        for _ in 0..requests {
            let (hard, brightness) = (random.random_bool(self.together * hour), random.random::<f64>());
            let arms = if random.random_bool(self.share) { 0..2 } else { 1..2 };
            for arm in arms {
                let harm = if arm == 0 { self.harm } else { 1.0 };
                if hard && random.random_bool(0.9) || random.random_bool(self.alone * hour * harm) {
                    fail(&mut counts[arm], Outcome::Error, 1);
                    continue;
                }
                let doubt = (brightness * 0.9 + random.random::<f64>() * 0.1).powi(4);
                let seconds = 0.05 / (0.9 * brightness + 0.1 * random.random::<f64>()).max(0.001).sqrt();
                answer(&mut counts[arm], 1.0 - doubt, "a", brightness, seconds);
            }
        }
        counts
    }
}

/// How often each test ever crosses in 40 intervals of 150 requests.
fn crossings(world: &World, level: f64, runs: u64) -> [u64; 5] {
    let mut random = StdRng::seed_from_u64(7);
    let like = World { together: 0.0, alone: 0.0, share: 1.0, harm: 1.0 }.pass(&mut random, 20_000);
    let profiles = like.map(|counts| profile(&counts));
    let references = References { candidate: Some(&profiles[0]), stable: Some(&profiles[1]) };
    let mut crossed = [0; 5];
    for _ in 0..runs {
        // Harm gets 70 % of the budget; no tolerance, so that equal arms are at the edge of what is harmless.
        let mut rollout = Rollout::new(Vec::new(), level, references);
        for harm in [&mut rollout.tests.errors, &mut rollout.tests.latency, &mut rollout.tests.low_confidence]
        {
            harm.as_mut().unwrap().tolerance = 1.0;
        }
        for _ in 0..40 {
            let counts = world.pass(&mut random, 150);
            rollout.pass(&counts, copied([0; 5]));
        }
        for (crossed, name) in crossed.iter_mut().zip(["errors", "latency", "low-confidence", "change"]) {
            *crossed += u64::from(rollout.of(&format!("sequential/{name}")).verdict == Verdict::Fail);
        }
        crossed[4] += u64::from(rollout.of("sequential/accept").verdict == Verdict::Pass);
    }
    crossed
}

#[test]
fn harmless_copies_of_stables_own_requests_keep_the_level() {
    // rule: S2. Whether the arms fail together or each alone, at all copies and at a part of them.
    let (runs, budget) = (50, 0.5);
    for (together, alone) in [(0.1, 0.005), (0.0, 0.08)] {
        for share in [1.0, 0.3] {
            let world = World { together, alone, share, harm: 1.0 };
            let crossed = crossings(&world, budget, runs);
            println!("together {together}, alone {alone}, copies {share}: {crossed:?} of {runs}");
            for (name, crossed, level) in [
                ("errors", crossed[0], 0.175),
                ("latency", crossed[1], 0.0875),
                ("low confidence", crossed[2], 0.0875),
                ("change", crossed[3], 0.001),
            ] {
                assert!(crossed <= at_most(runs, level), "{name}: {crossed} of {runs}");
            }
        }
    }
}

#[test]
fn what_stable_does_not_answer_is_not_copied_and_makes_no_candidate_acceptable() {
    // rule: T2. Both lack an answer to the same requests, of which the candidate's are not seen; and it fails as often
    // again. That is the margin, though the counts of both are alike.
    for (unanswered, expected) in [(Outcome::Timeout, Verdict::Inconclusive), (Outcome::Error, Verdict::Pass)]
    {
        let mut rollout = Rollout::new(Vec::new(), 0.01, References::default());
        for _ in 0..20 {
            let mut stable = common::with_errors(960, 0);
            fail(&mut stable, unanswered, 40);
            rollout.pass(&[common::with_errors(960, 40), stable], copied([0; 5]));
        }
        let accept = rollout.of("sequential/accept");
        assert_eq!(accept.verdict, expected, "{}", accept.reason);
        assert_eq!(rollout.of("sequential/errors").n_stable, Some(20_000));
    }
}

#[test]
fn a_candidate_that_fails_more_is_proven_by_its_copies_and_not_accepted() {
    // rule: S1
    let runs = 30;
    let harmful = World { together: 0.02, alone: 0.02, share: 1.0, harm: 4.0 };
    let crossed = crossings(&harmful, 0.01, runs);
    assert!(crossed[0] >= at_least(runs, 0.95), "{crossed:?}");
    assert!(crossed[4] <= at_most(runs, 0.05), "accepted: {crossed:?}");
    let equal = World { harm: 1.0, ..harmful };
    let crossed = crossings(&equal, 0.01, runs);
    assert!(crossed[0] == 0 && crossed[4] >= at_least(runs, 0.95), "{crossed:?}");
}

#[test]
fn a_stage_without_pairs_yet_is_no_pass() {
    // rule: J1
    let metric = Metric::new("disagreement", Kind::Disagreement, Bound::Max(0.05));
    let counts = common::with_errors(10, 0);
    let mut windows = one(&counts, &counts);
    let newest = windows.newest().unwrap().clone();
    windows.enter_stage(at(20));
    windows.push(copied([0; 5])(Interval { from: at(20), to: at(35), ..newest }));
    let reading = common::read(&metric, &windows, &mut State::default(), 35);
    assert_eq!(
        (reading.verdict, reading.reason.as_str()),
        (Verdict::NoData, "disagreement: 0 pairs in 15s, 100 needed")
    );
}
