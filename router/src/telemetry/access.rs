//! The access log: one line of JSON for a request, written by a thread of its own.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use http::Version;
use jiff::Timestamp;
use prometheus::IntCounter;
use serde::Serialize;
use tokio::sync::mpsc;

use super::queue::{Queue, Told};
use super::record::{Fate, Record};

/// What is written at once, in bytes.
const BLOCK: usize = 32 * 1024;

/// Where lines go.
pub(super) struct AccessLog {
    queue: Queue,
    dropped: IntCounter,
}

impl AccessLog {
    /// Starts the thread that writes to `out`.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, told) = Queue::new();
        let what =
            "Lines of the access log that were not written, because the output did not keep up or broke.";
        let dropped =
            IntCounter::new("sluice_router_access_log_dropped_total", what).expect("the names are constants");
        let lost = dropped.clone();
        thread::Builder::new().name("access-log".into()).spawn(move || write(told, out, &lost))?;
        Ok(Self { queue, dropped })
    }

    pub(super) const fn dropped(&self) -> &IntCounter {
        &self.dropped
    }

    /// Never waits.
    pub(super) fn push(&self, record: Arc<Record>) {
        if !self.queue.push(record) {
            self.dropped.inc();
        }
    }

    /// Waits until all is written.
    pub(super) async fn flush(&self) {
        self.queue.flush().await;
    }
}

/// Writes until the last sender is gone. Lines are gathered for as long as more are waiting.
fn write(mut told: mpsc::Receiver<Told>, mut out: impl Write, dropped: &IntCounter) {
    let (mut block, mut lines, mut broken) = (Vec::with_capacity(BLOCK), 0, false);
    while let Some(next) = told.blocking_recv() {
        let flush = match next {
            Told::Record(record) => {
                let fate = record.fate();
                serde_json::to_writer(&mut block, &Line::of(&record, &fate))
                    .expect("texts and numbers are JSON");
                block.push(b'\n');
                lines += 1;
                None
            }
            Told::Flush(done) => Some(done),
        };
        if flush.is_none() && !told.is_empty() && block.len() < BLOCK {
            continue;
        }
        let written = out.write_all(&block).and_then(|()| out.flush());
        if let Err(error) = &written {
            dropped.inc_by(lines);
            if !broken {
                tracing::error!(%error, "the access log cannot be written");
            }
        }
        broken = written.is_err();
        block.clear();
        lines = 0;
        drop(flush);
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
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use http::{HeaderValue, Request};

    use super::super::queue::QUEUE;
    use super::*;

    /// Writes once it is let.
    struct Slow(Mutex<Receiver<()>>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.lock().unwrap().recv().is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn record() -> Arc<Record> {
        let request = Request::post("/predict?key=secret").body(()).unwrap();
        Arc::new(Record::new(&request, &HeaderValue::from_static("a\"b"), true, None))
    }

    #[tokio::test]
    async fn an_output_that_stands_still_costs_lines_and_no_time() {
        let (go, wait) = channel();
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        let log = AccessLog::start(Slow(Mutex::new(wait), seen.clone())).unwrap();
        let start = std::time::Instant::now();
        for _ in 0..3 * QUEUE {
            log.push(record());
        }
        assert!(start.elapsed().as_secs() < 5);
        let dropped = log.dropped.get();
        // One block is in the thread's hands, perhaps.
        assert!((QUEUE as u64..=2 * QUEUE as u64).contains(&dropped), "{dropped}");
        (0..2 * QUEUE).for_each(|_| go.send(()).unwrap());
        log.flush().await;
        let text = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count() as u64, 3 * QUEUE as u64 - dropped);
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&line["requestId"], &line["path"]), (&"a\"b".into(), &"/predict".into()));
        assert!(!text.contains("secret"));
    }

    #[tokio::test]
    async fn an_output_that_broke_is_counted() {
        let (go, wait) = channel();
        drop(go);
        let log = AccessLog::start(Slow(Mutex::new(wait), Arc::default())).unwrap();
        log.push(record());
        log.flush().await;
        assert_eq!(log.dropped.get(), 1);
    }
}
