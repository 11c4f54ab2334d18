use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

/// One request: its slot, whether it failed, its latency and doubt.
type Request = (u16, bool, Option<usize>, Option<usize>);

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let cell = |grid: Grid| proptest::option::of(0..grid.len());
    vec((0..SLOTS, any::<bool>(), cell(Grid::Seconds), cell(Grid::Doubt)), 0..40)
}

fn set() -> impl Strategy<Value = SlotSet> {
    btree_set(0..SLOTS, 0..200).prop_map(|slots| slots.into_iter().collect())
}

fn count<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Slots {
    let mut slots = Slots::default();
    slots.own("a", &(0..SLOTS).collect());
    for (slot, failed, latency, doubt) in requests {
        slots.see(*slot);
        if *failed {
            slots.fail(*slot);
        }
        latency.iter().for_each(|cell| slots.raise_latency(*slot, *cell));
        doubt.iter().for_each(|cell| slots.raise_doubt(*slot, *cell));
    }
    slots
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // rule: C5 (merged over routers, in any order, however often)
    #[test]
    fn merged_is_what_one_router_would_have_counted(a in requests(), b in requests()) {
        let both = count(a.iter().chain(&b));
        let (a, b) = (count(&a), count(&b));
        for (mut one, other) in [(a.clone(), &b), (b.clone(), &a)] {
            one.merge(other);
            one.merge(other);
            prop_assert_eq!(&one, &both);
        }
    }

    // rule: C5
    #[test]
    fn a_slot_is_as_bad_as_its_worst_request(requests in requests(), least in 0..Grid::Doubt.len()) {
        let slots = count(&requests);
        let of = |pick: fn(&Request) -> Option<usize>| -> SlotSet {
            requests.iter().filter(|r| pick(r).is_some_and(|cell| cell >= least)).map(|r| r.0).collect()
        };
        prop_assert_eq!(slots.slow_from(least), of(|r| r.2));
        prop_assert_eq!(slots.unsure_from(least), of(|r| r.3));
        prop_assert_eq!(slots.failed(), &requests.iter().filter(|r| r.1).map(|r| r.0).collect());
        prop_assert_eq!(slots.seen(), &requests.iter().map(|r| r.0).collect());
    }

    #[test]
    fn sets_count_and_come_back_from_text(a in set(), b in set()) {
        prop_assert_eq!(SlotSet::parse(&a.to_text()), Ok(a.clone()));
        let json = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<SlotSet>(&json).unwrap(), a.clone());
        prop_assert_eq!(a.and(&b).len() + a.without(&b).len(), a.len());
        let mut sum = a.clone();
        sum.add(&b);
        prop_assert_eq!(sum.len(), a.len() + b.without(&a).len());
        prop_assert_eq!(a.iter().collect::<SlotSet>(), a);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}", filler in "[A-Za-z0-9+/=]") {
        let _ = SlotSet::parse(&text);
        let _ = SlotSet::parse(&filler.repeat(1_668));
        let quoted = format!("\"{filler}\"");
        prop_assert!(serde_json::from_str::<SlotSet>(&quoted).is_err());
    }
}

#[test]
fn the_last_slot_counts_and_nothing_beyond() {
    let set: SlotSet = [0, 9_999].into_iter().collect();
    assert_eq!(
        (set.len(), set.contains(9_999), set.contains(10_000), set.contains(u16::MAX)),
        (2, true, false, false)
    );
    assert!(SlotSet::default().is_empty());
}

// The text is fixed: a release reads the evidence that the one before it has stored.
#[test]
fn golden_text() {
    let text = [0, 1, 8, 9_999].into_iter().collect::<SlotSet>().to_text();
    assert_eq!((text.len(), &text[..8], &text[1_660..]), (1_668, "AwEAAAAA", "AAAAAIA="));
}

#[test]
fn a_text_of_another_length_or_alphabet_is_refused() {
    let message = |text: &str| SlotSet::parse(text).unwrap_err().to_string();
    assert_eq!(message("AAAA"), "4 characters, all slots take 1668");
    assert_eq!(message(&"A".repeat(1_668)), "no base64 of all slots: 1251 bytes instead of 1250");
    assert_eq!(message(&"!".repeat(1_668)), "no base64 of all slots: Invalid symbol 33, offset 0.");
    let error = serde_json::from_str::<SlotSet>("\"AAAA\"").unwrap_err().to_string();
    assert!(error.starts_with("a set of slots: 4 characters, all slots take 1668"), "{error}");
}
