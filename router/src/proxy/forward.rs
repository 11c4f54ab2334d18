//! Sends an assigned request until somebody answers it (R5, R6).

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use wire::Outcome;
use wire::header::NO_EVIDENCE;

use super::answer::{self, Meaning, Relayed};
use super::cargo::{Cargo, Source, attempt};
use super::intake::Taken;
use super::{AnswerBody, Proxy, headers};
use crate::alarm;
use crate::attempts::{Attempts, Failure, Next};
use crate::board::{Backends, Snapshot};
use crate::count::Ticket;
use crate::deadline::Deadline;
use crate::items::AnswerHeaders;
use crate::mirror::Draft;
use crate::places::{Full, Place};
use crate::upstream::{Endpoint, Errand, Fault, Link, Reply};

const PREDICTION_ID: HeaderName = HeaderName::from_static(wire::header::PREDICTION_ID);
const EVIDENCE: HeaderName = HeaderName::from_static(wire::header::EVIDENCE);
/// Where the model decides all, nobody keeps answers for people.
const FULL: &str = "full";
const REVISION: HeaderName = HeaderName::from_static(wire::header::REVISION);

/// A request that was assigned.
pub(crate) struct Journey<'a> {
    proxy: &'a Proxy,
    drawn: Arc<str>,
    ticket: Ticket,
    deadline: Deadline,
    retry: bool,
    /// What the server is told of how much its model decides.
    automation: Option<HeaderValue>,
    /// What the answer of the revision drawn will be called, if a person may have to decide about it.
    answer_ticket: Option<HeaderValue>,
    drawn_is_stable: bool,
    /// The revision drawn gets no request (R7).
    tripped: bool,
    /// Set once stable serves it for the revision drawn.
    fallback: Option<Outcome>,
    /// The endpoint that has it.
    errand: Option<Errand>,
    /// The revision at which it has a place, and the place, if those are limited.
    place: Option<(Arc<str>, Option<Place>)>,
    /// A copy for another revision, if it is copied.
    draft: Option<Box<Draft>>,
}

/// An answer's head, and who gave it.
struct Arrived {
    response: Response<Incoming>,
    revision: Arc<str>,
    /// The connection, if nobody else uses it.
    link: Option<Link>,
}

/// Why no answer came.
enum Lost {
    /// Nobody was there to be asked.
    NoEndpoint,
    /// As many requests as are allowed are at the revision.
    Full,
    /// Those who were asked did not answer.
    NoAnswer,
    /// What came is no answer, or only a part of one.
    Garbled,
}

/// Who took too long.
enum Late {
    Client,
    Endpoint,
}

impl<'a> Journey<'a> {
    pub(crate) fn new(
        proxy: &'a Proxy,
        snapshot: &Snapshot,
        drawn: usize,
        ticket: Ticket,
        deadline: Deadline,
    ) -> Self {
        let table = &snapshot.table;
        Self {
            proxy,
            drawn: table.revisions[drawn].name.clone(),
            ticket,
            deadline,
            retry: table.retry,
            automation: table.automation.clone(),
            answer_ticket: None,
            drawn_is_stable: table.stable == Some(drawn),
            tripped: false,
            fallback: None,
            errand: None,
            place: None,
            draft: None,
        }
    }

    /// The same with a copy.
    pub(crate) fn copied(self, draft: Option<Box<Draft>>) -> Self {
        Self { draft, ..self }
    }

    /// The same that begins with stable, if the revision drawn has tripped.
    pub(crate) fn tripped(self, tripped: bool) -> Self {
        let fallback = tripped.then_some(Outcome::Fallback);
        Self { tripped, fallback, ..self }
    }

    pub(crate) async fn run(
        mut self,
        mut parts: Parts,
        mut taken: Taken,
        id: &HeaderValue,
    ) -> Response<AnswerBody> {
        let grpc = headers::is_grpc(&parts);
        headers::pass_on(&mut parts, id, self.automation.as_ref());
        self.answer_ticket = self.ticket_of_answer();
        if let Some(draft) = &mut self.draft {
            draft.set_head(&parts);
            taken.keep_for(draft.body());
        }
        // Held until the answer's head is here.
        let (body, fault, _held) = match taken {
            Taken::Whole(bytes, permit) => (Source::Whole(bytes), Fault::default(), permit),
            Taken::Stream(payload, fault, permit) => {
                // hyper takes it that a GET whose length is not known has no body, unless it is told.
                if payload.size_hint().exact().is_none() && !grpc {
                    let chunked = HeaderValue::from_static("chunked");
                    parts.headers.insert(header::TRANSFER_ENCODING, chunked);
                }
                (Source::Once(Some(payload)), fault, permit)
            }
        };
        let mut cargo = Cargo { grpc, parts, body };
        let (deadline, intake) = (self.deadline, self.proxy.intake);
        let result = in_time(self.attempts(&mut cargo, &fault), deadline.at(), intake, &fault).await;
        let waited = fault.waited();
        self.deadline.put_off(waited);
        self.ticket.pause(waited);
        match result {
            Ok(Ok(arrived)) => self.relay(arrived, fault, grpc),
            Ok(Err(_)) if fault.too_large() => {
                self.ticket.finish(Outcome::Rejected);
                self.proxy.too_large(false)
            }
            Ok(Err(_)) if fault.client_gone() => {
                self.ticket.finish(Outcome::Cancelled);
                answer::error(StatusCode::BAD_REQUEST, "the body broke off")
            }
            Ok(Err(lost)) => self.lost(&lost),
            Err(Late::Client) => {
                self.ticket.finish(Outcome::Cancelled);
                answer::error(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")
            }
            Err(Late::Endpoint) => self.late(),
        }
    }

    async fn attempts(&mut self, cargo: &mut Cargo, fault: &Fault) -> Result<Arrived, Lost> {
        let replay = self.retry && matches!(cargo.body, Source::Whole(_));
        let mut attempts = Attempts::new(replay, self.drawn_is_stable || self.tripped);
        let mut tried: Vec<SocketAddr> = vec![];
        loop {
            // Endpoints as they are now: the ones of the assignment may be gone.
            let Some(snapshot) = self.proxy.board().snapshot() else { return Err(Lost::NoEndpoint) };
            let picked = self.pick(&snapshot, attempts, &tried);
            let next = match picked {
                None => attempts.exhausted(),
                Some((index, endpoint)) => {
                    self.ticket.record().into_iter().for_each(|record| record.attempt(endpoint.address()));
                    self.enter(&snapshot, index)?;
                    let own = snapshot.table.revisions[index].name == self.drawn;
                    let ticket = self.answer_ticket.as_ref().filter(|_| own);
                    headers::set(&mut cargo.parts, headers::TICKET, ticket);
                    self.deadline.tell(&mut cargo.parts.headers, Instant::now());
                    let errand = self.errand.insert(Errand::begin(endpoint.clone()));
                    match attempt(&endpoint, cargo, !tried.is_empty()).await {
                        Ok((response, link)) => {
                            self.heed(response.status().as_u16());
                            let revision = snapshot.table.revisions[index].name.clone();
                            return Ok(Arrived { response, revision, link });
                        }
                        Err(failure) => {
                            tracing::debug!(endpoint = %endpoint.address(), ?failure, "no answer");
                            // One that refuses connections is put aside anyway, and what broke because the client did
                            // says nothing of the endpoint.
                            if failure != Failure::Unsent && !fault.client_gone() && !fault.too_large() {
                                errand.failed();
                            }
                            tried.push(endpoint.address());
                            if failure == Failure::Garbled {
                                return Err(Lost::Garbled);
                            }
                            if cargo.is_spent() { Next::GiveUp } else { attempts.after(failure) }
                        }
                    }
                }
            };
            match next {
                Next::Again => self.proxy.numbers.again.inc(),
                Next::Stable => {
                    self.proxy.numbers.again.inc();
                    let drawn = snapshot.table.find(&self.drawn).map(|i| &snapshot.backends[i]);
                    let drained = drawn.is_some_and(Backends::is_draining);
                    self.fallback = Some(if drained { Outcome::Drained } else { Outcome::Fallback });
                }
                Next::GiveUp if tried.is_empty() => return Err(Lost::NoEndpoint),
                Next::GiveUp => return Err(Lost::NoAnswer),
            }
        }
    }

    /// What the head of an answer says of its endpoint: nothing, where the server heeds the client's deadline.
    fn heed(&self, status: u16) {
        let said = Outcome::of_status(status);
        if self.deadline.read(said, Instant::now()) == said {
            self.errand.iter().for_each(|errand| errand.answered(status));
        }
    }

    /// Takes a place at a revision, unless it has one there. The one at the revision before it gives back.
    fn enter(&mut self, snapshot: &Snapshot, index: usize) -> Result<(), Lost> {
        let name = &snapshot.table.revisions[index].name;
        if self.place.as_ref().is_none_or(|(at, _)| at != name) {
            self.place = None;
            self.place = Some((name.clone(), snapshot.places[index].take().map_err(|Full| Lost::Full)?));
        }
        Ok(())
    }

    /// The endpoint to try next, with the index of its revision.
    fn pick(
        &self,
        snapshot: &Snapshot,
        attempts: Attempts,
        tried: &[SocketAddr],
    ) -> Option<(usize, Arc<Endpoint>)> {
        let table = &snapshot.table;
        let at_stable = attempts.at_stable();
        let index = if at_stable && !self.drawn_is_stable { table.stable } else { table.find(&self.drawn) }?;
        let endpoint = snapshot.backends[index].pick(tried, at_stable)?;
        Some((index, endpoint))
    }

    fn relay(mut self, arrived: Arrived, fault: Fault, grpc: bool) -> Response<AnswerBody> {
        let errand = self.errand.take().expect("whoever answered was asked");
        let errand = errand.holding(self.place.take().and_then(|(_, place)| place));
        let Arrived { response, revision, link } = arrived;
        self.ticket.record().into_iter().for_each(|record| record.answered_by(revision.clone()));
        let (mut parts, body) = response.into_parts();
        // rule: C1. Neither it nor a copy of it says what a prediction says. Failures count whatever they call themselves.
        if parts.status.is_success() && parts.headers.get(EVIDENCE).is_some_and(|value| value == NO_EVIDENCE)
        {
            self.proxy.numbers.unassigned.with_label_values(&["no_prediction"]).inc();
            self.ticket = self.ticket.uncounted();
            self.draft = None;
        }
        let meaning = match self.fallback {
            Some(outcome) => Meaning::Other(outcome),
            None => Meaning::Own {
                outcome: answer::outcome(parts.status, &parts.headers, grpc),
                success: parts.status.is_success().then(|| AnswerHeaders::of(&parts.headers)),
            },
        };
        headers::strip(&mut parts.headers);
        // Nobody else gives one.
        parts.headers.remove(PREDICTION_ID);
        if let Some(id) = self.name(&meaning) {
            parts.headers.insert(PREDICTION_ID, id);
        }
        if let Ok(name) = HeaderValue::from_str(&revision) {
            parts.headers.insert(REVISION, name);
        }
        let relayed = Relayed::new(
            Reply::new(body, link),
            self.ticket,
            meaning,
            errand,
            self.deadline,
            fault,
            self.draft,
        )
        .of_grpc(grpc);
        Response::from_parts(parts, AnswerBody::relayed(relayed))
    }

    /// The name of the answer before there is one, where labels are taken, and the model does not decide all.
    fn ticket_of_answer(&mut self) -> Option<HeaderValue> {
        self.automation.as_ref().filter(|automation| *automation != FULL)?;
        self.proxy.feedback.as_ref()?.ticket(&mut self.ticket)
    }

    /// What names the answer, where labels are taken. What another revision answered has no name: its label would say
    /// nothing of the one drawn (C2).
    fn name(&mut self, meaning: &Meaning) -> Option<HeaderValue> {
        let Meaning::Own { success: Some(answer), .. } = meaning else { return None };
        self.proxy.feedback.as_ref()?.name(&self.ticket, answer, self.draft.as_deref_mut())
    }

    /// Nobody answered in time. It says nothing about an endpoint, and nothing about a revision, where the client gave less
    /// time than the route does (C2).
    fn late(self) -> Response<AnswerBody> {
        let missed = self.deadline.missed();
        if !self.deadline.is_clients() {
            self.errand.iter().for_each(Errand::failed);
        }
        self.ticket.finish(self.fallback.unwrap_or(missed));
        let what = if self.deadline.is_clients() {
            "the model did not answer in the time that the client gave"
        } else {
            "the model did not answer in time"
        };
        answer::error(StatusCode::GATEWAY_TIMEOUT, what)
    }

    fn lost(self, lost: &Lost) -> Response<AnswerBody> {
        let (own, status, what) = match lost {
            Lost::NoEndpoint => {
                (Outcome::Connect, StatusCode::SERVICE_UNAVAILABLE, "no model server is ready to answer")
            }
            // rule: C2. As if a server had said so; evidence against a candidate whose share is more than it can take.
            Lost::Full => {
                let what =
                    "the revision has as many requests from this router as allowed (spec.router.maxInFlight)";
                (Outcome::Overload, StatusCode::SERVICE_UNAVAILABLE, what)
            }
            Lost::NoAnswer => {
                (Outcome::Connect, StatusCode::BAD_GATEWAY, "no connection to a model server held")
            }
            Lost::Garbled => (Outcome::Error, StatusCode::BAD_GATEWAY, "a model server's answer broke off"),
        };
        // An eviction is not the revision's fault, even when stable fails too.
        let drained = self.fallback.filter(|outcome| *outcome == Outcome::Drained);
        self.ticket.finish(drained.unwrap_or(own));
        answer::error(status, what)
    }
}

/// Waits until the deadline, which moves for as long as the client is waited for: that is not the endpoint's
/// time. The client has `intake` for it.
async fn in_time<T>(
    work: impl Future<Output = T>,
    deadline: Instant,
    intake: Duration,
    fault: &Fault,
) -> Result<T, Late> {
    let mut work = pin!(work);
    loop {
        let waited = fault.waited();
        if waited >= intake {
            return Err(Late::Client);
        }
        let now = Instant::now();
        if now >= deadline + waited {
            return Err(Late::Endpoint);
        }
        let look = (deadline + waited).min(now + (intake - waited));
        if let Ok(done) = alarm::by(look, work.as_mut()).await {
            return Ok(done);
        }
    }
}
