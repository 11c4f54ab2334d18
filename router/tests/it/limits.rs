//! What is refused at the door, and what is passed on of a head.

use std::time::{Duration, Instant};

use router::Limits;
use tokio::time::timeout;
use wire::{Assignment, Outcome};

use crate::rig::{Rig, ready, route};
use crate::servers::{Act, Server, ok};
use crate::wire_http::{Message, Wire, post};

async fn rig() -> (Rig, Server) {
    rig_with(Limits::default()).await
}

async fn rig_with(limits: Limits) -> (Rig, Server) {
    let a = Server::start(|_, _| ok()).await;
    (Rig::start_with(route(0), ready(&[a.address]), vec![], limits).await, a)
}

async fn raw(rig: &Rig, bytes: &str) -> (Message, bool) {
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send(bytes).await.unwrap();
    let answer = wire.read().await.unwrap();
    let closed = timeout(Duration::from_millis(300), wire.is_closed()).await.unwrap_or(false);
    (answer, closed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_length_is_given_twice_is_refused() {
    let (rig, a) = rig().await;
    for lengths in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "content-length: 5\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 5\r\n",
        "content-length: +5\r\n",
        "transfer-encoding: chunked, gzip\r\n",
    ] {
        let head = format!("POST /p HTTP/1.1\r\nhost: d\r\n{lengths}\r\n");
        let (answer, closed) = raw(&rig, &format!("{head}0\r\n\r\n")).await;
        assert_eq!((answer.status(), closed), (400, true), "{lengths}");
    }
    assert_eq!((a.seen().len(), rig.requests()), (0, 0));
    // What follows a proper request on the same connection is read as strictly.
    let mut wire = Wire::connect(rig.address).await.unwrap();
    assert_eq!(wire.post("", b"x").await.unwrap().status(), 200);
    wire.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(wire.read().await.unwrap().status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_and_heads_are_refused() {
    let (rig, a) = rig().await;
    let (answer, closed) = raw(&rig, "POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 4194305\r\n\r\n").await;
    assert_eq!((answer.status(), closed, rig.requests()), (413, true, 0));
    assert_eq!(answer.text(), "{\"error\":\"the body is larger than 4194304 bytes\"}");

    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send("POST /p HTTP/1.1\r\nhost: d\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    for part in 0..5 {
        // The last part is read too, though the answer was given: a reset would take it away.
        let sent = wire.send([b"100000\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat()).await;
        assert!(sent.is_ok(), "{part}: {sent:?}");
    }
    assert_eq!(wire.read().await.unwrap().status(), 413);
    assert_eq!(rig.outcome("a"), Some((Outcome::Rejected, 1)), "it was assigned before its length was known");

    let (answer, _) =
        raw(&rig, &format!("GET /p HTTP/1.1\r\nhost: d\r\nx: {}\r\n\r\n", "y".repeat(80_000))).await;
    assert_eq!(answer.status(), 431);
    let many: String = (0..200).map(|i| format!("x-{i}: 1\r\n")).collect();
    assert_eq!(raw(&rig, &format!("GET /p HTTP/1.1\r\nhost: d\r\n{many}\r\n")).await.0.status(), 431);
    assert_eq!(raw(&rig, "CONNECT d:80 HTTP/1.1\r\nhost: d\r\n\r\n").await.0.status(), 405);
    assert!(a.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_its_time_and_an_idle_connection_has_more() {
    let limits =
        Limits { head: Duration::from_millis(200), idle: Duration::from_millis(700), ..Limits::default() };
    let (rig, _a) = rig_with(limits).await;
    let closed_after = async |first: &str| {
        let mut wire = Wire::connect(rig.address).await.unwrap();
        assert_eq!(wire.post("", b"x").await.unwrap().status(), 200);
        wire.send(first).await.unwrap();
        let start = Instant::now();
        // hyper may say 408 before it closes.
        while !timeout(Duration::from_secs(3), wire.is_closed()).await.unwrap() {}
        start.elapsed().as_millis()
    };
    let head = closed_after("GET / HT").await;
    assert!((150..500).contains(&head), "{head}");
    let idle = closed_after("").await;
    assert!((600..1500).contains(&idle), "{idle}");
    // A body has a time of its own, which is charged to nobody.
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 5\r\n\r\nx").await.unwrap();
    assert_eq!(wire.read().await.unwrap().status(), 408);
    assert_eq!(rig.outcome("a"), Some((Outcome::Ok, 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_beyond_the_limit_wait() {
    let (rig, _a) = rig_with(Limits { connections: 2, ..Limits::default() }).await;
    let mut two = vec![];
    for _ in 0..2 {
        let mut wire = Wire::connect(rig.address).await.unwrap();
        assert_eq!(wire.post("", b"x").await.unwrap().status(), 200);
        two.push(wire);
    }
    let address = rig.address;
    let third = tokio::spawn(async move { post(address, "", b"x").await.unwrap().status() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!third.is_finished());
    two.pop();
    assert_eq!(timeout(Duration::from_secs(2), third).await.unwrap().unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_passed_on_without_what_belongs_to_a_connection() {
    let a = Server::start(|_, _| {
        Act::Answer(
            200,
            "connection: x-private\r\nx-private: 1\r\nkeep-alive: timeout=5\r\nx-sluice-revision: forged\r\nx-model-version: 1.0.0\r\n",
            "ok".into(),
        )
    })
    .await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    let request = "POST http://digits/predict?top=3 HTTP/1.1\r\nhost: digits\r\nconnection: x-hop\r\nx-hop: 1\r\n\
        te: trailers\r\nupgrade: websocket\r\nexpect: 100-continue\r\nx-user-id: u\r\nx-request-id: mine\r\ncontent-length: 1\r\n\r\nx";
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send(request).await.unwrap();
    let mut answer = wire.read().await.unwrap();
    if answer.status() == 100 {
        answer = wire.read().await.unwrap();
    }
    let seen = &a.seen()[0];
    assert_eq!(seen.first, "POST /predict?top=3 HTTP/1.1");
    for gone in ["connection", "x-hop", "te", "upgrade", "expect"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!((seen.header("x-user-id"), seen.header("host")), (Some("u"), Some("digits")));
    assert_eq!(seen.header("x-request-id"), Some("mine"));
    assert_eq!((answer.header("x-private"), answer.header("keep-alive")), (None, None));
    assert_eq!(
        (answer.header("x-request-id"), answer.header("x-model-version")),
        (Some("mine"), Some("1.0.0"))
    );
    let revisions: Vec<_> = answer.headers.iter().filter(|(n, _)| n == "x-sluice-revision").collect();
    assert_eq!(revisions.len(), 1);
    assert_eq!(revisions[0].1, "a");
    // Without an id both sides see the same new one.
    let answer = post(rig.address, "", b"x").await.unwrap();
    assert_eq!(answer.header("x-request-id"), a.seen()[1].header("x-request-id"));
    assert_eq!(answer.header("x-request-id").map(str::len), Some(32));
    // One that is absurd is replaced, on both sides.
    let answer = post(rig.address, &format!("x-request-id: {}\r\n", "y".repeat(200)), b"x").await.unwrap();
    assert_eq!(answer.header("x-request-id").map(str::len), Some(32));
    assert_eq!(answer.header("x-request-id"), a.seen()[2].header("x-request-id"));
}

// rule: C1 (a scanner's pages are no predictions)
#[tokio::test(flavor = "multi_thread")]
async fn only_posts_are_evidence() {
    let (rig, a) = rig().await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    for method in ["GET", "DELETE", "PUT"] {
        wire.send(format!("{method} /p HTTP/1.1\r\nhost: d\r\ncontent-length: 0\r\n\r\n")).await.unwrap();
        assert_eq!(wire.read().await.unwrap().status(), 200, "{method}");
    }
    assert_eq!((a.seen().len(), rig.requests()), (3, 0));
    let counts = rig.counts("a", Assignment::Split);
    assert_eq!((counts.classes.len(), counts.latency.iter().sum::<u64>()), (0, 0));
    assert_eq!(wire.post("", b"x").await.unwrap().status(), 200);
    assert_eq!(rig.outcome("a"), Some((Outcome::Ok, 1)));
}

// rule: C3
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_counts_one_item_drawn_at_random() {
    const REQUESTS: u64 = 60;
    let headers = "x-prediction: a,b,-\r\nx-confidence: 0.9,0.5,NaN\r\nx-input-stats: brightness=0.1,brightness=0.2,brightness=0.3\r\n";
    let a = Server::start(move |_, _| Act::Answer(200, headers, String::new())).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    for _ in 0..REQUESTS {
        post(rig.address, "", b"x").await.unwrap();
    }
    let counts = rig.counts("a", Assignment::Split);
    let answered: u64 = counts.doubt.iter().sum();
    assert_eq!((counts.requests(), counts.features[0].iter().sum::<u64>()), (REQUESTS, REQUESTS));
    assert_eq!((answered + counts.null_outputs, counts.classes.values().sum()), (REQUESTS, answered));
    // Each with probability (2/3)^60, one in 36 billion.
    assert!(counts.null_outputs > 0 && counts.classes["a"] > 0 && counts.classes["b"] > 0, "{counts:?}");
}
