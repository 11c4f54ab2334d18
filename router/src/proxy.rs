//! One request from its head to the end of its answer.

mod alone;
mod answer;
mod forward;
mod headers;
mod intake;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use prometheus::{IntCounter, IntCounterVec, Opts};
use tokio::sync::Semaphore;
use wire::Assignment;

use crate::board::Snapshot;
use crate::choose::{TARGET, choose, copied_to, slot_of, slot_of_key};
use crate::count::Ticket;
use crate::feedback::Feedback;
use crate::mirror::{Draft, Mirror};
use crate::{Board, Choice, budget};
use forward::Journey;
use intake::{Intake, Refused, Taken};

pub(crate) use answer::{AnswerBody, outcome};
pub(crate) use headers::REQUEST_ID;

/// Largest body that is held back so that it can be sent again (R6).
const REPLAYABLE: u64 = 1 << 20;
/// Longest time for which a client is waited for while it sends a body, unless set otherwise.
const INTAKE: Duration = Duration::from_secs(30);

/// Passes requests on by the table of its [`Board`].
pub struct Proxy {
    board: Arc<Board>,
    max_body: u64,
    intake: Duration,
    held: Arc<Semaphore>,
    mirror: Arc<Mirror>,
    /// Where labels are taken.
    feedback: Option<Arc<Feedback>>,
    pub(crate) draining: AtomicBool,
    pub(crate) load: Arc<Load>,
    numbers: Numbers,
}

/// What is under way.
pub(crate) struct Load {
    requests: AtomicUsize,
    started: Instant,
    /// Milliseconds from `started` to the last change of `requests`.
    changed: std::sync::atomic::AtomicU64,
}

/// One request that is under way, until it is dropped.
pub(crate) struct UnderWay(Arc<Load>);

impl Load {
    fn enter(self: &Arc<Self>) -> UnderWay {
        self.requests.fetch_add(1, SeqCst);
        self.touch();
        UnderWay(self.clone())
    }

    fn touch(&self) {
        self.changed.store(self.started.elapsed().as_millis() as u64, SeqCst);
    }

    /// For how long nothing was under way.
    pub(crate) fn idle(&self) -> Duration {
        if self.requests.load(SeqCst) > 0 {
            return Duration::ZERO;
        }
        self.started.elapsed().saturating_sub(Duration::from_millis(self.changed.load(SeqCst)))
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.touch();
        self.0.requests.fetch_sub(1, SeqCst);
    }
}

/// Numbers about the router itself; what is evidence is counted in the [`crate::Ledger`].
struct Numbers {
    unassigned: IntCounterVec,
    again: IntCounter,
    untargeted: IntCounter,
}

impl Numbers {
    fn new() -> Self {
        let unassigned = Opts::new(
            "sluice_router_unassigned_total",
            "Requests that count for no revision, by reason: refused before one was drawn, answered by nobody beside a \
             shadow, or not a POST.",
        );
        let again = "Attempts after the first one, by which a request went on.";
        let untargeted =
            "Requests that named their revision in vain: not allowed, nobody of this name, or pinned.";
        Self {
            unassigned: IntCounterVec::new(unassigned, &["reason"]).expect("the names are constants"),
            again: IntCounter::new("sluice_router_retries_total", again).expect("the names are constants"),
            untargeted: IntCounter::new("sluice_router_targets_ignored_total", untargeted)
                .expect("the names are constants"),
        }
    }
}

impl Proxy {
    /// A proxy that refuses bodies of more than `max_body` bytes.
    #[must_use]
    pub fn new(board: Arc<Board>, max_body: u64) -> Self {
        let load = Load { requests: AtomicUsize::new(0), started: Instant::now(), changed: 0.into() };
        Self {
            mirror: Arc::new(Mirror::new(board.clone())),
            board,
            max_body,
            intake: INTAKE,
            held: Arc::new(Semaphore::new(budget::HELD_KIB)),
            draining: AtomicBool::new(false),
            load: Arc::new(load),
            feedback: None,
            numbers: Numbers::new(),
        }
    }

    /// The same with another limit, by default 30 s, on the time for which a client is waited for while it sends
    /// a body. This is no time of the request: it begins when the body is here.
    #[must_use]
    pub fn with_intake(self, limit: Duration) -> Self {
        Self { intake: limit, ..self }
    }

    /// The same that names its answers, so that they can be labelled.
    #[must_use]
    pub fn with_feedback(self, feedback: Arc<Feedback>) -> Self {
        Self { feedback: Some(feedback), ..self }
    }

    /// Shows the router's own numbers to a registry.
    ///
    /// # Errors
    /// When the registry has them already.
    pub fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.numbers.unassigned.clone()))?;
        registry.register(Box::new(self.numbers.again.clone()))?;
        registry.register(Box::new(self.numbers.untargeted.clone()))
    }

    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// Answers one request. `malformed` when its head was read in a way that two servers may read differently.
    pub(crate) async fn handle(&self, request: Request<Incoming>, malformed: bool) -> Response<AnswerBody> {
        let under_way = self.load.enter();
        let id = headers::request_id(request.headers());
        let version = request.version();
        let grpc = version == Version::HTTP_2 && crate::grpc::is_grpc(request.headers());
        let mut response = self.answer(request, malformed, &id).await;
        if grpc {
            response = answer::in_grpc(response);
        }
        response.headers_mut().entry(headers::REQUEST_ID).or_insert(id);
        // HTTP/2 says it of the whole connection.
        if (malformed || self.draining.load(SeqCst)) && version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| body.until_sent(under_way))
    }

    /// Refuses one for which there is no place.
    pub(crate) fn crowded(&self, request: &Request<Incoming>) -> Response<AnswerBody> {
        let what = "too many requests at once";
        let response = self.refuse("crowded", StatusCode::SERVICE_UNAVAILABLE, what);
        if crate::grpc::is_grpc(request.headers()) { answer::in_grpc(response) } else { response }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        malformed: bool,
        id: &HeaderValue,
    ) -> Response<AnswerBody> {
        if malformed {
            let what =
                "the length of the body is given twice: send one Content-Length or one Transfer-Encoding";
            return self.refuse("malformed", StatusCode::BAD_REQUEST, what);
        }
        if request.method() == Method::CONNECT {
            return self.refuse("malformed", StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served here");
        }
        if self.board.snapshot().is_none() {
            return self.refuse(
                "no_table",
                StatusCode::SERVICE_UNAVAILABLE,
                "no route table has been read yet",
            );
        }
        let (parts, body) = request.into_parts();
        let intake = Intake { max_body: self.max_body, held: &self.held };
        // Leaves the count when the client goes away while it sends: nothing was assigned to it yet.
        let taken = match tokio::time::timeout(self.intake, intake.take(body)).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(Refused::TooLarge)) => return self.too_large(true),
            Ok(Err(Refused::Gone)) => {
                return self.refuse("client_gone", StatusCode::BAD_REQUEST, "the body broke off");
            }
            Err(_) => {
                return self.refuse(
                    "slow_body",
                    StatusCode::REQUEST_TIMEOUT,
                    "the body did not arrive in time",
                );
            }
        };
        self.assign(parts, taken, id).await
    }

    /// Draws the revision and passes the request on. Only when its body is here, so that a slow upload does not carry
    /// an old table on.
    async fn assign(&self, mut parts: Parts, taken: Taken, id: &HeaderValue) -> Response<AnswerBody> {
        let Some(snapshot) = self.board.snapshot() else { unreachable!("a board keeps its table") };
        let table = &snapshot.table;
        let key =
            table.sticky.as_ref().and_then(|name| parts.headers.get(name)).filter(|key| !key.is_empty());
        let slot = match key {
            Some(key) => slot_of_key(&table.salt, key.as_bytes()),
            None => slot_of(rand::random()),
        };
        let choice = choose(table, &parts.headers, slot);
        let named = parts.headers.remove(TARGET).is_some();
        let Some(choice) = choice else {
            if let Some(revision) = table.copies_to() {
                return self.acknowledge(&snapshot, (revision, slot), parts, taken, id).await;
            }
            let what = "the route has no revision";
            return self.refuse("no_revision", StatusCode::SERVICE_UNAVAILABLE, what);
        };
        if named && choice.assignment != Assignment::Target {
            self.numbers.untargeted.inc();
        }
        // The clocks start now: how long a client takes to send says nothing about a revision.
        let started = Instant::now();
        let deadline = started + table.request_timeout;
        let mut ticket = Ticket::new(snapshot.counts.clone(), choice, slot, started);
        // Predictions are posted. Whatever else is asked for, such as a page by a scanner, is no evidence (C1).
        if parts.method != Method::POST {
            self.numbers.unassigned.with_label_values(&["method"]).inc();
            ticket = ticket.uncounted();
        }
        // rule: R7. A person's pin is obeyed whatever it leads to.
        let tripped = choice.assignment != Assignment::Pin && snapshot.counts.is_tripped(choice.revision);
        let draft = self.draft(&snapshot, Some(choice), slot, &parts.method);
        Journey::new(self, &snapshot, choice.revision, ticket, deadline)
            .copied(draft)
            .tripped(tripped)
            .run(parts, taken, id)
            .await
    }

    /// A copy of the request, if it is to be copied. None while the program ends: nobody would wait for it.
    fn draft(
        &self,
        snapshot: &Snapshot,
        choice: Option<Choice>,
        slot: u16,
        method: &Method,
    ) -> Option<Box<Draft>> {
        if snapshot.table.mirror.is_none() || *method != Method::POST || self.draining.load(SeqCst) {
            return None;
        }
        let revision = copied_to(&snapshot.table, choice, rand::random())?;
        Some(self.mirror.draft(snapshot, revision, slot))
    }

    /// An answer to a request that was never assigned, and is no evidence.
    fn refuse(&self, reason: &str, status: StatusCode, what: &str) -> Response<AnswerBody> {
        self.numbers.unassigned.with_label_values(&[reason]).inc();
        answer::error(status, what)
    }

    fn too_large(&self, unassigned: bool) -> Response<AnswerBody> {
        let what = format!("the body is larger than {} bytes", self.max_body);
        let mut response = if unassigned {
            self.refuse("too_large", StatusCode::PAYLOAD_TOO_LARGE, &what)
        } else {
            answer::error(StatusCode::PAYLOAD_TOO_LARGE, &what)
        };
        // The rest of the body is not read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}
