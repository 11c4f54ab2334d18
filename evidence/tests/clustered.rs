//! Users who are not alike, under sticky routing: requests raise false alarms, slots do not (C5).

#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

use evidence::{SlotRound, SlotState, SlotThresholds, Stratum};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use statrs::distribution::{Binomial, DiscreteCDF};
use wire::{SLOTS, SlotSet, Slots};

const USERS: usize = 600;
const INTERVALS: usize = 10;
/// The candidate's share in each stage, of all slots.
const STAGES: [f64; 3] = [0.05, 0.2, 0.5];
/// A test may raise a false alarm with this probability.
const LEVEL: f64 = 0.05;

/// Users with slots drawn by lot. A few send most requests, and some send what often fails.
struct Users {
    slots: Vec<u16>,
    rates: Vec<f64>,
    /// Cumulative.
    activity: Vec<f64>,
}

impl Users {
    fn new(random: &mut StdRng) -> Self {
        let mut sum = 0.0;
        let activity = (0..USERS).map(|rank| {
            sum += 1.0 / (rank + 10) as f64;
            sum
        });
        let activity = activity.collect();
        let rates = (0..USERS).map(|_| if random.random_bool(0.02) { 0.4 } else { 0.005 }).collect();
        let slots = (0..USERS).map(|_| random.random_range(0..SLOTS)).collect();
        Self { slots, rates, activity }
    }

    /// The slot of the next request, and how often such a request fails.
    fn next(&self, random: &mut StdRng) -> (u16, f64) {
        let at = random.random_range(0.0..*self.activity.last().unwrap());
        let user = self.activity.partition_point(|upto| *upto <= at);
        (self.slots[user], self.rates[user])
    }
}

/// Bets on the arms of events against "the ratio of rates is at most `tolerance`", as in *known split*: each
/// event hits the candidate with probability pi w / (pi w + 1 - pi), for some w above the tolerance.
struct Bets {
    tolerance: f64,
    logs: [f64; 5],
    largest: f64,
}

impl Bets {
    fn new(tolerance: f64) -> Self {
        Self { tolerance, logs: [0.0; 5], largest: 1.0 }
    }

    fn observe(&mut self, s: Stratum) {
        let Some(split) = s.split.filter(|split| *split > 0.0 && *split < 1.0) else { return };
        let hit = |ratio: f64| split * ratio / (split * ratio + 1.0 - split);
        let null = hit(self.tolerance);
        for (log, ratio) in self.logs.iter_mut().zip([1.25, 1.5, 2.0, 3.0, 5.0]) {
            let bet = hit(self.tolerance * ratio);
            *log += s.x as f64 * (bet / null).ln() + s.x_stable as f64 * ((1.0 - bet) / (1.0 - null)).ln();
        }
        self.largest = self.largest.max(self.logs.iter().map(|log| log.exp()).sum::<f64>() / 5.0);
    }

    fn alarms(&self) -> bool {
        self.largest >= 1.0 / LEVEL
    }
}

/// Requests of an interval, and how much more often than stable the candidate fails.
struct Case {
    requests: u32,
    harm: f64,
    tolerance: f64,
}

/// Whether a rollout raises an alarm at any of its looks, by requests and by slots.
fn rollout(case: &Case, random: &mut StdRng) -> [bool; 2] {
    let users = Users::new(random);
    let mut state = SlotState::default();
    let [mut by_requests, mut by_slots] = [Bets::new(case.tolerance), Bets::new(case.tolerance)];
    for share in STAGES {
        let bound = (share * f64::from(SLOTS)) as u16;
        let mut round = SlotRound {
            candidate: (0..bound).collect::<SlotSet>(),
            stable: (bound..SLOTS).collect::<SlotSet>(),
            now: Slots::default(),
            earlier: Slots::default(),
        };
        for _ in 0..INTERVALS {
            let mut requests = Stratum { x: 0, n: 0, x_stable: 0, n_stable: 0, split: Some(share) };
            for _ in 0..case.requests {
                let (slot, rate) = users.next(random);
                let is_candidate = slot < bound;
                let rate = if is_candidate { (rate * case.harm).min(1.0) } else { rate };
                let failed = random.random_bool(rate);
                if failed {
                    round.now.fail(slot);
                }
                let (x, n) = if is_candidate {
                    (&mut requests.x, &mut requests.n)
                } else {
                    (&mut requests.x_stable, &mut requests.n_stable)
                };
                (*x, *n) = (*x + u64::from(failed), *n + 1);
            }
            by_requests.observe(requests);
            by_slots.observe(state.observe(&round, &SlotThresholds::default()).errors);
            round.earlier.merge(&round.now);
        }
    }
    [by_requests.alarms(), by_slots.alarms()]
}

/// Alarms by requests and by slots.
fn alarms(rollouts: u64, case: &Case) -> [u64; 2] {
    let mut random = StdRng::seed_from_u64(5);
    let mut sum = [0; 2];
    for _ in 0..rollouts {
        let alarms = rollout(case, &mut random);
        sum = [sum[0] + u64::from(alarms[0]), sum[1] + u64::from(alarms[1])];
    }
    sum
}

/// More alarms than this have a probability below 0.1 % when each rollout alarms with `LEVEL` at most.
fn most(rollouts: u64) -> u64 {
    Binomial::new(LEVEL, rollouts).unwrap().inverse_cdf(0.999)
}

#[test]
fn requests_of_users_who_are_not_alike_raise_false_alarms_and_slots_do_not() {
    // rule: C5, S2. With 400 rollouts: 62 and 5; with ten times the requests: 135 and 5.
    let rollouts = 120;
    let [by_requests, by_slots] = alarms(rollouts, &Case { requests: 300, harm: 1.0, tolerance: 1.0 });
    assert!(by_requests > most(rollouts), "by requests: {by_requests} of {rollouts}");
    assert!(by_slots <= most(rollouts), "by slots: {by_slots} of {rollouts}");
}

#[test]
fn a_tolerance_on_requests_is_kept_by_slots() {
    // rule: C5, S2
    let rollouts = 100;
    let [_, by_slots] = alarms(rollouts, &Case { requests: 300, harm: 1.1, tolerance: 1.1 });
    assert!(by_slots <= most(rollouts), "{by_slots} of {rollouts}");
}

#[test]
fn slots_show_harm() {
    // rule: C5. With 400 rollouts: 386.
    let rollouts = 20;
    let [_, by_slots] = alarms(rollouts, &Case { requests: 300, harm: 5.0, tolerance: 1.1 });
    assert!(by_slots > rollouts * 3 / 4, "{by_slots} of {rollouts}");
}
