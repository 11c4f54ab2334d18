//! The pods of many deployments, in all namespaces, for little work.
//!
//! Everything follows from one event of one deployment: nothing looks at all objects. Pods are ready as soon as
//! their Deployment is seen, one that is not wanted goes at once, routers serve a table as soon as it is seen,
//! and there are no EndpointSlices, which the operator does not read: a router's endpoints are the pods.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use api::{ModelRoute, names};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_of};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::kubelet::NODE;
use super::member::{Member, News};
use super::{Shared, script};

/// Writes on their way at one time.
const WRITES: usize = 16;

/// Namespace and name of a ModelDeployment.
type Key = (String, String);

/// Plays the pods of every ModelDeployment; it ends when this is dropped.
pub struct Crowd {
    members: Members,
    _watches: [AbortOnDropHandle<()>; 3],
}

/// What pages were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reads {
    /// Of any kind.
    pub all: u64,
    /// Evidence pages among them.
    pub evidence: u64,
}

impl Crowd {
    /// Starts one, with the node that its pods are on. Each router gets `rate` requests a second.
    ///
    /// # Errors
    /// When the API server refuses the node.
    pub async fn start(client: Client, rate: f64) -> Result<Self> {
        let room = json!({"cpu": "1000k", "memory": "1000Ti", "pods": "1000k"});
        let node: Node = serde_json::from_value(json!({"metadata": {"name": NODE}}))?;
        let nodes = Api::<Node>::all(client.clone());
        nodes.create(&PostParams::default(), &node).await?;
        let status = json!({"status": {
            "capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}],
        }});
        nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(status)).await?;

        let routers =
            script::Routers { rate, delay: std::time::Duration::ZERO, ..script::Routers::default() };
        let writes = Arc::new(Semaphore::new(WRITES));
        let members = Members { all: Arc::default(), client, writes, routers };
        let watches = [
            members.follow(|event: Event<Deployment>| match event {
                Event::Apply(object) | Event::InitApply(object) => Some(News::Workload(Box::new(object))),
                Event::Delete(object) => Some(News::Gone(Box::new(object))),
                Event::Init | Event::InitDone => None,
            }),
            members.follow(|event| applied(event).map(|o: ModelRoute| News::Route(Box::new(o)))),
            members.follow(|event| applied(event).map(|o: ControllerRevision| News::Revision(Box::new(o)))),
        ];
        Ok(Self { members, _watches: watches })
    }

    /// The pages that were read so far.
    #[must_use]
    pub fn reads(&self) -> Reads {
        let mut sum = Reads::default();
        for (shared, _) in self.members.all().values() {
            let seen = shared.seen();
            sum.all += seen.reads;
            sum.evidence += u64::try_from(seen.pages.len()).unwrap_or(u64::MAX);
        }
        sum
    }

    /// Of how many deployments every router was read since then.
    #[must_use]
    pub fn read_since(&self, at: Instant) -> usize {
        let all = self.members.all();
        let whole = all.values().filter(|(shared, _)| {
            let seen = shared.seen();
            let read = |name: &String| seen.read.get(name).is_some_and(|read| *read >= at);
            !seen.routers.is_empty() && seen.routers.keys().all(read)
        });
        whole.count()
    }
}

fn applied<K>(event: Event<K>) -> Option<K> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => Some(object),
        Event::Delete(_) | Event::Init | Event::InitDone => None,
    }
}

type Told = (Shared, mpsc::UnboundedSender<News>);

/// The deployments, each with a task of its own that lives as long as its sender.
#[derive(Clone)]
struct Members {
    all: Arc<Mutex<HashMap<Key, Told>>>,
    client: Client,
    writes: Arc<Semaphore>,
    routers: script::Routers,
}

impl Members {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, Told>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, key: Key, news: News) {
        let mut all = self.all();
        let (_, sender) = all.entry(key).or_insert_with_key(|(namespace, _)| {
            let shared = Shared::default();
            shared.script().routers = self.routers.clone();
            let (sender, heard) = mpsc::unbounded_channel();
            let member = Member::new(self.client.clone(), namespace, self.writes.clone(), shared.clone());
            tokio::spawn(member.run(heard));
            (shared, sender)
        });
        // A member ends only with its sender.
        let _ = sender.send(news);
    }

    fn follow<K>(&self, read: impl Fn(Event<K>) -> Option<News> + Send + 'static) -> AbortOnDropHandle<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let members = self.clone();
        let api = Api::<K>::all(self.client.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let ours = watcher::Config::default().labels(names::DEPLOYMENT);
            let mut events = std::pin::pin!(watch_of(api, ours).default_backoff());
            while let Some(event) = events.next().await {
                match event.map(&read) {
                    Ok(Some(news)) => {
                        if let Some(key) = key(news.meta()) {
                            members.tell(key, news);
                        }
                    }
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "the crowd's watch"),
                }
            }
        }))
    }
}

fn key(meta: &kube::api::ObjectMeta) -> Option<Key> {
    Some((meta.namespace.clone()?, meta.labels.as_ref()?.get(names::DEPLOYMENT)?.clone()))
}
