//! The sequential tests of a rollout, as the judge runs them beside the thresholds.

mod common;

use common::{EVERY, alike, at, fail, interval, profile, with_errors};
use evidence::{
    Harm, Interval, Layer, OnBreach, Reading, References, Rules, State, Tests, Verdict, Windows, judge,
};
use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::{Counts, Grid, Outcome};

/// A rollout judged by sequential tests only.
struct Rollout<'a> {
    tests: Tests,
    references: References<'a>,
    windows: Windows,
    state: State,
    seconds: i64,
    /// When the watch ends, in one.
    ends: Option<i64>,
}

impl<'a> Rollout<'a> {
    fn new(references: References<'a>) -> Self {
        let (windows, state) = (Windows::new(at(0)), State::default());
        Self { tests: Tests::default(), references, windows, state, seconds: 0, ends: None }
    }

    fn pass(&mut self, candidate: &Counts, stable: &Counts, split: Option<f64>) -> Vec<Reading> {
        let (from, to) = (self.seconds, self.seconds + 15);
        self.seconds = to;
        assert!(self.windows.push(Interval { split, ..interval(from, to, candidate, stable) }));
        self.judge(0.01)
    }

    fn judge(&mut self, false_rollback: f64) -> Vec<Reading> {
        let rules = Rules {
            metrics: &[],
            tests: &self.tests,
            false_rollback,
            interval: EVERY,
            timeout: SignedDuration::ZERO,
            accept: false,
            ends: self.ends.map(at),
        };
        judge(&rules, &self.windows, self.references, &mut self.state, at(self.seconds))
    }
}

fn of<'r>(readings: &'r [Reading], name: &str) -> &'r Reading {
    let name = format!("sequential/{name}");
    readings.iter().find(|r| r.metric == name).expect("the test is on")
}

/// Answers whose confidence is 1 - u^sure and whose seconds are spread around a middle.
fn answers(random: &mut StdRng, n: u64, sure: i32, seconds: f64) -> Counts {
    let mut counts = Counts::default();
    for _ in 0..n {
        let class = ["a", "b", "c"][random.random_range(0..3)];
        let doubt = random.random::<f64>().powi(sure);
        common::answer(
            &mut counts,
            1.0 - doubt,
            class,
            random.random(),
            seconds * random.random_range(0.5..1.5),
        );
    }
    counts
}

#[test]
fn errors_beyond_the_tolerance_are_proven_and_stay_proven() {
    // rule: S1, S2
    let mut rollout = Rollout::new(References::default());
    let readings = rollout.pass(&with_errors(100, 2), &with_errors(900, 18), Some(0.1));
    let errors = of(&readings, "errors");
    assert_eq!(
        (errors.verdict, errors.layer, errors.n, errors.n_stable),
        (Verdict::Pass, Layer::Sequential, 100, Some(900))
    );
    assert!(!errors.holds(), "not proven is a pass so far");
    for _ in 0..8 {
        rollout.pass(&with_errors(100, 10), &with_errors(900, 18), Some(0.1));
    }
    let readings = rollout.judge(0.01);
    let errors = of(&readings, "errors");
    assert_eq!((errors.verdict, errors.on_breach), (Verdict::Fail, OnBreach::Rollback));
    assert!((errors.level - 0.0035).abs() < 1e-12 && errors.p_value.unwrap() < errors.level);
    assert_eq!(
        errors.reason,
        "sequential/errors: 82 of 900 requests fail, of stable's 162 of 8,100, 4.56 times the rate (2.51..9.08); \
         more than 1.1 times is proven (p 2.9e-19, level 0.0035)"
    );
    for _ in 0..50 {
        rollout.pass(&with_errors(100, 0), &with_errors(900, 18), Some(0.1));
    }
    assert_eq!(of(&rollout.judge(0.01), "errors").verdict, Verdict::Fail, "a proof is not taken back");
}

#[test]
fn a_watch_says_what_it_can_still_notice() {
    // rule: S3
    let mut rollout = Rollout::new(References::default());
    let watch = |rollout: &mut Rollout<'_>, split| {
        let errors =
            of(&rollout.pass(&with_errors(9_900, 198), &with_errors(100, 2), split), "errors").clone();
        (errors.detects, errors.reason.split_once("level 0.0035); ").map(|(_, said)| said.to_owned()))
    };
    assert_eq!(watch(&mut rollout, Some(0.99)), (None, None), "no watch");
    rollout.ends = Some(900);
    let (detects, said) = watch(&mut rollout, Some(0.99));
    assert_eq!(detects, Some(2.0));
    let said = said.unwrap();
    assert_eq!(said, "about 580,000 more requests until 2023-11-14T22:28:20Z would show 2 times the rate");
    // The nearer the end, the less.
    for _ in 0..30 {
        watch(&mut rollout, Some(0.99));
    }
    assert_eq!(watch(&mut rollout, Some(0.99)).0, Some(3.0));
    for _ in 0..25 {
        watch(&mut rollout, Some(0.99));
    }
    let (detects, said) = watch(&mut rollout, Some(0.99));
    assert_eq!(detects, None, "{said:?}");
    assert!(said.unwrap().ends_with("are too few to show even 20 times the rate"));
    rollout.ends = Some(2000);
    let without = watch(&mut rollout, Some(1.0));
    assert_eq!(without.0, None);
    assert_eq!(without.1.unwrap(), "without a holdback there is nothing to compare with from here on");
}

#[test]
fn a_test_without_data_says_so_and_holds_nothing() {
    // rule: J1, C5
    let mut rollout = Rollout::new(References::default());
    let readings = rollout.pass(&with_errors(100, 50), &with_errors(900, 0), None);
    assert!(readings.iter().all(|r| r.verdict == Verdict::NoData && !r.holds()), "{readings:#?}");
    assert_eq!(
        of(&readings, "low-confidence").reason,
        "sequential/low-confidence: the candidate's server has shown no reference profile"
    );
    assert_eq!(of(&readings, "split").reason, "sequential/split: no request was drawn at random yet");
}

#[test]
fn settings_are_those_of_the_start_and_causes_only_get_gentler() {
    // rule: I3
    let mut rollout = Rollout::new(References::default());
    rollout.tests.errors = Some(Harm { tolerance: 2.0, on_breach: OnBreach::Pause });
    rollout.pass(&with_errors(100, 2), &with_errors(900, 18), Some(0.1));
    let cases = [
        (Some(OnBreach::Rollback), OnBreach::Pause),
        (Some(OnBreach::Pause), OnBreach::Pause),
        (Some(OnBreach::Alert), OnBreach::Alert),
        (None, OnBreach::Alert),
    ];
    for (wanted, expected) in cases {
        rollout.tests.errors = wanted.map(|on_breach| Harm { tolerance: 1.0, on_breach });
        let readings = rollout.judge(0.2);
        let errors = of(&readings, "errors");
        assert_eq!((errors.threshold, errors.on_breach), (Some(2.0), expected), "{wanted:?}");
    }
}

#[test]
fn without_a_budget_there_is_no_test() {
    // rule: S2
    let mut rollout = Rollout::new(References::default());
    rollout.pass(&with_errors(10, 2), &with_errors(90, 2), Some(0.1));
    let mut raw = Rollout::new(References::default());
    raw.windows
        .push(Interval { split: Some(0.1), ..interval(0, 15, &with_errors(9, 9), &with_errors(9, 0)) });
    raw.seconds = 15;
    assert_eq!(raw.judge(0.0), []);
    assert_eq!(rollout.judge(0.0).len(), 5, "one that runs goes on");
}

#[test]
fn a_slower_tail_is_proven_and_tolerated_slowness_is_not() {
    // rule: S1
    for (factor, expected) in [(2.5, Verdict::Fail), (1.4, Verdict::Pass)] {
        let mut random = StdRng::seed_from_u64(1);
        let mut rollout = Rollout::new(References::default());
        for _ in 0..40 {
            let stable = answers(&mut random, 250, 4, 0.1);
            rollout.pass(&answers(&mut random, 250, 4, 0.1 * factor), &stable, Some(0.5));
        }
        let readings = rollout.judge(0.01);
        let latency = of(&readings, "latency");
        assert_eq!(latency.verdict, expected, "{}", latency.reason);
        assert!(latency.reason.contains("1.5 times stable's 95th percentile"), "{}", latency.reason);
    }
}

#[test]
fn a_surer_model_changes_and_harms_nothing_and_an_unsure_one_harms() {
    // rule: S1, S2
    let mut random = StdRng::seed_from_u64(2);
    let [ours, theirs] = [6, 4].map(|sure| profile(&answers(&mut random, 2000, sure, 0.1)));
    let references = References { candidate: Some(&ours), stable: Some(&theirs) };
    for (sure, low_confidence) in [(6, Verdict::Pass), (1, Verdict::Fail)] {
        let mut rollout = Rollout::new(references);
        for _ in 0..30 {
            let stable = answers(&mut random, 250, 4, 0.1);
            rollout.pass(&answers(&mut random, 250, sure, 0.1), &stable, Some(0.5));
        }
        let readings = rollout.judge(0.01);
        assert_eq!(of(&readings, "low-confidence").verdict, low_confidence, "{readings:#?}");
        let change = of(&readings, "change");
        assert_eq!((change.verdict, change.on_breach), (Verdict::Fail, OnBreach::Alert));
        assert!(change.reason.contains("differs from stable, most in confidence"), "{}", change.reason);
        assert!(!change.holds() && of(&readings, "split").verdict == Verdict::Pass);
    }
}

#[test]
fn a_wrong_split_holds_the_stage_and_is_no_fault_of_the_candidate() {
    // rule: J1
    let mut rollout = Rollout::new(References::default());
    for _ in 0..20 {
        // A third of the candidate's requests is never counted.
        rollout.pass(&with_errors(200, 4), &with_errors(700, 14), Some(0.3));
    }
    let readings = rollout.judge(0.01);
    let split = of(&readings, "split");
    assert_eq!(split.verdict, Verdict::Inconclusive, "{}", split.reason);
    assert!(split.holds());
    assert!(split.reason.starts_with(
        "sequential/split: the candidate got 22.2 % of 18,000 requests, 30 % were drawn for it;"
    ));
    assert_eq!(of(&readings, "errors").verdict, Verdict::Pass);
}

#[test]
fn it_is_resumed_bit_for_bit_and_stays_small() {
    // rule: C6
    let mut random = StdRng::seed_from_u64(5);
    let [ours, theirs] = [4, 4].map(|sure| profile(&answers(&mut random, 2000, sure, 0.1)));
    let references = References { candidate: Some(&ours), stable: Some(&theirs) };
    let (mut whole, mut resumed) = (Rollout::new(references), Rollout::new(references));
    for i in 0..40 {
        let mut arms = [0.1, 0.1].map(|seconds| answers(&mut random, 250, 4, seconds));
        fail(&mut arms[0], Outcome::Error, i % 3);
        fail(&mut arms[1], Outcome::Error, i % 2);
        let expected = whole.pass(&arms[0], &arms[1], Some(0.5));
        assert_eq!(resumed.pass(&arms[0], &arms[1], Some(0.5)), expected);
        // What is being learnt is in memory only; from then on nothing is lost.
        if i >= 4 {
            let json = serde_json::to_string(&resumed.state).unwrap();
            assert!(json.len() < 12 * 1024, "{}", json.len());
            resumed.state = serde_json::from_str(&json).unwrap();
            assert_eq!(resumed.state, whole.state);
        }
    }
}

#[test]
fn what_a_window_repeats_is_counted_once() {
    // rule: C4
    let mut rollout = Rollout::new(References::default());
    let once = rollout.pass(&with_errors(100, 5), &with_errors(100, 2), Some(0.5));
    assert_eq!(rollout.judge(0.01), once);
    let counts = alike(10, 0.9, "a", 0.5, 0.05);
    assert_eq!(counts.doubt[Grid::Doubt.cell(0.1).unwrap()], 10);
}
