//! The last table and endpoints on disk: a router that starts while the API server is away serves from them.
//!
//! It says so (`source: cached`), acknowledges no state (R2), and is careful with what may be old: a candidate's share
//! counts only while stable has no ready endpoint ([`Table::cautious`]). A person's pin is obeyed (R8).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::ModelRoute;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use wire::RouteState;

use crate::{Board, Condition, Endpoints, Table};

/// Largest file that is read.
const MOST: u64 = 4 << 20;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) route: ModelRoute,
    pub(crate) endpoints: Endpoints,
}

/// Why there is nothing to start from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it has {0} bytes, at most {MOST} are read")]
    TooLong(u64),
    #[error("it is not what a router writes: {0}")]
    Json(#[from] serde_json::Error),
}

/// A file that holds the newest table.
#[derive(Debug, Clone)]
pub struct Cache {
    path: PathBuf,
}

impl Cache {
    /// A cache in this file. Its folder must exist, and nobody else must write there.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What was kept last; `None` where nothing ever was.
    pub(crate) fn read(&self) -> Result<Option<Kept>, CacheError> {
        let length = match self.path.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if length > MOST {
            return Err(CacheError::TooLong(length));
        }
        Ok(Some(serde_json::from_slice(&std::fs::read(&self.path)?)?))
    }

    /// Keeps this instead: after a crash there is either the one or the other.
    fn write(&self, kept: &Kept) -> Result<(), CacheError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let fresh = self.path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    }

    /// Keeps whatever comes, the newest only, and tells `board` which state is safe. What cannot be kept is told of as
    /// well, so that no raise or abort waits for a full disk; an older table is removed then.
    pub(crate) async fn keep(self, mut news: watch::Receiver<Option<Arc<Kept>>>, board: Arc<Board>) {
        while news.changed().await.is_ok() {
            let Some(kept) = news.borrow_and_update().clone() else { continue };
            let cache = self.clone();
            let state = state(&kept.route);
            let written = tokio::task::spawn_blocking(move || cache.write(&kept)).await;
            let error = match written {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = error {
                tracing::error!(file = %self.path.display(), %error, "the table is not kept on disk");
                let _ = std::fs::remove_file(&self.path);
            }
            board.set_kept(state);
        }
    }
}

/// The state of a route, if its table names the pinned revision or none is pinned.
fn state(route: &ModelRoute) -> Option<RouteState> {
    Table::new(route).ok().map(|table| table.state)
}

/// Whether a Service has a ready endpoint.
pub(crate) fn is_ready(endpoints: &Endpoints, service: &str) -> bool {
    endpoints.get(service).is_some_and(|all| all.iter().any(|one| one.condition == Condition::Ready))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointStatus;

    fn kept(generation: i64) -> Kept {
        let address = ([10, 0, 0, 7], 8080).into();
        let endpoints = [("a".to_owned(), vec![EndpointStatus { address, condition: Condition::Ready }])];
        Kept { route: crate::count::tests::route(generation, &["a", "b"]), endpoints: endpoints.into() }
    }

    #[tokio::test]
    async fn the_newest_table_is_on_disk_before_it_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("route.json"));
        assert!(cache.read().unwrap().is_none(), "nothing was kept yet");
        let board = Arc::new(Board::new(Arc::new(crate::Ledger::new("test".into()))).keeping());
        let (tell, told) = watch::channel(None);
        let task = tokio::spawn(cache.clone().keep(told, board.clone()));
        for generation in 1..4 {
            let kept = kept(generation);
            board.install(Arc::new(Table::new(&kept.route).unwrap()), &kept.endpoints);
            assert_ne!(board.report().unwrap().report.state.generation, generation, "not on disk yet");
            tell.send_replace(Some(Arc::new(kept.clone())));
            while board.report().unwrap().report.state.generation != generation {
                tokio::task::yield_now().await;
            }
            assert_eq!(cache.read().unwrap(), Some(kept));
        }
        drop(tell);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_disk_that_cannot_be_written_holds_up_nothing() {
        let cache = Cache::new("/nowhere/route.json".into());
        let board = Arc::new(Board::new(Arc::new(crate::Ledger::new("test".into()))).keeping());
        let kept = kept(5);
        board.install(Arc::new(Table::new(&kept.route).unwrap()), &kept.endpoints);
        let (tell, told) = watch::channel(None);
        tokio::spawn(cache.keep(told, board.clone()));
        tell.send_replace(Some(Arc::new(kept)));
        while board.report().unwrap().report.state.generation != 5 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn what_no_router_wrote_is_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("route.json");
        std::fs::write(&path, "{").unwrap();
        let error = Cache::new(path.clone()).read().unwrap_err().to_string();
        assert!(error.starts_with("it is not what a router writes"), "{error}");
        File::create(&path).unwrap().set_len(MOST + 1).unwrap();
        assert!(matches!(Cache::new(path).read(), Err(CacheError::TooLong(_))));
    }
}
