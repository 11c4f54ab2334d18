//! A shadow without a stable: requests are taken at once, and copied, and nobody answers them (ADR 13).

use std::time::{Duration, Instant};

use api::{ModelRoute, RouteMirror};
use wire::{Assignment, Outcome, PairOutcome};

use crate::rig::{Rig, in_condition, ready, route, until};
use crate::servers::{Act, Server, ok, status};
use crate::wire_http::{Message, Wire, post};

/// A table in which nobody has a share, and `b` gets copies of so many of a hundred requests.
fn alone(percent: u8) -> ModelRoute {
    let mut route = route(0);
    route.spec.revisions.remove(0);
    route.spec.stable = None;
    route.spec.mirror = Some(RouteMirror { revision: "b".into(), percent });
    route
}

async fn rig(percent: u8, b: &Server) -> Rig {
    Rig::start(alone(percent), vec![], ready(&[b.address])).await
}

/// The answer that says that nobody answers.
fn is_taken(answer: &Message) -> bool {
    let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    let named = answer.header("x-sluice-shadow") == Some("b") && body["shadow"] == "b";
    answer.status() == 202
        && named
        && body["message"].as_str().is_some_and(|text| text.contains("answered by nobody"))
        && answer.header("x-sluice-revision").is_none()
        && answer.header("content-type") == Some("application/json")
}

fn shadowed(rig: &Rig) -> u64 {
    rig.counts("b", Assignment::Shadow).requests()
}

// rule: C1, C2, C3
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_taken_and_their_copies_are_measured_without_a_pair() {
    let b = Server::start(|_, message| match message.text().as_str() {
        "failing" => status(500),
        "refusing" => status(422),
        _ => Act::Answer(
            200,
            "x-prediction: eight\r\nx-confidence: 0.5\r\nx-input-stats: brightness=0.5\r\n",
            String::new(),
        ),
    })
    .await;
    let rig = rig(100, &b).await;
    let headers = "x-user-id: u\r\nx-sluice-shadow: 1\r\nx-sluice-target: candidate\r\nconnection: x-hop\r\nx-hop: 1\r\n";
    let mut wire = Wire::connect(rig.address).await.unwrap();
    for (body, n) in ["an image", "failing", "refusing"].iter().zip(1..) {
        let answer = wire.post(headers, body.as_bytes()).await.unwrap();
        assert!(is_taken(&answer), "{answer:?}");
        until("the copy is counted", || shadowed(&rig) == n).await;
    }
    let copy = &b.seen()[0];
    assert_eq!((copy.text().as_str(), copy.header("x-sluice-shadow")), ("an image", Some("1")));
    assert_eq!((copy.header("x-user-id"), copy.header("x-hop")), (Some("u"), None));
    assert!(copy.header("x-request-id").is_some() && copy.header("x-sluice-target").is_none());
    let shadow = rig.counts("b", Assignment::Shadow);
    let outcomes = [Outcome::Ok, Outcome::Error, Outcome::Rejected].map(|outcome| shadow.outcome(outcome));
    assert_eq!((outcomes, shadow.classes["eight"]), ([1, 1, 1], 1));
    let sums = [&shadow.latency, &shadow.doubt, &shadow.features[0]].map(|cells| cells.iter().sum::<u64>());
    assert_eq!(sums, [1, 1, 1]);
    assert_eq!(rig.pairs().outcomes, [0; 5], "there is no other answer");
    assert_eq!(rig.requests(), 3, "nothing but copies is counted");
    // rule: C5
    assert_eq!((rig.slots().seen().len(), rig.slots().failed().len()), (1, 1), "one user asked");
    let page = rig.board.report().unwrap();
    assert_eq!(page.report.endpoints["b"].ready, 1, "as /route says");
}

// If an answer waited for its copy, it would take 600 ms at least.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_shadow_that_stalls() {
    let b = Server::start(|_, _| Act::Stall).await;
    let rig = rig(100, &b).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    let start = Instant::now();
    for _ in 0..80 {
        assert!(is_taken(&wire.post("", b"x").await.unwrap()));
    }
    assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
    until("all are counted", || shadowed(&rig) + rig.paired(PairOutcome::Dropped) == 80).await;
    let shadow = rig.counts("b", Assignment::Shadow);
    assert!(shadow.outcome(Outcome::Timeout) >= 64, "{shadow:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ready_endpoint_requests_are_taken_and_copies_dropped() {
    let b = Server::start(|_, _| ok()).await;
    for condition in [router::Condition::Unready, router::Condition::Leaving, router::Condition::Gone] {
        let rig = Rig::start(alone(100), vec![], in_condition(&[b.address], condition)).await;
        assert!(is_taken(&post(rig.address, "", b"x").await.unwrap()));
        until("the copy is dropped", || rig.paired(PairOutcome::Dropped) == 1).await;
        assert_eq!((b.seen().len(), rig.requests()), (0, 0));
        assert_eq!(rig.board.report().unwrap().report.endpoints["b"].ready, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_copied_whole_and_the_connection_goes_on() {
    let b = Server::start(|_, _| ok()).await;
    let rig = rig(100, &b).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    // Up to 1 MiB is held before a revision is drawn; what is longer comes in while it is kept.
    for (length, n) in [(0, 1), (1 << 10, 2), (3 << 20, 3)] {
        let body: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        assert!(is_taken(&wire.post("", &body).await.unwrap()), "{length}");
        until("the copy has arrived", || b.seen().len() == n).await;
        assert!(b.seen()[n - 1].body == body, "{length}");
    }
    let mut large = Wire::connect(rig.address).await.unwrap();
    large.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 5242880\r\n\r\n").await.unwrap();
    assert_eq!(large.read().await.unwrap().status(), 413);
    // A client that stops sending is not waited for.
    let mut slow = Wire::connect(rig.address).await.unwrap();
    slow.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 2097152\r\n\r\nx").await.unwrap();
    assert_eq!(slow.read().await.unwrap().status(), 408);
    assert_eq!(b.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_copied_and_nothing_but_posts() {
    const REQUESTS: f64 = 1_000.0;
    let b = Server::start(|_, _| ok()).await;
    let rig = rig(30, &b).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    for _ in 0..REQUESTS as usize {
        assert_eq!(wire.post("", b"x").await.unwrap().status(), 202);
    }
    wire.send("GET /p HTTP/1.1\r\nhost: d\r\n\r\n").await.unwrap();
    assert!(is_taken(&wire.read().await.unwrap()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let copied = (shadowed(&rig) + rig.paired(PairOutcome::Dropped)) as f64;
    let off = (copied - REQUESTS * 0.3).abs() / (REQUESTS * 0.3 * 0.7).sqrt();
    assert!(off < 4.0, "{copied} of {REQUESTS} are {off:.1} sigma from 30 %");
    assert!(b.seen().iter().all(|message| message.first.starts_with("POST ")));
}

// rule: R8
#[tokio::test(flavor = "multi_thread")]
async fn with_the_mirror_it_ends_and_a_pin_lets_it_answer() {
    let b = Server::start(|_, _| ok()).await;
    let mut rig = rig(100, &b).await;
    rig.route.metadata.annotations = Some([(api::names::PIN.to_owned(), "b".to_owned())].into());
    rig.next();
    let answer = post(rig.address, "", b"x").await.unwrap();
    assert_eq!((answer.status(), answer.header("x-sluice-revision")), (200, Some("b")));
    rig.route.metadata.annotations = None;
    rig.route.spec.mirror = None;
    rig.next();
    assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 503);
    assert_eq!((b.seen().len(), shadowed(&rig)), (1, 0));
    // Whoever has a share answers, and its requests are copied.
    let a = Server::start(|_, _| ok()).await;
    rig.route = ModelRoute { metadata: rig.route.metadata.clone(), ..route(0) };
    rig.route.spec.stable = None;
    rig.route.spec.mirror = alone(100).spec.mirror;
    rig.endpoints.insert("digits-a".into(), ready(&[a.address]));
    rig.next();
    let answer = post(rig.address, "", b"x").await.unwrap();
    assert_eq!((answer.status(), answer.header("x-sluice-revision")), (200, Some("a")));
    until("its copy is compared", || rig.paired(PairOutcome::Agree) == 1).await;
}
