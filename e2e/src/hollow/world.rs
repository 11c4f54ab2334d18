//! All objects of the namespace, as the watches show them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use api::{ModelDeployment, ModelRollout, ModelRoute};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_of};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Kind and name.
pub(super) type Key = (String, String);

/// The objects.
#[derive(Debug)]
pub(super) struct World {
    pub(super) objects: BTreeMap<Key, DynamicObject>,
    /// Uids of objects that were seen to go.
    pub(super) gone: BTreeSet<String>,
    pub(super) kinds: BTreeMap<String, ApiResource>,
    events: mpsc::UnboundedReceiver<(String, Event<DynamicObject>)>,
    /// Objects of a list that has begun, by kind.
    listing: BTreeMap<String, BTreeMap<String, DynamicObject>>,
    _watches: Vec<AbortOnDropHandle<()>>,
}

impl World {
    /// Begins to watch everything that an operator makes.
    #[expect(clippy::unused_async, reason = "tasks are spawned: only from within a runtime")]
    pub(super) async fn watch(client: &Client, namespace: &str) -> Result<Self> {
        let kinds: Vec<ApiResource> = vec![
            resource::<ModelDeployment>(),
            resource::<ModelRollout>(),
            resource::<ModelRoute>(),
            resource::<ControllerRevision>(),
            resource::<Deployment>(),
            resource::<Service>(),
            resource::<ServiceAccount>(),
            resource::<RoleBinding>(),
            resource::<PodDisruptionBudget>(),
            resource::<Pod>(),
            resource::<EndpointSlice>(),
        ];
        let (sender, events) = mpsc::unbounded_channel();
        let watches = kinds.iter().map(|kind| follow(client, namespace, kind, sender.clone())).collect();
        Ok(Self {
            objects: BTreeMap::new(),
            gone: BTreeSet::new(),
            kinds: kinds.into_iter().map(|kind| (kind.kind.clone(), kind)).collect(),
            events,
            listing: BTreeMap::new(),
            _watches: watches,
        })
    }

    /// Waits for a change, and takes all that have arrived.
    pub(super) async fn changed(&mut self) {
        let Some((kind, event)) = self.events.recv().await else { return std::future::pending().await };
        self.take(kind, event);
        while let Ok((kind, event)) = self.events.try_recv() {
            self.take(kind, event);
        }
    }

    fn take(&mut self, kind: String, event: Event<DynamicObject>) {
        match event {
            Event::Apply(object) => {
                self.objects.insert((kind, object.name_any()), object);
            }
            Event::Delete(object) => {
                self.gone.extend(object.uid());
                self.objects.remove(&(kind, object.name_any()));
            }
            Event::Init => {
                self.listing.insert(kind, BTreeMap::new());
            }
            Event::InitApply(object) => {
                self.listing.entry(kind).or_default().insert(object.name_any(), object);
            }
            Event::InitDone => {
                let listed = self.listing.remove(&kind).unwrap_or_default();
                let gone = &mut self.gone;
                self.objects.retain(|(k, name), object| {
                    let stays = *k != kind || listed.contains_key(name);
                    gone.extend(object.uid().filter(|_| !stays));
                    stays
                });
                self.objects.extend(listed.into_iter().map(|(name, o)| ((kind.clone(), name), o)));
            }
        }
    }

    /// All objects of a kind, read as what they are. One that cannot be read is a bug of this module.
    pub(super) fn all<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let kind = K::kind(&());
        self.objects
            .iter()
            .filter(|((k, _), _)| *k == kind)
            .filter_map(|(_, object)| object.clone().try_parse().ok())
            .collect()
    }

    /// Model version and asked digest of a revision, from its ControllerRevision.
    pub(super) fn model(&self, revision: &str) -> Option<(String, Option<String>)> {
        let object = self.objects.get(&("ControllerRevision".to_owned(), revision.to_owned()))?;
        let text = |path| object.data.pointer(path).and_then(|value| value.as_str()).map(str::to_owned);
        Some((text("/data/asked/model/version")?, text("/data/asked/model/sha256")))
    }
}

fn resource<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

fn follow(
    client: &Client,
    namespace: &str,
    kind: &ApiResource,
    sender: mpsc::UnboundedSender<(String, Event<DynamicObject>)>,
) -> AbortOnDropHandle<()> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, kind);
    let name = kind.kind.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut events = std::pin::pin!(watch_of(api, watcher::Config::default()).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if sender.send((name.clone(), event)).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(kind = %name, %error, "the hollow cluster's watch"),
            }
        }
    }))
}
