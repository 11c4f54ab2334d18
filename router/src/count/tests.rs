mod ahead;

use std::time::Instant;

use api::{ModelRoute, ModelRouteSpec, RouteRevision, SlotRange, Sticky};
use http::HeaderMap;
use prometheus::core::Collector as _;
use prometheus::{Registry, TextEncoder};
use proptest::prelude::*;
use wire::{CELLS, Key, LATENCY_CELLS, Page, endpoint, family};

use super::*;
use crate::Table;

pub(super) fn table(generation: i64, revisions: &[&str]) -> Table {
    Table::new(&route(generation, revisions)).unwrap()
}

pub(crate) fn route(generation: i64, revisions: &[&str]) -> ModelRoute {
    let revisions = revisions
        .iter()
        .zip(0..)
        .map(|(n, i)| {
            let slots = vec![SlotRange { from: i, to: i + 1 }];
            RouteRevision { name: (*n).into(), service: (*n).into(), slots, trip_wire: None }
        })
        .collect();
    let mut route = ModelRoute::new(
        "digits",
        ModelRouteSpec {
            revisions,
            stable: None,
            shares: String::new(),
            candidate: None,
            mirror: None,
            matches: vec![],
            targeting: false,
            sticky: None,
            salt: String::new(),
            request_timeout: Duration::from_secs(1).into(),
            retry: true,
            max_in_flight: None,
            automation: None,
        },
    );
    route.metadata.uid = Some("0b7d3a56-5a39-4c2c-9f55-0123456789ab".into());
    route.metadata.generation = Some(generation);
    route
}

fn ticket(counts: &Arc<StateCounts>, revision: usize) -> Ticket {
    Ticket::new(counts.clone(), Choice { revision, assignment: Assignment::Split }, 0, Instant::now())
}

fn key(revision: &str) -> Key {
    Key { revision: revision.into(), assignment: Assignment::Split }
}

pub(super) fn headers(class: &str, confidence: &str) -> AnswerHeaders {
    AnswerHeaders::of(&answer(class, confidence))
}

/// As a model server answers.
fn answer(class: &str, confidence: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(wire::header::PREDICTION, class.parse().unwrap());
    headers.insert(wire::header::CONFIDENCE, confidence.parse().unwrap());
    stats(&mut headers, wire::header::INPUT_STATS, &[0.5, 0.25, 0.1, 0.3, 50_176.0], 0);
    stats(&mut headers, wire::header::OUTPUT_STATS, &[0.125, -7.5], 5);
    headers
}

/// Writes values of features from the one of this number on.
fn stats(headers: &mut HeaderMap, name: &'static str, values: &[f64], from: usize) {
    let values = Feature::ALL[from..].iter().copied().zip(values.iter().copied());
    headers.insert(name, wire::header::encode_stats(values).parse().unwrap());
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

// rule: R1
#[test]
fn a_pin_and_back_keeps_all_counters_of_a_generation() {
    let ledger = Ledger::new("i".into());
    let pinned = |pin: Option<&str>| {
        let mut table = table(1, &["a", "b"]);
        table.state.pin = pin.map(str::to_owned);
        table
    };
    let slow = ticket(&ledger.enter(&pinned(None)), 0);
    for _ in 0..3 {
        for pin in [Some("a"), Some("b"), None] {
            ticket(&ledger.enter(&pinned(pin)), 0).finish(Outcome::Ok);
        }
    }
    slow.finish(Outcome::Error);
    let page = ledger.page();
    assert_eq!(page.states.len(), 3);
    let counts = &page.states[&pinned(None).state][&key("a")];
    assert_eq!((counts.requests(), counts.outcome(Outcome::Error)), (4, 1));
    // Another generation: the one before stays, its pins go.
    ledger.enter(&table(2, &["a", "b"]));
    assert_eq!(ledger.page().states.len(), 2);
    // The number of pins is bounded.
    for i in 0..20 {
        ledger.enter(&pinned(Some(&format!("r{i}"))));
    }
    assert!(ledger.books().kept.len() <= 8);
    assert!(ledger.books().retiring.is_empty(), "they are folded without anybody asking for totals");
}

// rule: C3
#[test]
fn classes_are_of_one_state_and_their_names_are_short() {
    let ledger = Ledger::new("i".into());
    let first = ledger.enter(&table(1, &["a"]));
    for i in 0..2_000 {
        ticket(&first, 0).finish_answered(Outcome::Ok, Some(&headers(&format!("c{i}"), "0.5")));
    }
    let second = ledger.enter(&table(2, &["a"]));
    let quotes = "%22".repeat(25);
    for name in ["new", &"y".repeat(48), &"z".repeat(49), &quotes] {
        ticket(&second, 0).finish_answered(Outcome::Ok, Some(&headers(name, "0.5")));
    }
    let page = ledger.page();
    assert_eq!(page.states[&first.state][&key("a")].classes.len(), 1_001);
    assert_eq!(page.states[&first.state][&key("a")].classes[classes::OTHER], 1_000);
    let classes = &page.states[&second.state][&key("a")].classes;
    assert_eq!((classes.len(), classes["new"], classes[classes::OTHER]), (3, 1, 2));
    // The totals of all states are bounded too.
    for generation in 3..8 {
        let counts = ledger.enter(&table(generation, &["a"]));
        for i in 0..900 {
            let name = format!("g{generation}c{i}");
            ticket(&counts, 0).finish_answered(Outcome::Ok, Some(&headers(&name, "0.5")));
        }
    }
    assert_eq!(ledger.totals()[&key("a")].counts.classes.values().sum::<u64>(), 2_004 + 5 * 900);
    assert!(ledger.books().folded.iter().all(|(_, tally)| tally.counts.classes.len() <= 1_001));
}

/// Counts a lot in every cell of an assignment, with its labels, and of slots and pairs.
fn fill(counts: &StateCounts, assignment: Assignment) {
    // The most that is read: beyond, the page is no use.
    let large = 1 << 43;
    for series in counts.series.iter().filter_map(|all| all[assignment as usize].as_deref()) {
        let cells = series.features.iter().flatten().chain(&series.latency).chain(&series.doubt);
        for cell in cells.chain(&series.outcomes).chain([&series.nulls]) {
            cell.store(large, Relaxed);
        }
        series.classes.iter().filter(|c| c.load(Relaxed) > 0).for_each(|c| c.store(large, Relaxed));
        let labels =
            series.labels.iter().flat_map(|labels| labels.cells.iter().flatten().chain(&labels.late));
        labels.for_each(|cell| cell.store(large, Relaxed));
    }
    for slot in counts.slots.iter().flat_map(|slots| (0..10_000).map(move |slot| (slots, slot))) {
        slot.0.count(slot.1, Outcome::Error);
        slot.0.raise_latency(slot.1, LATENCY_CELLS - 1);
        slot.0.raise_doubt(slot.1, CELLS - 1);
    }
    if let Some(pairs) = &counts.pairs {
        let cells = pairs.gap.iter().chain(&pairs.ratio).chain(&pairs.outcomes);
        cells.for_each(|cell| cell.store(large, Relaxed));
    }
}

/// How many names of classes were kept, and `(other)`.
fn names_kept(counts: &StateCounts, revision: usize, assignment: Assignment) -> usize {
    let series = counts.series[revision][assignment as usize].as_deref().unwrap();
    series.classes.iter().filter(|c| c.load(Relaxed) > 0).count()
}

/// A ledger whose process has a long name.
fn named(labelled: bool) -> Ledger {
    let ledger = Ledger::new("digits-router-7d9f8c6b5-abcde-1f2e3d4c".into());
    if labelled { ledger.with_feedback() } else { ledger }
}

// rule: C3
#[test]
fn the_page_fits_with_all_cells_filled_and_the_longest_names() {
    assert!(kept_when_full(&named(false)) > 400);
    assert!(kept_when_full(&named(true)) > 300);
}

/// Fills the page and says how many names of the longest kind were kept.
fn kept_when_full(ledger: &Ledger) -> usize {
    let names = ["a-name-of-forty-characters-00000-1a2b3c4d", "a-name-of-forty-characters-00000-5e6f7a8b"];
    let mut pins = vec![];
    for (generation, pin) in [(i64::MAX - 1, None), (i64::MAX, None)]
        .into_iter()
        .chain((0..7).map(|i| (i64::MAX, Some(format!("a-name-of-forty-characters-00000-{i:08}")))))
    {
        // All slots are taken, and on the page.
        let mut route = route(generation, &names);
        route.spec.sticky = Some(Sticky::by_header("x-user-id"));
        route.spec.revisions[0].slots = vec![SlotRange { from: 1, to: 10_000 }];
        route.spec.revisions[1].slots = vec![SlotRange { from: 0, to: 1 }];
        let mut table = Table::new(&route).unwrap();
        // A pinned state has no split requests.
        let assignment = if pin.is_some() { Assignment::Pin } else { Assignment::Split };
        table.state.pin = pin;
        let counts = ledger.enter(&table);
        for i in 0..1_100 {
            let headers = headers(&format!("{i:048}"), "0.75");
            for revision in [0, 1] {
                let choice = Choice { revision, assignment };
                let ticket = Ticket::new(counts.clone(), choice, 0, Instant::now());
                ticket.finish_answered(Outcome::Ok, Some(&headers));
            }
        }
        fill(&counts, assignment);
        assert_eq!(counts.slots.is_some(), assignment == Assignment::Split);
        pins.push(counts);
        // After each state, as every state is the last one for a while.
        let text = ledger.page().render();
        assert!(text.len() <= endpoint::PAGE_LIMIT, "{} bytes", text.len());
    }
    let kept = names_kept(&pins[1], 0, Assignment::Split);
    println!("{kept} names");
    kept
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
    for (family, feature, value) in [
        ("input_sum", "size", "200704"),
        ("input_sum", "saturation", "1.2"),
        ("output_sum", "energy", "-30"),
        ("output_count", "entropy", "4"),
    ] {
        let labels = format!("assignment=\"split\",feature=\"{feature}\",revision=\"a\"");
        assert!(
            text.contains(&format!("sluice_{family}{{{labels}}} {value}\n")),
            "{family} {feature} {text}"
        );
    }
    assert!(text.contains(&format!("{}_count{{assignment=\"split\",revision=\"a\"}} 4\n", family::SECONDS)));
    assert!(!text.contains("generation") && !text.contains("uid="), "{text}");
}

// rule: C2
#[test]
fn what_fails_at_once_is_not_fast() {
    let ledger = Ledger::new("i".into());
    let counts = ledger.enter(&table(1, &["a"]));
    for outcome in [Outcome::Error, Outcome::Overload, Outcome::Rejected, Outcome::Cancelled] {
        ticket(&counts, 0).finish_answered(outcome, None);
    }
    let seen = |ledger: &Ledger| ledger.page().states[&counts.state][&key("a")].latency.iter().sum::<u64>();
    assert_eq!(seen(&ledger), 0);
    ticket(&counts, 0).finish_answered(Outcome::Ok, Some(&headers("x", "0.75")));
    ticket(&counts, 0).finish(Outcome::Timeout);
    assert_eq!(seen(&ledger), 2);
}

/// What it costs to count: the goal is 200 ns.
#[test]
#[ignore = "measures: cargo test --release -p router --lib -- --ignored --nocapture what_counting_costs"]
#[allow(clippy::print_stdout, reason = "it is what this is for")]
fn what_counting_costs() {
    const REQUESTS: u32 = 1_000_000;
    let ledger = Ledger::new("i".into());
    let counts = ledger.enter(&table(1, &["a", "b"]));
    let seven = answer("seven", "0.93");
    let mut three = seven.clone();
    three.remove(wire::header::OUTPUT_STATS);
    stats(&mut three, wire::header::INPUT_STATS, &[0.5, 0.25, 0.1], 0);
    let each = |what: &str, answer: &dyn Fn() -> Option<AnswerHeaders>| {
        let from = Instant::now();
        for i in 0..REQUESTS {
            ticket(&counts, i as usize % 2).finish_answered(Outcome::Ok, answer().as_ref());
        }
        println!("{what}: {:.0} ns per request", from.elapsed().as_nanos() as f64 / f64::from(REQUESTS));
    };
    each("outcome and latency", &|| None);
    for (features, headers) in [("three", &three), ("seven", &seven)] {
        let what = format!("with class, confidence and {features} features, read from an answer's headers");
        each(&what, &|| Some(AnswerHeaders::of(headers)));
    }
}
