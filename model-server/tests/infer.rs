//! The Open Inference Protocol over loopback, around the tiny engine.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::time::Duration;

use common::{LIMITS, Server, error_of, start, start_with};
use model_server::{Engine, EngineError};
use reqwest::{Client, Response};
use rstest::rstest;
use serde_json::{Value, json};

const INFER: &str = "/v2/models/light/infer";

async fn server() -> Server {
    start(LIMITS, 8, Duration::from_secs(5)).await
}

async fn get(server: &Server, path: &str) -> (u16, Value) {
    let response = reqwest::get(server.url(path)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Images of one brightness each.
fn ask(values: &[f32]) -> Value {
    let data: Vec<f32> = values.iter().flat_map(|value| [*value; 48]).collect();
    json!({"inputs": [{"name": "input", "shape": [values.len(), 3, 4, 4], "datatype": "FP32", "data": data}]})
}

async fn post(server: &Server, path: &str, body: impl Into<reqwest::Body>) -> Response {
    // Clients of the protocol need not say what they send.
    Client::new().post(server.url(path)).body(body).send().await.unwrap()
}

#[tokio::test]
async fn what_is_served_is_told() {
    let server = server().await;
    for path in ["/v2", "/v2/"] {
        let (status, body) = get(&server, path).await;
        assert_eq!(
            (status, &body["name"], &body["extensions"]),
            (200, &json!("sluice"), &json!(["binary_tensor_data"]))
        );
    }
    for path in ["/v2/health/live", "/v2/health/ready"] {
        assert_eq!(get(&server, path).await, (200, json!({"live": true, "ready": true})));
    }
    for path in ["/v2/models/light", "/v2/models/light/versions/1.0.0"] {
        let told = json!({
            "name": "light", "versions": ["1.0.0"], "platform": "sluice_torchscript",
            "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 3, 4, 4]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}],
        });
        assert_eq!(get(&server, path).await, (200, told));
        assert_eq!(
            get(&server, &format!("{path}/ready")).await,
            (200, json!({"name": "light", "ready": true}))
        );
    }
}

// rule: C3
#[tokio::test]
async fn tensors_are_answered_in_their_order_and_counted_by_the_router() {
    let server = server().await;
    for path in [INFER, "/v2/models/light/versions/1.0.0/infer"] {
        let mut body = ask(&[1.0, 0.0]);
        body["id"] = json!("seven");
        let response = post(&server, path, body.to_string()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["x-prediction"], "bright%2C%20or%20white,dark");
        assert_eq!(response.headers()["x-confidence"].to_str().unwrap().split(',').count(), 2);
        assert_eq!(response.headers()["x-model-version"], "1.0.0");
        assert_eq!(response.headers()["x-output-stats"].to_str().unwrap().matches("energy=").count(), 2);
        assert!(
            !response.headers().contains_key("x-input-stats"),
            "of numbers nobody knows what they look like"
        );
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            (&body["model_name"], &body["model_version"], &body["id"]),
            (&json!("light"), &json!("1.0.0"), &json!("seven"))
        );
        let output = &body["outputs"][0];
        assert_eq!((&output["name"], &output["shape"]), (&json!("probabilities"), &json!([2, 3])));
        let data: Vec<f64> = serde_json::from_value(output["data"].clone()).unwrap();
        assert!(
            data[2] > 0.9 && data[3] > 0.9 && (data[..3].iter().sum::<f64>() - 1.0).abs() < 1e-6,
            "{data:?}"
        );
    }
}

#[tokio::test]
async fn bytes_are_taken_and_given() {
    let server = server().await;
    let head = json!({
        "inputs": [{"name": "input", "shape": [1, 3, 4, 4], "datatype": "FP32", "parameters": {"binary_data_size": 192}}],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let numbers: Vec<u8> = std::iter::repeat_n(1.0f32.to_le_bytes(), 48).flatten().collect();
    let request = Client::new().post(server.url(INFER)).header("Inference-Header-Content-Length", head.len());
    let response = request.body([head.as_bytes(), &numbers].concat()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    let at: usize = response.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let body = response.bytes().await.unwrap();
    let told: Value = serde_json::from_slice(&body[..at]).unwrap();
    assert_eq!(told["outputs"][0]["parameters"], json!({"binary_data_size": 12}));
    assert!(told["outputs"][0].get("data").is_none());
    let (numbers, rest) = body[at..].as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert!(rest.is_empty() && numbers.len() == 3 && numbers[2] > 0.9, "{numbers:?}");
}

#[rstest]
#[case("/v2/models/other", "there is no model \"other\", known: \"light\"")]
#[case("/v2/models/light/versions/2.0.0", "there is no version \"2.0.0\", known: \"1.0.0\"")]
#[case("/v2/models/..%2f..%2fetc%2fpasswd/ready", "there is no model \"../../etc/passwd\", known: \"light\"")]
#[case(
    "/v2/nothing",
    "there is no /v2/nothing; known: GET /ping, GET /model-info, GET /openapi.json, POST /predict, POST /predict-file, POST /explain, /v2"
)]
#[tokio::test]
async fn what_there_is_not_is_404(#[case] path: &str, #[case] message: &str) {
    let server = server().await;
    assert_eq!(get(&server, path).await, (404, json!({"error": message})));
}

#[tokio::test]
async fn mistakes_are_told_as_json() {
    let server = server().await;
    let wrong = Client::new().delete(server.url(INFER)).send().await.unwrap();
    assert_eq!((wrong.status().as_u16(), &wrong.headers()["allow"]), (405, &"POST".parse().unwrap()));
    assert_eq!(error_of(wrong).await.1, "/v2/models/light/infer does not take DELETE, allowed: POST");
    for body in ["", "{", "[]", "{}", r#"{"inputs": 7}"#] {
        let response = post(&server, INFER, body).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(error_of(response).await.0, 400, "{body}");
    }
    let many = post(&server, INFER, ask(&[0.0; 5]).to_string()).await;
    let message = "the input's shape is [5, 3, 4, 4], allowed: [n, 3, 4, 4] with n in 1..=4";
    assert_eq!(error_of(many).await, (400, message.into()));
    let large = post(&server, INFER, vec![b' '; 200_000]).await;
    assert_eq!(error_of(large).await, (413, "the body has 200000 bytes, allowed: 100000".into()));
}

struct Broken;

impl Engine for Broken {
    fn run(&mut self, _: &[f32], images: usize) -> Result<Vec<f32>, EngineError> {
        Ok([f32::NAN, 0.0, 0.0].repeat(images))
    }
}

#[tokio::test]
async fn a_number_that_is_none_is_never_given() {
    let server =
        start_with(|| Ok(Box::new(Broken) as Box<dyn Engine>), LIMITS, 8, Duration::from_secs(5)).await;
    let response = post(&server, INFER, ask(&[0.5]).to_string()).await;
    assert_eq!(error_of(response).await, (500, "the model gave a number that is none".into()));
}
