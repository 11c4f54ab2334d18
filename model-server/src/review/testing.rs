//! Stores and routers that fail on purpose.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use prometheus::Registry;
use serde_json::{Value, json};
use sources::{Cabinet, CabinetError, Caller, Patience, open_cabinet};

use super::{Courier, Desk, Router};

/// A folder that goes with the test.
pub(super) fn folder() -> (tempfile::TempDir, Arc<dyn Cabinet>) {
    let place = tempfile::tempdir().unwrap();
    let uri = format!("file://{}", place.path().display()).parse().unwrap();
    let cabinet = open_cabinet(&uri, &[], Patience { retries: 0, ..Patience::default() }).unwrap();
    (place, cabinet)
}

/// How writes end once there were enough of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// They are not done.
    Before,
    /// The first is done, and nobody hears of it; the others are not.
    After,
    /// They never end.
    Hang,
}

/// A store to which only so many writes come through.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) inner: Arc<dyn Cabinet>,
    pub(super) left: AtomicUsize,
    pub(super) end: End,
}

impl Ending {
    pub(super) fn new(inner: &Arc<dyn Cabinet>, writes: usize, end: End) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), left: AtomicUsize::new(writes), end })
    }

    async fn write(
        &self,
        name: &str,
        work: impl Future<Output = Result<(), CabinetError>>,
    ) -> Result<(), CabinetError> {
        let left = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        match (left, self.end) {
            (Ok(1), End::After) => work.await?,
            (Ok(_), _) => return work.await,
            (Err(_), End::Hang) => std::future::pending().await,
            (Err(_), _) => {}
        }
        Err(CabinetError::Away { at: name.to_owned(), tries: 1, reason: "the end".to_owned() })
    }
}

#[async_trait::async_trait]
impl Cabinet for Ending {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), CabinetError> {
        self.write(name, self.inner.put(name, bytes)).await
    }

    async fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), CabinetError> {
        self.write(name, self.inner.put_new(name, bytes)).await
    }

    async fn get(&self, name: &str, most: usize) -> Result<Bytes, CabinetError> {
        self.inner.get(name, most).await
    }

    async fn has(&self, name: &str) -> Result<bool, CabinetError> {
        self.inner.has(name).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<String>, CabinetError> {
        self.inner.list(folder, after, limit).await
    }

    async fn delete(&self, name: &str) -> Result<(), CabinetError> {
        self.write(name, self.inner.delete(name)).await
    }
}

/// A router's feedback port that writes down what it is told.
#[derive(Debug, Clone)]
pub(super) struct Taking {
    pub(super) address: String,
    pub(super) told: Arc<Mutex<Vec<Value>>>,
    /// What is answered in place of taking it.
    pub(super) instead: Arc<Mutex<Option<(StatusCode, Value)>>>,
}

pub(super) const TOKEN: &str = "a-token-of-routers";

impl Taking {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let taking = Self { address, told: Arc::default(), instead: Arc::default() };
        let this = taking.clone();
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let handler = move |headers: axum::http::HeaderMap, Json(body): Json<Value>| async move {
            assert_eq!(headers["authorization"], format!("Bearer {TOKEN}"));
            if let Some((status, body)) = this.instead.lock().unwrap().clone() {
                return (status, Json(body));
            }
            let labels = body["labels"].as_array().unwrap();
            assert_eq!(labels.len(), 1);
            if !seen.lock().unwrap().insert(labels[0]["ticket"].to_string()) {
                let refused = json!({"index": 0, "code": "replayed", "reason": "it was labelled before"});
                return (StatusCode::OK, Json(json!({"accepted": 0, "refused": [refused]})));
            }
            this.told.lock().unwrap().push(labels[0].clone());
            (StatusCode::OK, Json(json!({"accepted": 1, "refused": []})))
        };
        let routes = axum::Router::new().route("/feedback", post(handler));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        taking
    }

    pub(super) fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }
}

/// A courier of this desk to that router.
pub(super) fn courier(cabinet: Arc<dyn Cabinet>, address: Option<&str>, place: &std::path::Path) -> Courier {
    let token = place.join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let router = address.map(|address| Router { address: address.parse().unwrap(), token });
    let caller = Caller::new(Duration::from_secs(2)).unwrap();
    Courier::new(Desk::new(cabinet), router, caller, &Registry::new()).unwrap()
}
