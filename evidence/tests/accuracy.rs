//! Accuracy by labels: what passes, what is a breach, and what cannot be told.

#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

mod common;

use std::collections::BTreeMap;

use common::{EVERY, alike, at, interval, read, read_all};
use evidence::{
    Arms, Baselines, Bound, Draw, Interval, Kind, Labelled, Metric, Reading, References, Share, State,
    Verdict, Windows,
};
use wire::{Assignment, Counts, Feedback, Key, Page, Pairs, RouteState};

fn metric(bound: Bound) -> Metric {
    Metric { min_samples: 400, ..Metric::new("accuracy", Kind::Accuracy, bound) }
}

/// One interval in which so many labels of each arm arrived, right ones first, at a split of 10 %.
fn one(candidate: (u64, u64), stable: (u64, u64), draw: Draw) -> Windows {
    let share = |(right, all)| Share::new(right, all);
    let labelled = Labelled { candidate: share(candidate), stable: share(stable) };
    // Hardly any request in this interval: labels come later than their answers.
    let counts = alike(3, 0.9, "a", 0.5, 0.05);
    let mut windows = Windows::new(at(0));
    let split = Some(0.1).filter(|_| draw == Draw::Split);
    assert!(windows.push(Interval { labelled, split, draw, ..interval(0, 15, &counts, &counts) }));
    windows
}

fn judged(bound: Bound, candidate: (u64, u64), stable: (u64, u64)) -> Reading {
    read(&metric(bound), &one(candidate, stable, Draw::Split), &mut State::default(), 15)
}

#[test]
fn a_share_below_the_minimum_is_a_breach_once_noise_is_excluded() {
    // rule: J1, J2
    let min = Bound::Min(0.9);
    let fail = judged(min, (280, 400), (0, 0));
    assert_eq!((fail.verdict, fail.value, fail.n, fail.n_stable), (Verdict::Fail, Some(0.7), 400, None));
    assert!(
        fail.reason.starts_with("accuracy: accuracy by labels is 70 % over 400 labels in 15s, below 90 %")
    );
    assert!(fail.reason.contains("even at its upper limit 7"), "{}", fail.reason);
    let unclear = judged(min, (358, 400), (0, 0));
    assert_eq!(unclear.verdict, Verdict::Inconclusive);
    assert!(unclear.reason.contains("below 90 %, but its upper limit is 9"), "{}", unclear.reason);
    let pass = judged(min, (380, 400), (0, 0));
    assert_eq!(pass.verdict, Verdict::Pass, "however few requests there were: {}", pass.reason);
    assert!(pass.reason.contains("at least 90 %"), "{}", pass.reason);
}

#[test]
fn silence_is_no_pass() {
    // rule: J1
    for labels in [(0, 0), (399, 399)] {
        let silent = judged(Bound::Min(0.9), labels, (9_000, 9_000));
        assert_eq!(silent.verdict, Verdict::NoData);
        assert!(
            silent.reason.contains(&format!("{} labels in 15s, 400 needed", labels.1)),
            "{}",
            silent.reason
        );
    }
    // Nobody gets the answers to copies, and where nobody is stable no other ones to the same requests.
    let rules = metric(Bound::Min(0.9));
    let windows = one((400, 400), (0, 0), Draw::Preview);
    assert_eq!(read(&rules, &windows, &mut State::default(), 15).verdict, Verdict::Pass);
    let windows = one((400, 400), (0, 0), Draw::Shadow);
    let readings = read_all(&[rules], &windows, References::default(), &mut State::default(), 15);
    assert!(readings.is_empty(), "{readings:?}");
}

#[test]
fn in_a_shadow_one_label_tells_of_both_answers() {
    // rule: J2, T2
    let windows = |labels: [u64; 4]| {
        let pairs = Pairs { labels, ..Pairs::default() };
        let mut newest = one((0, 0), (0, 0), Draw::Shadow).newest().unwrap().clone();
        newest.pairs = Some(Box::new(pairs.clone()));
        newest.labelled = of_pairs(&pairs);
        let mut windows = Windows::new(at(0));
        assert!(windows.push(newest));
        windows
    };
    let judged = |bound, labels| read(&metric(bound), &windows(labels), &mut State::default(), 15);
    // Both, stable alone, the shadow alone, neither.
    let fail = judged(Bound::MaxDrop(0.02), [300, 150, 10, 40]);
    assert_eq!((fail.verdict, fail.n, fail.n_stable), (Verdict::Fail, 500, Some(500)), "{}", fail.reason);
    assert!(fail.reason.contains("accuracy lost against stable is 28 points"), "{}", fail.reason);
    assert_eq!(judged(Bound::MaxDrop(0.02), [470, 5, 5, 20]).verdict, Verdict::Pass);
    assert_eq!(judged(Bound::Min(0.9), [470, 5, 5, 20]).value, Some(0.95));
    assert_eq!(judged(Bound::Min(0.9), [300, 0, 0, 0]).verdict, Verdict::NoData, "no label, no pass");
}

/// As a shadow stage's pages are read.
fn of_pairs(pairs: &Pairs) -> Labelled {
    let state = RouteState { uid: "u".into(), generation: 2, pin: None };
    let arms = Arms {
        draw: Draw::Shadow,
        states: vec![state.clone()],
        split: None,
        stable: Some("old".into()),
        candidate: "new".into(),
    };
    // Labels of stable's answers of which no copy is known are there as well.
    let page = |pairs: &Pairs, stable| {
        let all = [(state.clone(), [("new".to_owned(), pairs.clone())].into())].into();
        Page { pairs: all, ..page(2, [(0, 0), stable], 0) }
    };
    let mut baselines = Baselines::default();
    let mut round = |page: Page| baselines.round(BTreeMap::from([("r".into(), Some(page))]), &arms);
    round(page(&Pairs::default(), (5, 5)));
    let round = round(page(pairs, (900, 100)));
    assert_eq!(round.pairs.as_deref(), Some(pairs));
    round.labelled
}

#[test]
fn a_drop_below_stable_is_compared_only_where_both_are_labelled_alike() {
    // rule: J2
    let drop = Bound::MaxDrop(0.02);
    let fail = judged(drop, (350, 500), (4_275, 4_500));
    assert_eq!((fail.verdict, fail.n, fail.n_stable), (Verdict::Fail, 500, Some(4_500)));
    assert!(fail.reason.contains("accuracy lost against stable is 25 points"), "{}", fail.reason);
    assert!(fail.reason.contains("above 2 points even at its lower limit 1"), "{}", fail.reason);
    assert_eq!(judged(drop, (475, 500), (4_275, 4_500)).verdict, Verdict::Pass);
    // Three points: for 500 labels noise may do that.
    assert_eq!(judged(drop, (460, 500), (4_275, 4_500)).verdict, Verdict::Inconclusive);
    // The candidate's share is 10 %, but half of the labels are about it.
    let skewed = judged(drop, (350, 500), (475, 500));
    assert_eq!((skewed.verdict, skewed.n, skewed.n_stable), (Verdict::NoData, 500, Some(500)));
    assert!(
        skewed.reason.contains("500 of 1,000 labels are of the candidate's answers, whose share is 10 %"),
        "{}",
        skewed.reason
    );
    // An absolute minimum needs no comparison.
    assert_eq!(judged(Bound::Min(0.9), (350, 500), (475, 500)).verdict, Verdict::Fail);
}

/// A page of one process with these labels of both arms, right and wrong, and late ones.
fn page(generation: i64, labels: [(u64, u64); 2], late: u64) -> Page {
    let state = RouteState { uid: "u".into(), generation, pin: None };
    let keys = ["new", "old"].into_iter().zip(labels).map(|(revision, (correct, wrong))| {
        let mut counts = Feedback { late: [late, 0], ..Feedback::default() };
        (counts.cells[0][7], counts.cells[1][9]) = (correct, wrong);
        (Key { revision: revision.into(), assignment: Assignment::Split }, counts)
    });
    Page { instance: "i".into(), feedback: [(state, keys.collect())].into(), ..Page::default() }
}

#[test]
fn labels_are_exact_differences_of_the_states_of_the_stage() {
    // rule: C2, C4, T1
    let arms = Arms {
        draw: Draw::Split,
        states: vec![RouteState { uid: "u".into(), generation: 2, pin: None }],
        split: Some(0.5),
        stable: Some("old".into()),
        candidate: "new".into(),
    };
    let mut baselines = Baselines::default();
    let mut round = |page: Page| baselines.round(BTreeMap::from([("r".into(), Some(page))]), &arms);
    assert_eq!(round(page(2, [(5, 1), (5, 1)], 3)).counted, 0, "a baseline");
    let next = round(page(2, [(15, 2), (6, 1)], 7));
    let (ours, theirs) = (Share::new(10, 11), Share::new(1, 1));
    assert_eq!(next.labelled, Labelled { candidate: ours, stable: theirs });
    assert_eq!(next.labelled_late.candidate, Share::new(4, 4), "told apart");
    assert_eq!(round(page(2, [(14, 2), (6, 1)], 7)).counted, 0, "an older page");
    let other = round(page(1, [(99, 0), (99, 0)], 0));
    assert_eq!(other.labelled, Labelled::default(), "of another state");
    let interval = next.interval(at(0), at(0) + EVERY).unwrap();
    let mut windows = Windows::new(at(0));
    assert!(windows.push(interval));
    let again = Interval { from: at(15), to: at(30), ..windows.newest().unwrap().clone() };
    assert!(windows.push(again));
    let sum = windows.select(evidence::Reach::Time(EVERY * 2), |_| true).unwrap();
    assert_eq!(sum.labelled.candidate, Share::new(20, 22), "sums keep them");
    assert_eq!(sum.candidate, Counts::default());
}
