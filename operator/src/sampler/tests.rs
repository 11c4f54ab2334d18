//! The task against routers and servers on loopback: what is read, and how often.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::names;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use evidence::{Bound, Draw, Harm, Kind, Metric, OnBreach, Verdict};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use rollout::{StageKey, Until};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;
use wire::{Assignment, Counts, EndpointCounts, Outcome, Page, TableSource};

use super::*;
use crate::index::Feed;

mod way_back;

const STAGE: StageKey = StageKey { sequence: 2, index: 0 };

/// A pod of the hollow kind: its pages, and how often each was read.
#[derive(Clone, Default)]
struct Pages(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The state it serves.
    generation: i64,
    /// It serves the ordered state from this question on.
    adopts: Option<(u64, i64)>,
    /// Its next evidence page fails.
    lose: bool,
    page: Page,
    routes: u64,
    evidences: u64,
    profiles: u64,
}

fn route(generation: i64) -> RouteState {
    RouteState { uid: "u".into(), generation, pin: None }
}

impl Pages {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    fn serve(&self, generation: i64, revision: &str, requests: u64) {
        self.with(|s| {
            let key = wire::Key { revision: revision.into(), assignment: Assignment::Split };
            let counts: &mut Counts =
                s.page.states.entry(route(generation)).or_default().entry(key).or_default();
            counts.outcomes[Outcome::Ok.index()] += requests;
        });
    }

    fn route(&self) -> Response {
        self.with(|s| {
            s.routes += 1;
            if let Some((question, generation)) = s.adopts
                && s.routes >= question
            {
                s.generation = generation;
            }
            let endpoints =
                ["old", "new"].map(|r| (r.into(), EndpointCounts { ready: 1, ..Default::default() }));
            Json(RouteReport {
                state: route(s.generation),
                source: TableSource::Live,
                endpoints: endpoints.into(),
                unknown_pin: None,
                tripped: BTreeMap::new(),
                instance: s.page.instance.clone(),
            })
            .into_response()
        })
    }

    fn evidence(&self) -> Response {
        self.with(|s| {
            s.evidences += 1;
            if std::mem::take(&mut s.lose) {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            s.page.render().into_response()
        })
    }

    fn profile(&self) -> Response {
        self.with(|s| s.profiles += 1);
        let profile = Profile { digest: "d1".into(), ..Profile::new("1.1.0", &[]) };
        Json(profile).into_response()
    }

    /// Serves the pages on an address of its own and describes the pod.
    async fn pod(&self, name: &str, role: &str, revision: &str) -> Pod {
        self.with(|s| s.page.instance = name.into());
        let address = loop {
            let [a, b, c]: [u8; 3] = rand::random();
            let ip = Ipv4Addr::new(127, a, b, c.clamp(1, 254));
            let address = SocketAddr::new(ip.into(), wire::endpoint::ADMIN_PORT);
            if let Ok(listener) = TcpListener::bind(address).await {
                let (r, e, p) = (self.clone(), self.clone(), self.clone());
                let pages = Router::new()
                    .route(wire::endpoint::ROUTE, get(async move || r.route()))
                    .route(wire::endpoint::EVIDENCE, get(async move || e.evidence()))
                    .route(wire::endpoint::PROFILE, get(async move || p.profile()));
                tokio::spawn(async move { axum::serve(listener, pages).await });
                break address;
            }
        };
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "models", "uid": format!("uid-{name}"),
                "labels": {names::DEPLOYMENT: "digits", names::ROLE: role, names::REVISION: revision},
            },
            "status": {
                "phase": "Running", "podIP": address.ip().to_string(),
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
        .unwrap()
    }
}

struct World {
    samplers: Samplers,
    woken: std::pin::Pin<Box<dyn Stream<Item = Key> + Send>>,
    feed: Feed<Pod>,
    key: Key,
}

impl World {
    fn new() -> Self {
        let pods = Index::default();
        let (samplers, woken) = Samplers::new(pods.clone(), &prometheus::Registry::new()).unwrap();
        let key = ObjectRef::new("digits").within("models");
        Self { samplers, woken: Box::pin(woken), feed: Feed::new(pods), key }
    }

    async fn router(&mut self, name: &str) -> Pages {
        let pages = Pages::default();
        let pod = pages.pod(name, names::ROLE_ROUTER, "").await;
        self.feed.apply(Event::Apply(pod));
        pages
    }

    /// Waits until the sampler wakes the reconciler with a snapshot that is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let seen = async {
            loop {
                self.woken.next().await.unwrap();
                let snapshot = self.samplers.snapshot(&self.key);
                if wanted(&snapshot) {
                    return snapshot;
                }
            }
        };
        let waited = timeout(Duration::from_secs(10), seen).await;
        waited.unwrap_or_else(|_| panic!("{what}; last: {:?}", self.samplers.snapshot(&self.key)))
    }
}

fn order(generation: i64) -> Order {
    Order {
        route: Some(route(generation)),
        with_share: BTreeSet::from(["old".into(), "new".into()]),
        false_rollback: 0.01,
        interval: Duration::from_millis(100),
        ..Order::default()
    }
}

fn judged(generation: i64, since: Timestamp) -> Order {
    let errors = Metric { min_samples: 1, ..Metric::new("errors", Kind::ErrorRate, Bound::Max(0.5)) };
    let sampling = Sampling {
        key: STAGE,
        since,
        candidates: vec!["new".into()],
        stable: Some("old".into()),
        draw: Draw::Split,
        accept: false,
        until: Until::Passed,
        ends: None,
    };
    Order { sampling: Some(sampling), metrics: vec![errors], ..order(generation) }
}

fn acknowledged(snapshot: &Snapshot, order: &Order, names: &[&str]) -> bool {
    let route = order.route.as_ref().unwrap();
    acknowledgement(route, &order.with_share, names.to_vec(), &snapshot.reports).acknowledged
}

fn requests(snapshot: &Snapshot) -> u64 {
    snapshot.evidence.get("new").map_or(0, |evidence| evidence.requests)
}

#[tokio::test]
async fn routers_are_asked_until_they_acknowledge_and_then_never_again() {
    // rule: R2
    let mut world = World::new();
    let (fast, slow) = (world.router("fast").await, world.router("slow").await);
    fast.with(|s| s.adopts = Some((1, 7)));
    slow.with(|s| s.adopts = Some((3, 7)));
    let order = order(7);
    world.samplers.order(&world.key, order.clone());
    world.until("both acknowledge", |s| acknowledged(s, &order, &["fast", "slow"])).await;
    assert_eq!((fast.with(|s| s.routes), slow.with(|s| s.routes)), (1, 3));

    // Idle: nothing to judge, nobody behind, the same order again: no reads at all.
    world.samplers.order(&world.key, order.clone());
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!((fast.with(|s| s.routes), slow.with(|s| s.routes)), (1, 3));
    assert_eq!((fast.with(|s| s.evidences), slow.with(|s| s.evidences)), (0, 0));

    // A new router is asked, the others are not.
    let new = world.router("new").await;
    new.with(|s| s.generation = 7);
    world.samplers.order(&world.key, order.clone());
    world.until("the new one acknowledges", |s| acknowledged(s, &order, &["fast", "slow", "new"])).await;
    assert_eq!((fast.with(|s| s.routes), slow.with(|s| s.routes), new.with(|s| s.routes)), (1, 3, 1));
}

#[tokio::test]
async fn only_the_stage_is_counted_and_a_lost_page_drops_only_its_own_pods_delta() {
    // rule: C4, T1
    let mut world = World::new();
    let (a, b) = (world.router("a").await, world.router("b").await);
    for router in [&a, &b] {
        router.with(|s| s.generation = 7);
        router.serve(6, "new", 1000);
        router.serve(7, "new", 5);
    }
    let order = judged(7, Timestamp::now());
    world.samplers.order(&world.key, order.clone());
    let first = world.until("a first round", |s| !s.evidence.is_empty()).await;
    assert_eq!(requests(&first), 0, "the first pages are only a baseline");
    assert_eq!(first.evidence["new"].readings[0].verdict, Verdict::NoData);

    a.serve(7, "new", 10);
    b.serve(7, "new", 100);
    a.serve(6, "new", 1000);
    world.until("both are counted", |s| requests(s) == 110).await;

    b.with(|s| s.lose = true);
    while b.with(|s| s.lose) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    a.serve(7, "new", 1);
    b.serve(7, "new", 7);
    let counted = world.until("a goes on", |s| requests(s) >= 111).await;
    assert_eq!(requests(&counted), 111);
    tokio::time::sleep(Duration::from_millis(250)).await;
    b.serve(7, "new", 20);
    world.until("b goes on from its new baseline", |s| requests(s) == 131).await;

    // Promotion to the next stage: another state, another window.
    let next = StageKey { index: 1, ..STAGE };
    let sampling = Sampling { key: next, since: Timestamp::now(), ..order.sampling.clone().unwrap() };
    for router in [&a, &b] {
        router.with(|s| s.generation = 8);
        router.serve(8, "new", 3);
    }
    world.samplers.order(&world.key, Order { sampling: Some(sampling), ..judged(8, Timestamp::now()) });
    let moved = world.until("the next stage", |s| s.evidence.get("new").is_some_and(|e| e.key == next)).await;
    assert!(requests(&moved) <= 6, "{}", requests(&moved));
    assert_eq!(moved.memory.as_ref().unwrap().candidates["new"].state.tracks["errors"].breaches, 0);
}

#[tokio::test]
async fn a_restarted_operator_begins_with_a_baseline_and_with_what_was_persisted() {
    // rule: C4, C6
    let mut world = World::new();
    let a = world.router("a").await;
    a.with(|s| s.generation = 7);
    let order = judged(7, Timestamp::now());
    world.samplers.order(&world.key, order.clone());
    world.until("a baseline", |s| !s.evidence.is_empty()).await;
    a.serve(7, "new", 40);
    let before = world.until("40 requests", |s| requests(s) == 40).await;
    a.serve(7, "new", 9);

    world.samplers.forget(&world.key);
    assert_eq!(*world.samplers.snapshot(&world.key), Snapshot::default());
    world.samplers.order(&world.key, Order { resume: before.memory.clone(), ..order });
    let after = world.until("the restarted one", |s| !s.evidence.is_empty()).await;
    assert!((40..=49).contains(&requests(&after)), "lost or once, never twice: {}", requests(&after));
    let base = requests(&after);
    a.serve(7, "new", 5);
    world.until("it counts on", |s| requests(s) == base + 5).await;
}

#[tokio::test]
async fn a_sampler_that_dies_calls_and_is_started_anew() {
    // rule: C6
    let mut world = World::new();
    let a = world.router("a").await;
    a.with(|s| s.generation = 7);
    let order = judged(7, Timestamp::now());
    // Validation lets no such tolerance through; so the test of errors cannot be made.
    let harm = Harm { tolerance: f64::NAN, on_breach: OnBreach::Rollback };
    let deadly = Tests { errors: Some(harm), ..Tests::default() };
    world.samplers.order(&world.key, Order { tests: deadly, ..order.clone() });
    let (samplers, key) = (world.samplers.clone(), world.key.clone());
    world.until("it dies, and a reconcile is called", |_| samplers.running()[&key].orders.is_closed()).await;
    // Else what was persisted would not be read for its successor.
    assert_eq!(*world.samplers.snapshot(&world.key), Snapshot::default());

    world.samplers.order(&world.key, order);
    world.until("a baseline", |s| !s.evidence.is_empty()).await;
    a.serve(7, "new", 40);
    world.until("it counts", |s| requests(s) == 40).await;
}

#[test]
fn what_a_panic_said_is_told() {
    let said = |panic: fn()| words(&*std::panic::catch_unwind(panic).unwrap_err()).to_owned();
    assert_eq!(said(|| panic!("plain")), "plain");
    assert_eq!(said(|| panic!("number {}", std::hint::black_box(7))), "number 7");
    assert_eq!(said(|| std::panic::panic_any(7)), "no text");
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_told_and_spends_nothing_again() {
    // rule: S2, J3, C6
    let mut world = World::new();
    let a = world.router("a").await;
    a.with(|s| s.generation = 7);
    let order = Order { resume: Some(Memory::read("{", &["new".into()])), ..judged(7, Timestamp::now()) };
    world.samplers.order(&world.key, order);
    let first = world.until("a baseline", |s| !s.evidence.is_empty()).await;
    let readings = &first.evidence["new"].readings;
    let names: Vec<&str> = readings.iter().map(|r| r.metric.as_str()).collect();
    assert_eq!((names, readings[0].check), (vec!["errors", "sequential"], 10_000));
}

#[tokio::test]
async fn each_ready_server_shows_its_profile_once() {
    // rule: I5
    let mut world = World::new();
    let server = Pages::default();
    let mut pod = server.pod("s1", names::ROLE_SERVER, "new").await;
    world.samplers.order(&world.key, Order { route: None, ..order(1) });
    world.feed.apply(Event::Apply(pod.clone()));
    world.samplers.order(&world.key, Order { route: None, ..order(1) });
    let seen = world.until("its profile", |s| s.servers.contains_key("new")).await;
    assert_eq!(seen.servers["new"].digests, BTreeSet::from(["d1".to_owned()]));
    assert_eq!(seen.servers["new"].profile.as_ref().unwrap().version, "1.1.0");
    pod.metadata.resource_version = Some("2".into());
    world.feed.apply(Event::Apply(pod));
    world.samplers.order(&world.key, Order { route: None, ..order(1) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.with(|s| s.profiles), 1);
}

#[tokio::test]
async fn with_autoscaling_requests_are_counted_though_nothing_is_judged() {
    // rule: C4
    let mut world = World::new();
    let (a, b) = (world.router("a").await, world.router("b").await);
    for router in [&a, &b] {
        router.with(|s| s.generation = 7);
        router.serve(7, "old", 1_000_000);
    }
    let scaled = Order { scaling: Some(Settings { suspended: false, ..Settings::HELD }), ..order(7) };
    world.samplers.order(&world.key, scaled.clone());
    let quiet = world.until("a rate", |s| s.load.is_some()).await.load.unwrap();
    assert_eq!((quiet.rate, quiet.complete), (0.0, true), "the first pages are only a baseline");
    a.serve(7, "old", 40);
    b.serve(6, "new", 2);
    let busy = world.until("requests", |s| s.load.is_some_and(|load| load.rate > 0.0)).await;
    assert!(busy.load.unwrap().complete && busy.evidence.is_empty());
    b.with(|s| s.lose = true);
    world.until("a page is missing", |s| s.load.is_some_and(|load| !load.complete)).await;

    world.samplers.order(&world.key, order(7));
    let ended = async {
        while world.samplers.snapshot(&world.key).load.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), ended).await.expect("no load is shown without autoscaling");
    // A round may be on its way.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let read = a.with(|s| s.evidences);
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(a.with(|s| s.evidences), read, "nobody reads any more");
}
