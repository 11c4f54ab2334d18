//! Publishes events of Kubernetes beside the reconciles: what serves never waits for what only informs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use api::ModelDeployment;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, Recorder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::write::REQUEST;

/// Events that are published at the same time. Those of one deployment keep their order.
const LANES: usize = 8;
/// Events that wait in one lane, at most: five hundred new deployments tell of themselves in a few seconds.
const WAITING: usize = 512;

type Told = (ObjectReference, Event);

/// Takes events. They may be lost; the record is the memory.
#[derive(Debug)]
pub struct Herald(Vec<mpsc::Sender<Told>>);

/// The tasks that publish what a [`Herald`] took; they end when it is dropped and nothing waits any more.
#[derive(Debug)]
pub struct Published(JoinSet<()>);

impl Herald {
    /// Nothing is published yet.
    #[must_use]
    pub fn new(recorder: &Recorder) -> (Self, Published) {
        let mut tasks = JoinSet::new();
        let lanes = (0..LANES).map(|_| {
            let (told, lane) = mpsc::channel(WAITING);
            tasks.spawn(publish(recorder.clone(), lane));
            told
        });
        (Self(lanes.collect()), Published(tasks))
    }

    /// Never waits: without room the event is lost, and the log says so.
    pub(crate) fn tell(&self, deployment: &ModelDeployment, event: Event) {
        let about = deployment.object_ref(&());
        let mut hasher = DefaultHasher::new();
        about.uid.hash(&mut hasher);
        let lane = &self.0[hasher.finish() as usize % self.0.len()];
        if let Err(lost) = lane.try_send((about, event)) {
            let (about, event) = lost.into_inner();
            tracing::warn!(
                deployment = about.name,
                reason = event.reason,
                "an event is lost: {WAITING} wait already"
            );
        }
    }
}

impl Published {
    /// Waits for what was told before, at most so long.
    pub async fn all(mut self, within: Duration) {
        let rest = async { while self.0.join_next().await.is_some() {} };
        if timeout(within, rest).await.is_err() {
            tracing::warn!("events are lost: not published within {within:?}");
        }
    }
}

async fn publish(recorder: Recorder, mut lane: mpsc::Receiver<Told>) {
    while let Some((about, event)) = lane.recv().await {
        match timeout(REQUEST, recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "an event is lost"),
            Err(_) => tracing::warn!("an event is lost: no answer within {REQUEST:?}"),
        }
    }
}
