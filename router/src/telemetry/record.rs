//! What is told of one request: filled while it is under way, and handed on when its answer is over.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, Method, Request, Version};
use wire::{Assignment, Outcome};

use super::Telemetry;
use super::context::Context;
use crate::text::cut;
use crate::upstream::Fault;

/// Longest part of a path that is told, in bytes.
const PATH: usize = 256;

/// A request. The fields are what its head says; its fate is learnt on the way.
#[derive(Debug)]
pub(crate) struct Record {
    pub(super) id: HeaderValue,
    pub(super) method: &'static str,
    pub(super) path: Box<str>,
    pub(super) version: Version,
    pub(super) began: SystemTime,
    clock: Instant,
    /// Whether the access log has it whatever becomes of it.
    pub(super) drawn: bool,
    pub(super) trace: Option<Trace>,
    fate: Mutex<Fate>,
}

/// Its place in a trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace {
    /// Ours where a span is exported, else the one that came.
    pub(super) context: Context,
    /// Of the span that the request came with.
    pub(super) parent: Option<u64>,
    /// Whether a span of ours is exported.
    pub(super) exported: bool,
}

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Absent if nobody was there any more to be answered.
    pub(super) status: Option<u16>,
    /// Why it was not assigned.
    pub(super) unassigned: Option<&'static str>,
    /// The revision drawn, how, and for which slot.
    pub(super) assigned: Option<(Arc<str>, Assignment, u16)>,
    pub(super) outcome: Option<Outcome>,
    /// The revision that answered.
    pub(super) answered_by: Option<Arc<str>>,
    /// The endpoint that was asked last.
    pub(super) endpoint: Option<SocketAddr>,
    /// How many were asked.
    pub(super) attempts: u32,
    /// Bytes of the body that were held back.
    pub(super) received: u64,
    /// Where those are counted that were not.
    streamed: Option<Fault>,
    /// Bytes of the answer's body.
    pub(super) sent: u64,
    pub(super) took: Duration,
}

impl Fate {
    /// Whether it is told in any case.
    pub(super) fn is_error(&self) -> bool {
        self.status.is_some_and(|status| status >= 500) || self.outcome.is_some_and(Outcome::is_error)
    }
}

impl Record {
    pub(super) fn new<B>(request: &Request<B>, id: &HeaderValue, drawn: bool, trace: Option<Trace>) -> Self {
        Self {
            id: id.clone(),
            method: method(request.method()),
            path: cut(request.uri().path(), PATH).into(),
            version: request.version(),
            began: SystemTime::now(),
            clock: Instant::now(),
            drawn,
            trace,
            fate: Mutex::default(),
        }
    }

    pub(super) fn fate(&self) -> MutexGuard<'_, Fate> {
        // Each change is one assignment: a panic elsewhere cannot leave it half done.
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body is at hand.
    pub(crate) fn received(&self, bytes: usize) {
        self.fate().received = bytes as u64;
    }

    /// The body is on its way.
    pub(crate) fn streams(&self, fault: &Fault) {
        self.fate().streamed = Some(fault.clone());
    }

    pub(crate) fn assigned(&self, revision: Arc<str>, assignment: Assignment, slot: u16) {
        self.fate().assigned = Some((revision, assignment, slot));
    }

    /// An endpoint is about to be asked.
    pub(crate) fn attempt(&self, endpoint: SocketAddr) {
        let mut fate = self.fate();
        fate.endpoint = Some(endpoint);
        fate.attempts += 1;
    }

    pub(crate) fn answered_by(&self, revision: Arc<str>) {
        self.fate().answered_by = Some(revision);
    }

    pub(crate) fn outcome(&self, outcome: Outcome) {
        self.fate().outcome = Some(outcome);
    }
}

/// A request that is told of when this is dropped: behind the last byte of its answer, or when its client has left.
pub(crate) struct Recording {
    telemetry: Arc<Telemetry>,
    record: Arc<Record>,
    sent: u64,
}

impl Recording {
    pub(super) fn new(telemetry: Arc<Telemetry>, record: Arc<Record>) -> Self {
        Self { telemetry, record, sent: 0 }
    }

    /// The answer's head is about to be sent.
    pub(crate) fn answered(&self, status: u16, unassigned: Option<&'static str>) {
        let mut fate = self.record.fate();
        (fate.status, fate.unassigned) = (Some(status), unassigned);
    }

    /// Bytes of the answer's body were handed over.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        {
            let mut fate = self.record.fate();
            (fate.sent, fate.took) = (self.sent, self.record.clock.elapsed());
            fate.received += fate.streamed.take().map_or(0, |fault| fault.passed());
        }
        self.telemetry.tell(&self.record);
    }
}

/// The methods that are known, as OpenTelemetry names them: a client may send any word as one.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "POST",
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_make_what_is_told_of_them_long() {
        let path = |length| {
            let request = Request::post(format!("/{}", "x".repeat(length))).body(()).unwrap();
            Record::new(&request, &HeaderValue::from_static("id"), false, None).path.len()
        };
        assert_eq!((path(7), path(1_000)), (8, 256));
        assert_eq!(method(&Method::from_bytes(&[b'X'; 1_000]).unwrap()), "_OTHER");
        assert_eq!(method(&Method::POST), "POST");
    }

    #[test]
    fn errors_are_what_the_user_did_not_get() {
        let fate = |status, outcome| Fate { status, outcome, ..Fate::default() };
        assert!(fate(Some(503), None).is_error());
        assert!(fate(Some(200), Some(Outcome::Fallback)).is_error());
        assert!(fate(Some(429), Some(Outcome::Overload)).is_error());
        assert!(fate(Some(200), Some(Outcome::Timeout)).is_error(), "an answer that broke off");
        assert!(!fate(Some(200), Some(Outcome::Ok)).is_error());
        assert!(!fate(Some(400), Some(Outcome::Rejected)).is_error());
        assert!(!fate(None, Some(Outcome::Cancelled)).is_error());
    }
}
