//! Many requests: shares, stickiness, pods that die, and the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use router::{Limits, slot_of_key};
use tokio::task::JoinSet;
use wire::{Assignment, Outcome, SlotSet};

use crate::rig::{Rig, ready, route};
use crate::servers::{Act, Server, ok, status};
use crate::wire_http::{Wire, post};

// rule: R3, C2
#[tokio::test(flavor = "multi_thread")]
async fn one_percent_is_one_percent_and_each_request_counts_once() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let rig = Rig::start(route(100), ready(&[a.address]), ready(&[b.address])).await;
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let address = rig.address;
        clients.spawn(async move {
            let mut wire = Wire::connect(address).await.unwrap();
            for _ in 0..2_500 {
                assert_eq!(wire.post("", b"x").await.unwrap().status(), 200);
            }
        });
    }
    clients.join_all().await;
    let n = 20_000f64;
    let (stable, candidate) = (rig.counts("a", Assignment::Split), rig.counts("b", Assignment::Split));
    assert_eq!(stable.outcome(Outcome::Ok) + candidate.outcome(Outcome::Ok), 20_000);
    assert_eq!((stable.requests() + candidate.requests(), rig.requests()), (20_000, 20_000));
    assert_eq!(candidate.requests(), b.seen().len() as u64);
    assert_eq!(candidate.classes["seven"], candidate.requests());
    let sigma = (n * 0.01 * 0.99).sqrt();
    let off = (candidate.requests() as f64 - n * 0.01).abs() / sigma;
    assert!(off < 4.0, "{} of {n} are {off:.1} sigma from 1 %", candidate.requests());
}

// rule: R3
#[tokio::test(flavor = "multi_thread")]
async fn a_user_keeps_her_revision_and_a_growing_share_only_takes() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let mut rig = Rig::start(route(3_000), ready(&[a.address]), ready(&[b.address])).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    for share in [3_000, 6_000] {
        rig.route.spec.revisions = route(share).spec.revisions;
        rig.install();
        for user in 0..100 {
            let key = format!("user-{user}");
            let expected = if slot_of_key("digits-1", key.as_bytes()) < share { "b" } else { "a" };
            for _ in 0..2 {
                let answer = wire.post(&format!("x-user-id: {key}\r\n"), b"x").await.unwrap();
                assert_eq!(answer.header("x-sluice-revision"), Some(expected), "{key}");
            }
        }
    }
    // An empty key is no key.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        seen.insert(
            wire.post("x-user-id: \r\n", b"x").await.unwrap().header("x-sluice-revision").map(str::to_owned),
        );
    }
    assert_eq!(seen.len(), 2);
}

// rule: C5
#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_slots_of_users_and_of_those_who_met_an_error() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| status(500)).await);
    let rig = Rig::start(route(3_000), ready(&[a.address]), ready(&[b.address])).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    let users: Vec<String> = (0..40).map(|user| format!("user-{user}")).collect();
    for user in users.iter().chain(&users) {
        wire.post(&format!("x-user-id: {user}\r\n"), b"x").await.unwrap();
    }
    let expected: SlotSet = users.iter().map(|user| slot_of_key("digits-1", user.as_bytes())).collect();
    let slots = rig.slots();
    assert_eq!(slots.seen(), &expected);
    assert_eq!(slots.failed(), &expected.and(&slots.owned("b")));
    assert_eq!((slots.owned("a").len(), slots.owned("b").len()), (7_000, 3_000));
    assert!(!slots.failed().is_empty() && slots.failed() != &expected);
}

/// Clients that send until told to stop. They never retry; they open a new connection when told to by
/// `Connection: close`.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Result<u64, String>>,
    sent: Arc<AtomicU64>,
}

impl Load {
    fn start(address: SocketAddr, clients: usize, check: fn(&crate::wire_http::Message) -> bool) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut set = JoinSet::new();
        for _ in 0..clients {
            let (stop, sent) = (stop.clone(), sent.clone());
            set.spawn(async move {
                let (mut wire, mut closed) = (None, 0);
                while !stop.load(SeqCst) {
                    let connection = match wire.take() {
                        Some(connection) => connection,
                        None => Wire::connect(address).await.map_err(|e| format!("connect: {e}"))?,
                    };
                    let mut connection: Wire = connection;
                    let answer =
                        connection.post("", &[7; 5_000]).await.map_err(|e| format!("answer: {e}"))?;
                    if answer.status() != 200 || !check(&answer) {
                        return Err(format!("{answer:?} {}", answer.text()));
                    }
                    sent.fetch_add(1, SeqCst);
                    if answer.header("connection") == Some("close") {
                        closed += 1;
                    } else {
                        wire = Some(connection);
                    }
                }
                Ok(closed)
            });
        }
        Self { stop, clients: set, sent }
    }

    fn sent(&self) -> u64 {
        self.sent.load(SeqCst)
    }

    /// How often a connection was told to close. Panics when a request was lost.
    async fn finish(self) -> u64 {
        self.stop.store(true, SeqCst);
        self.clients.join_all().await.into_iter().map(|lost| lost.expect("no request is lost")).sum()
    }
}

fn slow_now_and_then(n: usize) -> Act {
    if n.is_multiple_of(7) { Act::After(Duration::from_millis(30)) } else { ok() }
}

// rule: R6
#[tokio::test(flavor = "multi_thread")]
async fn killed_pods_lose_no_request() {
    let serve = |address: Option<SocketAddr>| async move {
        Server::start_at(address.unwrap_or("127.0.0.1:0".parse().unwrap()), |n, _| slow_now_and_then(n)).await
    };
    let (a, mut b1, mut b2) = (serve(None).await, serve(None).await, serve(None).await);
    let rig = Rig::start(route(5_000), ready(&[a.address]), ready(&[b1.address, b2.address])).await;
    let load = Load::start(rig.address, 8, |_| true);
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        // Its connections break and its address refuses, as those of a SIGKILLed process; the endpoint stays
        // ready in the table. In one round both are gone.
        let (one, other) = (b1.address, b2.address);
        drop(b1);
        if round == 3 {
            drop(b2);
            tokio::time::sleep(Duration::from_millis(150)).await;
            b2 = serve(Some(other)).await;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        b1 = b2;
        b2 = serve(Some(one)).await;
    }
    let sent = load.sent();
    load.finish().await;
    let (stable, candidate) = (rig.counts("a", Assignment::Split), rig.counts("b", Assignment::Split));
    assert!(sent > 300, "{sent}");
    assert!(candidate.outcome(Outcome::Fallback) > 0, "while both were gone stable took over");
    let known = candidate.outcome(Outcome::Ok) + candidate.outcome(Outcome::Fallback);
    assert_eq!((candidate.requests(), stable.requests()), (known, stable.outcome(Outcome::Ok)));
}

// rule: R6 (a server that closes idle connections while we send)
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_close_without_a_word_lose_no_request() {
    let a = Server::start(|n, _| if n.is_multiple_of(3) { Act::AnswerAndLeave } else { ok() }).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    let load = Load::start(rig.address, 4, |_| true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(load.sent() > 100, "{}", load.sent());
    load.finish().await;
}

// rule: R6
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_loses_no_request() {
    let a = Server::start(|n, _| slow_now_and_then(n)).await;
    let limits = Limits { quiet: Duration::from_millis(400), ..Limits::default() };
    let mut rig = Rig::start_with(route(0), ready(&[a.address]), vec![], limits).await;
    let mut idle = Wire::connect(rig.address).await.unwrap();
    assert_eq!(idle.post("", b"x").await.unwrap().header("connection"), None);
    let load = Load::start(rig.address, 8, |_| true);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    rig.stop.take().unwrap().send(()).unwrap();
    // A Service still sends new clients for a while.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = load.sent();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(load.sent() > before, "still served");
    assert!(!rig.task.is_finished());
    let closed = load.finish().await;
    assert!(closed > 8, "answers say Connection: close: {closed}");
    (&mut rig.task).await.unwrap().unwrap();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "it ends once nothing is under way: {took:?}");
    assert!(idle.is_closed().await, "idle connections are closed at the end");
    assert!(post(rig.address, "", b"x").await.is_err());
    assert_eq!(rig.outcome("a").map(|(o, _)| o), Some(Outcome::Ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_at_its_deadline() {
    let a = Server::start(|_, _| Act::Stall).await;
    let limits = Limits { drain: Duration::from_millis(300), ..Limits::default() };
    let mut slow = route(0);
    slow.spec.request_timeout = Duration::from_secs(60).into();
    let mut rig = Rig::start_with(slow, ready(&[a.address]), vec![], limits).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send("GET / HTTP/1.1\r\nhost: d\r\n\r\n").await.unwrap();
    crate::rig::until("it is under way", || a.seen().len() == 1).await;
    rig.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(3), &mut rig.task).await.unwrap().unwrap().unwrap();
}
