//! A stage that waits for proof that the candidate is good enough.

#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

mod common;

use common::{EVERY, at, at_most, interval, with_errors};
use evidence::{
    ACCEPT_LEVEL, ACCEPT_MARGIN, Interval, Layer, OnBreach, Promotion, Reading, References, Rules, SlotRound,
    SlotState, SlotThresholds, State, Tests, Verdict, Windows, judge,
};
use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use wire::{Counts, SLOTS, SlotSet, Slots};

struct Rollout {
    accept: bool,
    tests: Tests,
    timeout: i64,
    windows: Windows,
    state: State,
    seconds: i64,
    readings: Vec<Reading>,
}

impl Rollout {
    fn new() -> Self {
        let (windows, state) = (Windows::new(at(0)), State::default());
        Self { accept: true, tests: Tests::OFF, timeout: 0, windows, state, seconds: 0, readings: Vec::new() }
    }

    fn pass(&mut self, candidate: &Counts, stable: &Counts, split: Option<f64>, slots: Option<SlotRound>) {
        let from = self.seconds;
        self.seconds += 15;
        let interval = interval(from, self.seconds, candidate, stable);
        assert!(self.windows.push(Interval { split, slots: slots.map(Box::new), ..interval }));
        self.judge();
    }

    fn judge(&mut self) {
        let rules = Rules {
            metrics: &[],
            tests: &self.tests,
            false_rollback: 0.01,
            interval: EVERY,
            timeout: SignedDuration::from_secs(self.timeout),
            accept: self.accept,
            ends: None,
        };
        self.readings =
            judge(&rules, &self.windows, References::default(), &mut self.state, at(self.seconds));
    }

    fn accept(&self) -> Option<&Reading> {
        self.readings.iter().find(|reading| reading.metric == "sequential/accept")
    }
}

#[test]
fn a_stage_is_held_until_it_is_proven_and_then_no_more() {
    // rule: T2
    let mut rollout = Rollout::new();
    rollout.timeout = 30;
    rollout.pass(&with_errors(100, 2), &with_errors(900, 18), Some(0.1), None);
    let waits = rollout.accept().unwrap();
    assert_eq!((waits.verdict, waits.holds(), waits.layer), (Verdict::NoData, true, Layer::Acceptance));
    assert_eq!(
        waits.reason,
        "sequential/accept: no requests of both arms so far from 30s after a stage began; what fails slowly was not \
         counted before"
    );
    rollout.timeout = 0;
    for _ in 0..5 {
        rollout.pass(&with_errors(100, 2), &with_errors(900, 18), Some(0.1), None);
    }
    let unproven = rollout.accept().unwrap();
    assert_eq!((unproven.verdict, unproven.on_breach), (Verdict::Inconclusive, OnBreach::Pause));
    assert!(unproven.holds() && unproven.forecast.is_some());
    assert_eq!(
        unproven.reason,
        "sequential/accept: 10 of 500 requests fail, of stable's 90 of 4,500, 1 times the rate; less than 2 times is \
         not proven (p 0.173, level 0.05); about 2,399 more requests like these would prove it"
    );
    for _ in 0..12 {
        rollout.pass(&with_errors(100, 2), &with_errors(900, 18), Some(0.1), None);
    }
    let proven = rollout.accept().unwrap();
    assert_eq!((proven.verdict, proven.holds(), proven.forecast), (Verdict::Pass, false, None));
    assert!(proven.p_value.unwrap() <= ACCEPT_LEVEL);
    common::close(proven.value.unwrap(), 1.0, 1e-9, "ratio");
    // It is so for the rest of the rollout, also after a restart.
    rollout.windows.enter_stage(at(rollout.seconds));
    rollout.state = serde_json::from_str(&serde_json::to_string(&rollout.state).unwrap()).unwrap();
    rollout.pass(&with_errors(100, 9), &with_errors(100, 2), Some(0.5), None);
    assert_eq!(rollout.accept().unwrap().verdict, Verdict::Pass);
}

#[test]
fn without_failures_there_is_nothing_to_compare() {
    // rule: J1
    let mut rollout = Rollout::new();
    rollout.pass(&with_errors(5000, 0), &with_errors(5000, 0), Some(0.5), None);
    assert_eq!(
        rollout.accept().unwrap().reason,
        "sequential/accept: 0 of 5,000 requests fail, of stable's 0 of 5,000; less than 2 times is not proven (p 1, \
         level 0.05); without a failure in either arm there is nothing to compare"
    );
    rollout.pass(&with_errors(5000, 40), &with_errors(5000, 9), Some(0.5), None);
    let worse = rollout.accept().unwrap();
    assert!(
        worse.reason.ends_with("; more like these would not prove it") && worse.holds(),
        "{}",
        worse.reason
    );
    assert_ne!(worse.verdict, Verdict::Fail, "whatever it says, it takes nothing back");
}

#[test]
fn it_begins_when_it_is_wanted_also_in_a_state_of_the_release_before() {
    // rule: C6, I3
    let mut rollout = Rollout { accept: false, tests: Tests::default(), ..Rollout::new() };
    rollout.pass(&with_errors(100, 2), &with_errors(900, 18), Some(0.1), None);
    let before = serde_json::to_string(&rollout.state).unwrap();
    assert!(rollout.accept().is_none() && !before.contains("accept"), "{before}");
    rollout.state = serde_json::from_str(&before).unwrap();
    rollout.accept = true;
    rollout.pass(&with_errors(100, 2), &with_errors(900, 18), Some(0.1), None);
    assert_eq!(rollout.accept().unwrap().n, 100, "what came before is not looked at again");
    assert_eq!(rollout.readings.len(), 6);
    // And where no test runs, because the state cannot be read.
    let mut unreadable = Rollout { state: State::unreadable(), tests: Tests::default(), ..Rollout::new() };
    unreadable.pass(&with_errors(100, 2), &with_errors(900, 18), Some(0.1), None);
    let names: Vec<_> = unreadable.readings.iter().map(|reading| reading.metric.as_str()).collect();
    assert_eq!(names, ["sequential", "sequential/split", "sequential/accept"]);
    unreadable.accept = false;
    unreadable.judge();
    assert!(unreadable.accept().is_none());
}

/// Whether a candidate this many times as bad as stable is accepted within 60 intervals.
fn accepted(random: &mut StdRng, ratio: f64, split: f64) -> bool {
    let mut rollout = Rollout::new();
    (0..60).any(|_| {
        let mut arms = [(0, 0); 2];
        for _ in 0..400 {
            let arm = usize::from(!random.random_bool(split));
            let rate = if arm == 0 { 0.03 * ratio } else { 0.03 };
            arms[arm] = (arms[arm].0 + 1, arms[arm].1 + u64::from(random.random_bool(rate)));
        }
        let [ours, theirs] = arms.map(|(n, failed)| with_errors(n, failed));
        rollout.pass(&ours, &theirs, Some(split), None);
        rollout.accept().unwrap().verdict == Verdict::Pass
    })
}

#[test]
fn a_candidate_at_the_margin_is_accepted_no_more_often_than_the_level() {
    // rule: T2
    let runs = 60;
    for split in [0.5, 0.1] {
        let mut random = StdRng::seed_from_u64(11);
        let mut times = |ratio| (0..runs).filter(|_| accepted(&mut random, ratio, split)).count() as u64;
        let (wrong, right) = (times(ACCEPT_MARGIN), times(1.0));
        println!("share {split}: {wrong} at the margin, {right} equal ones of {runs}");
        assert!(wrong <= at_most(runs, ACCEPT_LEVEL), "{wrong} of {runs}");
        assert!(right > runs * 3 / 4, "{right} of {runs}");
    }
}

/// Users of whom some often have a failure within an interval: one in twenty, stable's with 0.45 and the candidate's
/// `ratio` times as often. Whether they show that the candidate is good enough: counted once, and as slots at risk.
fn users_accept(random: &mut StdRng, ratio: f64) -> [bool; 2] {
    let mut slots: Vec<u16> = (0..SLOTS).collect();
    slots.shuffle(random);
    let (ours, theirs) = slots.split_at(usize::from(SLOTS) / 2);
    let (candidate, stable): (SlotSet, SlotSet) =
        (ours.iter().copied().collect(), theirs.iter().copied().collect());
    let mut round = SlotRound { candidate, stable, now: Slots::default(), earlier: Slots::default() };
    let (mut rollout, mut at_risk) = (Rollout::new(), SlotState::default());
    let mut by_risk = Promotion::new(ACCEPT_MARGIN).unwrap();
    for _ in 0..20 {
        for slot in (0..SLOTS).step_by(4) {
            if random.random_bool(0.3) {
                let rate = if slot % 80 == 0 { 0.45 } else { 0.002 };
                let harm = if round.candidate.contains(slot) { ratio } else { 1.0 };
                round.now.see(slot);
                if random.random_bool(rate * harm) {
                    round.now.fail(slot);
                }
            }
        }
        by_risk.observe(&at_risk.observe(&round, &SlotThresholds::default()).errors).unwrap();
        rollout.pass(&Counts::default(), &Counts::default(), None, Some(round.clone()));
        round.earlier.merge(&round.now);
    }
    [rollout.accept().unwrap().verdict == Verdict::Pass, by_risk.crossed(ACCEPT_LEVEL)]
}

#[test]
fn users_are_counted_once_because_those_at_risk_would_accept_too_much() {
    // rule: C5
    let runs = 24;
    let mut random = StdRng::seed_from_u64(13);
    let mut times = |ratio| {
        let accepted: Vec<[bool; 2]> = (0..runs).map(|_| users_accept(&mut random, ratio)).collect();
        [0, 1].map(|i| accepted.iter().filter(|accepted| accepted[i]).count() as u64)
    };
    let ([once, at_risk], [right, _]) = (times(ACCEPT_MARGIN), times(1.0));
    println!("at the margin {once} once, {at_risk} at risk; equal ones {right} of {runs}");
    assert!(once <= at_most(runs, ACCEPT_LEVEL), "{once} of {runs}");
    assert!(at_risk > at_most(runs, ACCEPT_LEVEL), "{at_risk} of {runs}");
    assert!(right > 0);
}
