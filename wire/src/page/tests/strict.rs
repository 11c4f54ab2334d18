//! What no router writes is refused, with the line, what was found and what is allowed.

use super::*;

/// A page of one key with these lines, of which `{key}` is the labels of; the first of them is line 3.
fn with(lines: &str) -> Result<Page, PageError> {
    let head = "sluice_grid_version 2\nsluice_router_info{instance=\"i\"} 1\n";
    let key = "uid=\"u\",generation=\"7\",pin=\"\",revision=\"new\",assignment=\"split\"";
    Page::parse(&format!("{head}{}\n# EOF\n", lines.replace("{key}", key)))
}

fn refused(lines: &str) -> String {
    with(lines).expect_err("no router writes it").to_string()
}

#[test]
fn counts_whose_sums_would_wrap_are_refused() {
    // rule: C4
    let count = |n: &str| format!("sluice_requests_total{{{{key}},outcome=\"ok\"}} {n}");
    let most = with(&count("8796093022208")).unwrap();
    let counts = most.states.values().flat_map(|keys| keys.values()).next().unwrap();
    assert_eq!(counts.outcome(Outcome::Ok), MAX_COUNT);
    for found in ["8796093022209", "18446744073709551615", "18446744073709551616", "-1", "0.5", "NaN"] {
        let allowed = "a whole number up to 8796093022208 is allowed";
        assert_eq!(refused(&count(found)), format!("line 3: \"{found}\" is not a count, {allowed}"));
    }
    // As many as a page may hold: whoever adds them up stays within a u64.
    assert!(MAX_COUNT.checked_mul(1 << 20).is_some());
}

#[test]
fn falling_buckets_are_refused() {
    // rule: C4
    let bucket = |cell: usize, n: u64| {
        format!("sluice_doubt_bucket{{{{key}},le=\"{}\"}} {n}\n", Grid::Doubt.label(cell))
    };
    let read = with(&(bucket(3, 2) + &bucket(5, 6) + &bucket(63, 6))).unwrap();
    let counts = read.states.values().flat_map(|keys| keys.values()).next().unwrap();
    assert_eq!((counts.doubt[3], counts.doubt[5], counts.doubt.iter().sum()), (2, 4, 6));

    let falling = "sluice_doubt of revision \"new\":";
    let rule = "counts never fall from one bucket to the next";
    let le = Grid::Doubt.label(5);
    assert_eq!(
        refused(&(bucket(3, 7) + &bucket(5, 6) + &bucket(63, 7))),
        format!("{falling} 6 in bucket {le}, 7 before it; {rule}")
    );
    // The last bucket is always there.
    assert_eq!(
        refused(&(bucket(3, 2) + &bucket(5, 6))),
        format!("{falling} 0 in bucket +Inf, 6 before it; {rule}")
    );
    assert_eq!(
        refused(&(bucket(3, 2) + &bucket(5, 0))),
        format!("line 4: 0 in bucket {le}, which is left out while it is empty")
    );
    let input =
        format!("sluice_input_bucket{{{{key}},feature=\"contrast\",le=\"{}\"}} 1", Grid::Half.label(0));
    assert!(refused(&input).starts_with("sluice_input of revision \"new\": 0 in bucket +Inf, 1 before it"));
}

#[test]
fn the_same_twice_is_refused() {
    // rule: C4
    for series in [
        "sluice_requests_total{{key},outcome=\"ok\"}",
        "sluice_null_outputs_total{{key}}",
        "sluice_predictions_total{{key},class=\"cat\"}",
        "sluice_request_seconds_bucket{{key},le=\"+Inf\"}",
        "sluice_input_bucket{{key},feature=\"contrast\",le=\"+Inf\"}",
    ] {
        let twice = refused(&format!("{series} 5\n{series} 6"));
        assert_eq!(twice, "line 4: the same series a second time: 5 before, 6 now", "{series}");
    }
    assert_eq!(refused("sluice_grid_version 3"), "line 3: a second time: \"2\" before, \"3\" now");
    assert_eq!(
        refused("sluice_router_info{instance=\"j\"} 1"),
        "line 3: a second time: \"i\" before, \"j\" now"
    );
    let text = sticky().render();
    for kind in ["seen", "failed", "latency", "doubt", "owned"] {
        let line = text.lines().find(|line| line.contains(&format!("kind=\"{kind}\""))).unwrap();
        let of = if kind == "owned" { " for \"new\"" } else { "" };
        let twice = refused(&format!("{line}\n{line}"));
        assert_eq!(twice, format!("line 4: {kind} slots: a second time{of}"));
    }
}

#[test]
fn a_page_names_its_process_and_ends_at_its_end() {
    // rule: C4
    let text = Page::default().render();
    let nameless = text.lines().filter(|line| !line.starts_with("sluice_router_info")).collect::<Vec<_>>();
    assert_eq!(Page::parse(&nameless.join("\n")), Err(PageError::Nameless));
    for more in ["# EOF", "", "# TYPE a gauge", "sluice_grid_version 2"] {
        let line = text.lines().count() + 1;
        let error = Page::parse(&format!("{text}{more}\n")).unwrap_err();
        assert_eq!(error, PageError::Line { line, what: "text after \"# EOF\"".into() }, "{more:?}");
    }
}

#[test]
fn what_a_page_makes_the_reader_allocate_is_bounded() {
    // rule: C4
    let state = |generation: usize| RouteState { uid: "u".into(), generation: generation as i64, pin: None };
    let key = |i: usize| Key { revision: format!("r{i}"), assignment: Assignment::Split };
    let page = |states: usize, keys: usize| {
        let keys: BTreeMap<_, _> = (0..keys).map(|i| (key(i), Counts::default())).collect();
        Page { states: (0..states).map(|i| (state(i), keys.clone())).collect(), ..Page::default() }
    };
    let most = page(MAX_STATES, MAX_KEYS);
    assert_eq!(Page::parse(&most.render()), Ok(most));
    let refused = |page: &Page| Page::parse(&page.render()).unwrap_err().to_string();
    assert!(refused(&page(MAX_STATES + 1, 1)).ends_with(": more than 16 states"));
    let keys = refused(&page(1, MAX_KEYS + 1));
    assert!(keys.ends_with(": more than 37 revisions and assignments of one state"), "{keys}");
    let slots = (0..=MAX_STATES).map(|i| {
        let mut slots = Slots::default();
        slots.see(1);
        (state(i), slots)
    });
    assert!(refused(&Page { slots: slots.collect(), ..Page::default() }).ends_with(": more than 16 states"));
}
