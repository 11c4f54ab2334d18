//! What windows hold, and what they never hold.

mod common;

use common::{at, interval, with_errors};
use evidence::{Interval, MAX_INTERVALS, Reach, State, Windows};
use jiff::SignedDuration;
use proptest::prelude::*;
use wire::{Counts, Outcome};

fn requests(n: u64) -> Counts {
    with_errors(n, 0)
}

fn never(_: &Interval) -> bool {
    false
}

proptest! {
    #[test]
    fn a_window_never_holds_another_stages_intervals_nor_one_twice(
        steps in prop::collection::vec((-30i64..40, 1i64..40, 1u64..4, prop::bool::weighted(0.1)), 1..80),
        window in 1i64..300,
    ) {
        // rule: T1, C4
        let (mut windows, mut stage, mut clock) = (Windows::new(at(0)), 0, 0);
        let mut taken: Vec<(i64, i64, u64)> = Vec::new();
        for (skip, length, n, next_stage) in steps {
            let (from, to) = (clock + skip, clock + skip + length);
            if next_stage {
                stage = clock.max(stage) + 1;
                windows.enter_stage(at(stage));
                taken.clear();
            }
            if taken.last().is_some_and(|(_, end, _)| to < *end) {
                // The clock was set back: what is dated later is forgotten.
                taken.clear();
            }
            if windows.push(interval(from, to, &requests(n), &Counts::default())) {
                let free = taken.last().is_none_or(|(_, end, _)| from >= *end);
                prop_assert!(to > stage && free, "{from}..{to} was taken in stage {stage} after {taken:?}");
                taken.push((from.max(stage), to, n));
                clock = to;
            }
            let all = windows.select(Reach::Time(SignedDuration::from_hours(9)), never);
            prop_assert_eq!(
                all.as_ref().map_or(0, |sum| sum.candidate.requests()),
                taken.iter().map(|(_, _, n)| n).sum::<u64>()
            );
            prop_assert!(all.is_none_or(|sum| sum.from >= at(stage)));
            let recent = windows.select(Reach::Time(SignedDuration::from_secs(window)), |_| true);
            let expected = taken.iter().filter(|(_, end, _)| *end > clock - window).map(|(_, _, n)| n).sum::<u64>();
            prop_assert_eq!(recent.map_or(0, |sum| sum.candidate.requests()), if taken.is_empty() { 0 } else { expected });
        }
    }
}

#[test]
fn memory_is_bounded_and_merging_loses_nothing() {
    let mut windows = Windows::new(at(0));
    let n = 5 * MAX_INTERVALS as i64;
    for i in 0..n {
        assert!(windows.push(interval(i, i + 1, &requests(1), &requests(2))));
        assert!(windows.len() <= MAX_INTERVALS);
    }
    let all = windows.select(Reach::Time(SignedDuration::from_hours(9)), never).unwrap();
    assert_eq!((all.candidate.requests(), all.stable.requests()), (n as u64, 2 * n as u64));
    assert_eq!((all.from, all.to), (at(0), at(n)));
    let recent = windows.select(Reach::Time(SignedDuration::from_secs(40)), |_| true).unwrap();
    assert_eq!(recent.candidate.requests(), 40, "the newest half keeps its resolution");
}

#[test]
fn a_window_reaches_back_until_there_is_enough() {
    // rule: J5
    let mut windows = Windows::new(at(0));
    for i in 0..10 {
        windows.push(interval(10 * i, 10 * i + 10, &requests(5), &requests(5)));
    }
    let enough = |n: u64| move |sum: &Interval| sum.candidate.requests() >= n;
    let select = |n| windows.select(Reach::Time(SignedDuration::from_secs(20)), enough(n)).unwrap();
    assert_eq!((select(1).from, select(1).candidate.requests()), (at(80), 10));
    assert_eq!((select(22).from, select(22).candidate.requests()), (at(50), 25));
    assert_eq!((select(999).from, select(999).candidate.requests()), (at(0), 50));
}

#[test]
fn a_stage_is_recognised_by_the_microseconds_that_status_keeps() {
    // rule: T1
    let exact = at(0).checked_add(SignedDuration::from_nanos(123_456_789)).unwrap();
    let stored = at(0).checked_add(SignedDuration::from_micros(123_456)).unwrap();
    let mut windows = Windows::new(exact);
    windows.push(interval(0, 15, &requests(1), &requests(1)));
    windows.enter_stage(stored);
    assert_eq!(windows.len(), 1);
    windows.clear();
    assert!(!windows.push(interval(15, 30, &requests(1), &requests(1))), "no stage, no evidence");
}

#[test]
fn totals_survive_a_restart_and_count_each_interval_once() {
    // rule: T2, C4, C6
    let judge = |windows: &Windows, state: &mut State| {
        common::read(&common::errors(evidence::Bound::Max(0.5)), windows, state, 40);
    };
    let mut state = State::default();
    let mut windows = Windows::new(at(0));
    windows.push(interval(0, 15, &requests(3), &requests(30)));
    judge(&windows, &mut state);
    judge(&windows, &mut state);
    assert_eq!((state.candidate, state.stable), (3, 30));
    let mut state: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    let mut refilled = Windows::new(at(0));
    refilled.push(interval(0, 15, &requests(3), &requests(30)));
    refilled.push(interval(15, 30, &requests(4), &requests(40)));
    judge(&refilled, &mut state);
    assert_eq!((state.candidate, state.stable), (7, 70), "the first one was counted before the restart");
    refilled.enter_stage(at(35));
    judge(&refilled, &mut state);
    assert_eq!((state.candidate, state.stable), (0, 0));
}

#[test]
fn totals_hold_what_the_candidate_itself_answered_or_failed() {
    // rule: T2, C2
    let mut counts = requests(3);
    for (outcome, times) in [
        (Outcome::Error, 1),
        (Outcome::Connect, 1),
        (Outcome::Rejected, 1),
        (Outcome::Cancelled, 100),
        (Outcome::Fallback, 100),
        (Outcome::Drained, 100),
    ] {
        common::fail(&mut counts, outcome, times);
    }
    let mut state = State::default();
    common::read(&common::errors(evidence::Bound::Max(0.5)), &common::one(&counts, &counts), &mut state, 15);
    assert_eq!((state.candidate, state.stable), (6, 6));
}
