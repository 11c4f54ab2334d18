//! Clients that say how long they wait.

use std::time::{Duration, Instant};

use api::RouteMirror;
use wire::{Assignment, Outcome};

use crate::grpc::{Answer, Client, GRPC, grpc_server, stalling_grpc_server};
use crate::rig::{Rig, ready, route, until};
use crate::servers::{Act, Server, ok, status};
use crate::wire_http::{Wire, post};

// rule: C2 (who gives less time than the route has given up, and the candidate is not to blame; the route's time is 600 ms)
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_own_deadline_ends_its_request_and_is_no_evidence() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| Act::Stall).await);
    let rig = Rig::start(route(10_000), ready(&[a.address]), ready(&[b.address])).await;
    for (n, text) in (1..).zip(["0.1", "100ms", "0"]) {
        let start = Instant::now();
        let answer = post(rig.address, &format!("x-request-timeout: {text}\r\n"), b"x").await.unwrap();
        assert_eq!(answer.status(), 504, "{text}");
        assert_eq!(answer.text(), r#"{"error":"the model did not answer in the time that the client gave"}"#);
        assert!(start.elapsed() < Duration::from_millis(500), "{text}: {:?}", start.elapsed());
        assert_eq!(rig.outcome("b"), Some((Outcome::Cancelled, n)));
    }
    assert_eq!(rig.counts("b", Assignment::Split).latency.iter().sum::<u64>(), 0);
    assert!(rig.slots().seen().is_empty(), "no trial of any slot");
    // Six of them in a row put no endpoint aside either.
    for _ in 0..3 {
        post(rig.address, "x-request-timeout: 20ms\r\n", b"x").await.unwrap();
    }
    let before = b.seen().len();
    // One that is longer changes nothing: neither the time nor what it counts as.
    let start = Instant::now();
    let answer = post(rig.address, "x-request-timeout: 60\r\n", b"x").await.unwrap();
    assert_eq!((answer.status(), answer.text().contains("client")), (504, false));
    assert!((550..1500).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(rig.counts("b", Assignment::Split).outcome(Outcome::Timeout), 1);
    assert_eq!((b.seen().len(), a.seen().len()), (before + 1, 0), "asked, and not ejected");
}

// rule: C2 (a server that gives up because it was told to is not late; one that says so at once is)
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_heeds_the_deadline_is_not_blamed_for_it() {
    let b =
        Server::start(
            |n, _| if n == 0 { Act::SlowAnswer(Duration::from_millis(285), 504) } else { status(504) },
        );
    let b = b.await;
    let rig = Rig::start(route(10_000), vec![], ready(&[b.address])).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    assert_eq!(wire.post("x-request-timeout: 300ms\r\n", b"x").await.unwrap().status(), 504);
    assert_eq!(rig.outcome("b"), Some((Outcome::Cancelled, 1)));
    assert_eq!(wire.post("x-request-timeout: 300ms\r\n", b"x").await.unwrap().status(), 504);
    assert_eq!(rig.counts("b", Assignment::Split).outcome(Outcome::Timeout), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_told_what_is_left_and_a_copy_nothing() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let mut route = route(0);
    route.spec.mirror = Some(RouteMirror { revision: "b".into(), percent: 100 });
    let rig = Rig::start(route, ready(&[a.address]), ready(&[b.address])).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    for timeout in
        ["", "x-request-timeout: 0.5\r\n", "x-request-timeout: 500ms\r\n", "x-request-timeout: 1h\r\n"]
    {
        assert_eq!(wire.post(timeout, b"x").await.unwrap().status(), 200, "{timeout}");
    }
    let told: Vec<_> = a.seen().iter().map(|m| m.header("x-request-timeout").map(str::to_owned)).collect();
    assert_eq!(told[0], None);
    let seconds: f64 = told[1].as_deref().unwrap().parse().unwrap();
    let millis = |i: usize| told[i].as_deref().unwrap().strip_suffix("ms").unwrap().parse::<u32>().unwrap();
    assert!((0.2..=0.5).contains(&seconds) && (200..=500).contains(&millis(2)), "{told:?}");
    assert!((300..=600).contains(&millis(3)), "the route's: {told:?}");
    until("the copies have come", || b.seen().len() == 4).await;
    assert!(b.seen().iter().all(|copy| copy.header("x-request-timeout").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_time_is_refused_and_no_evidence() {
    let a = Server::start(|_, _| ok()).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    for text in ["soon", "-1", "1d", "1\r\nx-request-timeout: 2"] {
        let answer = post(rig.address, &format!("x-request-timeout: {text}\r\n"), b"x").await.unwrap();
        assert_eq!(answer.status(), 400, "{text}");
        assert!(answer.text().contains("x-request-timeout is"), "{}", answer.text());
    }
    assert_eq!((a.seen().len(), rig.requests()), (0, 0));
    // The client's time runs while it sends, too.
    let mut wire = Wire::connect(rig.address).await.unwrap();
    let head = "POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 5\r\nx-request-timeout: 0.1\r\n\r\nx";
    wire.send(head).await.unwrap();
    assert_eq!((wire.read().await.unwrap().status(), rig.requests()), (504, 0));
}

// rule: C2
#[tokio::test(flavor = "multi_thread")]
async fn grpc_says_it_in_its_own_way() {
    let (a, seen) = grpc_server("seven", "0").await;
    let rig = Rig::start(route(0), ready(&[a]), vec![]).await;
    let mut client = Client::connect(rig.address).await;
    client.ask_with(GRPC, &[("grpc-timeout", "500m")]).await.unwrap();
    client.ask_with(GRPC, &[("grpc-timeout", "1H")]).await.unwrap();
    let told = |i: usize| {
        let text = seen.lock().unwrap()[i].0["grpc-timeout"].to_str().unwrap().to_owned();
        text.strip_suffix('u').unwrap().parse::<u32>().unwrap()
    };
    assert!((200_000..=500_000).contains(&told(0)), "{}", told(0));
    assert!((300_000..=600_000).contains(&told(1)), "the route's: {}", told(1));
    let Answer(status, headers, ..) = client.ask_with(GRPC, &[("grpc-timeout", "1s")]).await.unwrap();
    assert_eq!((status, &headers["grpc-status"]), (200, &"3".parse().unwrap()));
    assert!(headers["grpc-message"].to_str().unwrap().starts_with("grpc-timeout is \"1s\", it must be"));

    let rig = Rig::start(route(0), ready(&[stalling_grpc_server().await]), vec![]).await;
    let mut client = Client::connect(rig.address).await;
    let Answer(status, headers, ..) = client.ask_with(GRPC, &[("grpc-timeout", "100m")]).await.unwrap();
    assert_eq!((status, &headers["grpc-status"]), (200, &"4".parse().unwrap()));
    assert_eq!(rig.outcome("a"), Some((Outcome::Cancelled, 1)));
    let Answer(_, headers, ..) = client.ask(GRPC).await.unwrap();
    assert_eq!(&headers["grpc-status"], "4");
    assert_eq!(rig.counts("a", Assignment::Split).outcome(Outcome::Timeout), 1, "the route's own");
}
