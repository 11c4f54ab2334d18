//! Clients that are slow say nothing about a revision.

use std::time::Duration;

use router::Limits;
use wire::{Assignment, Grid, Outcome};

use crate::rig::{INTAKE, Rig, ready, route, until};
use crate::servers::{Act, Server, ok};
use crate::wire_http::Wire;

/// The slowest cell with a latency, as its upper edge in seconds.
fn slowest(rig: &Rig) -> f64 {
    let counts = rig.counts("a", Assignment::Split);
    Grid::Seconds.edge(counts.latency.iter().rposition(|n| *n > 0).expect("it was counted"))
}

// rule: C2 (the request's time is 600 ms, and no client can use it up)
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_no_latency_and_no_timeout() {
    let a = Server::start(|_, _| ok()).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    // Held back, and streamed: the pauses are longer than the request's time.
    for length in [10, 2 << 20] {
        let mut wire = Wire::connect(rig.address).await.unwrap();
        let head = format!("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: {length}\r\n\r\n");
        wire.send(head).await.unwrap();
        wire.send(vec![b'x'; length / 2]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        wire.send(vec![b'x'; length - length / 2]).await.unwrap();
        assert_eq!(wire.read().await.unwrap().status(), 200, "{length}");
    }
    assert_eq!(rig.outcome("a"), Some((Outcome::Ok, 2)));
    assert!(slowest(&rig) < 0.5, "{}", slowest(&rig));
}

// rule: C2
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_ends_its_body_is_cancelled() {
    let a = Server::start(|_, _| ok()).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 2000000\r\n\r\nx").await.unwrap();
    let start = std::time::Instant::now();
    assert_eq!(wire.read().await.unwrap().status(), 408);
    assert!(start.elapsed() >= INTAKE - Duration::from_millis(50), "{:?}", start.elapsed());
    assert_eq!(rig.outcome("a"), Some((Outcome::Cancelled, 1)), "it was assigned, as it is streamed");
}

// rule: C2
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_late_even_if_the_body_is_streamed() {
    let a = Server::start(|_, _| Act::Stall).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    assert_eq!(wire.post("", &vec![b'x'; 2 << 20]).await.unwrap().status(), 504);
    assert_eq!(rig.outcome("a"), Some((Outcome::Timeout, 1)));
}

// rule: R6 (what is announced and never sent takes no memory from others)
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_only_announce_bodies_keep_nobody_from_a_retry() {
    let a = Server::start(|n, _| if n == 0 { Act::Reset } else { ok() }).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    let mut idlers = vec![];
    for _ in 0..60 {
        let mut wire = Wire::connect(rig.address).await.unwrap();
        wire.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 1048576\r\n\r\nx").await.unwrap();
        idlers.push(wire);
    }
    let mut wire = Wire::connect(rig.address).await.unwrap();
    assert_eq!(wire.post("", &[7; 200_000]).await.unwrap().status(), 200);
    assert_eq!((a.seen().len(), rig.outcome("a")), (2, Some((Outcome::Ok, 1))));
}

const LARGE: usize = 24 << 20;

async fn large(limits: Limits) -> (Rig, Server, Wire) {
    let a = Server::start(|_, _| Act::Answer(200, "", "y".repeat(LARGE))).await;
    let rig = Rig::start_with(route(0), ready(&[a.address]), vec![], limits).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
    until("the server has it", || a.seen().len() == 1).await;
    (rig, a, wire)
}

// rule: C2
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_late_is_no_timeout() {
    let (rig, _a, mut wire) = large(Limits::default()).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let answer = wire.read().await.unwrap();
    assert_eq!((answer.status(), answer.body.len()), (200, LARGE));
    until("it is counted", || rig.requests() == 1).await;
    assert_eq!(rig.outcome("a"), Some((Outcome::Ok, 1)));
    assert!(slowest(&rig) < 0.9, "{}", slowest(&rig));
}

// rule: C2
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_answer_is_left_and_cancelled() {
    let limits = Limits { stall: Duration::from_millis(400), ..Limits::default() };
    let (rig, _a, _wire) = large(limits).await;
    until("it is left", || rig.requests() == 1).await;
    assert_eq!(rig.outcome("a"), Some((Outcome::Cancelled, 1)));
}
