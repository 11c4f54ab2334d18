//! What this process wrote itself, for as long as the watch has not caught up with it.
//!
//! A decision from a cache that misses our own last write would take that write back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::{Resource, ResourceExt};

use crate::index::{Key, name_of, owner_key};

/// A watch that is further behind than this is broken; the fences of the writes still hold.
const KEEP: Duration = Duration::from_secs(10);

/// Our last write of each object of one kind. Clones share them.
#[derive(Debug)]
pub struct Fresh<K>(Arc<Mutex<Held<K>>>);

impl<K> Clone for Fresh<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// By namespace and name.
type Held<K> = HashMap<(String, String), Ours<K>>;

/// A write of ours.
#[derive(Debug)]
struct Ours<K> {
    at: Instant,
    /// What the API server answered.
    object: Arc<K>,
    /// Nothing is decided from what it changed.
    quiet: bool,
}

impl<K> Default for Fresh<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Resource> Fresh<K> {
    /// Remembers what the API server answered to a write.
    pub fn remember(&self, object: K) -> Arc<K> {
        self.hold(object, false)
    }

    /// Remembers what the API server answered to a write of what nothing is decided from: its echo by the watch is no
    /// news.
    pub fn remember_quietly(&self, object: K) -> Arc<K> {
        self.hold(object, true)
    }

    fn hold(&self, object: K, quiet: bool) -> Arc<K> {
        let object = Arc::new(object);
        let ours = Ours { at: Instant::now(), object: object.clone(), quiet };
        self.held().insert(name_of(&*object), ours);
        object
    }

    /// The quiet write of ours that the watch brings back, if it is one and the newest.
    pub fn echoed(&self, brought: &K) -> Option<Arc<K>> {
        let held = self.held();
        let ours = held.get(&name_of(brought)).filter(|ours| ours.quiet)?;
        let same = ours.object.uid() == brought.uid()
            && ours.object.resource_version() == brought.resource_version();
        same.then(|| ours.object.clone())
    }

    /// Forgets a write that whoever looks now sees, unless a newer one followed.
    pub fn release(&self, seen: &Arc<K>) {
        let mut held = self.held();
        let name = name_of(&**seen);
        if held.get(&name).is_some_and(|ours| Arc::ptr_eq(&ours.object, seen)) {
            held.remove(&name);
        }
    }

    /// The newer of the stored object and of what was written last.
    pub fn newest(&self, namespace: &str, name: &str, stored: Option<Arc<K>>) -> Option<Arc<K>> {
        let mut held = self.held();
        let key = (namespace.to_owned(), name.to_owned());
        let Some(Ours { at, object, .. }) = held.get(&key) else { return stored };
        let (at, ours) = (*at, object.clone());
        let behind = stored.as_ref().is_none_or(|s| s.uid() == ours.uid() && version(&**s) < version(&*ours));
        if behind && at.elapsed() < KEEP {
            return Some(ours);
        }
        held.remove(&key);
        stored
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.held().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Forgets everything that was made for a deployment.
    pub fn forget_of(&self, key: &Key) {
        self.held().retain(|_, ours| owner_key(&*ours.object).as_ref() != Some(key));
    }

    fn held(&self) -> MutexGuard<'_, Held<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// resourceVersions of one kind grow; one that is no number is taken for older than ours.
fn version(object: &impl Resource) -> u64 {
    object.meta().resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn service(uid: &str, version: &str) -> Service {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "x", "namespace": "n", "uid": uid, "resourceVersion": version}
        }))
        .unwrap()
    }

    #[test]
    fn our_write_counts_until_the_watch_has_it() {
        let fresh = Fresh::default();
        fresh.remember(service("u", "10"));
        let see = |stored: Option<Service>| fresh.newest("n", "x", stored.map(Arc::new))?.resource_version();
        assert_eq!(see(None).as_deref(), Some("10"));
        assert_eq!(see(Some(service("u", "9"))).as_deref(), Some("10"));
        assert_eq!(see(Some(service("u", "11"))).as_deref(), Some("11"));
        assert_eq!(see(Some(service("u", "9"))).as_deref(), Some("9"), "caught up: no longer held");
        fresh.remember(service("u", "12"));
        assert_eq!(see(Some(service("other", "1"))).as_deref(), Some("1"), "recreated by someone else");
    }

    #[test]
    fn only_the_newest_quiet_write_has_an_echo() {
        let fresh = Fresh::default();
        fresh.remember(service("u", "10"));
        assert!(fresh.echoed(&service("u", "10")).is_none(), "something is decided from it");
        fresh.remember_quietly(service("u", "11"));
        let brought = |uid: &str, version: &str| fresh.echoed(&service(uid, version));
        assert!(brought("u", "10").is_none() && brought("other", "11").is_none(), "by someone else");
        let echo = brought("u", "11").unwrap();
        fresh.remember_quietly(service("u", "12"));
        fresh.release(&echo);
        assert!(fresh.newest("n", "x", None).is_some(), "the watch has not brought the newest yet");
        fresh.release(&brought("u", "12").unwrap());
        assert!(fresh.newest("n", "x", None).is_none());
    }

    #[test]
    fn what_was_made_for_a_deployment_is_forgotten_with_it() {
        let fresh = Fresh::default();
        let made_for = |name: &str, deployment: &str| -> Service {
            serde_json::from_value(serde_json::json!({"metadata": {
                "name": name, "namespace": "n", "resourceVersion": "1",
                "labels": {api::names::DEPLOYMENT: deployment},
            }}))
            .unwrap()
        };
        fresh.remember(made_for("a-1", "a"));
        fresh.remember(made_for("a-b-1", "a-b"));
        fresh.forget_of(&Key::new("a").within("n"));
        assert!(fresh.newest("n", "a-1", None).is_none());
        assert!(fresh.newest("n", "a-b-1", None).is_some());
    }
}
