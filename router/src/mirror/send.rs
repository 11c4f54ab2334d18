//! Sends one copy and counts what becomes of it.

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, Request, Version};
use http_body_util::BodyExt;
use wire::{Assignment, Outcome, PairOutcome};

use super::{Draft, Kept};
use crate::Choice;
use crate::attempts::Failure;
use crate::compare::{Answered, compare};
use crate::count::Ticket;
use crate::disagreements::Disagreement;
use crate::grpc;
use crate::items::AnswerHeaders;
use crate::proxy::{REQUEST_ID, outcome};
use crate::upstream::{Endpoint, Link, Payload, Reply};

/// How much of an answer's body is read, in bytes. It says nothing: behind this the connection is closed, and the answer
/// counts by its head.
const MOST_READ: usize = 16 << 20;

/// A complete answer.
struct Answer {
    outcome: Outcome,
    success: Option<AnswerHeaders>,
}

/// Sends a copy, once, and counts it.
pub(super) async fn send(draft: Draft, head: Parts, body: Kept, user: Option<Answered>) {
    let Some(endpoint) = endpoint(&draft) else { return draft.counts.drop_copy() };
    let user = user.map(|user| user.remember(rand::random()));
    let Draft { counts, revision, slot, timeout, named, .. } = draft;
    let choice = Choice { revision, assignment: Assignment::Shadow };
    let started = Instant::now();
    // Abandoned when the program ends, it is cancelled: nobody asks any more.
    let ticket = Ticket::new(counts.clone(), choice, slot, started);
    let result = tokio::time::timeout(timeout, ask(&endpoint, &head, &body)).await;
    let took = started.elapsed();
    drop(body);
    let (outcome, success) = match result {
        Ok(Ok(answer)) => (answer.outcome, answer.success),
        Ok(Err(Failure::Unsent | Failure::Broken)) => (Outcome::Connect, None),
        Ok(Err(Failure::Garbled)) => (Outcome::Error, None),
        Err(_) => (Outcome::Timeout, None),
    };
    let copy = Answered { outcome, took, success };
    if let (Some(named), Some(success)) = (named, &copy.success) {
        named.answered(success);
    }
    if let Some(user) = &user {
        let pair = compare(user, &copy);
        if pair.outcome == PairOutcome::Disagree {
            let id = head.headers.get(REQUEST_ID);
            counts.disagree(Disagreement::new(id, user, &copy));
        }
        counts.pair(&pair);
    }
    ticket.finish_answered(outcome, copy.success.as_ref());
}

/// An endpoint of the revision, if it still gets copies: a table that no longer says so ends them at once.
fn endpoint(draft: &Draft) -> Option<Arc<Endpoint>> {
    let snapshot = draft.mirror.board.snapshot()?;
    let table = &snapshot.table;
    let name = &table.revisions[table.copies_to()?].name;
    snapshot.copying.as_ref().filter(|_| *name == draft.name)?.pick_ready()
}

/// The answer to a copy, which is sent once: again only when a connection that was idle has died, which says nothing
/// about the revision.
async fn ask(endpoint: &Arc<Endpoint>, head: &Parts, body: &Kept) -> Result<Answer, Failure> {
    if head.version == Version::HTTP_2 {
        return ask_grpc(endpoint, head, body).await;
    }
    if let Some(link) = endpoint.take_idle() {
        match exchange(endpoint, link, head, body).await {
            Err(Failure::Unsent | Failure::Broken) => {}
            done => return done,
        }
    }
    let link = endpoint.connect(true).await.map_err(|_| Failure::Unsent)?;
    exchange(endpoint, link, head, body).await
}

async fn exchange(
    endpoint: &Arc<Endpoint>,
    mut link: Link,
    head: &Parts,
    body: &Kept,
) -> Result<Answer, Failure> {
    let request = Request::from_parts(head.clone(), Payload::kept(body.frames.clone()));
    let response = link.send(request).await.map_err(|refused| refused.failure)?;
    let status = response.status();
    let success = status.is_success().then(|| AnswerHeaders::of(response.headers()));
    let mut reply = Reply::new(response.into_body(), Some(link));
    if let (Read::Whole(_), Some(link)) = (read(&mut reply).await?, reply.take_link()) {
        endpoint.put_back(link);
    }
    Ok(Answer { outcome: Outcome::of_status(status.as_u16()), success })
}

/// rule: C2. A gRPC answer says behind its messages what it means.
async fn ask_grpc(endpoint: &Arc<Endpoint>, head: &Parts, body: &Kept) -> Result<Answer, Failure> {
    let mut stream = endpoint.stream(false).await.map_err(|_| Failure::Unsent)?;
    let request = Request::from_parts(head.clone(), Payload::kept(body.frames.clone()));
    let response = stream.send(request).await.map_err(|refused| refused.failure)?;
    let said = outcome(response.status(), response.headers(), true);
    let success = AnswerHeaders::of(response.headers());
    let outcome = match read(&mut Reply::new(response.into_body(), None)).await? {
        Read::Whole(trailers) => grpc::outcome(&trailers).unwrap_or(said),
        Read::GivenUp => said,
    };
    Ok(Answer { outcome, success: (outcome == Outcome::Ok).then_some(success) })
}

/// How far a body was read.
enum Read {
    /// To its end, with its trailers.
    Whole(HeaderMap),
    GivenUp,
}

async fn read(body: &mut Reply) -> Result<Read, Failure> {
    let (mut length, mut trailers) = (0, HeaderMap::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Garbled)?;
        length += frame.data_ref().map_or(0, bytes::Bytes::len);
        if length > MOST_READ {
            return Ok(Read::GivenUp);
        }
        if let Ok(last) = frame.into_trailers() {
            trailers = last;
        }
    }
    Ok(Read::Whole(trailers))
}
