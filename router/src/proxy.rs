//! One request from its head to the end of its answer.

mod alone;
mod answer;
mod cargo;
mod forward;
mod framing;
mod headers;
mod intake;
mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use prometheus::{IntCounter, IntCounterVec, Opts};
use tokio::sync::Semaphore;
use wire::Assignment;

use crate::alarm::Overdue;
use crate::board::Snapshot;
use crate::choose::{TARGET, choose, copied_to};
use crate::count::Ticket;
use crate::deadline::{self, Asked, Deadline};
use crate::feedback::Feedback;
use crate::mirror::{Draft, Mirror};
use crate::telemetry::{self, Record, Recording, Telemetry, Unassigned};
use crate::{Board, Choice, alarm, budget, sticky};
use forward::Journey;
use intake::{Intake, Refused, Taken};
use load::Load;

pub(crate) use answer::{AnswerBody, outcome};
pub(crate) use framing::is_ambiguous;
pub(crate) use headers::REQUEST_ID;
pub(crate) use load::UnderWay;

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
    /// What is told of single requests, if anything is.
    telemetry: Option<Arc<Telemetry>>,
    pub(crate) draining: AtomicBool,
    pub(crate) load: Arc<Load>,
    numbers: Numbers,
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
             shadow, not a POST, or no prediction by what the server says.",
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
        Self {
            mirror: Arc::new(Mirror::new(board.clone())),
            board,
            max_body,
            intake: INTAKE,
            held: Arc::new(Semaphore::new(budget::HELD_KIB)),
            draining: AtomicBool::new(false),
            load: Arc::new(Load::new()),
            feedback: None,
            telemetry: None,
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

    /// The same that tells of its requests, if this is on.
    #[must_use]
    pub fn with_telemetry(self, telemetry: Arc<Telemetry>) -> Self {
        Self { telemetry: Some(telemetry).filter(|telemetry| telemetry.is_on()), ..self }
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
    pub(crate) async fn handle(
        &self,
        mut request: Request<Incoming>,
        malformed: bool,
    ) -> Response<AnswerBody> {
        let under_way = self.load.enter();
        let id = headers::request_id(request.headers());
        // Dropped last: a client that leaves ends its request first.
        let recording = telemetry::begin(self.telemetry.as_ref(), &mut request, &id);
        let version = request.version();
        let grpc = version == Version::HTTP_2 && crate::grpc::is_grpc(request.headers());
        let mut response = self.answer(request, malformed, &id).await;
        told(recording.as_ref(), &mut response);
        if grpc {
            response = answer::in_grpc(response);
        }
        response.headers_mut().entry(headers::REQUEST_ID).or_insert(id);
        // HTTP/2 says it of the whole connection.
        if (malformed || self.draining.load(SeqCst)) && version < Version::HTTP_2 {
            response = closing(response);
        }
        response.map(|body| body.until_sent(under_way).recorded(recording))
    }

    /// Refuses one for which there is no place.
    pub(crate) fn crowded(&self, mut request: Request<Incoming>) -> Response<AnswerBody> {
        let id = headers::request_id(request.headers());
        let recording = telemetry::begin(self.telemetry.as_ref(), &mut request, &id);
        let what = "too many requests at once";
        let mut response = self.refuse("crowded", StatusCode::SERVICE_UNAVAILABLE, what);
        told(recording.as_ref(), &mut response);
        if crate::grpc::is_grpc(request.headers()) {
            response = answer::in_grpc(response);
        }
        response.map(|body| body.recorded(recording))
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        malformed: bool,
        id: &HeaderValue,
    ) -> Response<AnswerBody> {
        if malformed {
            let what = "the head can be read in two ways: send one Content-Length or one \"Transfer-Encoding: chunked\", and end \
                        lines with CRLF";
            return self.refuse("malformed", StatusCode::BAD_REQUEST, what);
        }
        if request.method() == Method::CONNECT {
            return self.refuse_and_close(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served here");
        }
        let (parts, body) = request.into_parts();
        if let Some(what) = framing::fault(&parts) {
            return self.refuse_and_close(StatusCode::BAD_REQUEST, what);
        }
        if self.board.snapshot().is_none() {
            return self.refuse(
                "no_table",
                StatusCode::SERVICE_UNAVAILABLE,
                "no route table has been read yet",
            );
        }
        let began = Instant::now();
        let asked = match deadline::asked(&parts.headers, headers::is_grpc(&parts), began) {
            Ok(asked) => asked,
            Err(what) => return self.refuse("malformed", StatusCode::BAD_REQUEST, &what),
        };
        let patience = asked.map_or(self.intake, |asked| self.intake.min(asked.left(began)));
        match self.take(body, parts.version, patience).await {
            Ok(taken) => self.assign(parts, taken, asked, id).await,
            Err(response) => response,
        }
    }

    /// Takes the body in, or says why not. Nothing is assigned meanwhile: a client that goes away while it sends leaves no
    /// count.
    async fn take(
        &self,
        body: Incoming,
        version: Version,
        patience: Duration,
    ) -> Result<Taken, Response<AnswerBody>> {
        let intake = Intake { max_body: self.max_body, held: &self.held, alone: version < Version::HTTP_2 };
        match alarm::by(Instant::now() + patience, intake.take(body)).await {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(Refused::TooLarge)) => Err(self.too_large(true)),
            Ok(Err(Refused::Gone)) => {
                Err(self.refuse("client_gone", StatusCode::BAD_REQUEST, "the body broke off"))
            }
            Err(Overdue) if patience < self.intake => {
                let what = "the time that the client gave was over before the body had arrived";
                Err(self.refuse("deadline", StatusCode::GATEWAY_TIMEOUT, what))
            }
            Err(Overdue) => {
                let what = "the body did not arrive in time";
                Err(self.refuse("slow_body", StatusCode::REQUEST_TIMEOUT, what))
            }
        }
    }

    /// Draws the revision and passes the request on. Only when its body is here, so that a slow upload does not carry
    /// an old table on.
    async fn assign(
        &self,
        mut parts: Parts,
        taken: Taken,
        asked: Option<Asked>,
        id: &HeaderValue,
    ) -> Response<AnswerBody> {
        let Some(snapshot) = self.board.snapshot() else { unreachable!("a board keeps its table") };
        let record = parts.extensions.remove::<Arc<Record>>();
        record.iter().for_each(|record| taken.note(record));
        let table = &snapshot.table;
        let (slot, cookie) = sticky::slot(table, &parts.headers, headers::is_grpc(&parts), rand::random());
        let choice = choose(table, &parts.headers, slot);
        let named = parts.headers.remove(TARGET).is_some();
        // A key that decided nothing is not given out.
        let decided = choice.map_or(table.copies_to().is_some(), |c| c.assignment == Assignment::Split);
        let mut response = match (choice, table.copies_to()) {
            (Some(choice), _) => {
                if named && choice.assignment != Assignment::Target {
                    self.numbers.untargeted.inc();
                }
                self.pass_on(&snapshot, (choice, slot), parts, taken, (asked, record), id).await
            }
            (None, Some(revision)) => self.acknowledge(&snapshot, (revision, slot), parts, taken, id).await,
            (None, None) => {
                let what = "the route has no revision";
                self.refuse("no_revision", StatusCode::SERVICE_UNAVAILABLE, what)
            }
        };
        if let Some(cookie) = cookie.filter(|_| decided) {
            sticky::set(response.headers_mut(), cookie);
        }
        response
    }

    /// Passes an assigned request on.
    async fn pass_on(
        &self,
        snapshot: &Snapshot,
        (choice, slot): (Choice, u16),
        parts: Parts,
        taken: Taken,
        (asked, record): (Option<Asked>, Option<Arc<Record>>),
        id: &HeaderValue,
    ) -> Response<AnswerBody> {
        // The clocks start now: how long a client takes to send says nothing about a revision.
        let started = Instant::now();
        let deadline = Deadline::new(started + snapshot.table.request_timeout, asked);
        let mut ticket = Ticket::new(snapshot.counts.clone(), choice, slot, started).recorded(record);
        // Predictions are posted. Whatever else is asked for, such as a page by a scanner, is no evidence (C1).
        if parts.method != Method::POST {
            self.numbers.unassigned.with_label_values(&["method"]).inc();
            ticket = ticket.uncounted();
        }
        // rule: R7. A person's pin is obeyed whatever it leads to.
        let tripped = choice.assignment != Assignment::Pin && snapshot.counts.is_tripped(choice.revision);
        let draft = self.draft(snapshot, Some(choice), slot, &parts.method);
        Journey::new(self, snapshot, choice.revision, ticket, deadline)
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
    fn refuse(&self, reason: &'static str, status: StatusCode, what: &str) -> Response<AnswerBody> {
        self.unassigned(reason, answer::error(status, what))
    }

    /// Counts one that was never assigned.
    fn unassigned(&self, reason: &'static str, mut response: Response<AnswerBody>) -> Response<AnswerBody> {
        self.numbers.unassigned.with_label_values(&[reason]).inc();
        if self.telemetry.is_some() {
            response.extensions_mut().insert(Unassigned(reason));
        }
        response
    }

    /// The same for a head that others may read differently: nothing behind it is read.
    fn refuse_and_close(&self, status: StatusCode, what: &str) -> Response<AnswerBody> {
        closing(self.refuse("malformed", status, what))
    }

    fn too_large(&self, unassigned: bool) -> Response<AnswerBody> {
        let what = format!("the body is larger than {} bytes", self.max_body);
        let response = if unassigned {
            self.refuse("too_large", StatusCode::PAYLOAD_TOO_LARGE, &what)
        } else {
            answer::error(StatusCode::PAYLOAD_TOO_LARGE, &what)
        };
        // The rest of the body is not read.
        closing(response)
    }
}

/// The last answer of its connection.
fn closing(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Notes the head of an answer.
fn told(recording: Option<&Recording>, response: &mut Response<AnswerBody>) {
    if let Some(recording) = recording {
        let unassigned = response.extensions_mut().remove::<Unassigned>();
        recording.answered(response.status().as_u16(), unassigned.map(|Unassigned(reason)| reason));
    }
}
