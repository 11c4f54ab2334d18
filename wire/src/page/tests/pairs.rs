//! Pairs on the page.

use super::*;
use crate::PairOutcome;

pub(super) fn pairs() -> impl Strategy<Value = Pairs> {
    let labels = proptest::array::uniform4(prop_oneof![Just(0u64), 0u64..1_000_000]);
    (proptest::array::uniform5(0u64..1_000_000), cells(CELLS), cells(CELLS), labels)
        .prop_map(|(outcomes, gap, ratio, labels)| Pairs { outcomes, gap, ratio, labels })
}

/// Two pairs that could be compared, one of them with a difference, and a copy that was not sent.
fn mirrored() -> Page {
    let mut pairs = Pairs::default();
    for outcome in [PairOutcome::Agree, PairOutcome::Disagree, PairOutcome::Dropped] {
        pairs.outcomes[outcome.index()] = 1;
    }
    for (gap, ratio) in [(0.0, 1.0), (-0.5, 30.0)] {
        pairs.gap[Grid::Gap.cell(gap).unwrap()] += 1;
        pairs.ratio[Grid::Ratio.cell(ratio).unwrap()] += 1;
    }
    let state = RouteState { uid: "u".into(), generation: 7, pin: None };
    let pairs = [(state, [("new".to_owned(), pairs)].into())].into();
    Page { instance: "i".into(), pairs, ..Page::default() }
}

/// A page with these lines, of which `{key}` is the labels of; the first of them is line 3.
fn refused(lines: &str) -> String {
    let head = "sluice_grid_version 2\nsluice_router_info{instance=\"i\"} 1\n";
    let key = "uid=\"u\",generation=\"7\",pin=\"\",revision=\"new\"";
    let text = format!("{head}{}\n# EOF\n", lines.replace("{key}", key));
    Page::parse(&text).expect_err("no router writes it").to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // rule: C4
    #[test]
    fn the_difference_of_two_readings_is_what_was_paired_between(a in pairs(), b in pairs()) {
        let mut sum = a.clone();
        sum.add(&b);
        prop_assert_eq!(sum.since(&a), Some(b.clone()));
        let backwards = a.since(&sum);
        prop_assert!(backwards.is_none() || sum == a);
    }
}

// rule: C1. What one release writes another one reads: the text is fixed.
#[test]
fn golden_lines_of_pairs() {
    let text = mirrored().render();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("sluice_pair") && !line.starts_with('#')).collect();
    let key = "uid=\"u\",generation=\"7\",pin=\"\",revision=\"new\"";
    let expected = [
        format!("sluice_pairs_total{{{key},result=\"agree\"}} 1"),
        format!("sluice_pairs_total{{{key},result=\"disagree\"}} 1"),
        format!("sluice_pairs_total{{{key},result=\"failed\"}} 0"),
        format!("sluice_pairs_total{{{key},result=\"unjudged\"}} 0"),
        format!("sluice_pairs_total{{{key},result=\"dropped\"}} 1"),
        // The edges above -0.5 and 0 are -31/63 and 1/63.
        format!("sluice_pair_confidence_gap_bucket{{{key},le=\"-4.920635e-1\"}} 1"),
        format!("sluice_pair_confidence_gap_bucket{{{key},le=\"1.587302e-2\"}} 2"),
        format!("sluice_pair_confidence_gap_bucket{{{key},le=\"+Inf\"}} 2"),
        // The edge above 1 is the square root of 1.1.
        format!("sluice_pair_latency_ratio_bucket{{{key},le=\"1.048809e0\"}} 1"),
        format!("sluice_pair_latency_ratio_bucket{{{key},le=\"+Inf\"}} 2"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(Page::parse(&text), Ok(mirrored()));
}

// rule: C1. A router before them writes none, and an operator before them reads over them.
#[test]
fn labelled_pairs_are_lines_of_their_own_where_there_are_any() {
    let page = |labels| {
        let mut page = mirrored();
        page.pairs.values_mut().flat_map(|all| all.values_mut()).for_each(|pairs| pairs.labels = labels);
        page
    };
    assert!(!page([0; 4]).render().contains("sluice_pair_labels_total"));
    let labelled = page([40, 5, 0, 3]);
    let text = labelled.render();
    let key = "uid=\"u\",generation=\"7\",pin=\"\",revision=\"new\"";
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("sluice_pair_labels")).collect();
    let expected = [("both", 40), ("stable", 5), ("shadow", 0), ("neither", 3)]
        .map(|(result, n)| format!("sluice_pair_labels_total{{{key},result=\"{result}\"}} {n}"));
    assert_eq!(lines, expected);
    let pairs = &labelled.pairs.values().next().unwrap()["new"];
    assert_eq!(pairs.right(), (40, 45, 48));
    assert_eq!(Page::parse(&text), Ok(labelled));
    let line = |result| format!("sluice_pair_labels_total{{{{key}},result=\"{result}\"}} 1\n");
    assert_eq!(refused(&line("agree")), "line 3: unknown result \"agree\"");
    assert!(refused(&(line("both") + &line("both"))).starts_with("line 4: the same series a second time"));
}

#[test]
fn what_no_router_writes_of_pairs_is_refused() {
    // rule: C4
    let pairs = |result: &str, n: &str| format!("sluice_pairs_total{{{{key}},result=\"{result}\"}} {n}\n");
    assert_eq!(refused(&pairs("lost", "1")), "line 3: unknown result \"lost\"");
    assert_eq!(refused("sluice_pairs_total{{key}} 1"), "line 3: label result is missing");
    assert_eq!(
        refused(&(pairs("agree", "5") + &pairs("agree", "6"))),
        "line 4: the same series a second time: 5 before, 6 now"
    );
    let most = "a whole number up to 8796093022208 is allowed";
    assert_eq!(
        refused(&pairs("failed", "8796093022209")),
        format!("line 3: \"8796093022209\" is not a count, {most}")
    );
    let gap = |le: &str, n: u64| format!("sluice_pair_confidence_gap_bucket{{{{key}},le=\"{le}\"}} {n}\n");
    let (low, high) = (Grid::Gap.label(3), Grid::Gap.label(40));
    assert_eq!(
        refused(&(gap(low, 7) + &gap(high, 6) + &gap("+Inf", 7))),
        format!(
            "sluice_pair_confidence_gap of revision \"new\": 6 in bucket {high}, 7 before it; counts never fall from \
             one bucket to the next"
        )
    );
    assert_eq!(refused(&gap("0.5", 1)), "line 3: le \"0.5\" is no edge of the grid");
    assert_eq!(
        refused(&gap(low, 0)),
        format!("line 3: 0 in bucket {low}, which is left out while it is empty")
    );
    let ratio = "sluice_pair_latency_ratio_bucket{{key},le=\"+Inf\"}";
    let twice = refused(&format!("{ratio} 5\n{ratio} 6"));
    assert_eq!(twice, "line 4: the same series a second time: 5 before, 6 now");
    let other = "sluice_pair_latency_ratio{{key},assignment=\"shadow\"} 1";
    assert_eq!(refused(other), "line 3: unknown family \"sluice_pair_latency_ratio\"");
}

#[test]
fn what_pairs_make_the_reader_allocate_is_bounded() {
    // rule: C4
    let state = |generation: usize| RouteState { uid: "u".into(), generation: generation as i64, pin: None };
    let page = |states: usize, revisions: usize| {
        let one: BTreeMap<_, _> = (0..revisions).map(|i| (format!("r{i}"), Pairs::default())).collect();
        Page { pairs: (0..states).map(|i| (state(i), one.clone())).collect(), ..Page::default() }
    };
    let most = page(MAX_STATES, MAX_PAIRED);
    assert_eq!(Page::parse(&most.render()), Ok(most));
    let refused = |page: &Page| Page::parse(&page.render()).unwrap_err().to_string();
    assert!(refused(&page(MAX_STATES + 1, 1)).ends_with(": more than 16 states"));
    let revisions = refused(&page(1, MAX_PAIRED + 1));
    assert!(revisions.ends_with(": more than 16 revisions with pairs of one state"), "{revisions}");
}
