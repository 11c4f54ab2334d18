//! Everything that is watched, as it was last seen. Reading it never waits for the network.

use std::fmt::Debug;

use admin::Readiness;
use api::{ModelDeployment, ModelRollout, ModelRoute, names};
use futures::channel::mpsc::UnboundedSender;
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_of};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::fetching::failure;
use crate::fresh::Fresh;
use crate::index::{Feed, Index, Key, Touched};
use crate::observe::Written;

/// Objects that are listed at once.
const PART: u32 = 100;

/// A ModelDeployment, or why it cannot be read: one bad object must not stall the watch of all others.
pub type Guarded = DeserializeGuard<ModelDeployment>;

/// The stores.
#[derive(Clone)]
pub struct World {
    /// What teams wrote.
    pub deployments: Store<Guarded>,
    /// Route tables.
    pub routes: Index<ModelRoute>,
    /// Carried-out intents.
    pub rollouts: Index<ModelRollout>,
    /// Revisions.
    pub revisions: Index<ControllerRevision>,
    /// Workloads of revisions and routers.
    pub workloads: Index<Deployment>,
    /// Services of revisions and routers.
    pub services: Index<Service>,
    /// ServiceAccounts of routers.
    pub accounts: Index<ServiceAccount>,
    /// What routers may read.
    pub bindings: Index<RoleBinding>,
    /// How many pods a drained node may take at once.
    pub budgets: Index<PodDisruptionBudget>,
    /// Pods of servers and routers.
    pub pods: Index<Pod>,
}

/// What a change in the world causes.
#[derive(Debug, Clone)]
pub enum Trigger {
    /// Look at this deployment.
    One(Key),
    /// Look at every deployment.
    All,
    /// This deployment is gone.
    Gone(Key),
}

/// Done when every store has been filled once.
pub struct Synced(Vec<oneshot::Receiver<()>>);

impl Synced {
    /// Waits for it. A watch that ends without a first list keeps this waiting, and `/readyz` says so.
    pub async fn wait(self) {
        for store in self.0 {
            if store.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl World {
    /// Starts to watch `namespace`, or all namespaces. Changes are sent to `triggers`, but for those that are echoes of
    /// what was `written` quietly.
    #[must_use]
    pub fn watch(
        client: &Client,
        namespace: Option<&str>,
        written: &Written,
        readiness: &Readiness,
        triggers: &UnboundedSender<Trigger>,
    ) -> (Self, Synced) {
        let mut starting = Starting { client, namespace, readiness, triggers, synced: Vec::new() };
        let world = Self {
            deployments: starting.deployments(),
            routes: starting.guarded("ModelRoutes", &written.routes),
            rollouts: starting.guarded("ModelRollouts", &written.rollouts),
            revisions: starting.labelled("ControllerRevisions"),
            workloads: starting.labelled("Deployments"),
            services: starting.labelled("Services"),
            accounts: starting.labelled("ServiceAccounts"),
            bindings: starting.labelled("RoleBindings"),
            budgets: starting.labelled("PodDisruptionBudgets"),
            pods: starting.pods(),
        };
        (world, Synced(starting.synced))
    }
}

struct Starting<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    readiness: &'a Readiness,
    triggers: &'a UnboundedSender<Trigger>,
    synced: Vec<oneshot::Receiver<()>>,
}

/// Says once that the first list has arrived.
struct First(Option<(oneshot::Sender<()>, admin::Gate)>);

impl First {
    fn done(&mut self) {
        if let Some((synced, gate)) = self.0.take() {
            gate.done();
            // Nobody waits when the program is about to stop.
            let _ = synced.send(());
        }
    }
}

impl Starting<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn first(&mut self, what: &str) -> First {
        let (sender, receiver) = oneshot::channel();
        self.synced.push(receiver);
        First(Some((sender, self.readiness.wait_for(format!("the first list of {what}")))))
    }

    fn events<K>(&self, config: watcher::Config) -> impl Stream<Item = Event<K>> + Send + use<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
        K::DynamicType: Default,
    {
        watch_of(self.api::<K>(), config)
            .default_backoff()
            // Nobody reads them, and they are a third of the memory.
            .modify(|object| object.managed_fields_mut().clear())
            .filter_map(async |event| event.inspect_err(report).ok())
    }

    fn labelled<K>(&mut self, what: &str) -> Index<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K: Serialize + Send + Sync + 'static,
        K::DynamicType: Default,
    {
        let events = self.events::<K>(ours());
        self.follow(what, events, Fresh::default())
    }

    fn pods(&mut self) -> Index<Pod> {
        let events = self.events::<Pod>(ours()).map(|event| event.modify(slim));
        self.follow("Pods", events, Fresh::default())
    }

    fn guarded<K>(&mut self, what: &str, written: &Fresh<K>) -> Index<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K: Serialize + Send + Sync + 'static,
        K::DynamicType: Default,
    {
        let events = self.events::<DeserializeGuard<K>>(ours()).filter_map(async |event| readable(event));
        self.follow(what, events, written.clone())
    }

    fn follow<K>(
        &mut self,
        what: &str,
        events: impl Stream<Item = Event<K>> + Send + 'static,
        written: Fresh<K>,
    ) -> Index<K>
    where
        K: Resource + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let (index, mut first, triggers) = (Index::default(), self.first(what), self.triggers.clone());
        let mut feed = Feed::new(index.clone());
        tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                let echo = match &event {
                    Event::Apply(object) => written.echoed(object),
                    _ => None,
                };
                let touched = feed.apply(event);
                match echo {
                    Some(ours) => written.release(&ours),
                    None => tell(touched, &mut first, &triggers),
                }
            }
        });
        index
    }

    fn deployments(&mut self) -> Store<Guarded> {
        let events = self.events::<Guarded>(lists());
        let mut writer = Writer::<Guarded>::new(());
        let (store, triggers) = (writer.as_reader(), self.triggers.clone());
        let mut first = self.first("ModelDeployments (are the CRDs installed?)");
        tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                writer.apply_watcher_event(&event);
                match event {
                    Event::Apply(object) => send(&triggers, Trigger::One(key_of(&object))),
                    Event::Delete(object) => send(&triggers, Trigger::Gone(key_of(&object))),
                    Event::InitDone => {
                        first.done();
                        send(&triggers, Trigger::All);
                    }
                    Event::Init | Event::InitApply(_) => {}
                }
            }
        });
        store
    }
}

/// Leaves out what nobody reads of a pod: there are more of them than of anything else.
fn slim(pod: &mut Pod) {
    if let Some(spec) = pod.spec.take() {
        pod.spec = Some(PodSpec { node_name: spec.node_name, ..PodSpec::default() });
    }
    pod.metadata.annotations = None;
    if let Some(status) = pod.status.take() {
        let PodStatus { phase, pod_ip, conditions, init_container_statuses, .. } = status;
        // Only of a model that cannot be fetched is there something to say.
        let init_container_statuses = init_container_statuses
            .map(|all| all.into_iter().filter(|status| failure(status).is_some()).collect::<Vec<_>>())
            .filter(|failing| !failing.is_empty());
        pod.status =
            Some(PodStatus { phase, pod_ip, conditions, init_container_statuses, ..PodStatus::default() });
    }
}

fn tell(touched: Touched, first: &mut First, triggers: &UnboundedSender<Trigger>) {
    match touched {
        Touched::These(keys) => keys.into_iter().for_each(|key| send(triggers, Trigger::One(key))),
        Touched::All => {
            first.done();
            send(triggers, Trigger::All);
        }
    }
}

/// What carries our label: made by the operator, or pods of what it made.
fn ours() -> watcher::Config {
    lists().labels(names::DEPLOYMENT)
}

/// Lists are read in small parts: as values they take far more memory than what is kept of them.
fn lists() -> watcher::Config {
    watcher::Config::default().page_size(PART)
}

/// Names the deployment.
#[must_use]
pub fn key_of(object: &Guarded) -> Key {
    ObjectRef::new(&object.name_any()).within(object.meta().namespace.as_deref().unwrap_or_default())
}

fn send(triggers: &UnboundedSender<Trigger>, trigger: Trigger) {
    // The other end is gone only when the program stops.
    let _ = triggers.unbounded_send(trigger);
}

fn report(error: &watcher::Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "a watch was interrupted, it starts again");
}

/// Leaves out an object that cannot be read; it was written by someone else, or by a newer operator.
fn readable<K: Resource>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>>
where
    K::DynamicType: Default,
{
    let read = |guard: DeserializeGuard<K>| {
        guard
            .0
            .inspect_err(|bad| {
                let kind = K::kind(&K::DynamicType::default()).into_owned();
                tracing::error!(kind, name = ?bad.metadata.name, error = %bad.error, "cannot be read");
            })
            .ok()
    };
    Some(match event {
        Event::Apply(object) => Event::Apply(read(object)?),
        Event::Delete(object) => Event::Delete(read(object)?),
        Event::InitApply(object) => Event::InitApply(read(object)?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_pod_only_what_is_read_is_kept() {
        let fetch = |exit: u8| {
            json!({
                "name": "fetch", "image": "i", "imageID": "i", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": exit, "message": "error: s3://b/a is not there"}},
            })
        };
        let kept = |exit| {
            let pod = json!({
                "metadata": {"name": "a", "annotations": {"a": "b"}},
                "spec": {"nodeName": "n", "containers": [{"name": "server"}]},
                "status": {"phase": "Pending", "initContainerStatuses": [fetch(exit)], "hostIP": "10.0.0.1"},
            });
            let mut pod: Pod = serde_json::from_value(pod).unwrap();
            slim(&mut pod);
            json!(pod)
        };
        let spec = json!({"nodeName": "n", "containers": []});
        assert_eq!(
            kept(0),
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec, "status": {"phase": "Pending"},
            })
        );
        assert_eq!(kept(3)["status"]["initContainerStatuses"], json!([fetch(3)]));
    }
}
