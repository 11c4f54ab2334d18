//! As many requests at a revision as are allowed, and clients that are turned away while they send or never ask.

use std::time::{Duration, Instant};

use router::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::{Assignment, Outcome};

use crate::grpc::{Answer, Client, GRPC, stalling_grpc_server};
use crate::rig::{Rig, ready, route, until};
use crate::servers::{Act, Server, ok};
use crate::wire_http::{Wire, post};

// rule: C2 (a revision that is full is overloaded, and stable does not stand in for it)
#[tokio::test(flavor = "multi_thread")]
async fn a_full_revision_refuses_at_once_and_is_charged_for_it() {
    let a = Server::start(|_, _| ok()).await;
    let b = Server::start(|_, _| Act::After(Duration::from_millis(400))).await;
    let mut full = route(10_000);
    full.spec.max_in_flight = Some(3);
    let mut rig = Rig::start(full, ready(&[a.address]), ready(&[b.address])).await;
    let mut under_way = JoinSet::new();
    for n in 1..=3 {
        let address = rig.address;
        under_way.spawn(async move { post(address, "", b"x").await.unwrap().status() });
        until("it is under way", || b.seen().len() == n).await;
    }
    let start = Instant::now();
    let answer = post(rig.address, "", b"x").await.unwrap();
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("spec.router.maxInFlight"), "{}", answer.text());
    assert!(start.elapsed() < Duration::from_millis(300), "{:?}", start.elapsed());
    let counts = rig.counts("b", Assignment::Split);
    assert_eq!([Outcome::Overload, Outcome::Fallback].map(|outcome| counts.outcome(outcome)), [1, 0]);
    // A table that changes meanwhile frees no place; the other revision has places of its own.
    rig.next();
    assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 503);
    rig.route.spec.revisions = route(0).spec.revisions;
    rig.next();
    let answer = post(rig.address, "", b"x").await.unwrap();
    assert_eq!((answer.status(), answer.header("x-sluice-revision")), (200, Some("a")));
    assert_eq!(under_way.join_all().await, [200; 3]);
    rig.route.spec.revisions = route(10_000).spec.revisions;
    rig.next();
    assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 200, "the places are free again");
    assert_eq!(b.seen().len(), 4);
}

// rule: C2 (a place is given back however a request ends, and whoever goes on to stable needs one there)
#[tokio::test(flavor = "multi_thread")]
async fn places_are_given_back_however_a_request_ends() {
    for act in [Act::Stall, Act::StalledBody, Act::HalfBody, Act::Reset, Act::Garbage, ok()] {
        let (a, one) = (Server::start(|_, _| ok()).await, act.clone());
        let b = Server::start(move |_, _| one.clone()).await;
        let mut single = route(10_000);
        single.spec.max_in_flight = Some(1);
        single.spec.request_timeout = Duration::from_millis(100).into();
        let mut rig = Rig::start(single, ready(&[a.address]), ready(&[b.address])).await;
        for n in 1..=3 {
            let _ = post(rig.address, "", b"x").await;
            until("it is counted", || rig.counts("b", Assignment::Split).requests() == n).await;
        }
        let mut gone = Wire::connect(rig.address).await.unwrap();
        gone.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        drop(gone);
        until("it is counted", || rig.counts("b", Assignment::Split).requests() == 4).await;
        assert_eq!(rig.counts("b", Assignment::Split).outcome(Outcome::Overload), 0, "{act:?}");
        rig.endpoints.insert("digits-b".into(), vec![]);
        rig.install();
        for _ in 0..3 {
            assert_eq!(post(rig.address, "", b"x").await.unwrap().header("x-sluice-revision"), Some("a"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_revision_says_so_in_grpc() {
    let mut full = route(0);
    full.spec.max_in_flight = Some(1);
    let rig = Rig::start(full, ready(&[stalling_grpc_server().await]), vec![]).await;
    let (mut one, mut other) = (Client::connect(rig.address).await, Client::connect(rig.address).await);
    let first = tokio::spawn(async move { one.ask(GRPC).await.unwrap().1 });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let Answer(status, headers, ..) = other.ask(GRPC).await.unwrap();
    assert_eq!((status, &headers["grpc-status"]), (200, &"14".parse().unwrap()));
    assert!(headers["grpc-message"].to_str().unwrap().contains("maxInFlight"));
    assert_eq!(&first.await.unwrap()["grpc-status"], "4");
}

/// Sends all of a request before it looks at the answer, as many clients do.
async fn send_then_read(rig: &Rig, head: &str, body: usize) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(rig.address).await?;
    stream.write_all(head.as_bytes()).await?;
    for _ in 0..body / 65_536 {
        stream.write_all(&[b'x'; 65_536]).await?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_turned_away_while_it_sends_can_read_why() {
    let a = Server::start(|_, _| ok()).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    let post = "POST /p HTTP/1.1\r\nhost: d\r\n";
    for (head, body, status) in [
        (format!("{post}content-length: 8388608\r\n\r\n"), 8 << 20, "413"),
        (format!("{post}content-length: 8388608\r\nx-request-timeout: soon\r\n\r\n"), 8 << 20, "400"),
        (format!("{post}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"), 4 << 20, "400"),
        (format!("{post}x: "), 1 << 20, "431"),
        (format!("{post}transfer-encoding: chunked\r\n\r\n800000\r\n"), 8 << 20, "413"),
    ] {
        for _ in 0..5 {
            let answer = send_then_read(&rig, &head, body).await.unwrap_or_else(|e| format!("{e}: {head}"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }
    // One that never stops is not waited for.
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(format!("{post}content-length: 99999999999\r\n\r\n").as_bytes()).await.unwrap();
    let start = Instant::now();
    let endless = async { while stream.write_all(&[b'x'; 65_536]).await.is_ok() {} };
    timeout(Duration::from_secs(5), endless).await.expect("it is left");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    // And neither is one that stops and does not close, for long.
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(format!("{post}content-length: 8388608\r\n\r\nx").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let start = Instant::now();
    timeout(Duration::from_secs(1), stream.read_to_string(&mut answer))
        .await
        .expect("its end is seen")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && start.elapsed() < Duration::from_millis(500));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let _ = stream.write_all(b"x").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(stream.write_all(b"x").await.is_err(), "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_by_http2_without_a_request_is_not_kept() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let a = Server::start(|_, _| ok()).await;
    let limits = Limits { head: Duration::from_millis(300), connections: 4, ..Limits::default() };
    let rig = Rig::start_with(route(0), ready(&[a.address]), vec![], limits).await;
    let silent = [&PREFACE[..10], PREFACE, &[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()];
    for start in silent {
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        stream.write_all(start).await.unwrap();
        let began = Instant::now();
        let mut all = vec![];
        let closed = timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await;
        assert!(closed.is_ok(), "{} bytes: still open", start.len());
        assert!((250..2_500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }
    // One that asks in time stays for longer than that, and a client that knows HTTP/2 is told.
    let (mut asked, mut unused) = (Client::connect(rig.address).await, Client::connect(rig.address).await);
    asked.ask("application/json").await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(unused.ask("application/json").await.is_err(), "closed");
    assert_eq!(asked.ask("application/json").await.unwrap().0, 200);
}
