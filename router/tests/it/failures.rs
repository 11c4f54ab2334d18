//! What a failure means for the client, and how it is counted.

use std::time::{Duration, Instant};

use router::Condition;
use wire::{Assignment, Outcome};

use crate::rig::{Rig, in_condition, ready, route, until};
use crate::servers::{Act, Server, ok, refusing, status};
use crate::wire_http::{Wire, post};

/// A router that gives everything to `b`, with `b` doing this; `a` is well.
async fn rig_with(act: Act) -> (Rig, Server, Server) {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(move |_, _| act.clone()).await);
    let rig = Rig::start(route(10_000), ready(&[a.address]), ready(&[b.address])).await;
    (rig, a, b)
}

// rule: C2, R6 (no retry on a status)
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_passed_on_and_counted_by_its_status() {
    for (code, outcome) in [
        (200, Outcome::Ok),
        (204, Outcome::Ok),
        (302, Outcome::Error),
        (400, Outcome::Rejected),
        (422, Outcome::Rejected),
        (499, Outcome::Rejected),
        (408, Outcome::Cancelled),
        (429, Outcome::Overload),
        (503, Outcome::Overload),
        (500, Outcome::Error),
        (502, Outcome::Error),
        (504, Outcome::Timeout),
    ] {
        let (rig, _a, b) =
            rig_with(if code == 204 { Act::Answer(204, "", String::new()) } else { status(code) }).await;
        let answer = post(rig.address, "", b"x").await.unwrap();
        assert_eq!((answer.status(), answer.header("x-sluice-revision")), (code, Some("b")));
        assert_eq!(rig.outcome("b"), Some((outcome, 1)), "{code}");
        assert_eq!((rig.outcome("a"), b.seen().len()), (None, 1), "{code}");
        let counts = rig.counts("b", Assignment::Split);
        let items = u64::from(code == 200);
        assert_eq!(
            counts.classes.values().sum::<u64>(),
            items,
            "{code}: only successes are evidence of answers"
        );
        assert_eq!(counts.doubt.iter().sum::<u64>(), items);
        let timed = matches!(outcome, Outcome::Ok | Outcome::Timeout);
        assert_eq!(counts.latency.iter().sum::<u64>(), u64::from(timed), "{code}");
    }
}

// rule: C2 (an answer without a length is complete at its end)
#[tokio::test(flavor = "multi_thread")]
async fn answers_of_any_framing_are_counted_by_their_status() {
    for (act, code, outcome, connections) in [
        (Act::Chunked(200, false), 200, Outcome::Ok, 1),
        (Act::Chunked(200, true), 200, Outcome::Ok, 1),
        (Act::Chunked(500, false), 500, Outcome::Error, 1),
        (Act::UntilClose(200), 200, Outcome::Ok, 3),
        (Act::UntilClose(500), 500, Outcome::Error, 3),
    ] {
        let (rig, _a, b) = rig_with(act.clone()).await;
        let mut wire = Wire::connect(rig.address).await.unwrap();
        for i in 1..=3 {
            let answer = wire.post("", b"x").await.unwrap();
            assert_eq!((answer.status(), answer.text().as_str()), (code, "seven"), "{act:?}");
            until("it is counted", || rig.requests() == i).await;
            // The connection is put back a moment after the last byte.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(rig.outcome("b"), Some((outcome, 3)), "{act:?}");
        assert_eq!(b.connections(), connections, "{act:?}: a good connection is used again");
        let counts = rig.counts("b", Assignment::Split);
        let items = if outcome == Outcome::Ok { 3 } else { 0 };
        assert_eq!(counts.classes.values().sum::<u64>(), items, "{act:?}");
        assert_eq!(counts.latency.iter().sum::<u64>(), items, "{act:?}");
    }
}

// rule: C2
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_an_error() {
    for (act, head) in [(Act::HalfHead, false), (Act::Garbage, false), (Act::HalfBody, true)] {
        let (rig, _a, b) = rig_with(act.clone()).await;
        let answer = post(rig.address, "", b"x").await;
        if head {
            assert!(answer.is_err(), "{act:?}: the client must see that it is not complete");
        } else {
            let answer = answer.unwrap();
            assert_eq!((answer.status(), answer.header("content-type")), (502, Some("application/json")));
        }
        until("it is counted", || rig.requests() == 1).await;
        assert_eq!((rig.outcome("b"), b.seen().len()), (Some((Outcome::Error, 1)), 1), "{act:?}");
        let counts = rig.counts("b", Assignment::Split);
        assert!(counts.classes.is_empty() && counts.latency.iter().sum::<u64>() == 0);
    }
}

// rule: C2
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_is_a_timeout() {
    for act in [Act::Stall, Act::StalledBody] {
        let (rig, _a, b) = rig_with(act.clone()).await;
        let start = Instant::now();
        let answer = post(rig.address, "", b"x").await;
        let took = start.elapsed();
        assert!((550..1500).contains(&took.as_millis()), "{took:?}");
        match act {
            Act::Stall => assert_eq!(answer.unwrap().status(), 504),
            _ => assert!(answer.is_err()),
        }
        until("it is counted", || rig.requests() == 1).await;
        assert_eq!((rig.outcome("b"), b.seen().len()), (Some((Outcome::Timeout, 1)), 1), "{act:?}");
        assert_eq!(rig.counts("b", Assignment::Split).latency.iter().sum::<u64>(), 1);
    }
}

// rule: R6
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_any_byte_of_an_answer_is_sent_once_more() {
    for act in [Act::Reset, Act::Close] {
        // Once broken, then well, at the only endpoint.
        let (first, a) = (act.clone(), Server::start(|_, _| ok()).await);
        let b = Server::start(move |n, _| if n == 0 { first.clone() } else { ok() }).await;
        let rig = Rig::start(route(10_000), ready(&[a.address]), ready(&[b.address])).await;
        let answer = post(rig.address, "", b"image").await.unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "seven"));
        let bodies: Vec<_> = b.seen().iter().map(crate::wire_http::Message::text).collect();
        assert_eq!(
            (bodies.as_slice(), rig.outcome("b")),
            (&["image".to_owned(), "image".to_owned()][..], Some((Outcome::Ok, 1)))
        );

        // Elsewhere, if there is an elsewhere.
        let (bad, good) = (rig_with(act.clone()).await.2, Server::start(|_, _| ok()).await);
        let broken = act.clone();
        let bad2 = Server::start(move |_, _| broken.clone()).await;
        drop(bad);
        let rig = Rig::start(route(10_000), ready(&[a.address]), ready(&[bad2.address, good.address])).await;
        for _ in 0..20 {
            assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 200);
        }
        assert_eq!((bad2.seen().len(), good.seen().len()), (1, 20), "the other one is better from then on");

        // Never a third time, and never when the setting is off.
        for (retry, sent) in [(true, 2), (false, 1)] {
            let (mut rig, _a, b) = rig_with(act.clone()).await;
            rig.route.spec.retry = retry;
            rig.install();
            assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 502);
            assert_eq!((b.seen().len(), rig.outcome("b")), (sent, Some((Outcome::Connect, 1))));
            assert_eq!(rig.outcome("a"), None);
        }
    }
}

// rule: R6 (streamed bodies are sent once; what was provably not sent goes on)
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_held_back_is_sent_once() {
    let body: Vec<u8> = (0..2 << 20).map(|i: u32| (i % 251) as u8).collect();
    let (mut rig, a, b) = rig_with(Act::Reset).await;
    assert_eq!(post(rig.address, "", &body).await.unwrap().status(), 502);
    assert_eq!((b.seen().len(), rig.outcome("b")), (1, Some((Outcome::Connect, 1))));

    let address = refusing().await;
    rig.endpoints.insert("digits-b".into(), ready(&[address]));
    rig.install();
    let answer = post(rig.address, "", &body).await.unwrap();
    assert_eq!((answer.status(), answer.header("x-sluice-revision")), (200, Some("a")));
    assert_eq!(rig.counts("b", Assignment::Split).outcome(Outcome::Fallback), 1);
    assert!(a.seen()[0].body == body);

    // The same in chunks: the first MiB was held back before it turned out to be too long.
    for (n, method) in ["POST", "GET"].into_iter().enumerate() {
        let mut wire = Wire::connect(rig.address).await.unwrap();
        let head =
            format!("{method} /predict HTTP/1.1\r\nhost: digits\r\ntransfer-encoding: chunked\r\n\r\n");
        wire.send(head).await.unwrap();
        for chunk in body.chunks(100_000) {
            wire.send(format!("{:x}\r\n", chunk.len())).await.unwrap();
            wire.send(chunk).await.unwrap();
            wire.send("\r\n").await.unwrap();
        }
        wire.send("0\r\n\r\n").await.unwrap();
        assert_eq!(wire.read().await.unwrap().status(), 200);
        assert!(a.seen()[1 + n].body == body, "{method}");
    }
}

// rule: C2, R5
#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_stable_takes_over() {
    let address = refusing().await;
    for (b, outcome) in [
        (vec![], Outcome::Fallback),
        (ready(&[address]), Outcome::Fallback),
        (in_condition(&[address], Condition::Unready), Outcome::Fallback),
        (in_condition(&[address], Condition::Leaving), Outcome::Drained),
        (in_condition(&[address], Condition::Gone), Outcome::Drained),
        (
            [in_condition(&[address], Condition::Gone), in_condition(&[address], Condition::Unready)]
                .concat(),
            Outcome::Drained,
        ),
    ] {
        let a = Server::start(|_, _| ok()).await;
        let rig = Rig::start(route(10_000), ready(&[a.address]), b.clone()).await;
        let answer = post(rig.address, "", b"x").await.unwrap();
        assert_eq!((answer.status(), answer.header("x-sluice-revision")), (200, Some("a")), "{b:?}");
        assert_eq!((rig.outcome("b"), rig.outcome("a")), (Some((outcome, 1)), None), "{b:?}");
        let counts = rig.counts("b", Assignment::Split);
        let entered = counts.classes.len() as u64 + counts.latency.iter().chain(&counts.doubt).sum::<u64>();
        assert_eq!(entered, 0, "the other arm's answer never enters");
    }
}

// rule: C2
#[tokio::test(flavor = "multi_thread")]
async fn when_stable_fails_too_the_client_is_told() {
    let address = refusing().await;
    let b = Server::start(|_, _| ok()).await;
    for (share, a, code) in [
        (0, ready(&[address]), 502),
        (0, vec![], 503),
        (10_000, ready(&[address]), 502),
        (10_000, vec![], 503),
    ] {
        let rig = Rig::start(route(share), a, vec![]).await;
        let answer = post(rig.address, "", b"x").await.unwrap();
        assert_eq!(answer.status(), code, "{}", answer.text());
        assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["error"].is_string());
        assert_eq!(rig.outcome(if share == 0 { "a" } else { "b" }), Some((Outcome::Connect, 1)));
    }
    // Stable itself: endpoints that are about to stop still answer, and nothing else does.
    let rig = Rig::start(route(0), in_condition(&[b.address], Condition::Leaving), vec![]).await;
    assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 200);
    assert_eq!(rig.outcome("a"), Some((Outcome::Ok, 1)));
}

// rule: R5 (put aside: passed over for a second, then asked again)
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_is_passed_over_and_comes_back() {
    let (a, b) = (refusing().await, Server::start(|_, _| ok()).await);
    let rig = Rig::start(route(0), ready(&[a, b.address]), vec![]).await;
    for _ in 0..10 {
        assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 200);
    }
    assert_eq!((b.seen().len(), rig.outcome("a")), (10, Some((Outcome::Ok, 10))));
    let back = Server::start_at(a, |_, _| ok()).await;
    for _ in 0..4 {
        assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 200);
    }
    assert_eq!(back.seen().len(), 0, "still passed over");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for _ in 0..20 {
        assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 200);
    }
    assert!(!back.seen().is_empty());
}

// rule: C2
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_is_cancelled() {
    for act in [Act::Stall, Act::StalledBody] {
        let (rig, _a, b) = rig_with(act.clone()).await;
        let mut wire = Wire::connect(rig.address).await.unwrap();
        wire.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
        until("the server has it", || b.seen().len() == 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(wire);
        until("it is counted", || rig.requests() == 1).await;
        assert_eq!(rig.outcome("b"), Some((Outcome::Cancelled, 1)), "{act:?}");
    }
    // Before it was assigned it is nobody's request.
    let (rig, _a, b) = rig_with(ok()).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 9\r\n\r\nx").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(wire);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((rig.requests(), b.seen().len()), (0, 0));
}

// rule: C2 (under the state of its assignment)
#[tokio::test(flavor = "multi_thread")]
async fn a_request_counts_under_the_state_that_it_was_assigned_under() {
    let (mut rig, _a, b) = rig_with(Act::After(Duration::from_millis(300))).await;
    let address = rig.address;
    let slow = tokio::spawn(async move { post(address, "", b"x").await.unwrap().status() });
    until("it is under way", || b.seen().len() == 1).await;
    let before = rig.board.report().unwrap().report.state;
    rig.route = route(0);
    rig.route.metadata.generation = Some(2);
    rig.install();
    assert_eq!(rig.board.report().unwrap().report.state.generation, 2);
    assert_eq!(post(rig.address, "", b"x").await.unwrap().header("x-sluice-revision"), Some("a"));
    assert_eq!(slow.await.unwrap(), 200);
    let page = rig.ledger.page();
    for (state, keys) in &page.states {
        let of =
            |r: &str| keys.iter().find(|(k, _)| k.revision == r).map_or(0, |(_, c)| c.outcome(Outcome::Ok));
        assert_eq!((of("a"), of("b")), if *state == before { (0, 1) } else { (1, 0) });
    }
}

// rule: R8, C1
#[tokio::test(flavor = "multi_thread")]
async fn a_pin_takes_everything_and_is_no_split_evidence() {
    let (mut rig, a, b) = rig_with(ok()).await;
    let pin = |rig: &mut Rig, to: &str| {
        rig.route.metadata.annotations = Some([(api::names::PIN.to_owned(), to.to_owned())].into());
        rig.install();
    };
    pin(&mut rig, "a");
    for _ in 0..5 {
        assert_eq!(post(rig.address, "", b"x").await.unwrap().header("x-sluice-revision"), Some("a"));
    }
    assert_eq!((a.seen().len(), b.seen().len(), rig.outcome("a")), (5, 0, None));
    assert_eq!(rig.counts("a", Assignment::Pin).outcome(Outcome::Ok), 5);
    assert_eq!(rig.board.report().unwrap().report.state.pin.as_deref(), Some("a"));
    pin(&mut rig, "nobody");
    assert_eq!(post(rig.address, "", b"x").await.unwrap().header("x-sluice-revision"), Some("b"));
    let report = rig.board.report().unwrap().report;
    assert_eq!((report.state.pin, report.unknown_pin.as_deref()), (None, Some("nobody")));
}
