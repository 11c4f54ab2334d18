//! The table that is served now, with its endpoints and counters: swapped as a whole, so that a request sees
//! one version of it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use wire::{EndpointCounts, RouteReport, TableSource};

use crate::Table;
use crate::choose::in_turn;
use crate::count::{Ledger, StateCounts};
use crate::endpoints::{Condition, EndpointStatus, Endpoints};
use crate::upstream::Endpoint;

/// Endpoints of one revision.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    ready: Vec<Arc<Endpoint>>,
    leaving: Vec<Arc<Endpoint>>,
    pub(crate) counts: EndpointCounts,
    cursor: AtomicUsize,
}

impl Backends {
    /// The endpoints of a Service: of those that are `known` the same ones go on, and all of them are `used`.
    fn new(statuses: &[EndpointStatus], known: &mut Known, used: &mut Known) -> Self {
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
                known.remove(&status.address).unwrap_or_else(|| Arc::new(Endpoint::new(status.address)))
            });
            list.push(endpoint.clone());
        }
        backends
    }

    /// The next endpoint in turn: ready, not put aside, best one that was not tried. A `last_resort` has
    /// nobody behind it, so that endpoints which are about to stop, and those put aside, are tried too.
    pub(crate) fn pick(&self, tried: &[SocketAddr], last_resort: bool) -> Option<Arc<Endpoint>> {
        // A retry takes no turn: it would make the same endpoint the first one of every request.
        let turn = usize::from(tried.is_empty());
        let cursor = self.cursor.fetch_add(turn, Relaxed);
        let find = |list: &[Arc<Endpoint>], usable: &dyn Fn(&Endpoint) -> bool| {
            in_turn(list.len(), cursor, |i| usable(&list[i])).map(|i| list[i].clone())
        };
        let untried = |e: &Endpoint| !tried.contains(&e.address());
        find(&self.ready, &|e| !e.is_aside() && untried(e))
            .or_else(|| find(&self.ready, &|e| !e.is_aside()))
            .or_else(|| last_resort.then(|| find(&self.leaving, &|e| !e.is_aside() && untried(e))).flatten())
            .or_else(|| last_resort.then(|| find(&self.ready, &untried)).flatten())
    }

    /// The next ready endpoint in turn; one that was put aside only when all were. What is sent to it has no second
    /// try.
    pub(crate) fn pick_ready(&self) -> Option<Arc<Endpoint>> {
        let cursor = self.cursor.fetch_add(1, Relaxed);
        let at = in_turn(self.ready.len(), cursor, |i| !self.ready[i].is_aside())
            .or_else(|| in_turn(self.ready.len(), cursor, |_| true))?;
        Some(self.ready[at].clone())
    }

    /// Whether it has no ready endpoint, and some that are about to stop (C2).
    pub(crate) fn is_draining(&self) -> bool {
        self.counts.ready == 0 && self.counts.terminating > 0
    }
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
}

/// Endpoints by address. They live on over table changes with their connections.
type Known = HashMap<SocketAddr, Arc<Endpoint>>;

/// The current [`Snapshot`] and what is to be said of it.
pub struct Board {
    current: ArcSwapOption<Snapshot>,
    ledger: Arc<Ledger>,
    /// For requests, and for copies.
    known: Mutex<[Known; 2]>,
    news: Mutex<News>,
}

#[derive(Default)]
struct News {
    stale: bool,
    refused: Option<String>,
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
        Self { current: ArcSwapOption::empty(), ledger, known: Mutex::default(), news: Mutex::default() }
    }

    /// Serves a table with these endpoints from now on.
    pub fn install(&self, table: Arc<Table>, endpoints: &Endpoints) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let [mut answering, mut copying] = std::mem::take(&mut *known);
        let of = |revision: usize| {
            let statuses = endpoints.get(&table.revisions[revision].service);
            statuses.map(Vec::as_slice).unwrap_or_default()
        };
        let [used, used_by_copies] = &mut *known;
        let backends =
            (0..table.revisions.len()).map(|i| Backends::new(of(i), &mut answering, used)).collect();
        let copying = table.copies_to().map(|i| Backends::new(of(i), &mut copying, used_by_copies));
        let counts = self.ledger.enter(&table);
        self.current.store(Some(Arc::new(Snapshot { table, counts, backends, copying })));
    }

    /// Notes whether the API server answers.
    pub fn set_stale(&self, stale: bool) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).stale = stale;
    }

    /// Notes why the newest ModelRoute is not obeyed, or that it is.
    pub fn set_refused(&self, reason: Option<String>) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).refused = reason;
    }

    /// What `/route` says; `None` before the first table.
    #[must_use]
    pub fn report(&self) -> Option<RoutePage> {
        let snapshot = self.snapshot()?;
        let news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let names = snapshot.table.revisions.iter().map(|r| r.name.to_string());
        let endpoints: BTreeMap<_, _> = names.zip(snapshot.backends.iter().map(|b| b.counts)).collect();
        let report = RouteReport {
            state: snapshot.table.state.clone(),
            source: if news.stale { TableSource::Stale } else { TableSource::Live },
            endpoints,
            unknown_pin: snapshot.table.unknown_pin.clone(),
            tripped: self.ledger.tripped(),
            instance: self.ledger.instance().to_owned(),
        };
        Some(RoutePage { report, refused: news.refused.clone() })
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
