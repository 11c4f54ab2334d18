use proptest::prelude::*;

use super::*;

const WIRE: TripWire = TripWire { failures: 10, requests: 20 };

fn memory(outcomes: impl IntoIterator<Item = bool>) -> Memory {
    let memory = Memory::default();
    outcomes.into_iter().for_each(|failed| memory.push(failed));
    memory
}

fn fine(n: usize) -> Memory {
    memory(std::iter::repeat_n(false, n))
}

/// A candidate and stable, ready for a trip-wire under this salt.
fn table(salt: &str, wired: bool) -> Table {
    let mut route = crate::count::tests::route(1, &["old", "new"]);
    route.spec.salt = salt.into();
    route.spec.stable = Some("old".into());
    route.spec.revisions[1].trip_wire = wired.then_some(api::TripWire { failures: 10, requests: 20 });
    Table::new(&route).unwrap()
}

// rule: R7
#[test]
fn ten_failures_among_the_last_twenty_trip_it_and_nine_do_not() {
    let alternating = |n: usize| (0..n).map(|i| i % 2 == 0);
    assert!(memory(alternating(20)).check(WIRE, &fine(56)));
    assert!(!memory(alternating(19)).check(WIRE, &fine(56)), "19 requests are no block");
    let nine = memory([true; 9].into_iter().chain([false; 11]));
    assert!(!nine.check(WIRE, &fine(56)));
    nine.push(true);
    assert!(!nine.check(WIRE, &fine(56)), "the first failure has left the block");
    (0..9).for_each(|_| nine.push(true));
    assert!(nine.check(WIRE, &fine(56)));
    let trip = Trip { failures: 10, requests: 20, stable_failures: 0, stable_requests: 56 };
    assert_eq!(nine.tripped(), Some(&trip));
    assert!(!nine.check(WIRE, &fine(56)), "it trips once");
}

// rule: R7
#[test]
fn it_does_not_trip_where_stable_fails_too_or_nothing_is_known_of_it() {
    let broken = || memory([true; 20]);
    assert!(!broken().check(WIRE, &fine(19)));
    assert!(broken().check(WIRE, &fine(20)));
    let failing = |failures: usize, n: usize| memory((0..n).map(|i| i < failures));
    assert!(!broken().check(WIRE, &failing(1, 20)), "1 of 20 is not below 5 %");
    assert!(broken().check(WIRE, &failing(1, 21)));
    assert!(broken().check(WIRE, &failing(2, 56)));
    assert!(!broken().check(WIRE, &failing(3, 56)));
}

// rule: R7
#[test]
fn a_trip_lasts_as_long_as_the_rollout() {
    let mut memories = Memories::default();
    let first = memories.enter(&table("1", true));
    (0..56).for_each(|_| first[0].push(false));
    (0..20).for_each(|_| first[1].push(true));
    assert!(first[1].check(WIRE, &first[0]));
    let later = memories.enter(&table("1", true));
    assert!(later[1].tripped().is_some(), "another table of the same rollout");
    let next = memories.enter(&table("2", true));
    assert!(next[1].tripped().is_none() && next[1].newest(56) == (0, 0), "another rollout");
    assert_eq!(next[0].newest(56), (0, 56), "what is known of stable stays");
    (0..20).for_each(|_| next[1].push(true));
    assert!(next[1].check(WIRE, &next[0]));
    assert!(memories.enter(&table("2", false))[1].tripped().is_none(), "decided");
}

proptest! {
    #[test]
    fn a_memory_counts_the_newest(outcomes in proptest::collection::vec(any::<bool>(), 0..150), most in 1u32..=56) {
        let memory = memory(outcomes.iter().copied());
        let newest: Vec<_> = outcomes.iter().rev().take(most as usize).collect();
        let failures = newest.iter().filter(|failed| ***failed).count();
        prop_assert_eq!(memory.newest(most), (failures as u32, newest.len() as u32));
    }
}
