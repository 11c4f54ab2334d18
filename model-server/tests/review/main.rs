//! Images that a server keeps, and the process in which people label them, over a folder.
#![allow(clippy::unwrap_used, reason = "a test program")]

#[path = "../common/mod.rs"]
mod common;
mod kept;
mod process;
mod whole;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::routing::post;
use model_server::review::{Doors, Options, Router, run};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use sources::{Cabinet, Patience, open_cabinet};

/// The token of reviewers.
const TOKEN: &str = "a-token-of-reviewers";
/// The token of the router's feedback port.
const ROUTER: &str = "a-token-of-the-router";

/// The folder that servers and reviewers share.
fn cabinet(place: &Path) -> Arc<dyn Cabinet> {
    let uri = format!("file://{}", place.join("review").display()).parse().unwrap();
    open_cabinet(&uri, &[], Patience::default()).unwrap()
}

/// A running review process.
struct Review {
    url: String,
    admin: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Review {
    async fn start(place: &Path, feedback: Option<&str>, explain: Option<&str>) -> Self {
        let (listen, admin) = (common::free_port(), common::free_port());
        for (name, token) in [("token", TOKEN), ("router-token", ROUTER)] {
            std::fs::write(place.join(name), format!("{token}\n")).unwrap();
        }
        let router = feedback
            .map(|address| Router { address: address.parse().unwrap(), token: place.join("router-token") });
        let options = Options {
            folder: format!("file://{}", place.join("review").display()).parse().unwrap(),
            variables: vec![],
            doors: Doors { token: place.join("token"), explain: explain.map(|url| url.parse().unwrap()) },
            router,
            keep: Some(Duration::from_secs(3600)),
            listen: ([127, 0, 0, 1], listen).into(),
            admin: ([127, 0, 0, 1], admin).into(),
            drain: Duration::from_millis(500),
            max_connections: 16,
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            run(options, async { drop(stopped.await) }).await.unwrap();
        });
        let admin = common::ready(admin).await;
        Self { url: format!("http://127.0.0.1:{listen}"), admin, stop: Some(stop), task }
    }

    async fn end(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
    }

    fn get(&self, path: &str) -> RequestBuilder {
        Client::new().get(format!("{}{path}", self.url)).bearer_auth(TOKEN)
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    async fn label(&self, id: &str, label: &str, by: &str) -> Response {
        let path = format!("{}/items/{id}/label", self.url);
        let body = json!({"label": label, "by": by});
        Client::new().post(path).bearer_auth(TOKEN).json(&body).send().await.unwrap()
    }
}

/// A router's feedback port that takes everything, or answers a status in its place.
#[derive(Clone, Default)]
struct Taking {
    told: Arc<Mutex<Vec<Value>>>,
    instead: Arc<Mutex<Option<StatusCode>>>,
}

impl Taking {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let this = self.clone();
        let handler = move |headers: axum::http::HeaderMap, Json(body): Json<Value>| async move {
            assert_eq!(headers["authorization"], format!("Bearer {ROUTER}"));
            if let Some(status) = *this.instead.lock().unwrap() {
                return (status, Json(json!({})));
            }
            let labels = body["labels"].as_array().unwrap().clone();
            let accepted = labels.len();
            this.told.lock().unwrap().extend(labels);
            (StatusCode::OK, Json(json!({"accepted": accepted, "refused": []})))
        };
        let routes = axum::Router::new().route("/feedback", post(handler));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address
    }

    /// Waits until so many labels came.
    async fn has(&self, labels: usize) {
        for _ in 0..250 {
            if self.told.lock().unwrap().len() >= labels {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the router was told of {} labels, not of {labels}", self.told.lock().unwrap().len());
    }
}
