//! Reads quotas, nodes and pods when a plan waits for pods; never while nothing does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::{sleep, timeout};

use super::{Coming, Free, Room, by_nodes, by_quotas};
use crate::index::Key;
use crate::world::Trigger;
use crate::write::REQUEST;

/// Pods that have no node for this long are worth a look: most have one sooner.
const PATIENCE: Duration = Duration::from_secs(2);
/// Age at which what was read is read anew.
const OLD: Duration = Duration::from_secs(30);
/// Objects of a page, and pages at most: what a look may cost. As values pods take 50 KB each.
const PAGE: (u32, usize) = (100, 100);

/// Looks on behalf of all deployments. Clones share everything.
#[derive(Clone)]
pub struct Reader(Arc<Inner>);

struct Inner {
    client: Client,
    /// The operator sees all namespaces: what other pods use of a node is known.
    everywhere: bool,
    wake: UnboundedSender<Trigger>,
    asked: Mutex<HashMap<Key, Asked>>,
    /// What all deployments share, and when it was read.
    free: tokio::sync::Mutex<Option<(Instant, Result<Free, String>)>>,
}

/// What was asked about a deployment, and what is known.
struct Asked {
    coming: Vec<Coming>,
    room: Room,
    /// When it was looked at; absent while that goes on.
    at: Option<Instant>,
}

impl Reader {
    /// Nothing is read yet. A deployment is woken when there is something new to say of it.
    #[must_use]
    pub fn new(client: Client, everywhere: bool, wake: UnboundedSender<Trigger>) -> Self {
        let free = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { client, everywhere, wake, asked: Mutex::default(), free }))
    }

    /// What is known of the room for `coming`; causes a look if that is old. Never waits.
    #[must_use]
    pub fn look(&self, key: &Key, coming: Vec<Coming>) -> Room {
        let mut all = self.asked();
        if coming.is_empty() {
            all.remove(key);
            return Room::default();
        }
        let asked = all.entry(key.clone()).or_insert_with(|| {
            tokio::spawn(self.clone().answer(key.clone()));
            Asked { coming: Vec::new(), room: Room::default(), at: None }
        });
        asked.coming = coming;
        if asked.at.is_some_and(|at| at.elapsed() > OLD) {
            asked.at = None;
            tokio::spawn(self.clone().answer(key.clone()));
        }
        asked.room.clone()
    }

    /// Forgets a deployment that is gone.
    pub fn forget(&self, key: &Key) {
        self.asked().remove(key);
    }

    async fn answer(self, key: Key) {
        sleep(PATIENCE).await;
        // By now it may have all its pods.
        let Some(coming) = self.asked().get(&key).map(|asked| asked.coming.clone()) else { return };
        let room = self.room(key.namespace.as_deref().unwrap_or_default(), &coming).await;
        if let Some(asked) = self.asked().get_mut(&key) {
            asked.at = Some(Instant::now());
            if asked.room != room {
                asked.room = room;
                // The other end is gone only when the program stops.
                let _ = self.0.wake.unbounded_send(Trigger::One(key.clone()));
            }
        }
    }

    async fn room(&self, namespace: &str, coming: &[Coming]) -> Room {
        let api: Api<ResourceQuota> = Api::namespaced(self.0.client.clone(), namespace);
        let mut quotas = Vec::new();
        let read = pages(&api, "ResourceQuotas", |quota| quotas.push(quota)).await;
        let mut unknown: Vec<String> = read.err().into_iter().collect();
        let mut short = by_quotas(coming, &quotas);
        match self.free().await {
            Ok(free) => short = short.or_else(|| by_nodes(coming, &free)),
            Err(why) => unknown.push(why),
        }
        Room { short, unknown: (!unknown.is_empty()).then(|| unknown.join("; ")) }
    }

    /// What nodes have left; read once for all that ask at about the same time.
    async fn free(&self) -> Result<Free, String> {
        if !self.0.everywhere {
            return Err("the room on nodes is not known: the operator sees one namespace".into());
        }
        let mut known = self.0.free.lock().await;
        if let Some((at, free)) = &*known
            && at.elapsed() < OLD
        {
            return free.clone();
        }
        let free = self.read_free().await;
        *known = Some((Instant::now(), free.clone()));
        free
    }

    async fn read_free(&self) -> Result<Free, String> {
        let mut nodes = Vec::new();
        pages(&Api::<Node>::all(self.0.client.clone()), "nodes", |node| nodes.push(node)).await?;
        let mut free = Free::of(nodes);
        // Page by page: a large cluster's pods are not held at once.
        pages(&Api::<Pod>::all(self.0.client.clone()), "pods", |pod| free.take(&pod)).await?;
        Ok(free)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Key, Asked>> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a list; what cannot be read, or is too long, is said in one sentence.
async fn pages<K>(api: &Api<K>, what: &str, mut each: impl FnMut(K)) -> Result<(), String>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut page = ListParams::default().limit(PAGE.0);
    for _ in 0..PAGE.1 {
        let list = match timeout(REQUEST, api.list(&page)).await {
            Ok(Ok(list)) => list,
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                return Err(format!("whether it fits is not fully known: {what} may not be listed"));
            }
            _ => return Err(format!("whether it fits is not fully known: {what} cannot be read now")),
        };
        list.items.into_iter().for_each(&mut each);
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return Ok(()),
        }
    }
    Err(format!("whether it fits is not fully known: there are too many {what} to look at"))
}
