//! Copies: they follow the answer, are compared with it, and nobody notices them.

use std::time::{Duration, Instant};

use api::{ModelRoute, RouteMirror};
use wire::{Assignment, Grid, Outcome, PairOutcome};

use crate::rig::{Rig, in_condition, ready, route, until};
use crate::servers::{Act, Server, ok, refusing, status};
use crate::wire_http::{Message, Wire, post};

/// A table that gives everything to `a`, and copies of so many of a hundred requests to `b`.
fn mirrored(percent: u8) -> ModelRoute {
    let mut route = route(0);
    route.spec.candidate = Some("b".into());
    route.spec.mirror = Some(RouteMirror { revision: "b".into(), percent });
    route
}

async fn rig(percent: u8, a: &Server, b: &Server) -> Rig {
    Rig::start(mirrored(percent), ready(&[a.address]), ready(&[b.address])).await
}

/// Copies that were counted, in all.
fn copies(rig: &Rig) -> u64 {
    rig.pairs().outcomes.iter().sum()
}

fn says(class_and_confidence: &'static str) -> Act {
    Act::Answer(200, class_and_confidence, String::new())
}

// rule: C1, C2
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_request_marked_and_its_answer_is_nobodys() {
    let a = Server::start(|_, _| ok()).await;
    let b = Server::start(|_, _| says("x-prediction: eight\r\nx-confidence: 0.5\r\n")).await;
    let rig = rig(100, &a, &b).await;
    let headers = "x-user-id: u\r\nx-sluice-shadow: 1\r\nconnection: x-hop\r\nx-hop: 1\r\n";
    let answer = post(rig.address, headers, b"an image").await.unwrap();
    assert_eq!((answer.text().as_str(), answer.header("x-sluice-revision")), ("seven", Some("a")));
    until("the copy is counted", || copies(&rig) == 1).await;
    let (user, copy) = (&a.seen()[0], &b.seen()[0]);
    assert_eq!((&copy.first, &copy.body), (&user.first, &user.body));
    assert_eq!((user.header("x-sluice-shadow"), copy.header("x-sluice-shadow")), (None, Some("1")));
    for name in ["x-request-id", "x-user-id", "host", "content-length", "x-hop"] {
        assert_eq!(copy.header(name), user.header(name), "{name}");
    }
    assert_eq!(copy.header("x-hop"), None);
    let shadow = rig.counts("b", Assignment::Shadow);
    assert_eq!((shadow.outcome(Outcome::Ok), shadow.requests(), shadow.classes["eight"]), (1, 1, 1));
    assert_eq!((shadow.latency.iter().sum::<u64>(), shadow.doubt.iter().sum::<u64>()), (1, 1));
    assert_eq!((rig.outcome("a"), rig.outcome("b")), (Some((Outcome::Ok, 1)), None));
    assert!(!rig.slots().seen().is_empty() && rig.slots().failed().is_empty());
}

// rule: C1
#[tokio::test(flavor = "multi_thread")]
async fn a_copys_answer_is_compared_with_the_one_that_the_user_got() {
    let body = |message: &Message| message.text();
    let a = Server::start(move |_, m| if body(m) == "bad" { status(500) } else { ok() }).await;
    let b = Server::start(move |_, m| match body(m).as_str() {
        "other" => says("x-prediction: eight\r\nx-confidence: 0.4\r\n"),
        "failing" => status(500),
        "refusing" => status(422),
        "broken" => Act::HalfBody,
        "bare" => says(""),
        _ => says("x-prediction: seven\r\nx-confidence: 0.7\r\n"),
    })
    .await;
    let rig = rig(100, &a, &b).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    let bodies = ["same", "same", "other", "failing", "refusing", "broken", "bare", "bad"];
    for (body, n) in bodies.iter().zip(1..) {
        wire.post("", body.as_bytes()).await.unwrap();
        until("the copy is counted", || copies(&rig) == n).await;
    }
    // agree, disagree, failed, unjudged, dropped
    let pairs = rig.pairs();
    assert_eq!(pairs.outcomes, [2, 1, 3, 2, 0]);
    let gap = |gap: f64| pairs.gap[Grid::Gap.cell(gap).unwrap()];
    assert_eq!((gap(-0.2), gap(-0.5), pairs.gap.iter().sum()), (2, 1, 3u64));
    assert_eq!(pairs.ratio.iter().sum::<u64>(), 4, "of two good answers, judged or not");
    let shadow = rig.counts("b", Assignment::Shadow);
    let outcomes = [Outcome::Ok, Outcome::Error, Outcome::Rejected].map(|outcome| shadow.outcome(outcome));
    assert_eq!((outcomes, shadow.requests()), ([5, 2, 1], 8));
}

// rule: C2 (a copy is behind all that the user waits for)
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_not_sent_before_the_user_has_taken_the_answer() {
    let a = Server::start(|_, _| Act::Answer(200, "", "x".repeat(48 << 20))).await;
    let b = Server::start(|_, _| ok()).await;
    let rig = rig(100, &a, &b).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!((a.seen().len(), b.seen().len()), (1, 0));
    assert_eq!(wire.read().await.unwrap().body.len(), 48 << 20);
    until("the copy is sent", || b.seen().len() == 1).await;
    // An answer that never ends is nothing to compare with.
    for act in [Act::StalledBody, Act::HalfBody, Act::Stall] {
        let a = Server::start(move |_, _| act.clone()).await;
        let rig = Rig::start(mirrored(100), ready(&[a.address]), ready(&[b.address])).await;
        let _ = post(rig.address, "", b"x").await;
        until("the request is counted", || rig.requests() == 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((b.seen().len(), copies(&rig)), (1, 0));
    }
}

// rule: C2. If a request waited for a copy, a hundred of them would take a minute: the copies' limit is 600 ms.
#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_stalls_dies_or_refuses_is_noticed_by_nobody() {
    let a = Server::start(|_, _| ok()).await;
    let acts =
        [Act::Stall, Act::Reset, Act::Close, Act::HalfHead, Act::StalledBody, Act::Garbage, status(503)];
    for act in acts.into_iter().map(Some).chain([None]) {
        let b = match &act {
            Some(act) => {
                let act = act.clone();
                Some(Server::start(move |_, _| act.clone()).await)
            }
            None => None,
        };
        let address = match &b {
            Some(b) => b.address,
            None => refusing().await,
        };
        let rig = Rig::start(mirrored(100), ready(&[a.address]), ready(&[address])).await;
        let mut wire = Wire::connect(rig.address).await.unwrap();
        let start = Instant::now();
        for _ in 0..100 {
            let answer = wire.post("", b"x").await.unwrap();
            assert_eq!((answer.status(), answer.header("x-sluice-revision")), (200, Some("a")), "{act:?}");
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(6), "{act:?}: {took:?}");
        assert_eq!(rig.outcome("a"), Some((Outcome::Ok, 100)), "{act:?}");
        until("all copies are counted", || copies(&rig) == 100).await;
        let [failed, dropped] = [PairOutcome::Failed, PairOutcome::Dropped].map(|o| rig.paired(o));
        assert!(failed > 0 && failed + dropped == 100, "{act:?}: {failed} failed, {dropped} dropped");
        let shadow = rig.counts("b", Assignment::Shadow);
        assert_eq!((shadow.requests(), shadow.outcome(Outcome::Ok)), (failed, 0), "{act:?}");
    }
}

// rule: C1 (a copy is drawn per request, under sticky routing too)
#[tokio::test(flavor = "multi_thread")]
async fn thirty_percent_are_thirty_percent() {
    const REQUESTS: f64 = 2_000.0;
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let rig = rig(30, &a, &b).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    for _ in 0..REQUESTS as usize {
        assert_eq!(wire.post("x-user-id: one\r\n", b"x").await.unwrap().status(), 200);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let copied = copies(&rig) as f64;
    let sigma = (REQUESTS * 0.3 * 0.7).sqrt();
    let off = (copied - REQUESTS * 0.3).abs() / sigma;
    assert!(off < 4.0, "{copied} of {REQUESTS} are {off:.1} sigma from 30 %");
    assert_eq!(b.seen().len() as u64 + rig.paired(PairOutcome::Dropped), copies(&rig));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_end_with_the_mirror_and_are_only_of_what_the_slots_give_to_stable() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let mut rig = rig(100, &a, &b).await;
    let send = async |rig: &Rig, headers: &str| {
        for _ in 0..10 {
            assert_eq!(post(rig.address, headers, b"x").await.unwrap().status(), 200);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    send(&rig, "").await;
    assert_eq!(b.seen().len(), 10);
    // What is targeted, pinned, or asked for by something else than a POST.
    rig.route.spec.targeting = true;
    rig.next();
    send(&rig, "x-sluice-target: stable\r\n").await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send("GET /p HTTP/1.1\r\nhost: d\r\n\r\n").await.unwrap();
    assert_eq!(wire.read().await.unwrap().status(), 200);
    assert_eq!(copies(&rig), 10, "those from before");
    rig.route.metadata.annotations = Some([(api::names::PIN.to_owned(), "a".to_owned())].into());
    rig.next();
    send(&rig, "").await;
    // The candidate's own.
    rig.route.metadata.annotations = None;
    rig.route.spec.revisions = route(10_000).spec.revisions;
    rig.next();
    send(&rig, "").await;
    assert_eq!((b.seen().len(), copies(&rig)), (20, 0), "the candidate got its own ten, and no copy of them");
    rig.route = ModelRoute { metadata: rig.route.metadata.clone(), ..route(0) };
    rig.next();
    send(&rig, "").await;
    assert_eq!(b.seen().len(), 20);
    assert!(b.seen()[10..].iter().all(|message| message.header("x-sluice-shadow").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ready_endpoint_a_copy_is_dropped() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    for condition in [router::Condition::Unready, router::Condition::Leaving, router::Condition::Gone] {
        let leaving = in_condition(&[b.address], condition);
        let rig = Rig::start(mirrored(100), ready(&[a.address]), leaving).await;
        assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 200);
        until("the copy is counted", || rig.paired(PairOutcome::Dropped) == 1).await;
        let shadow = rig.counts("b", Assignment::Shadow);
        assert_eq!((b.seen().len(), shadow.requests(), copies(&rig)), (0, 0, 1));
        let page = rig.board.report().unwrap();
        assert_eq!(page.report.endpoints["b"].ready, 0, "it is seen on /route");
    }
}

/// A rig whose shadow never answers, and whose copies have much time for that.
async fn stalled() -> (Rig, Server, Server) {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| Act::Stall).await);
    let mut route = mirrored(100);
    route.spec.request_timeout = Duration::from_secs(60).into();
    (Rig::start(route, ready(&[a.address]), ready(&[b.address])).await, a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_copies_are_under_way_and_others_are_dropped() {
    let (rig, _a, b) = stalled().await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    for _ in 0..80 {
        assert_eq!(wire.post("", b"x").await.unwrap().status(), 200);
    }
    until("the others are dropped", || rig.paired(PairOutcome::Dropped) == 16).await;
    until("those under way have arrived", || b.seen().len() == 64).await;
    assert_eq!(copies(&rig), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_copies_have_eight_mebibytes_and_others_are_dropped() {
    let (rig, _a, b) = stalled().await;
    // The first two are held for their copies; of the third there is no room for a part.
    let body: Vec<u8> = (0..7 << 19).map(|i| (i % 251) as u8).collect();
    for _ in 0..3 {
        assert_eq!(post(rig.address, "", &body).await.unwrap().status(), 200);
    }
    until("the third is dropped", || rig.paired(PairOutcome::Dropped) == 1).await;
    until("the two have arrived", || b.seen().len() == 2).await;
    assert!(b.seen().iter().all(|copy| copy.body == body), "copies are the same, byte for byte");
    // What is small is still copied.
    assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 200);
    until("the small one has arrived", || b.seen().len() == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_framing_are_copied_whole() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let rig = rig(100, &a, &b).await;
    for (chunks, n) in [(0, 1), (1, 2), (8, 3), (30, 4)] {
        let mut wire = Wire::connect(rig.address).await.unwrap();
        wire.send("POST /p HTTP/1.1\r\nhost: d\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        for chunk in 0..chunks {
            wire.send("10000\r\n").await.unwrap();
            wire.send(vec![chunk; 0x10000]).await.unwrap();
            wire.send("\r\n").await.unwrap();
        }
        wire.send("0\r\n\r\n").await.unwrap();
        assert_eq!(wire.read().await.unwrap().status(), 200);
        until("the copy has arrived", || b.seen().len() == n).await;
        assert!(b.seen()[n - 1].body == a.seen()[n - 1].body, "{chunks} chunks");
    }
    until("the copies are counted", || rig.paired(PairOutcome::Agree) == 4).await;
}

// A server that closes idle connections is not a failing one.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_idle_says_nothing_of_the_shadow() {
    let a = Server::start(|_, _| ok()).await;
    let b = Server::start(|_, _| Act::AnswerAndLeave).await;
    let rig = rig(100, &a, &b).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    for n in 1..=50 {
        assert_eq!(wire.post("", b"x").await.unwrap().status(), 200);
        until("the copy is counted", || copies(&rig) == n).await;
    }
    assert_eq!(rig.pairs().outcomes, [0, 0, 0, 50, 0], "its answers say no class");
    assert_eq!(rig.counts("b", Assignment::Shadow).outcome(Outcome::Ok), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_copies_when_the_router_stops() {
    let (mut rig, _a, b) = stalled().await;
    assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 200);
    until("the copy is under way", || b.seen().len() == 1).await;
    rig.stop.take().unwrap().send(()).unwrap();
    let mut draining = false;
    while !draining {
        // No POST, and so never copied.
        let mut wire = Wire::connect(rig.address).await.unwrap();
        wire.send("GET /p HTTP/1.1\r\nhost: d\r\n\r\n").await.unwrap();
        draining = wire.read().await.unwrap().header("connection") == Some("close");
    }
    // Clients are still answered, but there is nobody to wait for another copy.
    assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 200);
    tokio::time::timeout(Duration::from_secs(10), &mut rig.task)
        .await
        .expect("the copy has a minute")
        .unwrap()
        .unwrap();
    assert_eq!((b.seen().len(), copies(&rig)), (1, 0));
}

// rule: R5 (also those whose request began before)
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_not_sent_to_who_is_out_of_the_table_when_the_answer_ends() {
    let a = Server::start(|_, _| Act::After(Duration::from_millis(300))).await;
    let b = Server::start(|_, _| ok()).await;
    let mut rig = rig(100, &a, &b).await;
    let address = rig.address;
    let user = tokio::spawn(async move { post(address, "", b"x").await.unwrap().status() });
    until("the request is under way", || a.seen().len() == 1).await;
    rig.route = ModelRoute { metadata: rig.route.metadata.clone(), ..route(0) };
    rig.next();
    assert_eq!(user.await.unwrap(), 200);
    until("the copy is dropped", || rig.paired(PairOutcome::Dropped) == 1).await;
    assert_eq!((b.seen().len(), copies(&rig)), (0, 1), "counted under the state of its request");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_and_requests_share_no_connection() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let mut rig = rig(100, &a, &b).await;
    rig.route.spec.targeting = true;
    rig.next();
    let mut wire = Wire::connect(rig.address).await.unwrap();
    for n in 1..=5 {
        wire.post("", b"x").await.unwrap();
        until("the copy is counted", || copies(&rig) == n).await;
        // The connection is put back a moment after the last byte.
        tokio::time::sleep(Duration::from_millis(20)).await;
        wire.post("x-sluice-target: candidate\r\n", b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((b.seen().len(), b.connections()), (10, 2));
}

// rule: C1
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_prediction_is_not_counted_and_not_copied_unless_it_fails() {
    let script = |n: usize, _: &Message| {
        let status = if n < 20 { 200 } else { 500 };
        Act::Answer(status, "x-sluice-evidence: none\r\n", "a picture".into())
    };
    let (a, b) = (Server::start(script).await, Server::start(|_, _| ok()).await);
    let rig = rig(100, &a, &b).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    for _ in 0..20 {
        assert_eq!(wire.post("", b"x").await.unwrap().status(), 200);
    }
    assert_eq!(rig.requests(), 0);
    assert_eq!(wire.post("", b"x").await.unwrap().status(), 500);
    assert_eq!(rig.counts("a", Assignment::Split).outcome(Outcome::Error), 1);
    // The failure's copy is the only one.
    until("the copy is counted", || rig.counts("b", Assignment::Shadow).requests() == 1).await;
    assert_eq!(b.seen().len(), 1);
}
