//! A bandit: its numbers against scipy's, and what must hold for every allotment.
#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::at;
use evidence::{Arrived, Bandit, BanditReading, BanditState, HalfLife, Posterior, probability_best};
use jiff::SignedDuration;
use proptest::prelude::*;
use serde::Deserialize;

const BANDIT: Bandit =
    Bandit { total: 100, floor: 2, ceiling: 90, max_step: 20, half_life: None, stop_at: 0.95 };

#[derive(Deserialize)]
struct Golden {
    arms: Vec<(f64, f64)>,
    best: Vec<f64>,
}

fn best(arms: &[(f64, f64)]) -> Vec<f64> {
    let posterior = |(alpha, beta): &(f64, f64)| Posterior { alpha: *alpha, beta: *beta };
    probability_best(&arms.iter().map(posterior).collect::<Vec<_>>())
}

#[test]
fn the_probability_of_being_best_is_that_of_scipy() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("golden/bandit.json")).unwrap();
    assert_eq!(golden.len(), 18);
    for Golden { arms, best: expected } in golden {
        for (ours, theirs) in best(&arms).iter().zip(&expected) {
            assert!((ours - theirs).abs() < 1e-9, "{arms:?}: {ours} but scipy says {theirs}");
        }
    }
}

fn name(arm: usize) -> String {
    format!("arm-{arm}")
}

fn by_name<T: Copy>(values: &[T]) -> BTreeMap<String, T> {
    values.iter().enumerate().map(|(arm, value)| (name(arm), *value)).collect()
}

fn rewards(counts: &[(u64, u64)]) -> BTreeMap<String, Arrived> {
    by_name(
        &counts
            .iter()
            .map(|(trials, successes)| Arrived { trials: *trials, successes: *successes })
            .collect::<Vec<_>>(),
    )
}

fn none() -> BTreeSet<String> {
    BTreeSet::new()
}

fn shares(reading: &BanditReading) -> Vec<u32> {
    reading.shares.values().copied().collect()
}

fn from_stable(arms: usize) -> BanditState {
    let shares: Vec<u32> = (0..arms).map(|arm| if arm == 0 { 100 } else { 0 }).collect();
    BanditState::new("arm-0", by_name(&shares))
}

#[test]
fn without_rewards_challengers_get_their_floor_and_then_nothing_moves() {
    let mut state = from_stable(3);
    let limits = Bandit { ceiling: 100, ..BANDIT };
    for second in 0..5 {
        let reading = state.advance(&limits, &rewards(&[]), &none(), at(second)).unwrap();
        assert_eq!(shares(&reading), [96, 2, 2]);
        assert!(reading.frozen && reading.lead.is_none());
    }
}

#[test]
fn shares_follow_the_rewards_a_step_at_a_time() {
    let mut state = from_stable(3);
    let good = rewards(&[(500, 450), (500, 480), (500, 400)]);
    let mut seen = Vec::new();
    for second in 0..6 {
        seen.push(shares(&state.advance(&BANDIT, &good, &none(), at(second)).unwrap()));
    }
    assert_eq!(
        seen,
        [[80, 18, 2], [60, 38, 2], [40, 58, 2], [20, 78, 2], [5, 90, 5], [5, 90, 5]],
        "20 points and 90 at most; what is beyond 90 goes to the two that are behind alike"
    );
}

#[test]
fn an_arm_that_did_harm_is_removed_at_once_and_for_good() {
    let mut state = BanditState::new("arm-0", by_name(&[20, 40, 40]));
    let removed = BTreeSet::from([name(1)]);
    // With rewards the others share what was freed: arm 2 takes its step, stable what is left.
    let good = rewards(&[(100, 50), (100, 100), (100, 99)]);
    let reading = state.clone().advance(&BANDIT, &good, &removed, at(0)).unwrap();
    assert_eq!(shares(&reading), [40, 0, 60]);
    assert!(!reading.best.contains_key("arm-1"));
    // Without, all goes to stable.
    let reading = state.advance(&BANDIT, &rewards(&[]), &removed, at(0)).unwrap();
    assert_eq!(shares(&reading), [60, 0, 40]);
    // No late reward and no silence brings it back, and its rewards are no reason to move.
    for second in 1..20 {
        let late = rewards(&[(0, 0), (1000, 1000), (0, 0)]);
        let reading = state.advance(&BANDIT, &late, &none(), at(second)).unwrap();
        assert_eq!((shares(&reading), reading.frozen), (vec![60, 0, 40], true));
    }
    let both = BTreeSet::from([name(2)]);
    let reading = state.advance(&BANDIT, &rewards(&[]), &both, at(30)).unwrap();
    assert_eq!((shares(&reading), reading.best["arm-0"]), (vec![100, 0, 0], 1.0));
}

#[test]
fn old_rewards_count_half_after_the_half_life() {
    let counts = |reading: &BanditReading| {
        let posterior = reading.posteriors["arm-0"];
        (posterior.alpha - 1.0, posterior.beta - 1.0)
    };
    let first = rewards(&[(100, 60), (100, 0)]);
    let after = rewards(&[(0, 0), (50, 0)]);
    for half_life in [HalfLife::Rewards(50.0), HalfLife::Time(SignedDuration::from_secs(60))] {
        let bandit = Bandit { half_life: Some(half_life), ..BANDIT };
        let mut state = from_stable(2);
        assert_eq!(counts(&state.advance(&bandit, &first, &none(), at(0)).unwrap()), (60.0, 40.0));
        // An interval without rewards neither ages nor forgets the time that passed.
        let quiet = state.advance(&bandit, &rewards(&[]), &none(), at(30)).unwrap();
        assert_eq!(counts(&quiet), (60.0, 40.0));
        assert_eq!(counts(&state.advance(&bandit, &after, &none(), at(60)).unwrap()), (30.0, 20.0));
        if let HalfLife::Time(_) = half_life {
            // A clock that was set back makes nothing younger.
            assert_eq!(counts(&state.advance(&bandit, &after, &none(), at(0)).unwrap()), (30.0, 20.0));
        }
    }
}

#[test]
fn a_lead_lasts_while_nobody_disputes_it() {
    let mut state = from_stable(2);
    let mut lead = |counts: &[(u64, u64)], second| {
        state.advance(&BANDIT, &rewards(counts), &none(), at(second)).unwrap().lead
    };
    assert_eq!(lead(&[(10, 5), (10, 5)], 0), None);
    let first = lead(&[(100, 50), (100, 80)], 15).unwrap();
    assert_eq!((first.arm.as_str(), first.since, first.intervals), ("arm-1", at(15), 1));
    // Silence neither ends nor strengthens it.
    assert_eq!(lead(&[], 30).unwrap(), first);
    assert_eq!(lead(&[(10, 5), (10, 8)], 45).unwrap().intervals, 2);
    assert_eq!(lead(&[(100, 90), (100, 60)], 60), None);
}

#[test]
fn what_is_wrong_is_named_and_changes_nothing() {
    let check = |bandit: Bandit, arms| bandit.check(arms).unwrap_err().to_string();
    assert_eq!(check(BANDIT, 17), "number of arms is 17, allowed: 2..=16");
    assert_eq!(check(Bandit { total: 99, ..BANDIT }, 2), "total is 99, allowed: 100..=10000");
    assert_eq!(check(Bandit { floor: 34, ..BANDIT }, 3), "floor is 34, allowed: 0..=33 for 3 arms");
    assert_eq!(check(Bandit { ceiling: 33, ..BANDIT }, 3), "ceiling is 33, allowed: 34..=100 for 3 arms");
    assert_eq!(check(Bandit { max_step: 0, ..BANDIT }, 3), "maxStep is 0, allowed: 1..=100");
    assert_eq!(check(Bandit { stop_at: 1.0, ..BANDIT }, 3), "stopAt is 1, allowed: above 0.5 and below 1");
    let never = Some(HalfLife::Rewards(f64::NAN));
    assert_eq!(
        check(Bandit { half_life: never, ..BANDIT }, 3),
        "halfLife is NaN, allowed: a number of rewards above 0"
    );

    let before = from_stable(2);
    let cases = [
        (rewards(&[(5, 6)]), none(), "successes of arm-0 is 6, allowed: 0..=5 (trials)"),
        (
            rewards(&[(0, 0), (1_000_000_001, 0)]),
            none(),
            "trials of arm-1 is 1000000001, allowed: 0..=1000000000",
        ),
        (rewards(&[(1, 1); 3]), none(), "arm is arm-2, allowed: arm-0, arm-1"),
        (rewards(&[]), BTreeSet::from([name(0)]), "removed arm is arm-0, allowed: any but stable"),
    ];
    for (arrived, removed, message) in cases {
        let mut state = before.clone();
        let error = state.advance(&BANDIT, &arrived, &removed, at(0)).unwrap_err();
        assert_eq!((error.to_string().as_str(), &state), (message, &before));
    }
    let error = before.clone().advance(
        &Bandit { total: 10_000, ceiling: 10_000, ..BANDIT },
        &rewards(&[]),
        &none(),
        at(0),
    );
    assert_eq!(error.unwrap_err().to_string(), "sum of shares is 100, allowed: 10000 (total)");
}

/// Arms, and what arrives for each in some intervals.
fn histories() -> impl Strategy<Value = (usize, Vec<Vec<(u64, u64)>>)> {
    let count = prop_oneof![Just(0u64), 0..50u64, 0..2_000_000u64];
    let rewards = (count, 0.0..=1.0f64).prop_map(|(n, share)| (n, (n as f64 * share) as u64));
    (2usize..6).prop_flat_map(move |arms| {
        let interval = prop::collection::vec(rewards.clone(), arms);
        (Just(arms), prop::collection::vec(interval, 1..6))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn shares_sum_to_the_total_within_every_limit(
        (arms, history) in histories(), slots: bool, floor in 0u32..=16, above in 0u32..60, max_step in 1u32..60,
        // By interval, the challenger that its harm test names then, and never again.
        harm in prop::collection::vec(prop::option::of(1usize..6), 6),
    ) {
        let unit: u32 = if slots { 100 } else { 1 };
        let total = 100 * unit;
        let ceiling = (total.div_ceil(arms as u32) + above * unit).min(total);
        let bandit = Bandit { total, floor: floor * unit, ceiling, max_step: max_step * unit, ..BANDIT };
        let mut before: Vec<u32> = (0..arms).map(|arm| if arm == 0 { total } else { 0 }).collect();
        let mut state = BanditState::new("arm-0", by_name(&before));
        let inside = |share: u32| (bandit.floor..=ceiling).contains(&share);
        let mut gone = none();
        for (interval, counts) in history.iter().enumerate() {
            let removed: BTreeSet<String> =
                harm[interval].into_iter().filter(|arm| *arm < arms).map(name).collect();
            gone.extend(removed.iter().cloned());
            let freed = gone.iter().any(|name| before[name[4..].parse::<usize>().unwrap()] > 0);
            let reading = state.advance(&bandit, &rewards(counts), &removed, at(15 * interval as i64)).unwrap();
            let now = shares(&reading);
            prop_assert_eq!(now.iter().sum::<u32>(), total);
            if gone.len() == arms - 1 {
                prop_assert_eq!(now[0], total, "stable is all that is left");
            }
            // What a restart reads is what was removed, too.
            state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            for arm in 0..arms {
                let (was, is) = (before[arm], now[arm]);
                if gone.contains(&name(arm)) {
                    prop_assert_eq!(is, 0);
                } else if !(arm == 0 && freed) {
                    prop_assert!(was.abs_diff(is) <= bandit.max_step, "{:?} {:?}", before, now);
                    // Who is inside stays inside; who is outside comes no farther from it.
                    prop_assert!(inside(is) || is.clamp(was.min(bandit.floor), was.max(ceiling)) == is);
                    prop_assert!(inside(is) || !inside(was) || !gone.is_empty(), "{:?} {:?}", before, now);
                }
            }
            before = now;
        }
    }

    #[test]
    fn a_state_resumes_bit_for_bit((arms, history) in histories(), half in 1.0..1e6f64) {
        let bandit = Bandit { half_life: Some(HalfLife::Rewards(half)), ..BANDIT };
        let mut going = from_stable(arms);
        let mut resumed = going.clone();
        for (interval, counts) in history.iter().enumerate() {
            let reading = going.advance(&bandit, &rewards(counts), &none(), at(interval as i64)).unwrap();
            let again = resumed.advance(&bandit, &rewards(counts), &none(), at(interval as i64)).unwrap();
            prop_assert_eq!(reading, again);
            resumed = serde_json::from_str(&serde_json::to_string(&going).unwrap()).unwrap();
            prop_assert_eq!(&resumed, &going);
        }
    }

    #[test]
    fn the_order_of_the_arms_does_not_matter(
        counts in prop::collection::vec((0u64..100_000, 0.5..1.0f64), 2..6), turn in 1usize..6,
    ) {
        let mut arms: Vec<(f64, f64)> =
            counts.iter().map(|(n, p)| (1.0 + *n as f64 * p, 1.0 + *n as f64 * (1.0 - p))).collect();
        let mut before = best(&arms);
        let turn = turn % arms.len();
        arms.rotate_left(turn);
        before.rotate_left(turn);
        for (a, b) in before.iter().zip(best(&arms)) {
            prop_assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }

    #[test]
    fn a_further_success_never_costs_an_arm_share((arms, history) in histories()) {
        let counts = &history[0];
        let share = |counts: &[(u64, u64)]| {
            let mut state = from_stable(arms);
            state.advance(&BANDIT, &rewards(counts), &none(), at(0)).unwrap().shares["arm-1"]
        };
        let mut more = counts.clone();
        more[1] = (more[1].0 + 1, more[1].1 + 1);
        // The first reward of all ends the freeze: shares may move for other reasons.
        prop_assume!(counts.iter().any(|(trials, _)| *trials > 0));
        prop_assert!(share(&more) >= share(counts));
    }
}

#[test]
fn a_state_of_eight_arms_is_below_one_kibibyte() {
    let long = |arm: usize| format!("{arm}{}", "x".repeat(39));
    let shares = (0..8).map(|arm| (long(arm), 1250)).collect();
    let mut state = BanditState::new(&long(0), shares);
    let bandit = Bandit { total: 10_000, ceiling: 10_000, half_life: Some(HalfLife::Rewards(1e9)), ..BANDIT };
    let arrived: BTreeMap<_, _> = (0..8)
        .map(|arm| {
            (long(arm), Arrived { trials: 999_999_999, successes: 512_345_678 + arm as u64 * 1_000_000 })
        })
        .collect();
    for second in 0..3 {
        let reading = state.advance(&bandit, &arrived, &none(), at(second)).unwrap();
        assert_eq!(reading.lead.unwrap().arm, long(7));
    }
    let json = serde_json::to_string(&state).unwrap();
    assert!(json.len() < 1024, "{} bytes: {json}", json.len());
}
