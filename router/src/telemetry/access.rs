//! The access log: one line of JSON for a request.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use admin::Lines;
use http::Version;
use jiff::Timestamp;
use prometheus::IntCounter;
use serde::{Serialize, Serializer};

use super::record::{Fate, Record};

/// A request that a line is written of: by the thread that writes, which has the time.
pub(super) struct Entry(pub(super) Arc<Record>);

/// Starts the thread that writes to `out`.
pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Lines<Entry>> {
    let what = "Lines of the access log that were not written, because the output did not keep up or broke.";
    let dropped =
        IntCounter::new("sluice_router_access_log_dropped_total", what).expect("the names are constants");
    Lines::start("access-log", out, dropped)
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Line::of(&self.0, &self.0.fate()).serialize(serializer)
    }
}

/// A line. Times in milliseconds, lengths in bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    timestamp: Timestamp,
    /// What tells it from the lines of the program's own log.
    target: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    method: &'static str,
    path: &'a str,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    duration_ms: f64,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unassigned: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignment: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<SocketAddr>,
    attempts: u32,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record, fate: &'a Fate) -> Self {
        let (revision, assignment, slot) = match &fate.assigned {
            Some((revision, assignment, slot)) => (Some(&**revision), Some(assignment.as_str()), Some(*slot)),
            None => (None, None, None),
        };
        Self {
            timestamp: Timestamp::try_from(record.began).unwrap_or_default(),
            target: "access",
            request_id: record.id.to_str().ok(),
            trace_id: record.trace.map(|trace| format!("{:032x}", trace.context.trace)),
            method: record.method,
            path: &record.path,
            protocol: protocol(record.version),
            status: fate.status,
            duration_ms: fate.took.as_micros() as f64 / 1e3,
            bytes_in: fate.received,
            bytes_out: fate.sent,
            unassigned: fate.unassigned,
            revision,
            assignment,
            slot,
            outcome: fate.outcome.map(wire::Outcome::as_str),
            answered_by: fate.answered_by.as_deref(),
            endpoint: fate.endpoint,
            attempts: fate.attempts,
        }
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    #[test]
    fn a_line_holds_no_secret_of_a_query_and_no_quote_of_an_id() {
        let request = Request::post("/predict?key=secret").body(()).unwrap();
        let record = Record::new(&request, &HeaderValue::from_static("a\"b"), true, None);
        let text = serde_json::to_string(&Entry(Arc::new(record))).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["requestId"], &line["path"]), (&"a\"b".into(), &"/predict".into()));
        assert!(!text.contains("secret"));
    }
}
