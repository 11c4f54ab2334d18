//! A router on loopback with a table that the test writes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::{ModelRoute, ModelRouteSpec, RouteRevision, SlotRange, Sticky};
use prometheus::Registry;
use router::{
    Board, Collector, Condition, EndpointStatus, Endpoints, Feedback, Ledger, Limits, Proxy, Table,
    Telemetry, Tls,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire::{Assignment, Counts, Key, Outcome, Page, PairOutcome, Pairs, Slots};

/// The running router. Its revisions are `a` (stable) and `b`.
pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    pub(crate) board: Arc<Board>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) route: ModelRoute,
    pub(crate) endpoints: Endpoints,
    pub(crate) registry: Registry,
    /// Takes labels, and signs ids once it has a key.
    pub(crate) feedback: Arc<Feedback>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
}

/// What a router has only when it is asked for.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) telemetry: Telemetry,
    pub(crate) tls: Option<Arc<Tls>>,
}

/// How long clients may take to send their bodies.
pub(crate) const INTAKE: Duration = Duration::from_millis(900);

/// How old an answer may be.
pub(crate) const WINDOW: Duration = Duration::from_secs(3600);

/// A table that gives `b` this many slots and `a` the rest.
pub(crate) fn route(b: u16) -> ModelRoute {
    let range = |from, to| if from < to { vec![SlotRange { from, to }] } else { vec![] };
    let revision = |name: &str, slots| RouteRevision {
        name: name.into(),
        service: format!("digits-{name}"),
        slots,
        trip_wire: None,
    };
    let spec = ModelRouteSpec {
        revisions: vec![revision("a", range(b, 10_000)), revision("b", range(0, b))],
        stable: Some("a".into()),
        shares: String::new(),
        candidate: None,
        mirror: None,
        matches: vec![],
        targeting: false,
        sticky: Some(Sticky::by_header("x-user-id")),
        salt: "digits-1".into(),
        request_timeout: Duration::from_millis(600).into(),
        retry: true,
        max_in_flight: None,
        automation: None,
    };
    let mut route = ModelRoute::new("digits", spec);
    route.metadata.uid = Some("uid-1".into());
    route.metadata.generation = Some(1);
    route
}

pub(crate) fn ready(addresses: &[SocketAddr]) -> Vec<EndpointStatus> {
    in_condition(addresses, Condition::Ready)
}

pub(crate) fn in_condition(addresses: &[SocketAddr], condition: Condition) -> Vec<EndpointStatus> {
    addresses.iter().map(|&address| EndpointStatus { address, condition }).collect()
}

impl Rig {
    pub(crate) async fn start(route: ModelRoute, a: Vec<EndpointStatus>, b: Vec<EndpointStatus>) -> Self {
        Self::start_with(route, a, b, Limits::default()).await
    }

    pub(crate) async fn start_with(
        route: ModelRoute,
        a: Vec<EndpointStatus>,
        b: Vec<EndpointStatus>,
        limits: Limits,
    ) -> Self {
        Self::start_told(route, (a, b), limits, Extras::default()).await
    }

    pub(crate) async fn start_told(
        route: ModelRoute,
        (a, b): (Vec<EndpointStatus>, Vec<EndpointStatus>),
        limits: Limits,
        Extras { telemetry, tls }: Extras,
    ) -> Self {
        let ledger = Arc::new(Ledger::new("test".into()).with_feedback());
        let feedback = Arc::new(Feedback::new(ledger.clone(), WINDOW));
        let board = Arc::new(Board::new(ledger.clone()));
        let registry = Registry::new();
        telemetry.register(&registry).unwrap();
        tls.iter().for_each(|tls| tls.register(&registry).unwrap());
        let proxy = Proxy::new(board.clone(), 4 << 20).with_intake(INTAKE).with_feedback(feedback.clone());
        let proxy = Arc::new(proxy.with_telemetry(Arc::new(telemetry)));
        proxy.register(&registry).unwrap();
        feedback.register(&registry).unwrap();
        registry.register(Box::new(Collector::new(ledger.clone()))).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task =
            tokio::spawn(router::serve(vec![listener.into_std().unwrap()], proxy, tls, limits, async {
                let _ = stopped.await;
            }));
        let endpoints = [("digits-a".to_owned(), a), ("digits-b".to_owned(), b)].into();
        let rig =
            Self { address, board, ledger, route, endpoints, registry, feedback, stop: Some(stop), task };
        rig.install();
        rig
    }

    /// Whether its metrics have this line.
    pub(crate) fn has_metric(&self, line: &str) -> bool {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        text.lines().any(|l| l == line)
    }

    /// Serves the route and endpoints as they are now.
    pub(crate) fn install(&self) {
        self.board.install(Arc::new(Table::new(&self.route).unwrap()), &self.endpoints);
    }

    /// What was counted for a revision, read from the page as the operator does.
    pub(crate) fn counts(&self, revision: &str, assignment: Assignment) -> Counts {
        let page = Page::parse(&self.ledger.page().render()).unwrap();
        let key = Key { revision: revision.into(), assignment };
        let mut sum = Counts::default();
        page.states.values().filter_map(|keys| keys.get(&key)).for_each(|counts| sum.add(counts));
        sum
    }

    /// The pairs of `b` of all states on the page.
    pub(crate) fn pairs(&self) -> Pairs {
        let page = Page::parse(&self.ledger.page().render()).unwrap();
        let mut all = Pairs::default();
        page.pairs.values().filter_map(|revisions| revisions.get("b")).for_each(|pairs| all.add(pairs));
        all
    }

    /// How many copies became what.
    pub(crate) fn paired(&self, outcome: PairOutcome) -> u64 {
        self.pairs().outcome(outcome)
    }

    /// Serves the route from now on as another state of it.
    pub(crate) fn next(&mut self) {
        self.route.metadata.generation = self.route.metadata.generation.map(|generation| generation + 1);
        self.install();
    }

    /// The slots of all states on the page.
    pub(crate) fn slots(&self) -> Slots {
        let page = Page::parse(&self.ledger.page().render()).unwrap();
        let mut all = Slots::default();
        page.slots.values().for_each(|slots| all.merge(slots));
        all
    }

    /// The only outcome counted for a revision, and how often.
    pub(crate) fn outcome(&self, revision: &str) -> Option<(Outcome, u64)> {
        let counts = self.counts(revision, Assignment::Split);
        let mut found = Outcome::ALL.into_iter().map(|o| (o, counts.outcome(o))).filter(|(_, n)| *n > 0);
        let first = found.next();
        assert_eq!(found.next(), None, "more than one outcome: {counts:?}");
        first
    }

    pub(crate) fn requests(&self) -> u64 {
        let one = |r| Assignment::ALL.map(|a| self.counts(r, a).requests()).iter().sum::<u64>();
        one("a") + one("b")
    }
}

/// Waits until something is so, for at most five seconds.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s: {what}");
}
