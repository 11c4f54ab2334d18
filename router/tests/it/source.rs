//! Tables and endpoints from an API server that comes and goes.

use std::sync::Arc;
use std::time::Duration;

use admin::Readiness;
use router::{Board, Ledger, RoutePage, Source};
use serde_json::{Value, json};
use wire::TableSource;

use crate::api_server::ApiServer;
use crate::rig::until;

pub(crate) fn route(generation: i64, candidate: u16) -> Value {
    json!({
        "metadata": {"name": "digits", "uid": "uid-1", "generation": generation},
        "spec": {
            "revisions": [
                {"name": "a", "service": "digits-a", "slots": [{"from": candidate, "to": 10000}]},
                {"name": "b", "service": "digits-b", "slots": [{"from": 0, "to": candidate}]},
            ],
            "stable": "a", "salt": "s", "requestTimeout": "2s", "retry": true,
        },
    })
}

pub(crate) struct Watched {
    pub(crate) board: Arc<Board>,
    pub(crate) readiness: Readiness,
}

pub(crate) fn watch(server: &ApiServer) -> Watched {
    let config = kube::Config::new(format!("http://{}", server.address).parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    let board = Arc::new(Board::new(Arc::new(Ledger::new("test".into()))));
    let readiness = Readiness::default();
    let source = Source { namespace: "prod".into(), route: "digits".into(), cache: None };
    tokio::spawn(source.run(client, board.clone(), &readiness));
    Watched { board, readiness }
}

impl Watched {
    fn page(&self) -> RoutePage {
        self.board.report().unwrap()
    }

    fn ready(&self, revision: &str) -> (u32, u32, u32) {
        let counts = self.page().report.endpoints[revision];
        (counts.ready, counts.terminating, counts.unready)
    }
}

// rule: R1, R8
#[tokio::test(flavor = "multi_thread")]
async fn the_table_follows_the_route_and_its_pin() {
    let server = ApiServer::start();
    let watched = watch(&server);
    until("the endpoints are listed", || watched.readiness.report().waiting_for == ["route"]).await;
    assert!(watched.board.report().is_none());
    server.put_route(route(1, 1000));
    until("the route is there", || watched.readiness.is_ready()).await;
    server.put_slice("digits-a", 8000, &[("10.0.0.1", true, false), ("10.0.0.2", false, true)]);
    server.put_slice("digits-b", 8000, &[("10.0.0.3", false, false)]);
    server.put_slice("other", 8000, &[("10.0.0.4", true, false)]);
    until("the endpoints are there", || watched.ready("a") == (1, 1, 0) && watched.ready("b") == (0, 0, 1))
        .await;
    let report = watched.page().report;
    assert_eq!((report.state.generation, report.source), (1, TableSource::Live));
    assert_eq!(report.endpoints.len(), 2);

    let mut pinned = route(1, 1000);
    pinned["metadata"]["annotations"] = json!({"sluice.dev/pin": "a"});
    server.put_route(pinned.clone());
    until("the pin is obeyed", || watched.page().report.state.pin.as_deref() == Some("a")).await;
    assert_eq!(watched.page().report.state.generation, 1, "an annotation does not change the generation");
    pinned["metadata"]["annotations"] = json!({"sluice.dev/pin": "nobody"});
    server.put_route(pinned);
    until("the pin is reported", || watched.page().report.unknown_pin.as_deref() == Some("nobody")).await;
    assert_eq!(watched.page().report.state.pin, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_route_is_kept_out_and_said_so() {
    let server = ApiServer::start();
    server.put_slice("digits-a", 8000, &[("10.0.0.1", true, false)]);
    let mut overlapping = route(1, 1000);
    overlapping["spec"]["revisions"][1]["slots"][0]["to"] = json!(2000);
    server.put_route(overlapping.clone());
    let watched = watch(&server);
    let reason = "spec.revisions: slot 1000 is assigned to a and to b";
    until("the first one is refused", || {
        watched.readiness.report().waiting_for == [format!("route ({reason})")]
    })
    .await;
    server.put_route(route(2, 1000));
    until("a good one is served", || watched.readiness.is_ready()).await;
    server.put_route(overlapping);
    until("one that overlaps is refused", || watched.page().refused.as_deref() == Some(reason)).await;
    assert_eq!((watched.page().report.state.generation, watched.readiness.is_ready()), (2, true));
    // Not even readable.
    let mut unreadable = route(4, 0);
    unreadable["spec"]["retry"] = json!("yes");
    server.put_route(unreadable);
    until("one that cannot be read is refused", || {
        watched.page().refused.is_some_and(|r| r.contains("boolean"))
    })
    .await;
    server.put_route(route(5, 0));
    until("a good one is served", || watched.page().report.state.generation == 5).await;
    assert_eq!(watched.page().refused, None);
}

// rule: R2 (stale is said), K7 (a deleted route stays served)
#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_the_last_table_stays() {
    let mut server = ApiServer::start();
    server.put_route(route(1, 1000));
    server.put_slice("digits-a", 8000, &[("10.0.0.1", true, false)]);
    let watched = watch(&server);
    until("it is ready", || watched.readiness.is_ready() && watched.ready("a") == (1, 0, 0)).await;
    server.stop();
    until("it is stale", || watched.page().report.source == TableSource::Stale).await;
    assert_eq!((watched.page().report.state.generation, watched.ready("a")), (1, (1, 0, 0)));
    assert!(watched.readiness.is_ready());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(watched.page().report.source, TableSource::Stale);
    // What happened meanwhile is seen when it is back.
    server.put_route(route(2, 0));
    server.put_slice("digits-a", 8000, &[("10.0.0.2", false, false)]);
    server.resume();
    until("it is live", || watched.page().report.source == TableSource::Live).await;
    until("it is up to date", || {
        watched.page().report.state.generation == 2 && watched.ready("a") == (0, 0, 1)
    })
    .await;
    server.delete_route("digits");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(watched.page().report.state.generation, 2);
    let mut recreated = route(1, 0);
    recreated["metadata"]["uid"] = json!("uid-2");
    server.put_route(recreated);
    until("the new object is served", || watched.page().report.state.uid == "uid-2").await;
}
