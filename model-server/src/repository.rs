//! Several models in one server: a folder of artefacts, `<folder>/<name>/<version>/`, loaded when somebody asks for them
//! and within a budget of memory.
//!
//! A version that appears replaces the one that answers for its name: it is loaded beside it, takes over between two
//! requests, and the one before leaves when its last request is answered. A version whose folder is taken away is replaced
//! by the newest that is left, in the same way.

mod scan;
mod shelf;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use semver::Version;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use crate::load::{LoadError, Wanted};
use crate::metrics::Metrics;
use crate::served::Served;
use shelf::{Job, NotThere, Outcome, Shelf, Taken};

/// Longest time for which a load waits until the memory of those that left is free.
const LEAVING: Duration = Duration::from_secs(60);

/// Makes a model of an artefact; blocks.
pub type Loader = Box<dyn Fn(&Wanted) -> Result<Served, LoadError> + Send + Sync>;

/// Bytes of memory that an artefact is taken to need; 0 of a folder that is none.
pub type Needed = dyn Fn(&Path) -> u64 + Send + Sync;

/// What a repository holds, and how.
pub struct Repository {
    folder: PathBuf,
    /// Bytes that a model is taken to need.
    memory: Arc<Needed>,
    loader: Loader,
    shelf: Mutex<Shelf<Arc<Served>>>,
    /// Loads begin one after the other, so that they have the budget to themselves.
    turn: Semaphore,
    metrics: Metrics,
}

/// Why there is no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// No model of this name.
    #[error("there is no model {found:?}, known: {known}")]
    Model {
        /// What was asked for.
        found: String,
        /// Some of those that are there.
        known: String,
    },
    /// No such version.
    #[error("there is no version {found:?} of model {model:?}")]
    Version {
        /// The model.
        model: String,
        /// What was asked for.
        found: String,
    },
    /// It did not load.
    #[error("model {0:?} cannot be loaded; the server's log says why")]
    Broken(String),
}

/// A line of the index, as Triton's extension of the protocol has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `READY`, `LOADING` or `UNAVAILABLE`.
    pub state: &'static str,
    /// Why it is unavailable.
    pub reason: String,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Repository {
    /// A repository with `budget` bytes of memory; `memory` says what an artefact takes of them.
    #[must_use]
    pub fn new(folder: PathBuf, budget: u64, memory: Box<Needed>, loader: Loader, metrics: Metrics) -> Self {
        let (shelf, turn) = (Mutex::new(Shelf::new(budget)), Semaphore::new(1));
        Self { folder, memory: memory.into(), loader, shelf, turn, metrics }
    }

    /// Looks into the folder, and starts to replace what is no longer the newest.
    ///
    /// # Errors
    /// If the folder cannot be read: what is loaded stays.
    pub async fn refresh(self: &Arc<Self>) -> std::io::Result<()> {
        let (folder, memory) = (self.folder.clone(), self.memory.clone());
        let listing = tokio::task::spawn_blocking(move || scan::scan(&folder, &*memory)).await??;
        let (jobs, dropped) = self.shelf().replace(listing);
        self.left("gone", &dropped);
        jobs.into_iter().for_each(|job| self.start(job));
        Ok(())
    }

    /// Looks into the folder again and again.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut said = false;
        loop {
            tokio::time::sleep(every).await;
            match self.refresh().await {
                Ok(()) => said = false,
                Err(_) if said => {}
                Err(error) => {
                    tracing::error!(%error, folder = %self.folder.display(), "the models cannot be listed");
                    said = true;
                }
            }
        }
    }

    /// A model, loaded if it is not there yet; without a version the newest that loads.
    ///
    /// # Errors
    /// If there is none, or it does not load.
    pub async fn find(
        self: &Arc<Self>,
        name: &str,
        version: Option<&str>,
    ) -> Result<Arc<Served>, RepositoryError> {
        let taken = self.shelf().take(name, version, Instant::now());
        let mut outcome = match taken.map_err(|error| self.explain(&error, name, version))? {
            Taken::Ready(model) => return Ok(model),
            Taken::Wait(outcome) => outcome,
            Taken::Load(job, outcome) => {
                self.start(job);
                outcome
            }
        };
        let broken = || RepositoryError::Broken(name.to_owned());
        let told = outcome.wait_for(Option::is_some).await.map_err(|_| broken())?;
        told.clone().expect("it was waited for").map_err(|_| broken())
    }

    /// Whether [`find`](Self::find) would give a model, if need be after a load.
    ///
    /// # Errors
    /// If there is none, or it did not load just now.
    pub fn check(&self, name: &str, version: Option<&str>) -> Result<(), RepositoryError> {
        let checked = self.shelf().check(name, version, Instant::now());
        checked.map_err(|error| self.explain(&error, name, version))
    }

    /// Unloads all versions of a model. They are loaded again when somebody asks.
    ///
    /// # Errors
    /// If there is no model of this name.
    pub fn unload(&self, name: &str) -> Result<(), RepositoryError> {
        let left = self.shelf().unload(name);
        let left = left.ok_or_else(|| self.explain(&NotThere::Model, name, None))?;
        self.left("asked", &left);
        Ok(())
    }

    /// All versions of all models.
    #[must_use]
    pub fn index(&self) -> Vec<Line> {
        let lines = self.shelf().index();
        let line = |line: shelf::Line| {
            let shelf::Line { name, version, state, reason } = line;
            Line { name, version: version.to_string(), state, reason }
        };
        lines.into_iter().map(line).collect()
    }

    fn start(self: &Arc<Self>, job: Job<Arc<Served>>) {
        tokio::spawn(self.clone().load(job));
    }

    async fn load(self: Arc<Self>, job: Job<Arc<Served>>) {
        let _turn = self.turn.acquire().await.expect("never closed");
        let start = Instant::now();
        let begun = self.shelf().begin(&job);
        let loaded = match begun {
            Err(reason) => Err(reason),
            Ok(left) => {
                self.left("room", &left);
                freed(left).await;
                self.run_loader(&job).await
            }
        };
        let Job { name, version, .. } = &job;
        let took = start.elapsed();
        match &loaded {
            Ok(_) => tracing::info!(name, %version, ms = took.as_millis() as u64, "loaded"),
            Err(reason) => tracing::error!(name, %version, reason, "not loaded"),
        }
        let result = if loaded.is_ok() { "loaded" } else { "failed" };
        self.metrics.loads.with_label_values(&[result]).inc();
        let before = self.shelf().finish(&job, loaded.clone(), Instant::now());
        self.left("replaced", before.as_slice());
        tell(&job.tell, loaded);
    }

    async fn run_loader(self: &Arc<Self>, job: &Job<Arc<Served>>) -> Result<Arc<Served>, String> {
        let wanted = Wanted {
            folder: job.found.folder.clone(),
            name: job.name.clone(),
            version: job.version.to_string(),
            revision: None,
            sha256: None,
        };
        let this = self.clone();
        let loaded = tokio::task::spawn_blocking(move || (this.loader)(&wanted)).await;
        match loaded {
            Ok(loaded) => loaded.map(Arc::new).map_err(|error| error.to_string()),
            Err(_) => Err("loading it panicked".to_owned()),
        }
    }

    /// Counts what has left, and what there is.
    fn left(&self, why: &str, models: &[Arc<Served>]) {
        self.metrics.unloads.with_label_values(&[why]).inc_by(models.len() as u64);
        let (loaded, bytes) = {
            let shelf = self.shelf();
            (shelf.loaded(), shelf.bytes())
        };
        self.metrics.models.set(loaded as i64);
        self.metrics.model_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn explain(&self, error: &NotThere, name: &str, version: Option<&str>) -> RepositoryError {
        let cut = |text: &str| text.chars().take(60).collect::<String>();
        match error {
            NotThere::Model => RepositoryError::Model { found: cut(name), known: self.known() },
            NotThere::Version => {
                RepositoryError::Version { model: cut(name), found: cut(version.unwrap_or("any")) }
            }
            NotThere::Broken(_) => RepositoryError::Broken(cut(name)),
        }
    }

    /// Names for a message.
    fn known(&self) -> String {
        let names = self.shelf().names();
        let some = names.iter().take(10).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        match names.len() {
            0 => "none yet".to_owned(),
            1..=10 => some,
            more => format!("{some} and {} more (POST /v2/repository/index)", more - 10),
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<Arc<Served>>> {
        // A panic within it would be a fault of ours; what it holds is whole between two statements.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until nobody holds models that have left: their memory is needed.
async fn freed(left: Vec<Arc<Served>>) {
    let held: Vec<Weak<Served>> = left.iter().map(Arc::downgrade).collect();
    drop(left);
    let start = Instant::now();
    while held.iter().any(|model| model.strong_count() > 0) {
        if start.elapsed() > LEAVING {
            tracing::warn!("models that left are still held by requests; loading another beside them");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn tell(tell: &watch::Sender<Outcome<Arc<Served>>>, loaded: Result<Arc<Served>, String>) {
    // Nobody may be waiting any more.
    let _ = tell.send(Some(loaded));
}

/// Whether a text can be the name of a model: it is a folder, and part of paths of HTTP.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=63).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(allowed)
}

/// A version of a model as a folder is called.
fn version_of(text: &str) -> Option<Version> {
    Version::parse(text).ok()
}
