//! Spans as OTLP in JSON (opentelemetry-proto 1.x, `ExportTraceServiceRequest`). Pure.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Version;
use serde_json::{Value, json};

use super::record::Record;

/// `SPAN_KIND_SERVER`.
const SERVER: u8 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// Who exports.
#[derive(Debug, Clone)]
pub struct Resource {
    /// The ModelRoute's name.
    pub route: String,
    /// Its namespace.
    pub namespace: String,
    /// Name of this pod.
    pub pod: String,
}

/// What is posted for these spans.
pub(super) fn request(resource: &Resource, spans: &[Arc<Record>]) -> Value {
    let spans: Vec<Value> = spans.iter().filter_map(|record| span(record)).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            text("service.name", "sluice-router"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", &resource.pod),
            text("k8s.namespace.name", &resource.namespace),
            text("k8s.pod.name", &resource.pod),
            text("sluice.deployment", &resource.route),
        ]},
        "scopeSpans": [{"scope": {"name": "sluice"}, "spans": spans}],
    }]})
}

/// The span of a request, if it has one.
fn span(record: &Record) -> Option<Value> {
    let trace = record.trace.filter(|trace| trace.exported)?;
    let fate = record.fate();
    let mut attributes = vec![
        text("http.request.method", record.method),
        text("url.path", &record.path),
        text("network.protocol.version", if record.version == Version::HTTP_2 { "2" } else { "1.1" }),
        number("http.request.body.size", fate.received),
        number("http.response.body.size", fate.sent),
        number("sluice.attempts", fate.attempts.into()),
    ];
    attributes.extend(record.id.to_str().ok().map(|id| text("sluice.request_id", id)));
    attributes.extend(fate.status.map(|status| number("http.response.status_code", status.into())));
    attributes.extend(fate.unassigned.map(|reason| text("sluice.unassigned", reason)));
    if let Some((revision, assignment, slot)) = &fate.assigned {
        attributes.push(text("sluice.revision", revision));
        attributes.push(text("sluice.assignment", assignment.as_str()));
        attributes.push(number("sluice.slot", (*slot).into()));
    }
    attributes.extend(fate.outcome.map(|outcome| text("sluice.outcome", outcome.as_str())));
    attributes.extend(fate.answered_by.as_deref().map(|revision| text("sluice.answered_by", revision)));
    attributes.extend(fate.endpoint.map(|endpoint| text("sluice.endpoint", &endpoint.to_string())));
    let end = record.began + fate.took;
    let mut span = json!({
        "traceId": format!("{:032x}", trace.context.trace),
        "spanId": format!("{:016x}", trace.context.span),
        "flags": trace.context.flags(),
        "name": record.method,
        "kind": SERVER,
        "startTimeUnixNano": nanos(record.began),
        "endTimeUnixNano": nanos(end),
        "attributes": attributes,
        "status": if fate.is_error() { json!({"code": ERROR}) } else { json!({}) },
    });
    if let Some(parent) = trace.parent {
        span["parentSpanId"] = json!(format!("{parent:016x}"));
    }
    Some(span)
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// 64-bit numbers are texts in the JSON of protobuf.
fn number(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos().to_string()
}
