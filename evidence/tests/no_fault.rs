//! What is no fault of the candidate, and would look like one if requests were merely counted.

#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

mod common;

use std::collections::VecDeque;

use common::{EVERY, answer, at, errors, fail, interval, profile};
use evidence::{
    Bound, Interval, Metric, Reading, References, Rules, SlotRound, State, Tests, Verdict, Windows, judge,
};
use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::{Counts, Grid, Outcome, SLOTS, SlotSet, Slots};

/// Judges intervals of 15 s, and remembers which metrics ever failed.
struct Stage<'a> {
    metrics: Vec<Metric>,
    tests: Tests,
    timeout: SignedDuration,
    references: References<'a>,
    windows: Windows,
    state: State,
    seconds: i64,
    readings: Vec<Reading>,
}

impl<'a> Stage<'a> {
    fn new(metrics: Vec<Metric>, tests: Tests, references: References<'a>) -> Self {
        let (windows, state, timeout) = (Windows::new(at(0)), State::default(), SignedDuration::ZERO);
        Self { metrics, tests, timeout, references, windows, state, seconds: 0, readings: Vec::new() }
    }

    fn pass(&mut self, [candidate, stable]: &[Counts; 2], split: Option<f64>, slots: Option<SlotRound>) {
        let (from, to) = (self.seconds, self.seconds + 15);
        self.seconds = to;
        let interval = interval(from, to, candidate, stable);
        assert!(self.windows.push(Interval { split, slots: slots.map(Box::new), ..interval }));
        let rules = Rules {
            metrics: &self.metrics,
            tests: &self.tests,
            false_rollback: 0.01,
            interval: EVERY,
            timeout: self.timeout,
            accept: false,
            ends: None,
        };
        self.readings = judge(&rules, &self.windows, self.references, &mut self.state, at(to));
    }

    fn of(&self, name: &str) -> &Reading {
        self.readings.iter().find(|reading| reading.metric == name).expect("it is judged")
    }
}

/// An answer as both models give it, or none.
fn request(random: &mut StdRng, counts: &mut Counts, failing: f64) -> Option<(usize, usize)> {
    if random.random_bool(failing) {
        fail(counts, Outcome::Error, 1);
        return None;
    }
    let doubt = random.random::<f64>().powi(4);
    let seconds = 0.05 / random.random_range(0.001..1.0f64).sqrt();
    answer(counts, 1.0 - doubt, "a", 0.5, seconds);
    Some((Grid::Seconds.cell(seconds).unwrap(), Grid::Doubt.cell(doubt).unwrap()))
}

/// Users who each have a slot and ask a few times in every interval. Those of the candidate have the lower ones.
struct Users {
    slots: Vec<u16>,
    first_of_stable: u16,
    shown: Slots,
}

impl Users {
    fn new(random: &mut StdRng, users: usize, first_of_stable: u16) -> Self {
        let slots = (0..users).map(|_| random.random_range(0..SLOTS)).collect();
        Self { slots, first_of_stable, shown: Slots::default() }
    }

    /// What both arms did, if a user of an arm fails this often.
    fn ask(
        &mut self,
        random: &mut StdRng,
        requests: u64,
        failing: impl Fn(usize, u16) -> f64,
    ) -> ([Counts; 2], SlotRound) {
        let (mut arms, earlier) = (<[Counts; 2]>::default(), self.shown.clone());
        for &slot in &self.slots {
            let arm = usize::from(slot >= self.first_of_stable);
            for _ in 0..requests {
                self.shown.see(slot);
                match request(random, &mut arms[arm], failing(arm, slot)) {
                    None => self.shown.fail(slot),
                    Some((latency, doubt)) => {
                        self.shown.raise_latency(slot, latency);
                        self.shown.raise_doubt(slot, doubt);
                    }
                }
            }
        }
        let candidate: SlotSet = (0..self.first_of_stable).collect();
        let stable = (self.first_of_stable..SLOTS).collect();
        (arms, SlotRound { candidate, stable, now: self.shown.clone(), earlier })
    }
}

/// Both arms' answers where stable fails this often, and the candidate never.
fn failing(random: &mut StdRng, rate: f64) -> [Counts; 2] {
    [0.0, rate].map(|rate| {
        let mut counts = Counts::default();
        (0..150).for_each(|_| {
            request(random, &mut counts, rate);
        });
        counts
    })
}

#[test]
fn where_stable_fails_the_candidate_is_neither_unsure_nor_slow() {
    // rule: S1, S2. As the requests and slots that were drawn, and not as answers, they did.
    let mut random = StdRng::seed_from_u64(1000);
    let mut counts = Counts::default();
    (0..5000).for_each(|_| {
        request(&mut random, &mut counts, 0.0);
    });
    let sample = profile(&counts);
    let references = References { candidate: Some(&sample), stable: Some(&sample) };
    for seed in 0..8 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut by_requests = Stage::new(Vec::new(), Tests::default(), references);
        let mut by_slots = Stage::new(Vec::new(), Tests::default(), references);
        let mut users = Users::new(&mut random, 2000, SLOTS / 2);
        for i in 0..60 {
            // Bounds are learnt before the failures begin.
            let rate = if i < 8 { 0.0 } else { 0.9 };
            by_requests.pass(&failing(&mut random, rate), Some(0.5), None);
            let (arms, slots) = users.ask(&mut random, 1, |arm, _| rate * arm as f64);
            by_slots.pass(&arms, None, Some(slots));
        }
        for stage in [by_requests, by_slots] {
            for name in ["sequential/low-confidence", "sequential/latency"] {
                let reading = stage.of(name);
                assert_eq!(reading.verdict, Verdict::Pass, "{seed}: {}", reading.reason);
                assert!(reading.n > 1000 && reading.n_stable.is_some_and(|n| n > 400), "{reading:?}");
            }
        }
    }
}

/// Intervals in which both arms fail equally often, the candidate at once and stable two intervals later.
fn late_failures(seed: u64, timeout: i64) -> Stage<'static> {
    let mut random = StdRng::seed_from_u64(seed);
    let metrics = vec![errors(Bound::MaxRatio(1.5))];
    let mut stage = Stage::new(metrics, Tests::default(), References::default());
    stage.timeout = SignedDuration::from_secs(timeout);
    let mut waiting = VecDeque::from([0, 0]);
    for _ in 0..40 {
        let [ours, theirs] = [0, 1].map(|_| (0..1500).filter(|_| random.random_bool(0.02)).count() as u64);
        waiting.push_back(theirs);
        let late = waiting.pop_front().unwrap();
        let counts = [(1500 - ours, ours), (1500 - theirs, late)].map(|(ok, failed)| {
            let mut counts = Counts::default();
            fail(&mut counts, Outcome::Ok, ok);
            fail(&mut counts, Outcome::Timeout, failed);
            counts
        });
        stage.pass(&counts, Some(0.5), None);
    }
    stage
}

#[test]
fn what_fails_slowly_is_not_compared_before_it_can_have_been_counted() {
    // rule: C2, S2
    let failed = |timeout| {
        let failed = |name: &str, seed| late_failures(seed, timeout).of(name).verdict == Verdict::Fail;
        (0..20).filter(|seed| failed("sequential/errors", *seed)).count()
    };
    assert_eq!(failed(30), 0);
    assert!(failed(0) > 10, "at once it does look like harm");
    let mut stage = Stage::new(vec![errors(Bound::MaxRatio(1.5))], Tests::default(), References::default());
    stage.timeout = SignedDuration::from_secs(30);
    let mut broken = <[Counts; 2]>::default();
    broken.iter_mut().zip([Outcome::Error, Outcome::Ok]).for_each(|(counts, what)| fail(counts, what, 1500));
    stage.pass(&broken, Some(0.5), None);
    assert_eq!(
        stage.of("sequential/errors").reason,
        "sequential/errors: no requests of both arms so far from 30s after a stage began; what fails slowly was not counted before"
    );
    for verdict in [Verdict::NoData, Verdict::Fail] {
        stage.pass(&broken, Some(0.5), None);
        assert_eq!(
            (stage.of("sequential/errors").verdict, stage.of("errors").verdict),
            (verdict, verdict),
            "{:#?}",
            stage.readings
        );
    }
    assert_eq!(stage.of("errors").n, 1500, "from there on");
}

#[test]
fn a_threshold_proves_no_more_than_the_users_do_who_were_asked() {
    // rule: C5, J2. One user in forty always fails; 5 % are allowed.
    let failed = |slots: bool, broken: f64| {
        let fails =
            |seed| {
                let mut random = StdRng::seed_from_u64(seed);
                let mut stage = Stage::new(vec![errors(Bound::Max(0.05))], Tests::OFF, References::default());
                let mut users = Users::new(&mut random, 200, SLOTS / 20);
                for _ in 0..10 {
                    let (arms, round) = users.ask(&mut random, 20, |arm, slot| {
                        if slot % 40 == 0 { 1.0 } else { broken * (1 - arm) as f64 }
                    });
                    stage.pass(&arms, None, slots.then_some(round));
                }
                let errors = stage.of("errors");
                assert_eq!(errors.reason.contains(" slots in "), slots, "{}", errors.reason);
                errors.verdict == Verdict::Fail
            };
        (0..40).filter(|seed| fails(*seed)).count()
    };
    let n = failed(false, 0.0);
    assert!(n > 2, "as requests they do prove harm: {n}");
    assert_eq!(failed(true, 0.0), 0);
    assert_eq!(failed(true, 0.95), 40, "harm is still proven");
}

#[test]
fn what_needs_requests_says_so_under_sticky_routing() {
    // rule: J1, C5
    let mut random = StdRng::seed_from_u64(1);
    let mut stage = Stage::new(Vec::new(), Tests::default(), References::default());
    let mut users = Users::new(&mut random, 2000, SLOTS / 2);
    for _ in 0..5 {
        let (arms, slots) = users.ask(&mut random, 1, |_, _| 0.0);
        stage.pass(&arms, None, Some(slots));
    }
    let change = stage.of("sequential/change");
    assert_eq!(change.verdict, Verdict::NoData);
    assert_eq!(
        change.reason,
        "sequential/change: needs requests that are drawn one by one: routing is sticky"
    );
}
