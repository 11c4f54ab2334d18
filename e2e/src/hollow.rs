//! A cluster without nodes, from the objects alone.
//!
//! Beside a real API server it plays what a node and the controllers would do in one namespace: pods of
//! Deployments with an address on loopback each (K6), their readiness and their end, Deployments' status,
//! EndpointSlices, garbage collection by owner; and the pages of the pods: `/profile` of servers, `/route`
//! and `/evidence` of routers, with synthetic traffic that is split by the ModelRoute's slots. What the pods
//! do is scripted ([`Script`]), by model version and by router; nothing else is told to it.
//!
//! [`Hollow`] looks at all objects of its namespace whenever one changes: right for one test, too slow for a
//! thousand deployments. [`Crowd`] plays those, with less detail.

mod controllers;
mod copies;
mod crowd;
mod garbage;
mod kubelet;
mod member;
mod pages;
mod router;
mod script;
mod slices;
mod traffic;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use kube::Client;
use tokio_util::task::AbortOnDropHandle;

pub use crowd::{Crowd, Reads};
pub use router::Adopted;
pub use script::{Model, Ready, Routers, Script};

use controllers::Controllers;
use router::Seen;
use world::World;

/// What is shared between the controllers, the pages and the test.
#[derive(Debug, Clone, Default)]
struct Shared {
    script: Arc<Mutex<Script>>,
    seen: Arc<Mutex<Seen>>,
    changed: Arc<tokio::sync::Notify>,
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hollow cluster in one namespace; it ends when this is dropped.
#[derive(Debug)]
pub struct Hollow {
    shared: Shared,
    _controllers: AbortOnDropHandle<()>,
}

impl Hollow {
    /// Starts one.
    ///
    /// # Errors
    /// When the API server does not know a kind that is watched.
    pub async fn start(client: Client, namespace: &str) -> Result<Self> {
        let shared = Shared::default();
        let world = World::watch(&client, namespace).await?;
        let controllers = Controllers::new(client, namespace, world, shared.clone());
        Ok(Self { shared, _controllers: AbortOnDropHandle::new(tokio::spawn(controllers.run())) })
    }

    /// Changes what the pods of a model version do, from now on.
    pub fn model(&self, version: &str, change: impl FnOnce(&mut Model)) {
        change(self.shared.script().models.entry(version.to_owned()).or_default());
        self.shared.changed.notify_one();
    }

    /// Changes what routers do, from now on.
    pub fn routers(&self, change: impl FnOnce(&mut Routers)) {
        change(&mut self.shared.script().routers);
        self.shared.changed.notify_one();
    }

    /// When each router began to serve each table, in order of time.
    #[must_use]
    pub fn adopted(&self) -> Vec<Adopted> {
        let mut seen = self.shared.seen();
        seen.advance(Instant::now(), &self.shared.script());
        let mut adopted = seen.adopted.clone();
        adopted.sort_by_key(|a| a.at);
        adopted
    }

    /// When the newest evidence page was read before `at`.
    #[must_use]
    pub fn page_before(&self, at: Instant) -> Option<Instant> {
        self.shared.seen().pages.iter().copied().filter(|page| *page <= at).max()
    }

    /// How many pages of routers and servers were read so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.shared.seen().reads
    }
}
