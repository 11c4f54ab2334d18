//! A candidate that is plainly broken gets no further request (R7).

use wire::Outcome;

use crate::rig::{Rig, ready, route};
use crate::servers::{Server, ok, status};
use crate::wire_http::post;

/// `a` and `b` with half of the slots each; `b` has a trip-wire.
fn wired() -> api::ModelRoute {
    let mut route = route(5_000);
    route.spec.sticky = None;
    route.spec.revisions[1].trip_wire = Some(api::TripWire { failures: 10, requests: 20 });
    route
}

async fn ask(rig: &Rig, n: usize) -> usize {
    let mut failed = 0;
    for _ in 0..n {
        failed += usize::from(post(rig.address, "", b"x").await.unwrap().status() != 200);
    }
    failed
}

// rule: R7
#[tokio::test(flavor = "multi_thread")]
async fn a_plainly_broken_candidate_gets_no_further_request() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| status(500)).await);
    let mut rig = Rig::start(wired(), ready(&[a.address]), ready(&[b.address])).await;
    // Before it has a share, enough becomes known of stable.
    let slots = std::mem::take(&mut rig.route.spec.revisions[1].slots);
    rig.next();
    assert_eq!(ask(&rig, 60).await, 0);
    rig.route.spec.revisions[1].slots = slots;
    rig.next();
    let failed = ask(&rig, 300).await;
    assert_eq!((failed, b.seen().len()), (20, 20), "as many as the block is long");
    let trip = rig.ledger.tripped()["b"];
    assert_eq!((trip.failures, trip.requests, trip.stable_failures), (20, 20, 0));
    assert_eq!(rig.board.report().unwrap().report.tripped["b"], trip);
    let page = wire::Page::parse(&rig.ledger.page().render()).unwrap();
    assert_eq!(page.tripped["b"], trip);
    // What stable answers in its place is charged to it (C2).
    let counts = rig.counts("b", wire::Assignment::Split);
    assert_eq!(counts.outcome(Outcome::Error), 20);
    assert!(counts.outcome(Outcome::Fallback) > 80, "{counts:?}");
    // Another table of the same rollout changes nothing.
    rig.next();
    assert_eq!((ask(&rig, 100).await, b.seen().len()), (0, 20));
    // One that says what a person wants does (R8).
    rig.route.metadata.annotations = Some([(api::names::PIN.to_owned(), "b".to_owned())].into());
    rig.next();
    assert_eq!((ask(&rig, 5).await, b.seen().len()), (5, 25));
    rig.route.metadata.annotations = None;
    // The next rollout begins anew.
    rig.route.spec.salt = "digits-2".into();
    rig.next();
    assert_eq!((ask(&rig, 300).await, b.seen().len()), (20, 45));
}

// rule: R7
#[tokio::test(flavor = "multi_thread")]
async fn where_stable_fails_too_nobody_is_to_blame() {
    let (a, b) = (
        Server::start(|n, _| if n % 10 == 0 { status(500) } else { ok() }).await,
        Server::start(|_, _| status(500)).await,
    );
    let rig = Rig::start(wired(), ready(&[a.address]), ready(&[b.address])).await;
    ask(&rig, 300).await;
    assert!(b.seen().len() > 100 && rig.ledger.tripped().is_empty(), "{:?}", rig.ledger.tripped());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_wire_it_goes_on() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| status(500)).await);
    let mut route = wired();
    route.spec.revisions[1].trip_wire = None;
    let rig = Rig::start(route, ready(&[a.address]), ready(&[b.address])).await;
    ask(&rig, 200).await;
    assert!(b.seen().len() > 60 && rig.ledger.tripped().is_empty(), "{}", b.seen().len());
}
