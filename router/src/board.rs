//! The table that is served now, with its endpoints and counters: swapped as a whole, so that a request sees
//! one version of it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use wire::{EndpointCounts, RouteReport, RouteState, TableSource};

use crate::Table;
use crate::cache::is_ready;
use crate::count::{Ledger, StateCounts};
use crate::endpoints::{Condition, EndpointStatus, Endpoints};
use crate::places::{Places, Taken};
use crate::upstream::{Endpoint, millis};

/// Endpoints of one revision.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    ready: Vec<Arc<Endpoint>>,
    leaving: Vec<Arc<Endpoint>>,
    pub(crate) counts: EndpointCounts,
}

impl Backends {
    /// The endpoints of a Service: of those that are `known` the same ones go on, and all of them are `used`.
    fn new(statuses: &[EndpointStatus], pools: usize, known: &mut Known, used: &mut Known) -> Self {
        let mut backends = Self::default();
        for status in statuses {
            let count = match status.condition {
                Condition::Ready => &mut backends.counts.ready,
                Condition::Leaving | Condition::Gone => &mut backends.counts.terminating,
                Condition::Unready => &mut backends.counts.unready,
            };
            *count += 1;
            let list = match status.condition {
                Condition::Ready => &mut backends.ready,
                Condition::Leaving => &mut backends.leaving,
                Condition::Gone | Condition::Unready => continue,
            };
            let endpoint = used.entry(status.address).or_insert_with(|| {
                known
                    .remove(&status.address)
                    .unwrap_or_else(|| Arc::new(Endpoint::new(status.address, pools)))
            });
            list.push(endpoint.clone());
        }
        backends
    }

    /// The better of two endpoints, drawn at random from those that are ready, neither put aside nor ejected, and at
    /// best not tried yet. A `last_resort` has nobody behind it, so that endpoints which are about to stop, and those put
    /// aside, are tried too.
    pub(crate) fn pick(&self, tried: &[SocketAddr], last_resort: bool) -> Option<Arc<Endpoint>> {
        let now = millis();
        let usable = self.usable(now);
        let untried = |e: &Endpoint| !tried.contains(&e.address());
        better(&self.ready, now, |e| usable(e) && untried(e))
            .or_else(|| better(&self.ready, now, &usable))
            .or_else(|| {
                let leaving = || better(&self.leaving, now, |e| !e.health().is_aside(now) && untried(e));
                last_resort.then(leaving).flatten()
            })
            .or_else(|| last_resort.then(|| better(&self.ready, now, untried)).flatten())
    }

    /// The better of two ready endpoints; one that was put aside only when all were. What is sent to it has no second
    /// try.
    pub(crate) fn pick_ready(&self) -> Option<Arc<Endpoint>> {
        let now = millis();
        better(&self.ready, now, self.usable(now)).or_else(|| better(&self.ready, now, |_| true))
    }

    /// Which of the ready ones get requests. When more than half of them are ejected it is not they who are broken, and
    /// nobody is passed over for it.
    fn usable(&self, now: u64) -> impl Fn(&Endpoint) -> bool {
        let ejected = self.ready.iter().filter(|e| e.health().is_ejected(now)).count();
        let all = 2 * ejected > self.ready.len();
        move |e| !e.health().is_aside(now) && (all || !e.health().is_ejected(now))
    }

    /// Whether it has no ready endpoint, and some that are about to stop (C2).
    pub(crate) fn is_draining(&self) -> bool {
        self.counts.ready == 0 && self.counts.terminating > 0
    }
}

/// The better of two that are usable, drawn at random: not the best of all, to which every thread would run at once.
fn better(list: &[Arc<Endpoint>], now: u64, usable: impl Fn(&Endpoint) -> bool) -> Option<Arc<Endpoint>> {
    let usable = || list.iter().filter(|endpoint| usable(endpoint));
    let n = usable().count();
    let drawn = |i: usize| usable().nth(i).expect("n are usable; none stops being so by a look at it");
    let one = match n {
        0 => return None,
        1 => return usable().next().cloned(),
        _ => rand::random_range(0..n),
    };
    let other = (one + rand::random_range(1..n)) % n;
    let (one, other) = (drawn(one), drawn(other));
    let better = if other.health().cost(now) < one.health().cost(now) { other } else { one };
    Some(better.clone())
}

/// One version of everything that a request needs.
pub(crate) struct Snapshot {
    pub(crate) table: Arc<Table>,
    pub(crate) counts: Arc<StateCounts>,
    /// By index of the table's revisions.
    pub(crate) backends: Vec<Backends>,
    /// Those of the revision that gets copies: the same pods by connections of their own, so that no copy is in the way
    /// of a request.
    pub(crate) copying: Option<Backends>,
    /// By index of the table's revisions.
    pub(crate) places: Vec<Places>,
}

/// Endpoints by address. They live on over table changes with their connections.
type Known = HashMap<SocketAddr, Arc<Endpoint>>;

/// The current [`Snapshot`] and what is to be said of it.
pub struct Board {
    current: ArcSwapOption<Snapshot>,
    ledger: Arc<Ledger>,
    /// How many threads serve.
    pools: usize,
    /// Whether a state is acknowledged only once it is on disk.
    keeping: bool,
    /// For requests, and for copies.
    known: Mutex<[Known; 2]>,
    taken: Mutex<Taken>,
    news: Mutex<News>,
}

#[derive(Default)]
struct News {
    stale: bool,
    /// The table is from the disk.
    cached: bool,
    refused: Option<String>,
    /// The newest state that is on disk.
    kept: Option<RouteState>,
}

/// `GET /route`: the report that the operator reads, and for people why a newer table is not served.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutePage {
    /// What *served* and *acknowledged* are decided from.
    #[serde(flatten)]
    pub report: RouteReport,
    /// Why the newest ModelRoute is not obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Board {
    /// A board without a table.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>) -> Self {
        let (current, known, taken) = (ArcSwapOption::empty(), Mutex::default(), Mutex::default());
        Self { current, ledger, pools: 1, keeping: false, known, taken, news: Mutex::default() }
    }

    /// The same whose tables a [`Cache`](crate::Cache) keeps: it acknowledges no state that is not on disk (R2).
    #[must_use]
    pub fn keeping(self) -> Self {
        Self { keeping: true, ..self }
    }

    /// The same for so many threads that serve: each has connections of its own.
    #[must_use]
    pub fn for_threads(self, threads: usize) -> Self {
        Self { pools: threads, ..self }
    }

    /// Serves a table with these endpoints from now on.
    pub fn install(&self, table: Arc<Table>, endpoints: &Endpoints) {
        self.news().cached = false;
        self.install_table(table, endpoints);
    }

    fn install_table(&self, table: Arc<Table>, endpoints: &Endpoints) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let [mut answering, mut copying] = std::mem::take(&mut *known);
        let of = |revision: usize| {
            let statuses = endpoints.get(&table.revisions[revision].service);
            statuses.map(Vec::as_slice).unwrap_or_default()
        };
        let [used, used_by_copies] = &mut *known;
        let backends = (0..table.revisions.len())
            .map(|i| Backends::new(of(i), self.pools, &mut answering, used))
            .collect();
        let copying =
            table.copies_to().map(|i| Backends::new(of(i), self.pools, &mut copying, used_by_copies));
        let counts = self.ledger.enter(&table);
        let places = Places::of(&table, &mut self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        self.current.store(Some(Arc::new(Snapshot { table, counts, backends, copying, places })));
    }

    /// Serves a table that was kept on disk, until one comes from the API server. It may be old, so that candidates get
    /// nothing unless stable has no ready endpoint.
    pub(crate) fn install_kept(&self, table: Table, endpoints: &Endpoints) {
        let stable = table.stable.map(|stable| table.revisions[stable].service.as_str());
        let table =
            if stable.is_some_and(|service| is_ready(endpoints, service)) { table.cautious() } else { table };
        self.news().cached = true;
        self.install_table(Arc::new(table), endpoints);
    }

    /// Notes which state is on disk.
    pub(crate) fn set_kept(&self, state: Option<RouteState>) {
        self.news().kept = state;
    }

    /// Notes whether the API server answers.
    pub fn set_stale(&self, stale: bool) {
        self.news().stale = stale;
    }

    /// Notes why the newest ModelRoute is not obeyed, or that it is.
    pub fn set_refused(&self, reason: Option<String>) {
        self.news().refused = reason;
    }

    /// What `/route` says; `None` before the first table.
    #[must_use]
    pub fn report(&self) -> Option<RoutePage> {
        let snapshot = self.snapshot()?;
        let news = self.news();
        let names = snapshot.table.revisions.iter().map(|r| r.name.to_string());
        let endpoints: BTreeMap<_, _> = names.zip(snapshot.backends.iter().map(|b| b.counts)).collect();
        let report = RouteReport {
            state: self.acknowledged(&snapshot.table, &news),
            source: match (news.cached, news.stale) {
                (true, _) => TableSource::Cached,
                (false, true) => TableSource::Stale,
                (false, false) => TableSource::Live,
            },
            endpoints,
            unknown_pin: snapshot.table.unknown_pin.clone(),
            tripped: self.ledger.tripped(),
            instance: self.ledger.instance().to_owned(),
        };
        Some(RoutePage { report, refused: news.refused.clone() })
    }

    /// rule: R2. The state that this router stands for: the one that it serves, or the one before until that is on disk.
    fn acknowledged(&self, table: &Table, news: &News) -> RouteState {
        match &news.kept {
            _ if news.cached => RouteState::default(),
            _ if !self.keeping => table.state.clone(),
            kept => kept.clone().unwrap_or_default(),
        }
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn sweep(&self) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for endpoint in known.iter().flat_map(HashMap::values) {
            endpoint.sweep();
        }
    }
}
