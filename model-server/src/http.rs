//! The public API: `GET /ping`, `GET /model-info`, `POST /predict`, `POST /predict-file`, and the Open Inference
//! Protocol under `/v2`.
//!
//! Whatever a client sends, the answer is JSON; what is wrong with a request is said in
//! `{"error": "..."}` with a 4xx status.

mod ask;
mod asking;
mod base64;
mod body;
mod encoding;
mod explain;
mod form;
mod grpc;
mod images;
mod infer;
mod inference;
mod paths;
mod predict;
mod problem;
mod repository;
mod tensors;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::models::Models;
use crate::predictions::PredictionLog;
use crate::review::Keeping;
use crate::served::Identity;
use paths::Named;
pub use problem::Problem;

/// Tells routers that an answer is no prediction, though its request was posted.
const NO_PREDICTION: (HeaderName, HeaderValue) =
    (HeaderName::from_static(wire::header::EVIDENCE), HeaderValue::from_static(wire::header::NO_EVIDENCE));

/// Questions where a model looks that are answered at one time.
const EXPLAINING: usize = 2;

/// What a request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body_bytes: usize,
    /// Bodies above 256 KiB that are held at one time, in bytes; at least `body_bytes`. Smaller ones have
    /// memory of their own.
    pub buffered_bytes: usize,
    /// Pixels of all images of a request together.
    pub pixels: u64,
    /// Images of a request, at least 1.
    pub images: usize,
    /// Images that are decoded at one time, if they are not small; at least 1.
    pub decoders: usize,
    /// How long a client may take to send a body.
    pub body_time: Duration,
}

/// Models that answer requests.
#[derive(Debug)]
pub struct Service {
    models: Models,
    log: Option<PredictionLog>,
    keeping: Keeping,
    limits: Limits,
    memory: body::Memory,
    decoders: Arc<Semaphore>,
    /// Places for questions where a model looks, each of which asks it many times.
    explaining: Semaphore,
    metrics: Metrics,
    activity: Activity,
}

/// Who is being served, for the drain.
#[derive(Debug)]
pub(crate) struct Activity {
    draining: AtomicBool,
    in_flight: AtomicUsize,
    start: Instant,
    /// Milliseconds from `start` to the last change.
    last: AtomicUsize,
}

impl Service {
    /// Puts a service together.
    #[must_use]
    pub fn new(models: Models, limits: Limits, metrics: Metrics) -> Self {
        Self {
            memory: body::Memory::new(limits.buffered_bytes),
            decoders: Arc::new(Semaphore::new(limits.decoders)),
            explaining: Semaphore::new(EXPLAINING),
            activity: Activity::new(),
            models,
            log: None,
            keeping: Keeping::default(),
            limits,
            metrics,
        }
    }

    /// The same that writes a line for each image that it answers.
    #[must_use]
    pub fn with_log(self, log: PredictionLog) -> Self {
        Self { log: Some(log), ..self }
    }

    /// The same that keeps images.
    #[must_use]
    pub fn with_keeping(self, keeping: Keeping) -> Self {
        Self { keeping, ..self }
    }

    /// Waits until all that was said is written.
    pub async fn flush(&self) {
        if let Some(log) = &self.log {
            log.flush().await;
        }
    }

    /// Waits until all images that are to be kept are written, but not longer than `time`.
    pub async fn flush_kept(&self, time: Duration) {
        self.keeping.flush(time).await;
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The routes of the public port.
    pub fn routes(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/ping", get(async || Json(json!({"status": "healthy"}))))
            .route("/model-info", get(model_info))
            .route("/predict", post(predict::json))
            .route("/predict-file", post(predict::files))
            .route("/explain", post(explain::explain))
            .route("/", get(page))
            .route("/openapi.json", get(openapi))
            .merge(infer::routes())
            .merge(grpc::routes())
            .merge(repository::routes())
            .fallback(unknown_path)
            .method_not_allowed_fallback(wrong_method)
            // Bodies are limited where they are read, with a message of ours.
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn_with_state(self.clone(), around))
            .with_state(self.clone())
    }
}

/// Counts and times each request. A server of one model names its version in every answer, also in refusals.
async fn around(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let in_flight = service.activity.enter();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let is_http1 = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    let path = path.as_ref().map_or("other", MatchedPath::as_str);
    let code = response.status();
    service.metrics.requests.with_label_values(&[path, code.as_str()]).inc();
    service.metrics.request_seconds.with_label_values(&[path]).observe(start.elapsed().as_secs_f64());
    let headers = response.headers_mut();
    if let Some(only) = service.models.only() {
        headers.insert(wire::header::MODEL_VERSION, only.version_header().clone());
    }
    // By HTTP/2 the connection itself says so.
    if is_http1 {
        service.activity.close(headers);
    }
    drop(in_flight);
    response
}

async fn model_info(State(service): State<Arc<Service>>, named: Named) -> Result<Json<Value>, Problem> {
    let served = service.find(&named).await?;
    let Identity { metadata, digest, revision, name, .. } = served.identity();
    let mut info = json!({
        "name": name,
        "version": metadata.version,
        "revision": revision,
        "digest": digest,
        "architecture": metadata.architecture,
        "classes": metadata.classes,
        "output": metadata.output,
        "preprocessing": metadata.preprocessing,
        "limits": {
            "bodyBytes": service.limits.body_bytes,
            "pixels": service.limits.pixels,
            "images": service.limits.images,
            "tensorBytes": service.tensor_bytes(&served),
        },
    });
    if let Some(training) = &metadata.training {
        info["training"] = json!(training);
    }
    Ok(Json(info))
}

/// What clients and generators of clients read; checked against the server by `hack/clients`.
async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("http/openapi.json")).into_response()
}

/// A page to try the model with an image of one's own.
async fn page() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; connect-src 'self'";
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, policy)];
    (headers, include_str!("http/page.html")).into_response()
}

async fn unknown_path(uri: Uri) -> Problem {
    let known = "GET /ping, GET /model-info, GET /openapi.json, POST /predict, POST /predict-file, POST /explain, /v2";
    let path: String = uri.path().chars().take(100).collect();
    Problem::new(StatusCode::NOT_FOUND, format!("there is no {path}; known: {known}"))
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let posts = ["predict", "predict-file", "explain", "infer", "index", "load", "unload"].contains(&last);
    let allowed = if posts { "POST" } else { "GET" };
    let (path, method) = (text::short(uri.path()), text::short(method.as_str()));
    let message = format!("{path} does not take {method}, allowed: {allowed}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

impl Activity {
    pub(crate) fn new() -> Self {
        let (draining, in_flight) = (AtomicBool::new(false), AtomicUsize::new(0));
        Self { draining, in_flight, start: Instant::now(), last: AtomicUsize::new(0) }
    }

    /// Somebody is being served, as long as what it gives is kept.
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        self.touch();
        Entered(self)
    }

    fn touch(&self) {
        self.last.store(self.start.elapsed().as_millis() as usize, Ordering::SeqCst);
    }

    /// From now on every answer closes its connection.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.touch();
    }

    /// In a drain, the answer of HTTP/1 with these headers is the last one of its connection.
    pub(crate) fn close(&self, headers: &mut HeaderMap) {
        if self.draining.load(Ordering::Relaxed) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// For how long nothing was asked or answered; zero while a request is being answered.
    pub(crate) fn quiet(&self) -> Duration {
        if self.in_flight.load(Ordering::SeqCst) > 0 {
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.last.load(Ordering::SeqCst) as u64);
        self.start.elapsed().saturating_sub(last)
    }
}

/// A request that is being answered. Dropped also when its client leaves.
pub(crate) struct Entered<'a>(&'a Activity);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.0.touch();
    }
}
