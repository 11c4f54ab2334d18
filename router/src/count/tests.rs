use std::time::Instant;

use api::{ModelRoute, ModelRouteSpec, RouteRevision};
use http::HeaderMap;
use prometheus::core::Collector as _;
use prometheus::{Registry, TextEncoder};
use proptest::prelude::*;
use wire::{Key, Page, endpoint, family};

use super::*;
use crate::Table;

fn table(generation: i64, revisions: &[&str]) -> Table {
    let revisions = revisions
        .iter()
        .map(|n| RouteRevision { name: (*n).into(), service: (*n).into(), slots: vec![] })
        .collect();
    let mut route = ModelRoute::new(
        "digits",
        ModelRouteSpec {
            revisions,
            stable: None,
            shares: String::new(),
            sticky: None,
            salt: String::new(),
            request_timeout: Duration::from_secs(1).into(),
            retry: true,
        },
    );
    route.metadata.uid = Some("0b7d3a56-5a39-4c2c-9f55-0123456789ab".into());
    route.metadata.generation = Some(generation);
    Table::new(&route).unwrap()
}

fn ticket(counts: &Arc<StateCounts>, revision: usize) -> Ticket {
    Ticket::new(counts.clone(), revision, Assignment::Split, Instant::now())
}

fn key(revision: &str) -> Key {
    Key { revision: revision.into(), assignment: Assignment::Split }
}

fn headers(class: &str, confidence: &str) -> AnswerHeaders {
    let mut headers = HeaderMap::new();
    headers.insert(wire::header::PREDICTION, class.parse().unwrap());
    headers.insert(wire::header::CONFIDENCE, confidence.parse().unwrap());
    headers.insert(wire::header::INPUT_STATS, "brightness=0.5 contrast=0.25 sharpness=0.1".parse().unwrap());
    AnswerHeaders::of(&headers)
}

// rule: C2
#[test]
fn each_request_is_counted_once_under_its_own_state_whoever_counts_meanwhile() {
    let ledger = Ledger::new("i".into());
    let first = ledger.enter(&table(1, &["a", "b"]));
    let before: Vec<Ticket> = (0..100).map(|_| ticket(&first, 1)).collect();
    let second = ledger.enter(&table(2, &["a", "b"]));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..5_000 {
                    let ticket = ticket(&second, i % 2);
                    match i % 5 {
                        0 => drop(ticket),
                        1 => ticket.finish(Outcome::Timeout),
                        _ => ticket.finish_answered(Outcome::Ok, Some(&headers("x", "0.9"))),
                    }
                }
            });
        }
        scope.spawn(move || before.into_iter().for_each(|t| t.finish(Outcome::Fallback)));
    });
    let page = ledger.page();
    let old = &page.states[&first.state];
    assert_eq!((old[&key("a")].requests(), old[&key("b")].requests()), (0, 100));
    assert_eq!(old[&key("b")].outcome(Outcome::Fallback), 100);
    let new = &page.states[&second.state];
    for revision in ["a", "b"] {
        let counts = &new[&key(revision)];
        assert_eq!(counts.requests(), 10_000);
        assert_eq!(counts.outcome(Outcome::Cancelled), 2_000);
        assert_eq!(counts.outcome(Outcome::Timeout), 2_000);
        // Answered or timed out, but not cancelled.
        assert_eq!(counts.latency.iter().sum::<u64>(), 8_000);
        assert_eq!(counts.classes["x"], 6_000);
        assert_eq!(counts.doubt.iter().sum::<u64>(), 6_000);
        let (x, n) = counts.errors();
        assert!(x <= n && n == 8_000);
    }
    assert_eq!(Page::parse(&page.render()), Ok(page));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // rule: C2 (x <= n), C4 (monotone on /metrics whatever states come and go)
    #[test]
    fn totals_never_go_down_and_add_up(steps in proptest::collection::vec((0i64..5, 0usize..9, any::<bool>()), 1..60)) {
        let ledger = Ledger::new("i".into());
        let mut held = vec![];
        let mut counted = 0;
        let mut last = 0;
        for (generation, outcome, hold) in steps {
            let counts = ledger.enter(&table(generation, &["a"]));
            let ticket = ticket(&counts, 0);
            if hold {
                held.push(ticket);
            } else {
                ticket.finish(Outcome::ALL[outcome]);
                counted += 1;
            }
            let totals = ledger.totals();
            let (x, n) = totals[&key("a")].counts.errors();
            prop_assert!(x <= n);
            let now = totals[&key("a")].counts.requests();
            prop_assert!(now >= last && now == counted, "{now} {last} {counted}");
            last = now;
            prop_assert!(ledger.page().states.len() <= 2);
        }
        counted += held.len() as u64;
        drop(held);
        prop_assert_eq!(ledger.totals()[&key("a")].counts.requests(), counted);
    }
}

// rule: R1
#[test]
fn a_state_that_comes_back_goes_on_counting() {
    let ledger = Ledger::new("i".into());
    let (plain, mut pinned) = (table(1, &["a"]), table(1, &["a"]));
    pinned.state.pin = Some("a".into());
    ticket(&ledger.enter(&plain), 0).finish(Outcome::Ok);
    ticket(&ledger.enter(&pinned), 0).finish(Outcome::Ok);
    ticket(&ledger.enter(&plain), 0).finish(Outcome::Ok);
    assert_eq!(ledger.page().states[&plain.state][&key("a")].requests(), 2);
}

// rule: C3
#[test]
fn classes_and_names_are_bounded_and_the_page_fits() {
    let ledger = Ledger::new("digits-router-7d9f8c6b5-abcde-1f2e3d4c".into());
    let names = ["a-name-of-forty-characters-00000-1a2b3c4d", "a-name-of-forty-characters-00000-5e6f7a8b"];
    for generation in [1, 2] {
        let counts = ledger.enter(&table(generation, &names));
        for i in 0..1_200 {
            let headers = headers(&format!("imagenet-class-{i}"), "0.75");
            for revision in [0, 1] {
                ticket(&counts, revision).finish_answered(Outcome::Ok, Some(&headers));
            }
        }
    }
    let page = ledger.page();
    for counts in page.states.values().flat_map(|keys| keys.values()) {
        assert_eq!((counts.classes.len(), counts.classes[classes::OTHER]), (1_001, 200));
    }
    let text = page.render();
    assert!(text.len() <= endpoint::PAGE_LIMIT, "{} bytes", text.len());
}

#[test]
fn metrics_carry_no_state() {
    let ledger = Arc::new(Ledger::new("i".into()));
    let registry = Registry::new();
    registry.register(Box::new(Collector::new(ledger.clone()))).unwrap();
    assert!(Collector::new(ledger.clone()).collect().is_empty());
    for generation in 1..5 {
        let counts = ledger.enter(&table(generation, &["a"]));
        ticket(&counts, 0).finish_answered(Outcome::Ok, Some(&headers("x", "0.75")));
    }
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(
        text.contains("sluice_requests_total{assignment=\"split\",outcome=\"ok\",revision=\"a\"} 4\n"),
        "{text}"
    );
    assert!(text.contains("sluice_doubt_sum{assignment=\"split\",revision=\"a\"} 1\n"), "{text}");
    assert!(text.contains("class=\"x\""), "{text}");
    assert!(text.contains(&format!("{}_count{{assignment=\"split\",revision=\"a\"}} 4\n", family::SECONDS)));
    assert!(!text.contains("generation") && !text.contains("uid="), "{text}");
}
