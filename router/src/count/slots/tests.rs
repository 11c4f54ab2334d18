use std::time::{Duration, Instant};

use api::{SlotRange, Sticky};
use http::HeaderMap;
use proptest::prelude::*;
use wire::{Assignment, Grid, Page};

use super::super::tests::{headers, route};
use super::super::{Ledger, StateCounts, Ticket};
use super::*;
use crate::Choice;
use crate::choose::choose;

/// `b` has the slots below 3,000 and stable `a` the rest, of which the last 1,000 are nobody's.
fn sticky(generation: i64) -> Table {
    let mut route = route(generation, &["a", "b", "c"]);
    route.spec.sticky = Some(Sticky::by_header("x-user-id"));
    route.spec.stable = Some("a".into());
    route.spec.revisions[0].slots = vec![SlotRange { from: 3_000, to: 9_000 }];
    route.spec.revisions[1].slots = vec![SlotRange { from: 0, to: 3_000 }];
    route.spec.revisions[2].slots = vec![];
    Table::new(&route).unwrap()
}

fn request(counts: &Arc<StateCounts>, table: &Table, slot: u16, took: Duration) -> Ticket {
    Ticket::new(counts.clone(), choose(table, &HeaderMap::new(), slot).unwrap(), slot, Instant::now() - took)
}

fn slots(ledger: &Ledger, table: &Table) -> Slots {
    Page::parse(&ledger.page().render()).unwrap().slots.remove(&table.state).unwrap()
}

fn set(slots: impl IntoIterator<Item = u16>) -> SlotSet {
    slots.into_iter().collect()
}

// rule: C5, C2
#[test]
fn each_slot_shows_what_became_of_its_requests() {
    let (ledger, table) = (Ledger::new("i".into()), sticky(1));
    let counts = ledger.enter(&table);
    let instant = Duration::ZERO;
    request(&counts, &table, 5, instant).finish_answered(Outcome::Ok, Some(&headers("x", "0.75")));
    request(&counts, &table, 5, instant).finish_answered(Outcome::Ok, Some(&headers("x", "0.99")));
    request(&counts, &table, 6, instant).finish_answered(Outcome::Ok, Some(&headers("x", "0.5")));
    request(&counts, &table, 7, Duration::from_secs(2)).finish(Outcome::Timeout);
    request(&counts, &table, 8, Duration::from_secs(2)).finish(Outcome::Fallback);
    request(&counts, &table, 3_000, instant).finish_answered(Outcome::Rejected, None);
    request(&counts, &table, 9_999, instant).finish_answered(Outcome::Error, None);
    // Nothing is known of these.
    drop(request(&counts, &table, 20, Duration::from_secs(2)));
    request(&counts, &table, 21, instant).finish(Outcome::Drained);
    drop(request(&counts, &table, 22, instant).uncounted());
    let slots = slots(&ledger, &table);
    assert_eq!(slots.seen(), &set([5, 6, 7, 8, 3_000, 9_999]));
    assert_eq!(slots.failed(), &set([7, 8, 9_999]));
    assert_eq!(slots.slow_from(Grid::Seconds.cell(1.5).unwrap()), set([7]));
    assert_eq!(slots.unsure_from(Grid::Doubt.cell(0.2).unwrap()), set([5, 6]));
    assert_eq!(slots.unsure_from(Grid::Doubt.cell(0.4).unwrap()), set([6]));
    // What is nobody's is stable's.
    assert_eq!((slots.owned("a"), slots.owned("b")), (set(3_000..10_000), set(0..3_000)));
    assert!(slots.owned("c").is_empty());
}

// rule: C1, C5
#[test]
fn slots_are_counted_under_sticky_routing_and_for_split_requests_only() {
    let ledger = Ledger::new("i".into());
    let (mut random, sticky) = (sticky(1), sticky(2));
    random.sticky = None;
    let mut pinned = sticky.clone();
    (pinned.pinned, pinned.state.pin) = (Some(1), Some("b".into()));
    for table in [&random, &pinned] {
        let counts = ledger.enter(table);
        request(&counts, table, 5, Duration::ZERO).finish(Outcome::Error);
    }
    assert!(!ledger.page().render().contains("SLUICE"));
    let counts = ledger.enter(&sticky);
    request(&counts, &sticky, 6, Duration::ZERO).finish(Outcome::Error);
    let pin = Choice { revision: 1, assignment: Assignment::Pin };
    Ticket::new(counts, pin, 7, Instant::now()).finish(Outcome::Error);
    let page = ledger.page();
    assert_eq!(page.slots.keys().collect::<Vec<_>>(), [&sticky.state]);
    assert_eq!(page.slots[&sticky.state].failed(), &set([6]));
}

// rule: C5
#[test]
fn a_weight_change_keeps_the_slots_of_the_state_before_and_starts_anew() {
    let (ledger, tables) = (Ledger::new("i".into()), [sticky(1), sticky(2), sticky(3)]);
    let late = request(&ledger.enter(&tables[0]), &tables[0], 5, Duration::ZERO);
    request(&ledger.enter(&tables[1]), &tables[1], 6, Duration::ZERO).finish(Outcome::Ok);
    late.finish(Outcome::Error);
    assert_eq!(
        (slots(&ledger, &tables[0]).seen(), slots(&ledger, &tables[1]).seen()),
        (&set([5]), &set([6]))
    );
    ledger.enter(&tables[2]);
    assert_eq!(ledger.page().slots.keys().map(|s| s.generation).collect::<Vec<_>>(), [2, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    // rule: C5
    #[test]
    fn workers_lose_nothing(
        requests in proptest::collection::vec((0..SLOTS, 0usize..9, 0..wire::LATENCY_CELLS, 0..wire::CELLS), 0..400),
        crowded in any::<bool>(),
    ) {
        // Crowded, all workers are in the same two words.
        let place = |slot: u16| if crowded { slot % 128 } else { slot };
        let counts = &SlotCounts::new(&sticky(1)).unwrap();
        let mut expected = SlotCounts::new(&sticky(1)).unwrap().read();
        for (slot, outcome, latency, doubt) in &requests {
            let (slot, outcome) = (place(*slot), Outcome::ALL[*outcome]);
            if outcome.is_trial() {
                expected.see(slot);
            }
            if outcome.is_error() {
                expected.fail(slot);
            }
            expected.raise_latency(slot, *latency);
            expected.raise_doubt(slot, *doubt);
        }
        std::thread::scope(|scope| {
            for part in requests.chunks(requests.len().div_ceil(4).max(1)) {
                scope.spawn(move || {
                    for (slot, outcome, latency, doubt) in part {
                        counts.count(place(*slot), Outcome::ALL[*outcome]);
                        counts.raise_latency(place(*slot), *latency);
                        counts.raise_doubt(place(*slot), *doubt);
                    }
                });
            }
        });
        prop_assert_eq!(counts.read(), expected);
    }
}
