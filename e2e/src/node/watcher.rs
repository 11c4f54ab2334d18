//! Follows a ModelDeployment and keeps the times at which its status changed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use api::{ModelDeployment, ModelDeploymentStatus};
use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

/// The status as it was at one instant.
#[derive(Debug, Clone)]
pub struct Change {
    /// When it arrived here.
    pub at: Instant,
    /// What it said.
    pub status: ModelDeploymentStatus,
}

impl Change {
    /// In one line, for people; equal lines are one change.
    #[must_use]
    pub fn line(&self) -> String {
        let status = &self.status;
        let phase = status.phase.map_or_else(|| "-".into(), |p| format!("{p:?}"));
        let stage = status.stage.as_ref().map(|s| format!("  stage {}", s.text)).unwrap_or_default();
        let shares: Vec<String> = status
            .traffic
            .iter()
            .map(|t| match t.acknowledged {
                Some(a) if a == t.desired => format!("{} {a} %", t.revision),
                _ => format!("{} {} % (asked)", t.revision, t.desired),
            })
            .collect();
        format!("{phase:<12}{stage:<12}  {}", shares.join(", "))
    }
}

/// A running watch.
#[derive(Debug)]
pub struct Watcher {
    changes: Arc<Mutex<Vec<Change>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    /// Follows `name`; `heard` is called with every change of the line.
    #[must_use]
    pub fn start(
        client: Client,
        namespace: &str,
        name: &str,
        heard: impl Fn(&Change) + Send + 'static,
    ) -> Self {
        let api: Api<ModelDeployment> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let changes = Arc::new(Mutex::new(Vec::<Change>::new()));
        let kept = changes.clone();
        let task = tokio::spawn(async move {
            let mut stream = std::pin::pin!(watcher(api, config).default_backoff().applied_objects());
            while let Some(event) = stream.next().await {
                // The API server may be away for a while; the watch goes on by itself.
                let Ok(object) = event else { continue };
                let Some(status) = object.status else { continue };
                let change = Change { at: Instant::now(), status };
                let mut kept = kept.lock().expect("no holder of this lock panics");
                let news = kept.last().is_none_or(|last| last.line() != change.line());
                kept.push(change.clone());
                drop(kept);
                if news {
                    heard(&change);
                }
            }
        });
        Self { changes, task }
    }

    /// All changes so far.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.changes.lock().expect("no holder of this lock panics").clone()
    }

    /// Waits for the first change since `from` that fits.
    ///
    /// # Errors
    /// When none came in time, with the last one.
    pub async fn until(
        &self,
        from: Instant,
        within: Duration,
        what: &str,
        fits: impl Fn(&ModelDeploymentStatus) -> bool,
    ) -> Result<Change> {
        let deadline = Instant::now() + within;
        loop {
            let changes = self.changes();
            if let Some(change) = changes.iter().find(|c| c.at >= from && fits(&c.status)) {
                return Ok(change.clone());
            }
            if Instant::now() > deadline {
                let last = changes.last().map_or_else(|| "nothing yet".into(), Change::line);
                bail!("waited {} s for {what}; last seen: {last}", within.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
