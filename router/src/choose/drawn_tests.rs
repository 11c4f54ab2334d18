//! Pins, targets, rules, slots: which of them draws.

use std::time::Duration;

use api::{Match, MatchTo, ModelRoute, ModelRouteSpec, RouteMirror, RouteRevision, SlotRange};
use wire::SLOTS;

use super::*;

/// `a` is stable and has all slots, `b` is the candidate, `c` is neither.
fn route() -> ModelRoute {
    let revision = |name: &str, to| RouteRevision {
        trip_wire: None,
        name: name.into(),
        service: name.into(),
        slots: vec![SlotRange { from: 0, to }],
    };
    let to = |value: &str, to| Match { header: "x-group".into(), value: value.into(), to };
    let spec = ModelRouteSpec {
        revisions: vec![revision("a", SLOTS), revision("b", 0), revision("c", 0)],
        stable: Some("a".into()),
        shares: String::new(),
        candidate: Some("b".into()),
        mirror: None,
        matches: vec![to("beta", MatchTo::Candidate), to("internal", MatchTo::Stable)],
        targeting: true,
        sticky: None,
        salt: String::new(),
        request_timeout: Duration::from_secs(1).into(),
        retry: true,
        max_in_flight: None,
        automation: None,
    };
    ModelRoute::new("digits", spec)
}

/// Name and assignment of what is drawn for a request with these headers.
fn drawn(route: &ModelRoute, headers: &[(&'static str, &'static str)]) -> (String, Assignment) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let table = Table::new(route).unwrap();
    let choice = choose(&table, &map, 5_000).unwrap();
    (table.revisions[choice.revision].name.to_string(), choice.assignment)
}

const STABLE: (&str, &str) = ("x-sluice-target", "stable");
const CANDIDATE: (&str, &str) = ("x-sluice-target", "candidate");
const BETA: (&str, &str) = ("x-group", "beta");

// rule: C1, R8
#[test]
fn a_pin_beats_a_target_beats_a_rule_beats_a_slot() {
    let mut route = route();
    let of = |name: &str, assignment| (name.to_owned(), assignment);
    assert_eq!(drawn(&route, &[]), of("a", Assignment::Split));
    assert_eq!(drawn(&route, &[BETA]), of("b", Assignment::Match));
    assert_eq!(drawn(&route, &[("x-group", "internal")]), of("a", Assignment::Match));
    assert_eq!(drawn(&route, &[BETA, STABLE]), of("a", Assignment::Target));
    assert_eq!(drawn(&route, &[CANDIDATE]), of("b", Assignment::Target));
    route.metadata.annotations = Some([(api::names::PIN.to_owned(), "c".to_owned())].into());
    assert_eq!(drawn(&route, &[BETA, CANDIDATE]), of("c", Assignment::Pin));
}

#[test]
fn a_target_is_stable_the_candidate_or_the_name_of_one_of_both() {
    let mut route = route();
    let named = |route: &ModelRoute, name| drawn(route, &[("x-sluice-target", name)]).1;
    assert_eq!(named(&route, "a"), Assignment::Target);
    assert_eq!(named(&route, "b"), Assignment::Target);
    for nobody in ["c", "", "Candidate", "candidates", "b,a"] {
        assert_eq!(named(&route, nobody), Assignment::Split, "{nobody:?}");
    }
    route.spec.targeting = false;
    assert_eq!(drawn(&route, &[CANDIDATE]), ("a".into(), Assignment::Split));
    assert_eq!(drawn(&route, &[CANDIDATE, BETA]), ("b".into(), Assignment::Match), "the rules stay");
}

// rule: R5 (an abort cuts what is matched and targeted too)
#[test]
fn without_a_candidate_what_is_meant_for_it_is_split() {
    let mut route = route();
    route.spec.candidate = None;
    for headers in [[BETA], [CANDIDATE], [("x-sluice-target", "b")]] {
        assert_eq!(drawn(&route, &headers), ("a".into(), Assignment::Split), "{headers:?}");
    }
    // The first rule that fits counts, and it has nobody to go to.
    route.spec.matches[1].value = "beta".into();
    assert_eq!(drawn(&route, &[BETA]), ("a".into(), Assignment::Split));
}

#[test]
fn a_rule_fits_the_whole_value_of_any_line_of_its_header() {
    let mut route = route();
    for (value, fits) in [("beta", true), ("Beta", false), ("beta2", false), ("a, beta", false), ("", false)]
    {
        let expected = if fits { Assignment::Match } else { Assignment::Split };
        assert_eq!(drawn(&route, &[("x-group", value)]).1, expected, "{value:?}");
    }
    assert_eq!(drawn(&route, &[("x-group", "other"), BETA]).1, Assignment::Match);
    route.spec.matches[0].header = "x-other".into();
    assert_eq!(drawn(&route, &[BETA]).1, Assignment::Split);
}

// rule: C1
#[test]
fn only_what_the_slots_give_to_stable_is_copied_and_only_so_much_of_it() {
    let mut route = route();
    let copied = |route: &ModelRoute, revision, assignment, bits| {
        copied_to(&Table::new(route).unwrap(), Some(Choice { revision, assignment }), bits)
    };
    assert_eq!(copied(&route, 0, Assignment::Split, 0), None, "nothing is copied");
    route.spec.mirror = Some(RouteMirror { revision: "b".into(), percent: 100 });
    assert_eq!(copied(&route, 0, Assignment::Split, u64::MAX), Some(1));
    for assignment in [Assignment::Match, Assignment::Target, Assignment::Pin] {
        assert_eq!(copied(&route, 0, assignment, 0), None, "{assignment:?}");
    }
    assert_eq!(copied(&route, 1, Assignment::Split, 0), None, "the candidate's own");
    route.spec.mirror = Some(RouteMirror { revision: "c".into(), percent: 30 });
    let share = u64::MAX / 100 * 30;
    assert_eq!(copied(&route, 0, Assignment::Split, share - 100), Some(2));
    assert_eq!(copied(&route, 0, Assignment::Split, share + 100), None);
}

// rule: C1
#[test]
fn without_a_stable_what_anybody_else_or_nobody_answers_is_copied() {
    let mut route = route();
    route.spec.stable = None;
    route.spec.mirror = Some(RouteMirror { revision: "b".into(), percent: 30 });
    let table = Table::new(&route).unwrap();
    let split = |revision| Some(Choice { revision, assignment: Assignment::Split });
    let share = u64::MAX / 100 * 30;
    assert_eq!((copied_to(&table, None, share - 100), copied_to(&table, None, share + 100)), (Some(1), None));
    assert_eq!((copied_to(&table, split(0), 0), copied_to(&table, split(1), 0)), (Some(1), None));
    let pinned = Some(Choice { revision: 0, assignment: Assignment::Pin });
    assert_eq!(copied_to(&table, pinned, 0), None);
}
