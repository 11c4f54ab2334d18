//! Several models in one server: what clients see while models come, go, and replace each other.

#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{LIMITS, Server, base64, error_of, metadata, png, serve};
use model_server::load::{LoadError, Wanted};
use model_server::models::Models;
use model_server::queue::{Queue, Room};
use model_server::repository::Repository;
use model_server::served::{Identity, Served};
use model_server::{Engine, EngineError, Metrics, Output, Reference};
use prometheus::Registry;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server of the models in a folder that is empty at first.
struct Trial {
    folder: TempDir,
    repository: Arc<Repository>,
    registry: Registry,
    server: Server,
    client: reqwest::Client,
}

/// A model of the tiny engine; a file that holds `broken` does not load.
fn load(wanted: &Wanted, metrics: &Metrics) -> Result<Served, LoadError> {
    if std::fs::read(wanted.folder.join("model.pt")).unwrap() == b"broken" {
        return Err(EngineError::Load("broken".into()).into());
    }
    // As long as a small model takes.
    std::thread::sleep(Duration::from_millis(20));
    let make = || Ok(Box::new(Reference { classes: 3, sharp: 4.0 }) as Box<dyn Engine>);
    let room = Room { capacity: 64, batch: 8, delay: Duration::ZERO };
    let queue = Queue::start(vec![make], room, metrics)?;
    let mut metadata = metadata();
    metadata.version = wanted.version.clone();
    let identity = Identity {
        metadata,
        digest: "d".repeat(64),
        revision: format!("{}-1", wanted.name),
        name: wanted.name.clone(),
        platform: "sluice_torchscript",
        infer_output: Output::Probabilities,
    };
    Ok(Served::new(identity, queue, None))
}

impl Trial {
    /// With room for `budget` bytes of files.
    async fn start(budget: u64, unnamed: Option<&str>, control: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let needed = |folder: &Path| std::fs::metadata(folder.join("model.pt")).map_or(0, |file| file.len());
        let loader = {
            let metrics = metrics.clone();
            Box::new(move |wanted: &Wanted| load(wanted, &metrics))
        };
        let place = folder.path().to_owned();
        let repository = Arc::new(Repository::new(place, budget, Box::new(needed), loader, metrics.clone()));
        let unnamed = unnamed.map(str::to_owned);
        let models = Models::Many { repository: repository.clone(), unnamed, control };
        let server = serve(models, LIMITS, metrics, Duration::from_secs(1)).await;
        Self { folder, repository, registry, server, client: reqwest::Client::new() }
    }

    /// Places a version, whole at once, and looks.
    async fn place(&self, name: &str, version: &str, model: &[u8]) {
        let new = self.folder.path().join(".new");
        std::fs::create_dir(&new).unwrap();
        std::fs::write(new.join("model.pt"), model).unwrap();
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::rename(new, folder.join(version)).unwrap();
        self.repository.refresh().await.unwrap();
    }

    async fn remove(&self, name: &str, version: &str) {
        std::fs::remove_dir_all(self.folder.path().join(name).join(version)).unwrap();
        self.repository.refresh().await.unwrap();
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.client.post(self.server.url(path)).json(body).send().await.unwrap()
    }

    /// The version that answers.
    async fn ask(&self, path: &str) -> String {
        let answer = self.post(path, &image()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {}", answer.text().await.unwrap());
        let version = answer.headers()["x-model-version"].to_str().unwrap().to_owned();
        let body: Value = answer.json().await.unwrap();
        assert_eq!((&body["version"], &body["prediction"]), (&json!(version), &json!("dark")));
        version
    }

    /// Until a version answers.
    async fn until(&self, path: &str, version: &str) {
        for _ in 0..500 {
            if self.ask(path).await == version {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{version} never answered at {path}");
    }

    async fn index(&self, body: Value) -> Vec<(String, String, String)> {
        let lines: Vec<Value> = self.post("/v2/repository/index", &body).await.json().await.unwrap();
        let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
        lines.iter().map(|l| (text(l, "name"), text(l, "version"), text(l, "state"))).collect()
    }

    fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("{name}"));
        family.get_metric().iter().map(|m| m.get_gauge().get_value() + m.get_counter().get_value()).sum()
    }
}

fn image() -> Value {
    json!({"image": base64(&png(4, 4, 10))})
}

fn lines(lines: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    lines.iter().map(|(a, b, c)| ((*a).into(), (*b).into(), (*c).into())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_names_a_model_which_is_loaded_for_who_asks() {
    let trial = Trial::start(1000, None, false).await;
    trial.place("cats", "1.0.0", b"model").await;
    trial.place("cats", "1.1.0", b"model").await;
    trial.place("dogs", "2.0.0", b"model").await;
    assert_eq!(trial.metric("sluice_server_models"), 0.0);
    assert_eq!(trial.ask("/v2/models/cats/predict").await, "1.1.0");
    assert_eq!(trial.ask("/v2/models/cats/versions/1.0.0/predict").await, "1.0.0");
    assert_eq!(trial.metric("sluice_server_models"), 2.0);
    let expected = [("cats", "1.0.0", "READY"), ("cats", "1.1.0", "READY"), ("dogs", "2.0.0", "UNAVAILABLE")];
    assert_eq!(trial.index(json!({})).await, lines(&expected));
    assert_eq!(trial.index(json!({"ready": true})).await, lines(&expected[..2]));

    // A model that would be loaded is ready; looking does not load it.
    let get = async |path: &str| reqwest::get(trial.server.url(path)).await.unwrap();
    assert_eq!(get("/v2/models/dogs/ready").await.status(), StatusCode::OK);
    assert_eq!(trial.metric("sluice_server_models"), 2.0);
    let about: Value = get("/v2/models/cats").await.json().await.unwrap();
    assert_eq!(about["versions"], json!(["1.0.0", "1.1.0"]));
    let info: Value = get("/v2/models/dogs/info").await.json().await.unwrap();
    assert_eq!((&info["name"], &info["version"]), (&json!("dogs"), &json!("2.0.0")));

    for (path, message) in [
        ("/v2/models/birds/predict", "there is no model \"birds\", known: \"cats\", \"dogs\""),
        ("/v2/models/cats/versions/9.0.0/predict", "there is no version \"9.0.0\" of model \"cats\""),
        ("/v2/models/..%2Fcats/predict", "there is no model \"../cats\", known: \"cats\", \"dogs\""),
        ("/v2/models/%ff/predict", "there is no model \"\", known: \"cats\", \"dogs\""),
        ("/predict", "this server has several models: name one, as in /v2/models/{name}/predict"),
    ] {
        assert_eq!(error_of(trial.post(path, &image()).await).await, (404, message.into()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_kept_for_those_that_are_asked_for() {
    let trial = Trial::start(100, Some("a"), false).await;
    for name in ["a", "b", "c"] {
        trial.place(name, "1.0.0", &[b'x'; 40]).await;
    }
    trial.place("huge", "1.0.0", &[b'x'; 101]).await;
    for path in ["/predict", "/v2/models/b/predict", "/predict", "/v2/models/c/predict"] {
        trial.ask(path).await;
    }
    let ready = trial.index(json!({"ready": true})).await;
    assert_eq!(ready, lines(&[("a", "1.0.0", "READY"), ("c", "1.0.0", "READY")]));
    assert_eq!(trial.metric("sluice_server_model_bytes"), 80.0);
    let (status, message) = error_of(trial.post("/v2/models/huge/predict", &image()).await).await;
    assert_eq!((status, &*message), (503, "model \"huge\" cannot be loaded; the server's log says why"));

    // All at once: each is loaded in turn, nobody is refused.
    let paths = ["a", "b", "c"].map(|name| format!("/v2/models/{name}/predict"));
    let asked = (0..60).map(|i| trial.ask(&paths[i % 3]));
    futures::future::join_all(asked).await;
    assert!(trial.metric("sluice_server_model_bytes") <= 100.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_broken_replaces_nobody() {
    let trial = Trial::start(1000, Some("a"), false).await;
    trial.place("a", "1.0.0", b"model").await;
    trial.ask("/predict").await;
    trial.place("a", "1.1.0", b"broken").await;
    while trial.metric("sluice_server_loads_total") < 2.0 {
        assert_eq!(trial.ask("/predict").await, "1.0.0");
    }
    assert_eq!(trial.ask("/predict").await, "1.0.0");
    let named = trial.post("/v2/models/a/versions/1.1.0/predict", &image()).await;
    assert_eq!(named.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready = reqwest::get(trial.server.url("/v2/models/a/versions/1.1.0/ready")).await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    // What is repaired, is served.
    trial.remove("a", "1.1.0").await;
    trial.place("a", "1.1.0", b"model").await;
    trial.until("/predict", "1.1.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_load_and_unload_if_they_may() {
    let trial = Trial::start(1000, None, true).await;
    trial.place("a", "1.0.0", b"model").await;
    let load = trial.post("/v2/repository/models/a/load", &json!({"parameters": {}})).await;
    assert_eq!(load.status(), StatusCode::OK);
    assert_eq!(trial.metric("sluice_server_models"), 1.0);
    assert_eq!(trial.post("/v2/repository/models/a/unload", &json!({})).await.status(), StatusCode::OK);
    assert_eq!(trial.metric("sluice_server_models"), 0.0);
    let (status, message) = error_of(trial.post("/v2/repository/models/b/unload", &json!({})).await).await;
    assert_eq!((status, &*message), (404, "there is no model \"b\", known: \"a\""));

    let guarded = Trial::start(1000, None, false).await;
    guarded.place("a", "1.0.0", b"model").await;
    for what in ["load", "unload"] {
        let path = format!("/v2/repository/models/a/{what}");
        let (status, message) = error_of(guarded.post(&path, &json!({})).await).await;
        assert_eq!(status, 403, "{message}");
        assert!(message.contains("--repository-control"), "{message}");
    }
}

/// S7: 50,000 requests and 20 swaps, up and back, none of them fails, and every answer is of one version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_versions_replace_each_other() {
    const REQUESTS: usize = 50_000;
    const SWAPS: usize = 20;
    let trial = Arc::new(Trial::start(1000, Some("a"), false).await);
    trial.place("a", "1.0.0", b"model").await;
    let done = Arc::new(AtomicUsize::new(0));
    let clients = (0..8).map(|_| {
        let (trial, done) = (trial.clone(), done.clone());
        tokio::spawn(async move {
            let mut seen = std::collections::BTreeSet::new();
            while done.fetch_add(1, Ordering::Relaxed) < REQUESTS {
                seen.insert(trial.ask("/predict").await);
            }
            seen
        })
    });
    let clients: Vec<_> = clients.collect();
    for swap in 1..=SWAPS {
        while done.load(Ordering::Relaxed) < swap * REQUESTS / (SWAPS + 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Forth by a new version, back by its removal.
        if swap % 2 == 1 {
            trial.place("a", "1.1.0", b"model").await;
            trial.until("/predict", "1.1.0").await;
        } else {
            trial.remove("a", "1.1.0").await;
            trial.until("/predict", "1.0.0").await;
        }
    }
    for client in clients {
        let seen = client.await.expect("no request failed");
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["1.0.0", "1.1.0"]);
    }
    assert_eq!(trial.metric("sluice_server_models"), 1.0, "those that were replaced have left");
}
