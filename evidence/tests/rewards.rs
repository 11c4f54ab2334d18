//! A bandit on routers' counts: what shares it sets, what it says, and when an arm wins.

#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{at, with_errors};
use evidence::{Allotted, BanditState, HELD, Measure, Rewards, Share};
use jiff::SignedDuration;

const REWARDS: Rewards =
    Rewards { measure: Measure::SuccessRate, floor: 5, max_step: 10, half_life: None, stop_at: 0.95 };

fn start() -> BanditState {
    let shares = [("old", 90), ("new", 5), ("third", 5)];
    BanditState::new("old", shares.into_iter().map(|(arm, share)| (arm.to_owned(), share)).collect())
}

fn counted(failed: [u64; 3]) -> BTreeMap<String, Share> {
    let arms = ["new", "old", "third"].into_iter().zip(failed);
    let of = |failed| REWARDS.measure.of(&with_errors(200, failed), Share::default());
    arms.map(|(arm, failed)| (arm.to_owned(), of(failed))).collect()
}

fn pass(rewards: &Rewards, state: &mut BanditState, failed: [u64; 3], interval: i64) -> Allotted {
    let allotted = rewards.advance(state, &counted(failed), &BTreeSet::new(), at(15 * interval)).unwrap();
    assert_eq!(allotted.shares.values().sum::<u32>(), 100);
    allotted
}

#[test]
fn shares_follow_the_better_arm_within_floor_and_step_until_it_wins() {
    let mut state = start();
    let first = pass(&REWARDS, &mut state, [2, 20, 20], 0);
    assert_eq!(first.shares["new"], 15, "a step");
    assert_eq!(
        first.reason,
        "shares follow the success rate: new 15 % (best with probability 1), old 80 % (best with probability \
         2.1e-5), third 5 % (best with probability 2.1e-5); new leads for 1 of 10 intervals"
    );
    let held = i64::from(HELD);
    let all: Vec<Allotted> = (1..held).map(|i| pass(&REWARDS, &mut state, [2, 20, 20], i)).collect();
    let (last, before) = all.split_last().unwrap();
    assert!(before.iter().all(|allotted| allotted.winner.is_none()));
    assert_eq!((last.winner.as_deref(), last.shares["new"], last.shares["third"]), (Some("new"), 90, 5));
    assert!(last.reason.ends_with("; new wins: it has led for 10 intervals"), "{}", last.reason);
}

#[test]
fn without_rewards_shares_freeze_and_it_says_so() {
    let mut state = start();
    let before = pass(&REWARDS, &mut state, [2, 20, 20], 0);
    let nothing: BTreeMap<String, Share> = [("new".to_owned(), Share::default())].into();
    for counts in [BTreeMap::new(), nothing] {
        let frozen = REWARDS.advance(&mut state, &counts, &BTreeSet::new(), at(99)).unwrap();
        assert!(frozen.frozen && frozen.shares == before.shares && frozen.winner.is_none());
        assert!(frozen.reason.starts_with("success rate: no request was counted, shares stay: new 15 %"));
        assert!(
            frozen.reason.ends_with("; new leads for 1 of 10 intervals"),
            "silence is no lead: {}",
            frozen.reason
        );
    }
    let accuracy = Rewards { measure: Measure::Accuracy, ..REWARDS };
    let frozen = accuracy.advance(&mut start(), &BTreeMap::new(), &BTreeSet::new(), at(0)).unwrap();
    assert!(frozen.reason.starts_with("accuracy: no label arrived, shares stay: "), "{}", frozen.reason);
}

#[test]
fn a_removed_arm_gets_nothing_and_cannot_win() {
    let mut state = start();
    let removed = BTreeSet::from(["new".to_owned()]);
    for i in 0..30 {
        let allotted = REWARDS.advance(&mut state, &counted([0, 20, 60]), &removed, at(15 * i)).unwrap();
        assert_eq!(allotted.shares["new"], 0);
        assert!(
            !allotted.best.contains_key("new") && !allotted.reason.contains("new"),
            "{}",
            allotted.reason
        );
        assert_ne!(allotted.winner.as_deref(), Some("new"));
    }
    let last = pass(&REWARDS, &mut state, [0, 20, 60], 30);
    assert_eq!(last.winner.as_deref(), Some("old"), "stable may win");
}

#[test]
fn settings_and_arms_are_refused_by_name() {
    let refused = |rewards: Rewards| rewards.check(3).unwrap_err().to_string();
    assert_eq!(REWARDS.check(3), Ok(()));
    assert_eq!(refused(Rewards { floor: 34, ..REWARDS }), "floor is 34, allowed: 0..=33 for 3 arms");
    assert!(refused(Rewards { max_step: 0, ..REWARDS }).starts_with("maxStep is 0"));
    assert!(refused(Rewards { stop_at: 0.5, ..REWARDS }).starts_with("stopAt is 0.5"));
    let no_time = Some(SignedDuration::ZERO);
    assert!(refused(Rewards { half_life: no_time, ..REWARDS }).starts_with("halfLife is"));
    let mut state = start();
    let stranger = BTreeMap::from([("other".to_owned(), Share::default())]);
    let error = REWARDS.advance(&mut state, &stranger, &BTreeSet::new(), at(0)).unwrap_err();
    assert_eq!((error.to_string(), state), ("arm is other, allowed: new, old, third".to_owned(), start()));
}
