//! How often a trial is wrong, looked at after every interval: simulated, with fixed seeds.

mod common;

use common::{at, at_least, at_most, interval};
use evidence::experiment::Direction;
use evidence::{Interval, Measure, SlotRound, Trial, TrialState, TrialVerdict};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use wire::{Counts, Outcome, SLOTS, Slots};

const LEVEL: f64 = 0.1;
const EFFECT: f64 = 0.05;
const TRIAL: Trial = Trial {
    measure: Measure::SuccessRate,
    direction: Direction::Increase,
    minimum_effect: EFFECT,
    significance: LEVEL,
};

/// How many runs were won and lost.
fn ends(runs: u64, seed: u64, mut run: impl FnMut(&mut StdRng) -> TrialVerdict) -> [u64; 2] {
    let mut random = StdRng::seed_from_u64(seed);
    let verdicts: Vec<_> = (0..runs).map(|_| run(&mut random)).collect();
    [TrialVerdict::Won, TrialVerdict::Lost].map(|end| verdicts.iter().filter(|v| **v == end).count() as u64)
}

/// 25 intervals of 250 requests, which succeed as often as stable's with `gain` more.
fn by_requests(random: &mut StdRng, split: f64, gain: f64) -> TrialVerdict {
    let mut state = TrialState::default();
    for i in 0..25 {
        let good = 0.8 + 0.1 * (f64::from(i) / 4.0).sin();
        let mut arms = <[Counts; 2]>::default();
        for _ in 0..250 {
            let arm = usize::from(!random.random_bool(split));
            let good = if arm == 0 { good + gain } else { good };
            let outcome = if random.random_bool(good) { Outcome::Ok } else { Outcome::Error };
            arms[arm].outcomes[outcome.index()] += 1;
        }
        let from = 15 * i64::from(i);
        let interval = Interval { split: Some(split), ..interval(from, from + 15, &arms[0], &arms[1]) };
        state.observe(&TRIAL, &interval, at(0));
    }
    state.reading(&TRIAL, true).verdict
}

#[test]
fn a_trial_by_requests_is_no_more_often_wrong_than_it_may() {
    let runs = 200;
    for split in [0.5, 0.15] {
        let none = ends(runs, 1, |random| by_requests(random, split, 0.0));
        let full = ends(runs, 2, |random| by_requests(random, split, EFFECT));
        let double = ends(runs, 3, |random| by_requests(random, split, 2.0 * EFFECT));
        println!(
            "share {split}, won and lost: no gain {none:?}, the effect {full:?}, twice {double:?} of {runs}"
        );
        assert!(none[0] <= at_most(runs, LEVEL) && full[1] <= at_most(runs, LEVEL), "{none:?} {full:?}");
        assert!(split < 0.5 || double[0] >= at_least(runs, 0.9), "{double:?}");
    }
}

/// Users with slots drawn by lot, of whom some often fail and some ask much; 20 intervals. With the slots' verdict that
/// of the same trial by requests, as if those had been drawn.
fn by_users(random: &mut StdRng, gain: f64) -> [TrialVerdict; 2] {
    let mut lots: Vec<u16> = (0..SLOTS).collect();
    lots.shuffle(random);
    let (ours, theirs) = lots.split_at(usize::from(SLOTS) / 2);
    let [candidate, stable] = [ours, theirs].map(|slots| slots.iter().copied().collect());
    let mut round = SlotRound { candidate, stable, now: Slots::default(), earlier: Slots::default() };
    // Whether a user comes, how often they then ask, and how often they fail; a better candidate spares whole users.
    let mut users: Vec<(u16, f64, u32, f64)> = (0..3000)
        .map(|_| {
            let busy = random.random::<f64>().powi(3);
            let asks = if random.random_bool(0.05) { 20 } else { 1 };
            let fails = if random.random_bool(0.15) { 0.9 } else { 0.02 };
            (random.random_range(0..SLOTS), busy, asks, fails)
        })
        .collect();
    for (slot, _, _, fails) in &mut users {
        // Of the candidate's 17 % or so that fail at all, `gain` points never do.
        if round.candidate.contains(*slot) && random.random_bool(gain) {
            *fails = 0.0;
        }
    }
    let (mut slots, mut requests) = (TrialState::default(), TrialState::default());
    for i in 0..20 {
        let mut arms = <[Counts; 2]>::default();
        for &(slot, busy, asks, fails) in &users {
            if !random.random_bool(busy) {
                continue;
            }
            let arm = usize::from(!round.candidate.contains(slot));
            for _ in 0..asks {
                round.now.see(slot);
                let failed = random.random_bool(fails);
                if failed {
                    round.now.fail(slot);
                }
                let outcome = if failed { Outcome::Error } else { Outcome::Ok };
                arms[arm].outcomes[outcome.index()] += 1;
            }
        }
        let interval = interval(15 * i, 15 * i + 15, &arms[0], &arms[1]);
        let sticky = Interval { slots: Some(Box::new(round.clone())), ..interval.clone() };
        slots.observe(&TRIAL, &sticky, at(0));
        requests.observe(&TRIAL, &Interval { split: Some(0.5), ..interval }, at(0));
        round.earlier.merge(&round.now);
    }
    [slots, requests].map(|state| state.reading(&TRIAL, true).verdict)
}

#[test]
fn a_trial_by_slots_is_no_more_often_wrong_than_it_may_and_by_requests_it_would_be() {
    // rule: C5
    let runs = 60;
    let mut wrong_by_requests = 0;
    let none = ends(runs, 4, |random| {
        let [slots, requests] = by_users(random, 0.0);
        wrong_by_requests += u64::from(matches!(requests, TrialVerdict::Won | TrialVerdict::Frozen));
        slots
    });
    let much = ends(runs, 5, |random| by_users(random, 0.9)[0]);
    println!(
        "won and lost: no gain {none:?}, much {much:?}; by requests {wrong_by_requests} wrong of {runs}"
    );
    assert!(none[0] <= at_most(runs, LEVEL), "{none:?}");
    assert!(much[0] >= at_least(runs, 0.9), "{much:?}");
    assert!(wrong_by_requests > at_most(runs, LEVEL), "{wrong_by_requests} of {runs}");
}

/// 3,000 slots, each seen first in one of 20 intervals, that had failed by then or not; others come back.
fn first_seen(random: &mut StdRng, gain: f64) -> TrialVerdict {
    let mut lots: Vec<u16> = (0..SLOTS).collect();
    lots.shuffle(random);
    let (ours, theirs) = lots.split_at(usize::from(SLOTS) / 4);
    let [candidate, stable] = [ours, theirs].map(|slots| slots.iter().copied().collect());
    let mut round = SlotRound { candidate, stable, now: Slots::default(), earlier: Slots::default() };
    let mut state = TrialState::default();
    lots.shuffle(random);
    for (i, new) in lots[..6000].chunks(300).enumerate() {
        for &slot in new {
            let good = if round.candidate.contains(slot) { 0.75 + gain } else { 0.75 };
            round.now.see(slot);
            if !random.random_bool(good) {
                round.now.fail(slot);
            }
        }
        let back = lots[random.random_range(0..300 * (i + 1))];
        round.now.fail(back);
        let (from, nothing) = (15 * i as i64, Counts::default());
        let interval = interval(from, from + 15, &nothing, &nothing);
        state.observe(&TRIAL, &Interval { slots: Some(Box::new(round.clone())), ..interval }, at(0));
        round.earlier.merge(&round.now);
    }
    state.reading(&TRIAL, true).verdict
}

#[test]
fn the_limits_of_a_trial_by_slots_hold_on_both_sides() {
    // rule: C5
    let runs = 60;
    let [none, full, triple] =
        [0.0, 1.0, 3.0].map(|times| ends(runs, 6, |random| first_seen(random, times * EFFECT)));
    println!("won and lost: no gain {none:?}, the effect {full:?}, three times {triple:?} of {runs}");
    assert!(none[0] <= at_most(runs, LEVEL) && full[1] <= at_most(runs, LEVEL), "{none:?} {full:?}");
    assert!(triple[0] >= at_least(runs, 0.9), "{triple:?}");
}
