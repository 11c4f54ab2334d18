//! What a server keeps of its answers.

use std::time::Instant;

use bytes::Bytes;
use model_server::http::Service;
use model_server::queue::{Queue, Room as QueueRoom};
use model_server::review::{Capturing, Keeping, KeptMetrics, Outbox, Room};
use model_server::{Engine, Metrics, Reference, listen};
use prometheus::{Encoder, Registry, TextEncoder};
use reqwest::multipart::{Form, Part};
use rstest::rstest;
use sources::CabinetError;
use tokio_util::sync::CancellationToken;

use super::common::{LIMITS, base64, light, png};
use super::*;

/// A server that keeps images.
struct Server {
    url: String,
    registry: Registry,
    service: Arc<Service>,
    _stop: tokio_util::sync::DropGuard,
}

async fn server(review: Option<Arc<dyn Cabinet>>, capture: Option<(Arc<dyn Cabinet>, u8)>) -> Server {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let kept = KeptMetrics::new(&registry).unwrap();
    let room = Room { images: 8, ..Room::default() };
    let keeping = Keeping {
        review: review.map(|cabinet| Outbox::for_review(&cabinet, room, &kept).unwrap()),
        capture: capture.map(|(cabinet, percent)| Capturing {
            outbox: Outbox::for_capture(&cabinet, room, &kept).unwrap(),
            percent,
        }),
    };
    let make = || Ok(Box::new(Reference { classes: 3, sharp: 4.0 }) as Box<dyn Engine>);
    let queue =
        Queue::start(vec![make], QueueRoom { capacity: 64, batch: 4, delay: Duration::ZERO }, &metrics);
    let service = Arc::new(Service::new(light(queue.unwrap()), LIMITS, metrics).with_keeping(keeping));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let (stopped, serving) = (stop.clone().cancelled_owned(), service.clone());
    tokio::spawn(async move { listen::serve(listener, &serving, 64, Duration::from_secs(1), stopped).await });
    Server { url, registry, service, _stop: stop.drop_guard() }
}

impl Server {
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Value {
        let request = Client::new().post(format!("{}{path}", self.url)).json(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    async fn flush(&self) {
        self.service.flush_kept(Duration::from_secs(5)).await;
    }

    fn metrics(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

fn one() -> Value {
    json!({"image": base64(&png(4, 4, 255))})
}

#[rstest]
#[case("", false)]
#[case("full", false)]
#[case("partial 0.5", false)]
#[case("partial 1", true)]
#[case("assist", true)]
#[case("shadow", true)]
#[tokio::test]
async fn what_people_decide_waits_for_them(#[case] policy: &str, #[case] is_kept: bool) {
    let place = tempfile::tempdir().unwrap();
    let server = server(Some(cabinet(place.path())), None).await;
    let headers = [("x-sluice-automation", policy), ("x-request-id", "r-1"), ("x-sluice-ticket", "t-1")];
    let headers = if policy.is_empty() { &headers[1..] } else { &headers };
    let answer = server.post("/predict", headers, &one()).await;
    assert_eq!(answer.get("review").is_some(), is_kept, "{answer}");
    server.flush().await;
    let names = cabinet(place.path()).list("waiting", "", 9).await.unwrap();
    assert_eq!(names.len(), usize::from(is_kept));
    if !is_kept {
        return;
    }
    let id = answer["review"].as_str().unwrap();
    assert_eq!(names[0], format!("{id}.json"));
    let image = cabinet(place.path()).get(&format!("images/{id}"), 10_000).await.unwrap();
    assert_eq!(image, png(4, 4, 255), "as it came");
    let record = cabinet(place.path()).get(&format!("waiting/{id}.json"), 10_000).await.unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    for (field, value) in [
        ("id", json!(id)),
        ("model", json!("light")),
        ("version", json!("1.0.0")),
        ("revision", json!("light-1")),
        ("request_id", json!("r-1")),
        ("ticket", json!("t-1")),
        ("decision", answer["decision"].clone()),
        ("media_type", json!("image/png")),
        ("prediction", answer["prediction"].clone()),
        ("confidence", answer["confidence"].clone()),
        ("probabilities", answer["probabilities"].clone()),
        ("index", json!(0)),
        ("classes", json!(["dark", "grey", "bright, or white"])),
    ] {
        assert_eq!(record[field], value, "{field}");
    }
    assert!(server.metrics().contains("sluice_server_kept_images_total{for=\"review\"} 1"));
}

#[tokio::test]
async fn of_several_images_each_waits_and_none_has_the_ticket() {
    let place = tempfile::tempdir().unwrap();
    let server = server(Some(cabinet(place.path())), None).await;
    let file = |value| Part::bytes(png(4, 4, value)).file_name("a.png");
    let form = Form::new().part("file", file(255)).part("file", file(0));
    let request = Client::new().post(format!("{}/predict-file", server.url)).multipart(form);
    let request = request.header("x-sluice-automation", "assist").header("x-sluice-ticket", "t-1");
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    server.flush().await;
    for (i, value) in [255, 0].into_iter().enumerate() {
        let id = answer["predictions"][i]["review"].as_str().unwrap();
        let image = cabinet(place.path()).get(&format!("images/{id}"), 10_000).await.unwrap();
        assert_eq!(image, png(4, 4, value));
        let record = cabinet(place.path()).get(&format!("waiting/{id}.json"), 10_000).await.unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        assert_eq!((&record["index"], record.get("ticket")), (&json!(i), None));
    }
}

#[rstest]
#[case("/predict", &[("x-sluice-shadow", "1")])]
#[case("/explain", &[])]
#[tokio::test]
async fn copies_and_explanations_are_not_kept(#[case] path: &str, #[case] more: &[(&str, &str)]) {
    let place = tempfile::tempdir().unwrap();
    let cabinet = cabinet(place.path());
    let server = server(Some(cabinet.clone()), Some((cabinet.clone(), 100))).await;
    let headers = [more, &[("x-sluice-automation", "shadow")]].concat();
    let answer = server.post(path, &headers, &one()).await;
    assert!(answer.get("review").is_none());
    server.flush().await;
    for folder in ["waiting", "images", "captures"] {
        assert!(cabinet.list(folder, "", 9).await.unwrap().is_empty(), "{folder}");
    }
}

#[tokio::test]
async fn a_sample_of_all_answers_is_captured() {
    let place = tempfile::tempdir().unwrap();
    let server = server(None, Some((cabinet(place.path()), 50))).await;
    let headers = [("x-sluice-automation", "partial 1")];
    for _ in 0..60 {
        let answer = server.post("/predict", &headers, &one()).await;
        assert!(answer.get("review").is_none(), "nobody looks at it");
        server.flush().await;
    }
    let names = cabinet(place.path()).list("captures", "", 1000).await.unwrap();
    let images = names.iter().filter(|name| name.ends_with(".png")).count();
    assert_eq!(names.len(), 2 * images);
    // Outside with a probability of 1 in 10 million.
    assert!((10..=50).contains(&images), "{images} of 60");
}

#[rstest]
#[case("x".repeat(640), true)]
#[case("x".repeat(641), false)]
#[case(String::new(), false)]
#[tokio::test]
async fn tickets_have_a_length(#[case] ticket: String, #[case] is_kept: bool) {
    let place = tempfile::tempdir().unwrap();
    let server = server(Some(cabinet(place.path())), None).await;
    let headers = [("x-sluice-automation", "assist"), ("x-sluice-ticket", &*ticket)];
    let answer = server.post("/predict", &headers, &one()).await;
    server.flush().await;
    let id = answer["review"].as_str().unwrap();
    let record = cabinet(place.path()).get(&format!("waiting/{id}.json"), 10_000).await.unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record.get("ticket").is_some(), is_kept);
}

/// A store that never answers.
#[derive(Debug)]
struct Hanging;

#[async_trait::async_trait]
impl Cabinet for Hanging {
    async fn put(&self, _: &str, _: Bytes) -> Result<(), CabinetError> {
        std::future::pending().await
    }

    async fn put_new(&self, _: &str, _: Bytes) -> Result<(), CabinetError> {
        std::future::pending().await
    }

    async fn get(&self, _: &str, _: usize) -> Result<Bytes, CabinetError> {
        std::future::pending().await
    }

    async fn has(&self, _: &str) -> Result<bool, CabinetError> {
        std::future::pending().await
    }

    async fn list(&self, _: &str, _: &str, _: usize) -> Result<Vec<String>, CabinetError> {
        std::future::pending().await
    }

    async fn delete(&self, _: &str) -> Result<(), CabinetError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn answers_do_not_wait_for_a_store_that_hangs() {
    let server = server(Some(Arc::new(Hanging)), Some((Arc::new(Hanging), 100))).await;
    let client = Client::new();
    let mut slowest = Duration::ZERO;
    let mut with_id = 0;
    for _ in 0..100 {
        let begun = Instant::now();
        let request = client.post(format!("{}/predict", server.url)).header("x-sluice-automation", "assist");
        let answer: Value = request.json(&one()).send().await.unwrap().json().await.unwrap();
        slowest = slowest.max(begun.elapsed());
        with_id += usize::from(answer.get("review").is_some());
    }
    // A single write would take 30 s.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // Four are with the writers, eight wait; an answer whose image found no room promises nothing.
    assert_eq!(with_id, 12);
    let metrics = server.metrics();
    assert!(metrics.contains("kept_images_dropped_total{for=\"review\",reason=\"full\"} 88"), "{metrics}");
    assert!(metrics.contains("kept_images_dropped_total{for=\"capture\",reason=\"full\"} 88"), "{metrics}");
}
