//! The watched objects of each deployment, by name.
//!
//! kube's own store knows objects by their name alone; with a thousand deployments every reconcile would
//! search all of them for the few that are its own. And it keeps them as values, whose empty fields take several
//! times the memory of what they say: here they are kept as text, and read when they are looked at.

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};

use api::{ModelDeployment, names};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Names a deployment.
pub type Key = ObjectRef<ModelDeployment>;

type Objects<K> = HashMap<Key, BTreeMap<String, Kept<K>>>;

/// An object as JSON.
#[derive(Debug)]
struct Kept<K>(Arc<[u8]>, PhantomData<fn() -> K>);

impl<K> Clone for Kept<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<K: Serialize + DeserializeOwned> Kept<K> {
    fn new(object: &K) -> Self {
        let text = serde_json::to_vec(object).expect("Kubernetes objects are JSON");
        Self(text.into(), PhantomData)
    }

    fn read(&self) -> Arc<K> {
        Arc::new(serde_json::from_slice(&self.0).expect("it was read from what the API server sent"))
    }
}

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

impl<K: Serialize + DeserializeOwned> Index<K> {
    /// The objects of a deployment, by name.
    #[must_use]
    pub fn of(&self, key: &Key) -> BTreeMap<String, Arc<K>> {
        // Read behind the lock: the watch need not wait for it.
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        kept.unwrap_or_default().into_iter().map(|(name, object)| (name, object.read())).collect()
    }
}

/// The writing end of an [`Index`].
#[derive(Debug)]
pub struct Feed<K> {
    index: Index<K>,
    /// Whose each object is, by namespace and name: people may change its label.
    owners: Owners,
    listing: Vec<Listed<K>>,
}

type Owners = HashMap<(String, String), Key>;

/// An object of a list that is not whole yet.
#[derive(Debug)]
struct Listed<K> {
    name: (String, String),
    owner: Option<Key>,
    object: Kept<K>,
}

impl<K: Resource + Serialize + DeserializeOwned> Listed<K> {
    fn new(object: &K) -> Self {
        Self { name: name_of(object), owner: owner_key(object), object: Kept::new(object) }
    }
}

/// Whose objects an event changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Touched {
    /// Those of these deployments.
    These(Vec<Key>),
    /// The whole list was read anew: what is gone from it was not named.
    All,
}

impl<K: Resource + Serialize + DeserializeOwned> Feed<K> {
    /// The writing end of `index`.
    #[must_use]
    pub fn new(index: Index<K>) -> Self {
        Self { index, owners: Owners::new(), listing: Vec::new() }
    }

    /// Follows an event of the watch.
    pub fn apply(&mut self, event: Event<K>) -> Touched {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => self.listing.push(Listed::new(&object)),
            Event::InitDone => {
                let listing = std::mem::take(&mut self.listing);
                return self.replace(listing);
            }
            Event::Apply(object) => return self.put(Listed::new(&object)),
            Event::Delete(object) => return self.remove(&object),
        }
        Touched::These(Vec::new())
    }

    fn put(&mut self, new: Listed<K>) -> Touched {
        let Listed { name, owner: after, object } = new;
        let mut objects = self.index.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = self.owners.remove(&name).filter(|before| Some(before) != after.as_ref());
        if let Some(before) = &before {
            take(&mut objects, before, &name.1);
        }
        if let Some(key) = &after {
            self.owners.insert(name.clone(), key.clone());
            objects.entry(key.clone()).or_default().insert(name.1, object);
        }
        Touched::These(before.into_iter().chain(after).collect())
    }

    fn remove(&mut self, object: &K) -> Touched {
        let name = name_of(object);
        let owner = self.owners.remove(&name);
        if let Some(key) = &owner {
            take(&mut self.index.0.write().unwrap_or_else(PoisonError::into_inner), key, &name.1);
        }
        Touched::These(owner.into_iter().collect())
    }

    /// There are these objects, and no others.
    fn replace(&mut self, all: Vec<Listed<K>>) -> Touched {
        let mut objects = Objects::new();
        self.owners.clear();
        for Listed { name, owner, object } in all {
            let Some(key) = owner else { continue };
            self.owners.insert(name.clone(), key.clone());
            objects.entry(key).or_default().insert(name.1, object);
        }
        *self.index.0.write().unwrap_or_else(PoisonError::into_inner) = objects;
        Touched::All
    }
}

/// Its namespace and name.
pub(crate) fn name_of(object: &impl Resource) -> (String, String) {
    (object.meta().namespace.clone().unwrap_or_default(), object.name_any())
}

fn take<K>(objects: &mut Objects<K>, key: &Key, name: &str) {
    let Some(own) = objects.get_mut(key) else { return };
    own.remove(name);
    if own.is_empty() {
        objects.remove(key);
    }
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
        assert_eq!(feed.apply(Event::Apply(service("y", "a"))), Touched::These(vec![key.clone()]));
        assert_eq!(index.of(&key).into_keys().collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(feed.apply(Event::Delete(service("x", "a"))), Touched::These(vec![key.clone()]));
        feed.apply(Event::Init);
        feed.apply(Event::InitDone);
        assert!(index.of(&key).is_empty());
    }

    #[test]
    fn an_object_whose_label_was_changed_is_no_longer_its_first_owners() {
        let index = Index::default();
        let mut feed = Feed::new(index.clone());
        let key = |name: &str| Key::new(name).within("n");
        feed.apply(Event::Apply(service("x", "a")));
        let touched = feed.apply(Event::Apply(service("x", "b")));
        assert_eq!(touched, Touched::These(vec![key("a"), key("b")]), "both must look");
        assert_eq!((index.of(&key("a")).len(), index.of(&key("b")).len()), (0, 1));
        feed.replace(vec![Listed::new(&service("x", "a"))]);
        // The label is gone: the watch, which selects by it, calls that a deletion.
        let mut bare = service("x", "a");
        bare.metadata.labels = None;
        assert_eq!(feed.apply(Event::Delete(bare)), Touched::These(vec![key("a")]));
        assert!(index.of(&key("a")).is_empty());
    }
}
