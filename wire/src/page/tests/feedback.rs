//! The lines of labels.

use super::*;
use crate::Feedback;

pub(super) fn feedback() -> impl Strategy<Value = Feedback> {
    (cells(CELLS), cells(CELLS), proptest::array::uniform2(0u64..1_000_000))
        .prop_map(|(correct, wrong, late)| Feedback { cells: [correct, wrong], late })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // rule: C4
    #[test]
    fn the_difference_of_two_readings_is_what_was_labelled_between(a in feedback(), b in feedback()) {
        let mut sum = a.clone();
        sum.add(&b);
        prop_assert_eq!(sum.since(&a), Some(b));
        prop_assert!(a.since(&sum).is_none() || sum == a);
    }
}

fn labelled() -> Page {
    let mut counts = Feedback { late: [2, 1], ..Feedback::default() };
    (counts.cells[0][3], counts.cells[0][63], counts.cells[1][9]) = (5, 1, 4);
    let state = RouteState { uid: "u".into(), generation: 7, pin: None };
    let key = Key { revision: "new".into(), assignment: Assignment::Split };
    Page { instance: "i".into(), feedback: [(state, [(key, counts)].into())].into(), ..Page::default() }
}

#[test]
fn labels_are_written_by_what_they_say() {
    let text = labelled().render();
    let key = "uid=\"u\",generation=\"7\",pin=\"\",revision=\"new\",assignment=\"split\"";
    for line in [
        format!("sluice_feedback_bucket{{{key},result=\"correct\",le=\"{}\"}} 5", Grid::Doubt.label(3)),
        format!("sluice_feedback_bucket{{{key},result=\"correct\",le=\"+Inf\"}} 6"),
        format!("sluice_feedback_bucket{{{key},result=\"wrong\",le=\"+Inf\"}} 4"),
        format!("sluice_feedback_late_total{{{key},result=\"wrong\"}} 1"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
    }
    let counts = labelled().feedback.into_values().flatten().next().unwrap().1;
    assert_eq!((counts.own(), counts.earlier()), ((6, 10), (2, 3)));
}

#[test]
fn a_page_without_labels_says_nothing_of_them() {
    // Releases that know no labels read it.
    assert!(!Page::default().render().contains("feedback"));
}

#[test]
fn what_no_router_writes_of_labels_is_refused() {
    let text = labelled().render();
    let refused = |from: &str, to: &str| Page::parse(&text.replace(from, to)).unwrap_err().to_string();
    assert!(refused("result=\"wrong\"", "result=\"maybe\"").contains("unknown result \"maybe\""));
    assert!(refused("result=\"wrong\"", "result=\"correct\"").contains("the same series a second time"));
    assert!(refused(",assignment=\"split\"", "").contains("label assignment is missing"));
    let falling = refused("le=\"+Inf\"} 6", "le=\"+Inf\"} 4");
    assert!(falling.starts_with("sluice_feedback of revision \"new\": 4 in bucket +Inf"), "{falling}");
}

#[test]
fn families_of_later_routers_are_left_alone() {
    let text = labelled().render();
    let more = "sluice_later_total{any=\"thing\"} -1.5\nsluice_later_bucket 7\n# SLUICE later 5\n# EOF";
    assert_eq!(Page::parse(&text.replace("# EOF", more)), Ok(labelled()));
}
