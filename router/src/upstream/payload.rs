//! The body of a request on its way to an endpoint.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::mirror::Keep;

/// What the client does while its body is passed on: what went wrong, and how long it was waited for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fault(Arc<State>);

#[derive(Debug, Default)]
struct State {
    code: AtomicU8,
    /// Bytes of the body.
    passed: AtomicU64,
    waits: Mutex<Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    over: Duration,
    since: Option<Instant>,
}

impl Fault {
    const NONE: u8 = 0;
    const TOO_LARGE: u8 = 1;
    const GONE: u8 = 2;
    const SLOW: u8 = 3;

    pub(crate) fn too_large(&self) -> bool {
        self.0.code.load(SeqCst) == Self::TOO_LARGE
    }

    pub(crate) fn client_gone(&self) -> bool {
        self.0.code.load(SeqCst) == Self::GONE
    }

    /// Whether the endpoint waits for more of the body, and the client has not sent it.
    pub(crate) fn client_slow(&self) -> bool {
        self.0.code.load(SeqCst) == Self::SLOW
    }

    /// How much of the body has been passed on, in bytes.
    pub(crate) fn passed(&self) -> u64 {
        self.0.passed.load(Relaxed)
    }

    fn pass(&self, bytes: u64) {
        self.0.passed.fetch_add(bytes, Relaxed);
    }

    /// For how long the endpoint has waited for the client in all: no time of the endpoint's.
    pub(crate) fn waited(&self) -> Duration {
        let waits = self.waits();
        waits.over + waits.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        self.0.code.store(Self::SLOW, SeqCst);
        self.waits().since.get_or_insert_with(Instant::now);
    }

    fn set(&self, code: u8) {
        let mut waits = self.waits();
        if let Some(since) = waits.since.take() {
            waits.over += since.elapsed();
        }
        self.0.code.store(code, SeqCst);
    }
}

/// Why the body of a client cannot be passed on to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadError {
    #[error("the request's body is larger than allowed")]
    TooLarge,
    #[error("the client's body broke off: {0}")]
    Client(#[from] hyper::Error),
}

/// A body: at hand, or coming from the client.
#[derive(Debug)]
pub(crate) enum Payload {
    /// Can be sent again.
    Whole(Option<Bytes>),
    /// The same in parts: that of a copy.
    Kept(VecDeque<Bytes>),
    /// Cannot.
    Stream {
        /// What was read already.
        first: Option<Bytes>,
        rest: Box<Incoming>,
        /// Bytes that may still come.
        room: u64,
        fault: Fault,
        /// Where it is kept for a copy.
        keep: Option<Keep>,
    },
}

impl Payload {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    pub(crate) fn kept(frames: VecDeque<Bytes>) -> Self {
        Self::Kept(frames)
    }

    /// Keeps a body that comes from the client for a copy, as it passes.
    pub(crate) fn keep_for(&mut self, copy: &Keep) {
        if let Self::Stream { keep, .. } = self {
            *keep = Some(copy.clone());
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = PayloadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PayloadError>>> {
        let (first, rest, room, fault, keep) = match self.get_mut() {
            Self::Whole(bytes) => return Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Kept(frames) => return Poll::Ready(frames.pop_front().map(|b| Ok(Frame::data(b)))),
            Self::Stream { first, rest, room, fault, keep } => (first, rest, room, fault, keep),
        };
        if let Some(bytes) = first.take() {
            fault.pass(bytes.len() as u64);
            if let Some(keep) = keep {
                keep.push(&bytes);
                // Nobody asks for what is not there.
                if rest.is_end_stream() {
                    keep.end();
                }
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Poll::Ready(result) = Pin::new(&mut *rest).poll_frame(cx) else {
            fault.wait();
            return Poll::Pending;
        };
        fault.set(Fault::NONE);
        let frame = match result {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                fault.set(Fault::GONE);
                return Poll::Ready(Some(Err(error.into())));
            }
            None => {
                keep.iter().for_each(Keep::end);
                return Poll::Ready(None);
            }
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(left) = room.checked_sub(length) else {
            fault.set(Fault::TOO_LARGE);
            return Poll::Ready(Some(Err(PayloadError::TooLarge)));
        };
        *room = left;
        fault.pass(length);
        if let Some(keep) = keep {
            frame.data_ref().into_iter().for_each(|data| keep.push(data));
            // Nobody may ask behind the last frame.
            if frame.is_trailers() || rest.is_end_stream() {
                keep.end();
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Kept(frames) => frames.is_empty(),
            Self::Stream { first, rest, .. } => first.is_none() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Kept(frames) => SizeHint::with_exact(frames.iter().map(|b| b.len() as u64).sum()),
            Self::Stream { first, rest, .. } => match rest.size_hint().exact() {
                Some(rest) => SizeHint::with_exact(rest + first.as_ref().map_or(0, |b| b.len() as u64)),
                None => SizeHint::default(),
            },
        }
    }
}
