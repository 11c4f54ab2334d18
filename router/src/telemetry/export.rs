//! Sends spans to a collector, by OTLP over HTTP in JSON (ADR 18): in batches, from a bounded queue, and never so that
//! a request waits for it.

use std::sync::Arc;
use std::time::Duration;

use admin::queue::{Queue, Told};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header, uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prometheus::{IntCounterVec, Opts};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::otlp::{self, Resource};
use super::record::Record;

/// Most spans of a batch. This and the next are OpenTelemetry's own defaults.
const BATCH: usize = 512;
/// Longest time for which a span waits for others.
const DELAY: Duration = Duration::from_secs(5);
/// Longest time for one attempt.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses before a batch is sent again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// Largest answer that is read, in bytes.
const ANSWER: usize = 64 * 1024;

/// Why an address cannot be exported to.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Only HTTP without TLS: the collector is a neighbour.
    #[error("{0:?} is no address of a collector: it must be http://<host>[:<port>][/<path>]")]
    Form(String),
}

/// Where spans go.
pub(super) struct Spans {
    queue: Queue<Arc<Record>>,
    counts: IntCounterVec,
}

/// The task's part of it.
struct Exporter {
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: Uri,
    resource: Resource,
    counts: IntCounterVec,
}

/// Why a batch was not taken.
enum Failure {
    /// It may be taken later.
    Again(String),
    /// It never will.
    Refused(StatusCode),
}

impl Spans {
    /// Starts the task on the current runtime.
    pub(super) fn start(endpoint: &str, resource: Resource) -> Result<Self, EndpointError> {
        let endpoint = address(endpoint).ok_or_else(|| EndpointError::Form(endpoint.to_owned()))?;
        let (queue, told) = Queue::new();
        let what = "Spans, by what became of them: exported, dropped (the queue was full), failed (the collector could not be \
                    reached), rejected (it did not take them).";
        let counts = IntCounterVec::new(Opts::new("sluice_router_spans_total", what), &["result"])
            .expect("the names are constants");
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_max_idle_per_host(1);
        let client = client.build(connector);
        tokio::spawn(Exporter { client, endpoint, resource, counts: counts.clone() }.run(told));
        Ok(Self { queue, counts })
    }

    pub(super) const fn counts(&self) -> &IntCounterVec {
        &self.counts
    }

    /// Never waits.
    pub(super) fn push(&self, record: Arc<Record>) {
        if !self.queue.push(record) {
            self.counts.with_label_values(&["dropped"]).inc();
        }
    }

    /// Waits until all is sent, or was tried to be.
    pub(super) async fn flush(&self) {
        self.queue.flush().await;
    }
}

/// Where spans are posted: `/v1/traces` behind what was given.
fn address(text: &str) -> Option<Uri> {
    let given: Uri = text.trim_end_matches('/').parse().ok()?;
    let authority = given.authority().filter(|authority| !authority.as_str().contains('@'))?;
    if given.scheme() != Some(&uri::Scheme::HTTP) || given.query().is_some() {
        return None;
    }
    let path = format!("{}/v1/traces", given.path().trim_end_matches('/'));
    Uri::builder().scheme("http").authority(authority.clone()).path_and_query(path).build().ok()
}

impl Exporter {
    async fn run(self, mut told: mpsc::Receiver<Told<Arc<Record>>>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut since = Instant::now();
        loop {
            let next = tokio::select! {
                next = told.recv() => next,
                () = sleep_until(since + DELAY), if !batch.is_empty() => {
                    self.send(&mut batch, &PAUSES).await;
                    continue;
                }
            };
            match next {
                Some(Told::One(record)) => {
                    if batch.is_empty() {
                        since = Instant::now();
                    }
                    batch.push(record);
                    if batch.len() == BATCH {
                        self.send(&mut batch, &PAUSES).await;
                    }
                }
                Some(Told::Flush(done)) => {
                    self.send(&mut batch, &[]).await;
                    drop(done);
                }
                None => return self.send(&mut batch, &[]).await,
            }
        }
    }

    /// Sends a batch, and again after each of these pauses if it was not taken.
    async fn send(&self, batch: &mut Vec<Arc<Record>>, pauses: &[Duration]) {
        if batch.is_empty() {
            return;
        }
        let body = Bytes::from(otlp::request(&self.resource, batch).to_string());
        let spans = batch.len() as u64;
        batch.clear();
        let count = |result, n| self.counts.with_label_values(&[result]).inc_by(n);
        let mut pauses = pauses.iter();
        loop {
            let why = match self.post(body.clone()).await {
                Ok(rejected) => {
                    count("exported", spans.saturating_sub(rejected));
                    return count("rejected", rejected.min(spans));
                }
                Err(Failure::Refused(status)) => {
                    tracing::warn!(%status, spans, "the collector refuses spans");
                    return count("rejected", spans);
                }
                Err(Failure::Again(why)) => why,
            };
            let Some(pause) = pauses.next() else {
                tracing::warn!(why, spans, "spans were not exported");
                return count("failed", spans);
            };
            sleep(*pause).await;
        }
    }

    /// How many spans of a batch were not taken.
    async fn post(&self, body: Bytes) -> Result<u64, Failure> {
        let request = Request::post(self.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("sluice-router/", env!("CARGO_PKG_VERSION")))
            .body(Full::from(body))
            .expect("the address was read, and the headers are constants");
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| Failure::Again(e.to_string()))?;
            let status = response.status();
            let text = Limited::new(response.into_body(), ANSWER).collect().await;
            // What is to be tried again is listed in OTLP's text.
            match status.as_u16() {
                200..=299 => Ok(rejected(&text.map(http_body_util::Collected::to_bytes).unwrap_or_default())),
                429 | 502..=504 => Err(Failure::Again(format!("status {status}"))),
                _ => Err(Failure::Refused(status)),
            }
        };
        match timeout(PATIENCE, exchange).await {
            Ok(done) => done,
            Err(_) => Err(Failure::Again("no answer in time".to_owned())),
        }
    }
}

/// How many spans a collector that took a batch left out.
fn rejected(answer: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = &answer["partialSuccess"]["rejectedSpans"];
    rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_neighbours() {
        let form = |text| address(text).map(|uri| uri.to_string());
        assert_eq!(form("http://otel:4318").as_deref(), Some("http://otel:4318/v1/traces"));
        assert_eq!(form("http://otel:4318/otlp/").as_deref(), Some("http://otel:4318/otlp/v1/traces"));
        for wrong in ["", "otel:4318", "https://otel", "http://", "http://a:b@otel", "http://otel/?key=x"] {
            assert_eq!(form(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_a_collector_left_out_is_read() {
        assert_eq!(rejected(br#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "old"}}"#), 3);
        assert_eq!(rejected(br#"{"partialSuccess": {"rejectedSpans": 2}}"#), 2);
        assert_eq!((rejected(b"{}"), rejected(b"")), (0, 0));
    }
}
