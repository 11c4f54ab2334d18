//! The load client counts every kind of failure once and never sends again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use e2e::load::{Load, Settings};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// Ten images; version 1.0.0 says "0" of all of them, version 2.0.0 nothing.
fn files(folder: &std::path::Path) -> BTreeMap<String, PathBuf> {
    let names: Vec<String> = (0..10).map(|i| format!("{i:05}-{i}.png")).collect();
    let labels: BTreeMap<&String, String> = names.iter().map(|n| (n, n[6..7].to_owned())).collect();
    std::fs::write(folder.join("labels.json"), serde_json::to_string(&labels).unwrap()).unwrap();
    for name in &names {
        std::fs::write(folder.join(name), name).unwrap();
    }
    let says = |version: &str, prediction: Option<&str>| {
        let list = (0..10).map(|index| json!({"index": index, "label": "x", "prediction": prediction}));
        let path = folder.join(format!("{version}.json"));
        std::fs::write(&path, serde_json::to_string(&list.collect::<Vec<_>>()).unwrap()).unwrap();
        (version.to_owned(), path)
    };
    [says("1.0.0", Some("0")), says("2.0.0", None)].into()
}

fn answer(version: &'static str, prediction: Option<&str>) -> Response {
    let body = Json(json!({"prediction": prediction, "version": version, "revision": "r"}));
    ([("x-model-version", version)], body).into_response()
}

/// Answers in turn: right, right, a null output, a wrong class, an unknown version, 503.
async fn predict(State(count): State<Arc<AtomicU64>>) -> Response {
    match count.fetch_add(1, Ordering::Relaxed) % 6 {
        0 | 1 => answer("1.0.0", Some("0")),
        2 => answer("2.0.0", None),
        3 => answer("1.0.0", Some("7")),
        4 => answer("9.9.9", Some("0")),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "full").into_response(),
    }
}

#[tokio::test]
async fn every_answer_is_checked_and_every_failure_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicU64::new(0));
    let seen = accepted.clone();
    let listener = listener.tap_io(move |_| _ = seen.fetch_add(1, Ordering::Relaxed));
    let predict = post(predict);
    let service = Router::new()
        .route("/predict", predict.clone())
        .route("/predict-file", predict)
        .with_state(count.clone());
    tokio::spawn(async move { axum::serve(listener, service).await });

    let settings =
        Settings { max_requests: 600, ..Settings::new(&address, folder.path(), files(folder.path()), 3000) };
    let summary = Load::start(settings).await.unwrap().finish().await;
    assert_eq!(summary.requests, 600);
    assert_eq!(count.load(Ordering::Relaxed), 600, "nothing is sent twice");
    assert_eq!(summary.versions["1.0.0"].answers, 200, "{summary}");
    assert_eq!(summary.versions["2.0.0"].answers, 100);
    assert_eq!((summary.wrong, summary.statuses[&503]), (200, 100), "{summary}");
    assert_eq!(summary.failed(), 300);
    // Half of the workers open a connection for each request; the others keep theirs unless it failed. How
    // many requests fall to which half is the scheduler's choice.
    assert_eq!(summary.connects, accepted.load(Ordering::Relaxed), "{summary}");
    assert!((9..600).contains(&summary.connects), "fresh and kept ones: {} connections", summary.connects);
    assert!(summary.quantile(0.5).unwrap() < 1.0);
}

#[tokio::test]
async fn connections_that_are_refused_break_or_stay_silent_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let predictions = files(folder.path());
    let settings = |address: String, requests| Settings {
        timeout: Duration::from_millis(300),
        max_requests: requests,
        ..Settings::new(&address, folder.path(), predictions.clone(), 100)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 16];
            let _ = stream.read(&mut head).await;
            // Every other connection is closed at once, the rest says nothing.
            if silent.len() % 2 == 0 {
                silent.push(Some(stream));
            } else {
                silent.push(None);
            }
        }
    });
    let summary = Load::start(settings(address, 20)).await.unwrap().finish().await;
    assert_eq!((summary.requests, summary.resets, summary.timeouts), (20, 10, 10), "{summary}");

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let summary = Load::start(settings(format!("http://{free}"), 5)).await.unwrap().finish().await;
    assert_eq!((summary.requests, summary.refused, summary.failed()), (5, 5, 5), "{summary}");
}
