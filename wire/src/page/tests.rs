use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

fn cells(n: usize) -> impl Strategy<Value = Vec<u64>> {
    vec(prop_oneof![3 => Just(0u64), 1 => 0u64..1_000_000_000], n)
}

fn counts() -> impl Strategy<Value = Counts> {
    (
        proptest::array::uniform9(0u64..1_000_000),
        cells(LATENCY_CELLS),
        vec(cells(CELLS), FEATURES.len()),
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
    let key = ("[a-z]{1,8}", any::<bool>()).prop_map(|(revision, split)| Key {
        revision,
        assignment: if split { Assignment::Split } else { Assignment::Pin },
    });
    let state = ("[a-z0-9-]{0,8}", 0i64..99, proptest::option::of("[a-z]{1,5}"))
        .prop_map(|(uid, generation, pin)| RouteState { uid, generation, pin });
    let states = btree_map(state, btree_map(key, counts(), 1..3), 0..3);
    ("\\PC{0,12}", states).prop_map(|(instance, states)| Page { instance, states })
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
        let _ = Page::parse(&format!("sluice_grid_version 1\nsluice_requests_total{{{text}\n# EOF\n"));
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
