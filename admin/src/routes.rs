//! The pages of the admin port that are the same in every program.

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};

use crate::Readiness;

/// `/livez` (the process answers, nothing more), `/readyz` (200 or 503; what it waits for as text, or as
/// JSON when `Accept` names `application/json`) and `/metrics` (Prometheus text of `registry`).
pub fn routes(readiness: Readiness, registry: Registry) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(metrics).with_state(registry))
}

async fn readyz(State(readiness): State<Readiness>, headers: HeaderMap) -> Response {
    let report = readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if wants_json(&headers) {
        return (status, Json(report)).into_response();
    }
    (status, format!("{report}\n")).into_response()
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}

async fn metrics(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            (StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written, see the log\n").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use prometheus::IntCounter;
    use tower::ServiceExt;

    use super::*;

    async fn fetch(router: &Router, path: &str, accept: &str) -> (StatusCode, String) {
        let request = Request::get(path).header(ACCEPT, accept).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_says_what_it_waits_for_and_liveness_does_not_care() {
        let readiness = Readiness::default();
        let gate = readiness.wait_for("model");
        let router = routes(readiness.clone(), Registry::new());
        let unready = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(fetch(&router, "/readyz", "*/*").await, (unready, "waiting for model\n".into()));
        let (status, body) = fetch(&router, "/readyz", "application/json").await;
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, unready);
        assert_eq!(json, serde_json::json!({"ready": false, "draining": false, "waitingFor": ["model"]}));
        assert_eq!(fetch(&router, "/livez", "*/*").await.0, StatusCode::OK);
        gate.done();
        assert_eq!(fetch(&router, "/readyz", "*/*").await, (StatusCode::OK, "ready\n".into()));
        readiness.drain();
        assert_eq!(fetch(&router, "/readyz", "*/*").await.0, unready);
        assert_eq!(fetch(&router, "/livez", "*/*").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_those_of_the_registry() {
        let registry = Registry::new();
        let counter = IntCounter::new("sluice_things_total", "Things.").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc_by(3);
        let (status, body) = fetch(&routes(Readiness::default(), registry), "/metrics", "*/*").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("\nsluice_things_total 3\n"), "{body}");
    }
}
