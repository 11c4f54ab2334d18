//! Pods with addresses of their own, in a network namespace of their own (`tests/netns.sh`).

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use router::{Ledger, Limits, Proxy};
use tokio::net::TcpListener;
use wire::{Assignment, Key, Outcome};

use crate::api_server::ApiServer;
use crate::rig::until;
use crate::servers::{Act, Server, ok};
use crate::source;
use crate::wire_http::{Wire, post};

/// Runs one of the tests below inside.
fn inside(test: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns.sh");
    let me = std::env::current_exe().unwrap();
    let name = format!("namespace::{test}");
    let output =
        Command::new(script).arg(me).args(["--exact", &name, "--ignored", "--nocapture"]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "the test did not run: {out}");
}

#[test]
fn pods_have_addresses_of_their_own() {
    inside("inside_slices_lead_to_pods");
}

#[test]
fn an_address_that_swallows_everything_costs_two_hundred_milliseconds_a_second() {
    inside("inside_a_black_hole_is_put_aside");
}

#[test]
fn a_pod_that_vanishes_with_its_node_loses_no_request() {
    inside("inside_a_vanished_pod");
}

struct Inside {
    api: ApiServer,
    address: std::net::SocketAddr,
    ledger: Arc<Ledger>,
    board: Arc<router::Board>,
}

async fn router(candidate: u16) -> Inside {
    let api = ApiServer::start();
    api.put_route(source::route(1, candidate));
    let config = kube::Config::new(format!("http://{}", api.address).parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    let ledger = Arc::new(Ledger::new("test".into()));
    let board = Arc::new(router::Board::new(ledger.clone()));
    let readiness = admin::Readiness::default();
    let source = router::Source { namespace: "prod".into(), route: "digits".into(), cache: None };
    tokio::spawn(source.run(client, board.clone(), &readiness));
    let listener = TcpListener::bind("198.18.1.100:8080").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Arc::new(Proxy::new(board.clone(), 1 << 20));
    let sockets = vec![listener.into_std().unwrap()];
    tokio::spawn(router::serve(sockets, proxy, None, Limits::default(), std::future::pending()));
    until("the router is ready", || readiness.is_ready()).await;
    Inside { api, address, ledger, board }
}

impl Inside {
    async fn wait_for_endpoints(&self, revision: &str, ready: u32) {
        until("the endpoints are seen", || {
            self.board.report().is_some_and(|page| page.report.endpoints[revision].ready == ready)
        })
        .await;
    }

    fn outcome(&self, revision: &str, outcome: Outcome) -> u64 {
        let key = Key { revision: revision.into(), assignment: Assignment::Split };
        self.ledger.page().states.values().filter_map(|keys| keys.get(&key)).map(|c| c.outcome(outcome)).sum()
    }
}

async fn pod(ip: &str) -> Server {
    Server::start_at(format!("{ip}:8000").parse().unwrap(), |_, _| ok()).await
}

// rule: K6, R2
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a namespace: pods_have_addresses_of_their_own"]
async fn inside_slices_lead_to_pods() {
    let (a, b1, b2) = (pod("198.18.1.1").await, pod("198.18.1.2").await, pod("198.18.1.3").await);
    let inside = router(5_000).await;
    inside.api.put_slice("digits-a", 8000, &[("198.18.1.1", true, false)]);
    inside.api.put_slice("digits-b", 8000, &[("198.18.1.2", true, false), ("198.18.1.3", true, false)]);
    inside.wait_for_endpoints("a", 1).await;
    inside.wait_for_endpoints("b", 2).await;
    for _ in 0..40 {
        assert_eq!(post(inside.address, "", b"x").await.unwrap().status(), 200);
    }
    assert!(!a.seen().is_empty() && !b1.seen().is_empty() && !b2.seen().is_empty());
    // Taken out of the slice, a pod gets nothing more at once.
    inside.api.put_slice("digits-b", 8000, &[("198.18.1.2", true, false), ("198.18.1.3", false, true)]);
    inside.wait_for_endpoints("b", 1).await;
    let before = b2.seen().len();
    for _ in 0..20 {
        assert_eq!(post(inside.address, "", b"x").await.unwrap().status(), 200);
    }
    assert_eq!(b2.seen().len(), before);
    assert_eq!(inside.outcome("a", Outcome::Ok) + inside.outcome("b", Outcome::Ok), 60);
}

// rule: R5
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a namespace: an_address_that_swallows_everything_costs_two_hundred_milliseconds_a_second"]
async fn inside_a_black_hole_is_put_aside() {
    let (a, b) = (pod("198.18.1.1").await, pod("198.18.1.2").await);
    let inside = router(10_000).await;
    inside.api.put_slice("digits-a", 8000, &[("198.18.1.1", true, false)]);
    inside.api.put_slice("digits-b", 8000, &[("198.18.1.2", true, false), ("198.18.9.9", true, false)]);
    inside.wait_for_endpoints("b", 2).await;
    let mut wire = Wire::connect(inside.address).await.unwrap();
    let mut times = vec![];
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(wire.post("", b"x").await.unwrap().header("x-sluice-revision"), Some("b"));
        times.push(start.elapsed().as_millis());
    }
    let slow: Vec<_> = times.iter().copied().filter(|t| *t >= 100).collect();
    assert!(
        slow.len() == 1 && (190..400).contains(&slow[0]),
        "one connect timeout, then put aside: {times:?}"
    );
    assert_eq!((b.seen().len(), inside.outcome("b", Outcome::Ok)), (20, 20));
    // With no other endpoint: 200 ms, then stable; and stable at once while it is put aside.
    inside.api.put_slice("digits-b", 8000, &[("198.18.9.8", true, false)]);
    inside.wait_for_endpoints("b", 1).await;
    for expected in [190..500, 0..100] {
        let start = Instant::now();
        assert_eq!(wire.post("", b"x").await.unwrap().header("x-sluice-revision"), Some("a"));
        let took = start.elapsed().as_millis();
        assert!(expected.contains(&took), "{took} is not in {expected:?}");
    }
    assert_eq!((a.seen().len(), inside.outcome("b", Outcome::Fallback)), (2, 2));
}

// rule: R6 (a connection that was good, to an address that is no more)
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a namespace: a_pod_that_vanishes_with_its_node_loses_no_request"]
async fn inside_a_vanished_pod() {
    let answer = |n: usize| if n == 0 { ok() } else { Act::Stall };
    let (a, b) = (
        pod("198.18.1.1").await,
        Server::start_at("198.18.1.2:8000".parse().unwrap(), move |n, _| answer(n)).await,
    );
    let inside = router(10_000).await;
    let mut patient = source::route(2, 10_000);
    patient["spec"]["requestTimeout"] = "20s".into();
    inside.api.put_route(patient);
    until("it has time", || inside.board.report().unwrap().report.state.generation == 2).await;
    inside.api.put_slice("digits-a", 8000, &[("198.18.1.1", true, false)]);
    inside.api.put_slice("digits-b", 8000, &[("198.18.1.2", true, false)]);
    inside.wait_for_endpoints("b", 1).await;
    let mut wire = Wire::connect(inside.address).await.unwrap();
    assert_eq!(wire.post("", b"x").await.unwrap().header("x-sluice-revision"), Some("b"));
    // From now on nothing of its address is answered; the idle connection does not know.
    let run =
        |args: &str| assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "{args}");
    run("route del local 198.18.1.0/24 dev lo");
    for ip in ["198.18.1.1", "198.18.1.100"] {
        run(&format!("route add local {ip}/32 dev lo"));
    }
    let start = Instant::now();
    let answer = tokio::time::timeout(Duration::from_secs(15), wire.post("", b"x")).await.unwrap().unwrap();
    let took = start.elapsed();
    assert_eq!((answer.status(), answer.header("x-sluice-revision")), (200, Some("a")));
    assert!(
        took < Duration::from_secs(9),
        "noticed within the time that data may stay unacknowledged: {took:?}"
    );
    println!("noticed after {took:?}");
    assert_eq!((a.seen().len(), b.seen().len()), (1, 1));
    assert_eq!(inside.outcome("b", Outcome::Fallback), 1);
}
