mod feedback;
mod later;
mod pairs;
mod strict;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::{LATER_FEATURES, SLOTS, SlotSet};

fn cells(n: usize) -> impl Strategy<Value = Vec<u64>> {
    vec(prop_oneof![3 => Just(0u64), 1 => 0u64..1_000_000_000], n)
}

fn counts() -> impl Strategy<Value = Counts> {
    (
        proptest::array::uniform9(0u64..1_000_000),
        cells(LATENCY_CELLS),
        vec(cells(CELLS), Feature::ALL.len()),
        cells(CELLS),
        btree_map("\\PC{1,8}", 1u64..1000, 0..4),
        0u64..100,
    )
        .prop_map(|(outcomes, latency, features, doubt, classes, null_outputs)| Counts {
            outcomes,
            latency,
            features,
            doubt,
            classes,
            null_outputs,
        })
}

fn page() -> impl Strategy<Value = Page> {
    let key = ("[a-z]{1,8}", proptest::sample::select(Assignment::ALL.to_vec()))
        .prop_map(|(revision, assignment)| Key { revision, assignment });
    let labelled = btree_map(key.clone(), feedback::feedback(), 1..3);
    let state = ("[a-z0-9-]{0,8}", 0i64..99, proptest::option::of("[a-z]{1,5}"))
        .prop_map(|(uid, generation, pin)| RouteState { uid, generation, pin });
    let states = btree_map(state.clone(), btree_map(key, counts(), 1..3), 0..3);
    let slots = btree_map(state.clone(), slots(), 0..3);
    let feedback = btree_map(state.clone(), labelled, 0..3);
    let trip = (0u32..20, 20u32..=56, 0u32..3, 0u32..=56).prop_map(
        |(failures, requests, stable_failures, stable_requests)| Trip {
            failures,
            requests,
            stable_failures,
            stable_requests,
        },
    );
    let tripped = btree_map("\\PC{1,8}", trip, 0..3);
    let pairs = btree_map(state, btree_map("\\PC{1,8}", pairs::pairs(), 1..3), 0..3);
    let all = ("\\PC{0,12}", states, slots, pairs, feedback, tripped);
    all.prop_map(|(instance, states, slots, pairs, feedback, tripped)| Page {
        instance,
        states,
        slots,
        pairs,
        feedback,
        tripped,
    })
}

/// Some requests on a table of two revisions.
fn slots() -> impl Strategy<Value = Slots> {
    let request = (0..SLOTS, any::<bool>(), 0..LATENCY_CELLS, 0..CELLS);
    (0..=SLOTS, "\\PC{1,8}", vec(request, 0..30)).prop_map(|(share, name, requests)| {
        let mut slots = Slots::default();
        slots.own(&name, &(0..share).collect());
        slots.own("the other", &(share..SLOTS).collect());
        for (slot, failed, latency, doubt) in requests {
            slots.see(slot);
            if failed {
                slots.fail(slot);
            } else {
                slots.raise_latency(slot, latency);
                slots.raise_doubt(slot, doubt);
            }
        }
        slots
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // rule: R1 (states survive the page), C4 (counts are exact)
    #[test]
    fn what_is_written_is_read(page in page()) {
        prop_assert_eq!(Page::parse(&page.render()), Ok(page));
    }

    // rule: C4
    #[test]
    fn the_difference_of_two_readings_is_what_was_counted_between(a in counts(), b in counts()) {
        let mut sum = a.clone();
        sum.add(&b);
        prop_assert_eq!(sum.since(&a), Some(b.clone()));
        let backwards = a.since(&sum);
        prop_assert!(backwards.is_none() || sum == a);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = Page::parse(&text);
        let _ = Page::parse(&format!("sluice_grid_version 2\nsluice_requests_total{{{text}\n# EOF\n"));
        let _ = Page::parse(&format!("sluice_grid_version 2\n# SLUICE sluice_slots{{{text}\n# EOF\n"));
    }
}

#[test]
fn a_cut_page_is_refused() {
    let text = Page::default().render();
    assert_eq!(Page::parse(text.trim_end().trim_end_matches("EOF")), Err(PageError::Cut));
    assert_eq!(Page::parse("# EOF\n"), Err(PageError::Version { found: None }));
}

// rule: C2
#[test]
fn the_error_rate_counts_all_but_cancelled_and_drained() {
    let mut counts = Counts::default();
    for outcome in Outcome::ALL {
        counts.outcomes[outcome.index()] = 1;
    }
    assert_eq!(counts.errors(), (5, 7));
    assert_eq!(counts.requests(), 9);
}

/// Two of its slots asked, one of them in vain.
fn sticky() -> Page {
    let mut slots = Slots::default();
    slots.own("new", &(9_900..SLOTS).collect());
    slots.see(9_900);
    slots.see(9_999);
    slots.fail(9_999);
    slots.raise_latency(9_900, 41);
    slots.raise_doubt(9_900, 21);
    let state = RouteState { uid: "u".into(), generation: 7, pin: None };
    Page { instance: "i".into(), slots: [(state, slots)].into(), ..Page::default() }
}

// rule: C5. What one release writes another one reads: the text is fixed.
#[test]
fn golden_lines_of_slots() {
    let text = sticky().render();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("SLUICE")).collect();
    let labels = "uid=\"u\",generation=\"7\",pin=\"\"";
    let bits = |filler: usize, tail: &str| format!("{}{tail}", "A".repeat(filler));
    let expected = [
        ("kind=\"owned\",revision=\"new\"", bits(1_649, "PD///////////////8=")),
        ("kind=\"seen\"", bits(1_649, "BAAAAAAAAAAAAAAAIA=")),
        ("kind=\"failed\"", bits(1_649, "AAAAAAAAAAAAAAAAIA=")),
        ("kind=\"latency\"", format!("{}Kg{}==", "A".repeat(13_200), "A".repeat(132))),
        ("kind=\"doubt\"", format!("{}Fg{}==", "A".repeat(13_200), "A".repeat(132))),
    ]
    .map(|(label, value)| format!("# SLUICE sluice_slots{{{labels},{label}}} {value}"));
    assert_eq!(lines, expected);
    assert_eq!(Page::parse(&text), Ok(sticky()));
}

// Prometheus' text format 0.0.4: a line whose first character is # is a comment unless HELP or TYPE follows.
#[test]
fn lines_of_slots_are_comments_to_others() {
    let with = sticky().render();
    let without = Page { slots: BTreeMap::new(), ..sticky() }.render();
    let samples =
        |text: &str| text.lines().filter(|l| !l.starts_with("# SLUICE ")).collect::<Vec<_>>().join("\n");
    assert_eq!(samples(&with), samples(&without));
}

#[test]
fn a_bad_line_of_slots_is_named() {
    let text = sticky().render();
    let line = text.lines().position(|line| line.contains("kind=\"seen\"")).unwrap();
    let set = SlotSet::default().to_text();
    let message = |to: &str| {
        let lines: Vec<&str> =
            text.lines().enumerate().map(|(i, old)| if i == line { to } else { old }).collect();
        Page::parse(&lines.join("\n")).unwrap_err().to_string()
    };
    let slots = |kind: &str, value: &str| {
        message(&format!("# SLUICE sluice_slots{{uid=\"u\",generation=\"7\",pin=\"\",{kind}}} {value}"))
    };
    let at = format!("line {}: ", line + 1);
    assert_eq!(slots("kind=\"seen\"", "AAAA"), format!("{at}seen slots: 4 characters, all slots take 1668"));
    let bad = format!("{}*", &set[1..]);
    assert!(
        slots("kind=\"failed\"", &bad).starts_with(&format!("{at}failed slots: no base64 of all slots: "))
    );
    let cells = format!("{}/w==", "A".repeat(13_332));
    assert_eq!(
        slots("kind=\"doubt\"", &cells),
        format!("{at}doubt slots: slot 9999 has cell mark 255, at most 64 is allowed")
    );
    assert_eq!(slots("kind=\"lost\"", &set), format!("{at}unknown kind of slots \"lost\""));
    assert_eq!(slots("revision=\"new\"", &set), format!("{at}label kind is missing"));
    let all = (0..SLOTS).collect::<SlotSet>().to_text();
    assert_eq!(
        slots("kind=\"owned\",revision=\"old\"", &all),
        format!("{at}owned slots: slot 9900 belongs to \"new\" and to \"old\"")
    );
    assert_eq!(message("# SLUICE "), format!("{at}no value"));
}
