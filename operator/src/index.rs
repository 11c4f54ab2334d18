//! The watched objects of each deployment, by name.
//!
//! kube's own store knows objects by their name alone; with a thousand deployments every reconcile would
//! search all of them for the few that are its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use api::{ModelDeployment, names};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

/// Names a deployment.
pub type Key = ObjectRef<ModelDeployment>;

type Objects<K> = HashMap<Key, BTreeMap<String, Arc<K>>>;

/// The deployment that an object was made for, by its label.
#[must_use]
pub fn owner_key(object: &impl Resource) -> Option<Key> {
    let meta = object.meta();
    let deployment = meta.labels.as_ref()?.get(names::DEPLOYMENT)?;
    Some(ObjectRef::new(deployment).within(meta.namespace.as_deref()?))
}

/// Objects of one kind, by deployment and name. Clones read the same objects.
#[derive(Debug)]
pub struct Index<K>(Arc<RwLock<Objects<K>>>);

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> Index<K> {
    /// The objects of a deployment, by name.
    #[must_use]
    pub fn of(&self, key: &Key) -> BTreeMap<String, Arc<K>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }
}

/// The writing end of an [`Index`].
#[derive(Debug)]
pub struct Feed<K> {
    index: Index<K>,
    listing: Objects<K>,
}

/// Whose objects an event changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Touched {
    /// Nobody's.
    Nothing,
    /// This deployment's.
    One(Key),
    /// The whole list was read anew: what is gone from it was not named.
    All,
}

impl<K: Resource> Feed<K> {
    /// The writing end of `index`.
    #[must_use]
    pub fn new(index: Index<K>) -> Self {
        Self { index, listing: Objects::new() }
    }

    /// Follows an event of the watch.
    pub fn apply(&mut self, event: Event<K>) -> Touched {
        match event {
            Event::Init => {
                self.listing.clear();
                Touched::Nothing
            }
            Event::InitApply(object) => {
                insert(&mut self.listing, object);
                Touched::Nothing
            }
            Event::InitDone => {
                let listing = std::mem::take(&mut self.listing);
                *self.index.0.write().unwrap_or_else(PoisonError::into_inner) = listing;
                Touched::All
            }
            Event::Apply(object) => {
                let mut objects = self.index.0.write().unwrap_or_else(PoisonError::into_inner);
                insert(&mut objects, object).map_or(Touched::Nothing, Touched::One)
            }
            Event::Delete(object) => {
                let Some(key) = owner_key(&object) else { return Touched::Nothing };
                let mut objects = self.index.0.write().unwrap_or_else(PoisonError::into_inner);
                if let Some(own) = objects.get_mut(&key) {
                    own.remove(&object.name_any());
                    if own.is_empty() {
                        objects.remove(&key);
                    }
                }
                Touched::One(key)
            }
        }
    }
}

fn insert<K: Resource>(objects: &mut Objects<K>, object: K) -> Option<Key> {
    let key = owner_key(&object)?;
    objects.entry(key.clone()).or_default().insert(object.name_any(), Arc::new(object));
    Some(key)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn service(name: &str, deployment: &str) -> Service {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "n", "labels": {names::DEPLOYMENT: deployment}}
        }))
        .unwrap()
    }

    #[test]
    fn a_new_list_replaces_what_was_known() {
        let index = Index::default();
        let mut feed = Feed::new(index.clone());
        let key: Key = ObjectRef::new("a").within("n");
        feed.apply(Event::Init);
        feed.apply(Event::InitApply(service("x", "a")));
        assert!(index.of(&key).is_empty(), "a list counts once it is whole");
        assert_eq!(feed.apply(Event::InitDone), Touched::All);
        assert_eq!(feed.apply(Event::Apply(service("y", "a"))), Touched::One(key.clone()));
        assert_eq!(index.of(&key).into_keys().collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(feed.apply(Event::Delete(service("x", "a"))), Touched::One(key.clone()));
        feed.apply(Event::Init);
        feed.apply(Event::InitDone);
        assert!(index.of(&key).is_empty());
    }
}
