//! What is told of single requests: trace context, access log, spans.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use router::{Limits, Resource, Telemetry};
use serde_json::{Value, json};

use crate::rig::{Extras, Rig, ready, route, until};
use crate::servers::{Act, Server, ok, refusing, status};
use crate::wire_http::{Wire, post};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn sampled() -> String {
    format!("traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: a=1\r\n")
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn wait_for(&self, n: usize) -> Vec<Value> {
        until("the lines are written", || self.lines().len() >= n).await;
        self.lines()
    }
}

fn log(sample: u8) -> (Telemetry, Paper) {
    let paper = Paper::default();
    (Telemetry::default().with_access_log(sample, paper.clone()).unwrap(), paper)
}

async fn telling(a: &Server, telemetry: Telemetry) -> Rig {
    let extras = Extras { telemetry, ..Extras::default() };
    Rig::start_told(route(0), (ready(&[a.address]), vec![]), Limits::default(), extras).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_context_is_passed_on_as_it_is_and_a_malformed_one_is_not() {
    let a = Server::start(|_, _| ok()).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    post(rig.address, &sampled(), b"x").await.unwrap();
    post(rig.address, &sampled().replace("00-4", "00-X"), b"x").await.unwrap();
    post(rig.address, "tracestate: a=1\r\n", b"x").await.unwrap();
    post(rig.address, "", b"x").await.unwrap();
    let seen = a.seen();
    let parent = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!((seen[0].header("traceparent"), seen[0].header("tracestate")), (Some(&*parent), Some("a=1")));
    for other in &seen[1..] {
        assert_eq!((other.header("traceparent"), other.header("tracestate")), (None, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_says_what_became_of_a_request() {
    let a = Server::start(|_, _| ok()).await;
    let (telemetry, paper) = log(100);
    let rig = telling(&a, telemetry).await;
    let headers = format!("{}x-request-id: mine\r\nauthorization: Bearer secret\r\n", sampled());
    post(rig.address, &headers, b"hello").await.unwrap();
    let line = &paper.wait_for(1).await[0];
    let is = |field: &str, value: Value| assert_eq!(line[field], value, "{line}");
    is("target", json!("access"));
    is("requestId", json!("mine"));
    is("traceId", json!(TRACE));
    is("method", json!("POST"));
    is("path", json!("/predict"));
    is("protocol", json!("HTTP/1.1"));
    is("status", json!(200));
    is("bytesIn", json!(5));
    is("bytesOut", json!(5));
    is("revision", json!("a"));
    is("answeredBy", json!("a"));
    is("assignment", json!("split"));
    is("outcome", json!("ok"));
    is("endpoint", json!(a.address.to_string()));
    is("attempts", json!(1));
    assert!(line["durationMs"].as_f64().unwrap() > 0.0 && line["slot"].as_u64().unwrap() < 10_000, "{line}");
    assert!(!line.to_string().contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_bodies_are_measured_too() {
    let a = Server::start(|_, _| ok()).await;
    let (telemetry, paper) = log(100);
    let rig = telling(&a, telemetry).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    assert_eq!(wire.post("", &vec![b'x'; 3 << 20]).await.unwrap().status(), 200);
    assert_eq!(paper.wait_for(1).await[0]["bytesIn"], 3 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_of_whatever_the_sample() {
    let a = Server::start(|n, _| match n {
        0..=4 => ok(),
        5 => status(500),
        6 => Act::Stall,
        7 => status(400),
        _ => Act::HalfBody,
    })
    .await;
    let (telemetry, paper) = log(0);
    let mut rig = telling(&a, telemetry).await;
    for _ in 0..5 {
        post(rig.address, "", b"x").await.unwrap();
    }
    assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 500);
    assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 504);
    assert_eq!(post(rig.address, "", b"x").await.unwrap().status(), 400);
    post(rig.address, "", b"x").await.unwrap_err();
    // The candidate has nobody, and stable answers.
    rig.route = route(10_000);
    rig.endpoints.insert("digits-b".into(), ready(&[refusing().await]));
    rig.next();
    post(rig.address, "", b"x").await.unwrap_err();
    let lines = paper.wait_for(4).await;
    let told: Vec<_> = lines.iter().map(|l| (&l["status"], &l["outcome"], &l["revision"])).collect();
    assert_eq!(
        told,
        [
            (&json!(500), &json!("error"), &json!("a")),
            (&json!(504), &json!("timeout"), &json!("a")),
            (&json!(200), &json!("error"), &json!("a")),
            (&json!(200), &json!("fallback"), &json!("b")),
        ]
    );
    assert_eq!((&lines[3]["answeredBy"], lines[3]["attempts"].as_u64() >= Some(2)), (&json!("a"), true));
    rig.endpoints.clear();
    rig.next();
    post(rig.address, "", b"x").await.unwrap();
    assert_eq!(paper.wait_for(5).await[4]["outcome"], "connect");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_clients_that_leave_are_told_of() {
    let a = Server::start(|_, _| Act::Stall).await;
    let (telemetry, paper) = log(100);
    let rig = telling(&a, telemetry).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send("POST /p?key=secret HTTP/1.1\r\nhost: d\r\ncontent-length: 9999999\r\n\r\n").await.unwrap();
    assert_eq!(wire.read().await.unwrap().status(), 413);
    let line = &paper.wait_for(1).await[0];
    assert_eq!((&line["unassigned"], &line["path"]), (&json!("too_large"), &json!("/p")));
    let mut wire = Wire::connect(rig.address).await.unwrap();
    wire.send("POST /p HTTP/1.1\r\nhost: d\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
    until("the server has it", || a.seen().len() == 1).await;
    drop(wire);
    let line = &paper.wait_for(2).await[1];
    assert_eq!((line.get("status"), &line["outcome"]), (None, &json!("cancelled")), "{line}");
}

fn resource() -> Resource {
    Resource { route: "digits".into(), namespace: "prod".into(), pod: "digits-router-x".into() }
}

fn spans(sample: u8, collector: &str) -> Telemetry {
    Telemetry::default().with_spans(collector, sample, resource()).unwrap()
}

/// All spans that a collector got.
fn exported(collector: &Server) -> Vec<Value> {
    let posts = collector.seen();
    let all = posts.iter().flat_map(|post| {
        assert_eq!(post.first, "POST /v1/traces HTTP/1.1");
        assert_eq!(post.header("content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&post.body).unwrap();
        let of = &body["resourceSpans"][0];
        assert!(
            of["resource"]["attributes"]
                .as_array()
                .unwrap()
                .contains(&attribute("k8s.namespace.name", "prod"))
        );
        of["scopeSpans"][0]["spans"].as_array().unwrap().clone()
    });
    all.collect()
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sampled_request_is_a_span_whose_child_the_server_is() {
    let (a, collector) =
        (Server::start(|_, _| ok()).await, Server::start(|_, _| Act::Answer(200, "", "{}".into())).await);
    let rig = telling(&a, spans(0, &format!("http://{}", collector.address))).await;
    post(rig.address, &sampled(), b"hello").await.unwrap();
    // rule of the W3C text: who does not want to be recorded is not.
    post(rig.address, &sampled().replace("-01", "-00"), b"x").await.unwrap();
    post(rig.address, "", b"x").await.unwrap();
    until("it is exported", || rig.has_metric("sluice_router_spans_total{result=\"exported\"} 1")).await;
    let spans = exported(&collector);
    assert_eq!(spans.len(), 1, "{spans:?}");
    let (span, seen) = (&spans[0], a.seen());
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(TRACE), &json!(SPAN)));
    assert_eq!((&span["name"], &span["kind"], &span["status"]), (&json!("POST"), &json!(2), &json!({})));
    let id = span["spanId"].as_str().unwrap();
    assert_eq!(seen[0].header("traceparent"), Some(&*format!("00-{TRACE}-{id}-01")));
    assert_eq!(seen[0].header("tracestate"), Some("a=1"));
    let attributes = span["attributes"].as_array().unwrap();
    for (key, value) in [("sluice.revision", "a"), ("sluice.outcome", "ok"), ("url.path", "/predict")] {
        assert!(attributes.contains(&attribute(key, value)), "{key}: {attributes:?}");
    }
    assert!(attributes.contains(&json!({"key": "http.response.status_code", "value": {"intValue": "200"}})));
    let time = |field: &str| span[field].as_str().unwrap().parse::<u64>().unwrap();
    assert!(time("startTimeUnixNano") < time("endTimeUnixNano"));
    // Unchanged, and a root that says that nobody records it.
    assert_eq!(seen[1].header("traceparent"), Some(&*format!("00-{TRACE}-{SPAN}-00")));
    let root = seen[2].header("traceparent").unwrap();
    assert!(root.starts_with("00-") && root.ends_with("-00") && !root.contains(TRACE), "{root}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_are_sampled_and_failures_say_so() {
    let (a, collector) = (
        Server::start(|_, _| status(500)).await,
        // A collector that is busy at first.
        Server::start(|n, _| Act::Answer(if n == 0 { 503 } else { 200 }, "", String::new())).await,
    );
    let rig = telling(&a, spans(100, &format!("http://{}", collector.address))).await;
    post(rig.address, "", b"x").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    until("it is exported", || rig.has_metric("sluice_router_spans_total{result=\"exported\"} 1")).await;
    let spans = exported(&collector);
    assert_eq!((spans.len(), spans[0] == spans[1]), (2, true), "the same again");
    assert_eq!((spans[0].get("parentSpanId"), &spans[0]["status"]["code"]), (None, &json!(2)));
    assert!(a.seen()[0].header("traceparent").unwrap().contains(spans[0]["traceId"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_stands_still_costs_spans_and_no_time() {
    let (a, collector) = (Server::start(|_, _| ok()).await, Server::start(|_, _| Act::Stall).await);
    let rig = telling(&a, spans(100, &format!("http://{}", collector.address))).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    // A batch is on its way, and the queue is full.
    for _ in 0..2_048 + 512 + 40 {
        assert_eq!(wire.post("", b"x").await.unwrap().status(), 200);
    }
    assert!(!collector.seen().is_empty());
    let text = prometheus::TextEncoder::new().encode_to_string(&rig.registry.gather()).unwrap();
    let dropped = text.lines().find_map(|l| l.strip_prefix("sluice_router_spans_total{result=\"dropped\"} "));
    assert!((1..=40).contains(&dropped.unwrap().parse::<u32>().unwrap()), "{dropped:?}");
}
