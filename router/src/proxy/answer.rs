//! Bodies of answers. The one that is passed on counts its request when it ends, in whichever way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use wire::Outcome;

use super::UnderWay;
use crate::alarm::Alarm;
use crate::compare::Answered;
use crate::count::Ticket;
use crate::deadline::Deadline;
use crate::grpc;
use crate::items::AnswerHeaders;
use crate::mirror::Draft;
use crate::telemetry::Recording;
use crate::upstream::{Errand, Fault, Reply};

/// Shorter pauses between two frames are the router's own work.
const NOTICEABLE: Duration = Duration::from_millis(1);

/// The body of an answer.
pub(crate) struct AnswerBody {
    content: Content,
    _under_way: Option<UnderWay>,
    /// Behind the content, so that it knows what became of that.
    recording: Option<Recording>,
    /// A place that the request has until its answer is over.
    _place: Option<OwnedSemaphorePermit>,
}

enum Content {
    Own(Option<Bytes>),
    Relayed(Box<Relayed>),
}

/// An answer on its way from an endpoint.
pub(crate) struct Relayed {
    body: Reply,
    /// Until it is counted.
    ticket: Option<Ticket>,
    meaning: Meaning,
    /// Its trailers say what it means.
    grpc: bool,
    /// Until it can take another request.
    errand: Option<Errand>,
    deadline: Deadline,
    alarm: Option<Alarm>,
    /// What the client does with the body of its request, which may still be on its way.
    fault: Fault,
    /// When the last frame was handed over: until it is asked for the next, the client is what is waited for.
    handed_over: Instant,
    /// Whether it was asked for a frame since.
    asked: bool,
    /// A copy of the request, to be sent when this answer was handed on.
    draft: Option<Box<Draft>>,
    /// How long the complete answer took, if there is a copy.
    took: Option<Duration>,
}

/// What a complete answer counts as.
pub(crate) enum Meaning {
    /// The revision drawn answered.
    Own {
        outcome: Outcome,
        /// What is counted of a success.
        success: Option<AnswerHeaders>,
    },
    /// Another revision answered, and nothing of its answer enters (C2).
    Other(Outcome),
}

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("the answer was not complete in time")]
    Timeout,
    #[error("the answer broke off: {0}")]
    Broken(#[from] hyper::Error),
}

impl Relayed {
    pub(crate) fn new(
        body: Reply,
        ticket: Ticket,
        meaning: Meaning,
        errand: Errand,
        deadline: Deadline,
        fault: Fault,
        draft: Option<Box<Draft>>,
    ) -> Self {
        let mut this = Self {
            body,
            ticket: Some(ticket),
            meaning,
            grpc: false,
            errand: Some(errand),
            deadline,
            alarm: None,
            fault,
            handed_over: Instant::now(),
            asked: false,
            draft,
            took: None,
        };
        // The server does not ask for the frames of an empty body.
        if this.body.is_end_stream() {
            this.complete();
        }
        this
    }

    /// The same, whose trailers are looked at if it is gRPC.
    pub(crate) fn of_grpc(mut self, grpc: bool) -> Self {
        self.grpc = grpc;
        self
    }

    /// rule: C2. What a gRPC answer means is said behind it.
    fn heed(&mut self, trailers: &HeaderMap) {
        if let (true, Meaning::Own { outcome, success }) = (self.grpc, &mut self.meaning) {
            *outcome = grpc::outcome(trailers).unwrap_or(*outcome);
            if *outcome != Outcome::Ok {
                *success = None;
            }
        }
    }

    fn complete(&mut self) {
        if let Meaning::Own { outcome, .. } = &mut self.meaning {
            *outcome = self.deadline.read(*outcome, Instant::now());
        }
        if let Some(ticket) = self.ticket.take() {
            self.took = self.draft.as_ref().map(|_| ticket.elapsed());
            match &self.meaning {
                Meaning::Own { outcome, success } => ticket.finish_answered(*outcome, success.as_ref()),
                Meaning::Other(outcome) => ticket.finish(*outcome),
            }
        }
        if let (Some(errand), Some(link)) = (self.errand.take(), self.body.take_link()) {
            errand.endpoint().put_back(link);
        }
    }

    fn fail(&mut self, own: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            ticket.finish(match &self.meaning {
                Meaning::Own { .. } => own,
                Meaning::Other(outcome) => *outcome,
            });
        }
        let broke = matches!(own, Outcome::Error | Outcome::Timeout);
        drop(self.body.take_link());
        if let Some(errand) = self.errand.take().filter(|_| broke) {
            errand.failed();
        }
    }

    /// Charges the time since the last frame to the client, which did not take it.
    fn resume(&mut self) {
        let waited = self.handed_over.elapsed();
        if waited < NOTICEABLE {
            return;
        }
        self.deadline.put_off(waited);
        self.alarm = None;
        if let Some(ticket) = &mut self.ticket {
            ticket.pause(waited);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if !std::mem::replace(&mut self.asked, true) {
            self.resume();
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                self.fail(Outcome::Error);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(frame) => {
                let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref());
                trailers.into_iter().for_each(|trailers| self.heed(trailers));
                // A body without a length announces its end by nothing but the end, or by trailers, behind
                // which the server asks no more.
                if frame.as_ref().is_none_or(|f| f.as_ref().is_ok_and(Frame::is_trailers))
                    || self.body.is_end_stream()
                {
                    self.complete();
                }
                (self.handed_over, self.asked) = (Instant::now(), false);
                Poll::Ready(frame.map(|f| f.map_err(AnswerError::from)))
            }
            Poll::Pending => {
                let alarm = self.alarm.get_or_insert_with(|| Alarm::at(self.deadline.at()));
                if Pin::new(alarm).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let waits_for_client = self.fault.client_slow();
                self.fail(if waits_for_client { Outcome::Cancelled } else { self.deadline.missed() });
                Poll::Ready(Some(Err(AnswerError::Timeout)))
            }
        }
    }
}

impl Drop for Relayed {
    /// The server drops a body when it has taken the last of it: the copy is behind all that the user waits for.
    fn drop(&mut self) {
        let (Some(draft), Some(took)) = (self.draft.take(), self.took) else { return };
        if let Meaning::Own { outcome, success } = &mut self.meaning {
            draft.send(Some(Answered { outcome: *outcome, took, success: success.take() }));
        }
    }
}

impl AnswerBody {
    fn own(text: Option<Bytes>) -> Self {
        Self { content: Content::Own(text), _under_way: None, recording: None, _place: None }
    }

    pub(crate) fn relayed(relayed: Relayed) -> Self {
        Self { content: Content::Relayed(Box::new(relayed)), ..Self::own(None) }
    }

    pub(crate) fn until_sent(self, under_way: UnderWay) -> Self {
        Self { _under_way: Some(under_way), ..self }
    }

    pub(crate) fn recorded(self, recording: Option<Recording>) -> Self {
        Self { recording, ..self }
    }

    pub(crate) fn holding(self, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { _place: place, ..self }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let this = self.get_mut();
        let polled = match &mut this.content {
            Content::Own(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Content::Relayed(relayed) => relayed.poll(cx),
        };
        if let (Some(recording), Poll::Ready(Some(Ok(frame)))) = (&mut this.recording, &polled) {
            recording.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(bytes) => bytes.is_none(),
            Content::Relayed(relayed) => relayed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Content::Relayed(relayed) => relayed.body.size_hint(),
        }
    }
}

/// An answer of the router itself.
pub(crate) fn own(status: StatusCode, text: &serde_json::Value) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::own(Some(text.to_string().into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What the head of a revision's own answer counts as. Until its trailers are here a gRPC answer without a status in its
/// head is one that broke off.
pub(crate) fn outcome(status: StatusCode, headers: &HeaderMap, grpc: bool) -> Outcome {
    match Outcome::of_status(status.as_u16()) {
        Outcome::Ok if grpc => grpc::outcome(headers).unwrap_or(Outcome::Error),
        outcome => outcome,
    }
}

/// An answer of the router itself in the way in which a gRPC client reads it; that of a server as it is.
pub(crate) fn in_grpc(response: Response<AnswerBody>) -> Response<AnswerBody> {
    let Content::Own(text) = &response.body().content else { return response };
    let text = text.as_deref().unwrap_or_default();
    let said: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    let what = ["error", "message"].into_iter().find_map(|field| said[field].as_str()).unwrap_or_default();
    let headers = grpc::refusal(response.status(), what);
    let mut refusal = Response::new(AnswerBody::own(None));
    *refusal.headers_mut() = headers;
    refusal
}

/// One that says what went wrong: `{"error": what}`.
pub(crate) fn error(status: StatusCode, what: &str) -> Response<AnswerBody> {
    let mut response = own(status, &serde_json::json!({ "error": what }));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
