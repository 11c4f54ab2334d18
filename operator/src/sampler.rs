//! Reads routers' and servers' pages, so that a reconcile never waits for the network.
//!
//! One task per deployment. It asks routers which table they serve ([`wire::endpoint::ROUTE`]) only while one
//! of them is behind (`acknowledged.rs`), reads their counters ([`wire::endpoint::EVIDENCE`]) on a clock of
//! its own while a stage is judged (`judging.rs`) or the number of model servers follows them, and each ready server's profile once (`profiles.rs`).
//! Settled, nothing to judge and no autoscaling means: no reads at all.
//!
//! A reconcile hands in an [`Order`] and looks at the newest [`Snapshot`]; the stream that [`Samplers::new`]
//! returns names the deployments whose snapshot changed in something that a decision depends on.

mod acknowledged;
mod bandit;
mod candidate;
mod judging;
mod memory;
mod metrics;
mod page;
mod pods;
mod profiles;
mod task;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use evidence::{Metric, Tests};
use futures::{FutureExt, Stream};
use k8s_openapi::api::core::v1::Pod;
use rollout::{Allotment, Sampling, StageEvidence};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use wire::{Profile, RouteReport, RouteState};

pub use acknowledged::{Acknowledgement, acknowledgement};
pub use memory::{Contest, Memory, Remembered};
pub use pods::running_routers;

use metrics::Metrics;
use page::Pages;

use crate::index::{Index, Key};
use crate::scaling::{Load, Settings};

/// Time between the death of a sampler and the reconcile that starts it anew: as often as pages may be read anyway.
const PAUSE: Duration = Duration::from_secs(1);

/// What a deployment's sampler shall do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Order {
    /// The state of the route table that routers shall serve; absent while there is none.
    pub route: Option<RouteState>,
    /// The revisions that it sends requests or copies to: each router must see a ready endpoint of each (R2).
    pub with_share: BTreeSet<String>,
    /// The stage that is judged, if any.
    pub sampling: Option<Sampling>,
    /// Whether what was judged last led to a way back that is not over: its numbers stay, to be recorded.
    pub remembers: bool,
    /// Each candidate's share of the requests that `route` draws at random for it or for stable; absent under
    /// sticky routing.
    pub splits: BTreeMap<String, f64>,
    /// By what it is judged.
    pub metrics: Vec<Metric>,
    /// The sequential tests, as a rollout that begins now would have them.
    pub tests: Tests,
    /// Budget of false rollbacks (S2).
    pub false_rollback: f64,
    /// Time between two samplings, and between two questions to a router that stays behind; above 0.
    pub interval: Duration,
    /// What the candidates of a rollout that begins now compete by.
    pub contest: Option<Contest>,
    /// What the number of model servers follows, if it follows the requests.
    pub scaling: Option<Settings>,
    /// What was persisted for the rollout in `sampling`; used when this process has none.
    pub resume: Option<Memory>,
}

/// What is known of a deployment's pods by reading them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// The newest answer of each router pod, by pod name; a router that was not asked yet is absent.
    pub reports: BTreeMap<String, Result<RouteReport, String>>,
    /// What the numbers say of each candidate in the judged stage, after its first sampling.
    pub evidence: BTreeMap<String, StageEvidence>,
    /// How a bandit would share.
    pub allotment: Option<Allotment>,
    /// The requests per second; absent without autoscaling, and until this process has read twice.
    pub load: Option<Load>,
    /// The memory of the judge, to be persisted for the rollout of `evidence`.
    pub memory: Option<Memory>,
    /// What the server pods say of themselves, by revision.
    pub servers: BTreeMap<String, Servers>,
}

impl Snapshot {
    /// Whether a server pod of this revision has nothing more to say.
    #[must_use]
    pub fn has_heard(&self, revision: &str, pod: &Pod) -> bool {
        let heard = |uid: &String| self.servers.get(revision).is_some_and(|s| s.heard.contains(uid));
        pod.metadata.uid.as_ref().is_some_and(heard)
    }
}

/// What the server pods of a revision say of themselves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Servers {
    /// Digests reported by the pods that exist; more than one is a conflict (I5).
    pub digests: BTreeSet<String>,
    /// Uids of the pods that exist and have nothing more to say: read, without a profile, or given up.
    pub heard: BTreeSet<String>,
    /// The reference profile, of the first pod that showed one.
    pub profile: Option<Profile>,
}

/// Why sampling cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SamplerError {
    /// A metric of the same name is registered already.
    #[error("the sampler's metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The HTTP client cannot be built.
    #[error("the client for pods' pages cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// All samplers. Clones share them.
#[derive(Debug, Clone)]
pub struct Samplers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pods: Index<Pod>,
    pages: Pages,
    metrics: Metrics,
    wake: mpsc::UnboundedSender<Key>,
    running: Mutex<HashMap<Key, Running>>,
}

#[derive(Debug)]
struct Running {
    orders: watch::Sender<Arc<Order>>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    _task: AbortOnDropHandle<()>,
}

impl Samplers {
    /// Samplers over these pods, without any deployment yet, and the stream of deployments whose
    /// snapshot changed.
    ///
    /// # Errors
    /// If the metrics are registered already, or the HTTP client cannot be built.
    pub fn new(
        pods: Index<Pod>,
        registry: &prometheus::Registry,
    ) -> Result<(Self, impl Stream<Item = Key> + use<>), SamplerError> {
        let (wake, mut woken) = mpsc::unbounded_channel();
        let metrics = Metrics::register(registry)?;
        let pages = Pages::new(metrics.clone())?;
        let inner = Inner { pods, pages, metrics, wake, running: Mutex::default() };
        Ok((Self(Arc::new(inner)), futures::stream::poll_fn(move |context| woken.poll_recv(context))))
    }

    /// Says what is to be sampled from now on; call it in every reconcile, also with the same order, because
    /// it makes the sampler look at the pods again. Starts the sampler of a new deployment, and one that died,
    /// from what was persisted.
    pub fn order(&self, key: &Key, order: Order) {
        let mut running = self.running();
        // It holds the other end until it ends.
        if let Some(known) = running.get(key).filter(|known| !known.orders.is_closed()) {
            known.orders.send_replace(Arc::new(order));
            return;
        }
        let (orders, received) = watch::channel(Arc::new(order));
        let snapshot = Arc::new(ArcSwap::default());
        let task = task::Task::new(key.clone(), &self.0, snapshot.clone()).run(received);
        let task =
            AbortOnDropHandle::new(tokio::spawn(until_it_dies(task, key.clone(), self.0.wake.clone())));
        running.insert(key.clone(), Running { orders, snapshot, _task: task });
    }

    /// The newest snapshot; an empty one for a deployment that has no sampler, or whose sampler died.
    #[must_use]
    pub fn snapshot(&self, key: &Key) -> Arc<Snapshot> {
        let running = self.running();
        let alive = running.get(key).filter(|running| !running.orders.is_closed());
        alive.map(|running| running.snapshot.load_full()).unwrap_or_default()
    }

    /// Ends the sampler of a deployment. After a conflict over its persisted state: forget, then order anew,
    /// so that the next page is only a baseline (C4).
    pub fn forget(&self, key: &Key) {
        self.running().remove(key);
    }

    /// The deployments that have a sampler.
    #[must_use]
    pub fn known(&self) -> Vec<Key> {
        self.running().keys().cloned().collect()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Key, Running>> {
        // Every change is one insert or remove: a panic elsewhere cannot leave it half done.
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a sampler. Should it panic, a reconcile starts it anew: nobody else would notice that there is no
/// evidence any more, and so no way back.
async fn until_it_dies(sampler: impl Future<Output = ()>, key: Key, wake: mpsc::UnboundedSender<Key>) {
    if let Err(panic) = AssertUnwindSafe(sampler).catch_unwind().await {
        tracing::error!(deployment = %key, panic = words(&*panic), "its sampler died and is started anew");
        tokio::time::sleep(PAUSE).await;
        // Nobody listens any more only while the operator stops.
        let _ = wake.send(key);
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}
