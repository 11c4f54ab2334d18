use std::time::Duration;

use api::{Match, ModelRouteSpec, RouteMirror, RouteRevision, SlotRange, Sticky};
use proptest::prelude::*;

use super::*;

fn route(revisions: Vec<(&str, Vec<(u16, u16)>)>, stable: Option<&str>) -> ModelRoute {
    let revisions = revisions
        .into_iter()
        .map(|(name, slots)| RouteRevision {
            name: name.into(),
            service: format!("svc-{name}"),
            slots: slots.into_iter().map(|(from, to)| SlotRange { from, to }).collect(),
            trip_wire: None,
        })
        .collect();
    let spec = ModelRouteSpec {
        revisions,
        stable: stable.map(Into::into),
        shares: String::new(),
        candidate: None,
        mirror: None,
        matches: vec![],
        targeting: false,
        sticky: None,
        salt: "salt".into(),
        request_timeout: Duration::from_secs(1).into(),
        retry: true,
        max_in_flight: None,
        automation: None,
    };
    let mut route = ModelRoute::new("digits", spec);
    route.metadata.uid = Some("u".into());
    route.metadata.generation = Some(3);
    route
}

fn pinned(pin: &str) -> ModelRoute {
    let mut route = route(vec![("a", vec![(0, 10_000)]), ("b", vec![])], Some("a"));
    route.metadata.annotations = Some([(api::names::PIN.to_owned(), pin.to_owned())].into());
    route
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // rule: R3
    #[test]
    fn every_slot_belongs_to_the_revision_that_it_was_given_to(
        mut cuts in proptest::collection::btree_set(1u16..10_000, 0..40),
        owners in proptest::collection::vec(0usize..3, 41),
    ) {
        cuts.extend([0, 10_000]);
        let cuts: Vec<u16> = cuts.into_iter().collect();
        let mut revisions = vec![("a", vec![]), ("b", vec![]), ("c", vec![])];
        let mut expected = vec![];
        for (range, owner) in cuts.windows(2).zip(&owners) {
            revisions[*owner].1.push((range[0], range[1]));
            expected.extend(std::iter::repeat_n(*owner, usize::from(range[1] - range[0])));
        }
        let table = Table::new(&route(revisions, Some("a"))).unwrap();
        let found: Vec<usize> = (0..SLOTS).map(|s| table.revision_of(s).unwrap()).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(table.revision_of(SLOTS), None);
    }
}

#[test]
fn slots_may_be_left_over_and_ranges_empty() {
    let table = Table::new(&route(vec![("a", vec![(10, 20), (30, 30)])], Some("a"))).unwrap();
    assert_eq!((table.revision_of(9), table.revision_of(10), table.revision_of(20)), (None, Some(0), None));
}

#[test]
fn a_broken_route_is_refused_by_name() {
    let message = |route: &ModelRoute| Table::new(route).unwrap_err().to_string();
    let overlap = route(vec![("a", vec![(0, 5000)]), ("b", vec![(4999, 10_000)])], None);
    assert_eq!(message(&overlap), "spec.revisions: slot 4999 is assigned to a and to b");
    let twice = route(vec![("a", vec![(0, 10), (9, 11)])], None);
    assert_eq!(message(&twice), "spec.revisions: slot 9 is assigned to a and to a");
    let beyond = route(vec![("a", vec![(0, 10_001)])], None);
    assert_eq!(message(&beyond), "spec.revisions[a].slots: 0..10001 is no range within 0..10000");
    let backwards = route(vec![("a", vec![(6, 5)])], None);
    assert_eq!(message(&backwards), "spec.revisions[a].slots: 6..5 is no range within 0..10000");
    let unknown = route(vec![("a", vec![]), ("b", vec![])], Some("c"));
    assert_eq!(message(&unknown), "spec.stable names \"c\", the revisions are a, b");
    let mut absent = route(vec![("a", vec![]), ("b", vec![])], Some("a"));
    absent.spec.candidate = Some("c".into());
    assert_eq!(message(&absent), "spec.candidate names \"c\", the revisions are a, b");
    absent.spec.candidate = Some("b".into());
    absent.spec.mirror = Some(RouteMirror { revision: "c".into(), percent: 5 });
    assert_eq!(message(&absent), "spec.mirror.revision names \"c\", the revisions are a, b");
    for percent in [0, 101] {
        absent.spec.mirror = Some(RouteMirror { revision: "b".into(), percent });
        let expected = format!("spec.mirror.percent is {percent}, it must lie within 1..=100");
        assert_eq!(message(&absent), expected);
    }
    let rule = |header: &str, value: &str| {
        let rule = Match { header: header.into(), value: value.into(), to: MatchTo::Candidate };
        let mut route = route(vec![("a", vec![])], Some("a"));
        route.spec.matches = vec![Match { header: "x-a".into(), value: "fine".into(), ..rule.clone() }, rule];
        Table::new(&route).map_err(|e| e.to_string())
    };
    assert_eq!(rule("x a", "1").unwrap_err(), "spec.matches[1].header \"x a\" is no header name");
    assert_eq!(
        rule("x-a", "a\nb").unwrap_err(),
        "spec.matches[1].value \"a\\nb\" is no header value: control characters are not allowed"
    );
    assert!(rule("x-a", "grün").is_ok());
    let duplicate = route(vec![("a", vec![]), ("a", vec![])], None);
    assert_eq!(message(&duplicate), "spec.revisions names \"a\" twice");
    let mut header = route(vec![], None);
    header.spec.sticky = Some(Sticky::by_header("no header"));
    assert_eq!(message(&header), "spec.sticky.header \"no header\" is no header name");
    let with_sticky = |header: Option<&str>, cookie: Option<&str>| {
        let mut route = route(vec![], None);
        route.spec.sticky =
            Some(Sticky { header: header.map(str::to_owned), cookie: cookie.map(str::to_owned) });
        message(&route)
    };
    let one = "spec.sticky has 2 of header and cookie, it must have exactly one";
    assert_eq!(with_sticky(Some("a"), Some("b")), one);
    assert_eq!(with_sticky(None, None), one.replace('2', "0"));
    assert!(with_sticky(None, Some("a;b")).starts_with("spec.sticky.cookie \"a;b\" is no name of a cookie"));
    let mut full = route(vec![], None);
    full.spec.max_in_flight = Some(0);
    assert_eq!(message(&full), "spec.maxInFlight is 0, it must be at least 1");
    let many = (0..17)
        .map(|i| ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"][i]);
    let many = route(many.map(|n| (n, vec![])).collect(), None);
    assert_eq!(message(&many), "spec.revisions holds 17 revisions, at most 16 are allowed");
    let mut hasty = route(vec![], None);
    hasty.spec.request_timeout = Duration::ZERO.into();
    assert_eq!(message(&hasty), "spec.requestTimeout is 0, it must be longer");
}

// rule: R1, R8
#[test]
fn a_pin_is_part_of_the_state_only_when_it_is_obeyed() {
    let known = Table::new(&pinned("b")).unwrap();
    assert_eq!((known.pinned, known.state.pin.as_deref(), &known.unknown_pin), (Some(1), Some("b"), &None));
    let unknown = Table::new(&pinned("z")).unwrap();
    assert_eq!((unknown.pinned, &unknown.state.pin), (None, &None));
    assert_eq!(unknown.unknown_pin.as_deref(), Some("z"));
    let blank = Table::new(&pinned(" ")).unwrap();
    assert_eq!((blank.pinned, blank.unknown_pin), (None, None));
}
