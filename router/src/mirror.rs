//! Copies of requests: sent once the user's answer was handed on, compared with it, never answered to anybody. Where
//! nobody answers the user, there is nothing to wait for and to compare with (ADR 13).
//!
//! A shadow may stall, die or refuse without any user noticing: a copy is a task of its own, with memory, a place, a
//! time limit and connections that no request needs, and it never waits for any of them.

mod keep;
mod send;

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::board::Snapshot;
use crate::compare::Answered;
use crate::count::StateCounts;
use crate::feedback::Named;
use crate::{Board, budget, deadline};

pub(crate) use keep::Keep;
use keep::Kept;

/// Marks a copy.
pub(crate) const SHADOW: HeaderName = HeaderName::from_static(wire::header::SHADOW);

/// What all copies share.
pub(crate) struct Mirror {
    board: Arc<Board>,
    /// In KiB.
    memory: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// A copy that waits for the end of the user's answer. Dropped, it is not sent, and not counted: there is nothing that
/// it could be compared with.
pub(crate) struct Draft {
    mirror: Arc<Mirror>,
    counts: Arc<StateCounts>,
    /// Index in the table of its assignment, and name.
    revision: usize,
    name: Arc<str>,
    slot: u16,
    timeout: Duration,
    head: Option<Parts>,
    body: Keep,
    /// The name of the user's answer, where its label is taken.
    named: Option<Named>,
}

impl Mirror {
    pub(crate) fn new(board: Arc<Board>) -> Self {
        let memory = Arc::new(Semaphore::new(budget::COPIED_KIB));
        Self { board, memory, places: Arc::new(Semaphore::new(budget::COPIES)) }
    }

    /// A copy of a request that was assigned by this table, for one of its revisions.
    pub(crate) fn draft(self: &Arc<Self>, snapshot: &Snapshot, revision: usize, slot: u16) -> Box<Draft> {
        let table = &snapshot.table;
        Box::new(Draft {
            mirror: self.clone(),
            counts: snapshot.counts.clone(),
            revision,
            name: table.revisions[revision].name.clone(),
            slot,
            timeout: table.request_timeout,
            head: None,
            body: Keep::new(self.memory.clone()),
            named: None,
        })
    }
}

impl Draft {
    /// Takes the head as the user's server gets it.
    pub(crate) fn set_head(&mut self, parts: &Parts) {
        let mut head = parts.clone();
        deadline::forget(&mut head.headers);
        head.headers.insert(SHADOW, HeaderValue::from_static("1"));
        self.head = Some(head);
    }

    /// The user's answer has a name.
    pub(crate) fn set_name(&mut self, named: Named) {
        self.named = Some(named);
    }

    /// Where the body is kept, whole or as it passes.
    pub(crate) fn body(&self) -> &Keep {
        &self.body
    }

    /// Sends the copy, unless there is no room for it. Called where the user's answer ends, and with `None` where nobody
    /// answers: it does not wait.
    pub(crate) fn send(mut self: Box<Self>, user: Option<Answered>) {
        // None while the program ends.
        let Ok(runtime) = Handle::try_current() else { return };
        let ready = self.head.take().zip(self.body.take());
        let (Some((head, body)), Ok(place)) = (ready, self.mirror.places.clone().try_acquire_owned()) else {
            return self.counts.drop_copy();
        };
        runtime.spawn(async move {
            let _place = place;
            send::send(*self, head, body, user).await;
        });
    }
}
