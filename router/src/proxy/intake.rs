//! Reads the body of a request as far as it can be held back.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::REPLAYABLE;
use crate::budget::FREE;
use crate::mirror::Keep;
use crate::telemetry::Record;
use crate::upstream::{Fault, Payload};

/// The limits.
pub(crate) struct Intake<'a> {
    pub(crate) max_body: u64,
    /// Memory for bodies that are held back, beyond what each has anyway, in KiB.
    pub(crate) held: &'a Arc<Semaphore>,
    /// Whether the body comes by the task that asks for it, as by HTTP/1: what has come is asked for right behind.
    pub(crate) alone: bool,
}

/// The memory that a body has been granted.
pub(crate) type Held = Option<OwnedSemaphorePermit>;

/// A body that was taken in.
pub(crate) enum Taken {
    /// Can be sent as often as wanted.
    Whole(Bytes, Held),
    /// Can be sent once.
    Stream(Payload, Fault, Held),
}

impl Taken {
    /// Tells how long it is, or will be.
    pub(crate) fn note(&self, record: &Record) {
        match self {
            Self::Whole(bytes, _) => record.received(bytes.len()),
            Self::Stream(_, fault, _) => record.streams(fault),
        }
    }

    /// Keeps it for a copy: at once, or as it passes.
    pub(crate) fn keep_for(&mut self, copy: &Keep) {
        match self {
            Self::Whole(bytes, _) => {
                copy.push(bytes);
                copy.end();
            }
            Self::Stream(payload, ..) => payload.keep_for(copy),
        }
    }
}

/// Why a body was not taken in.
pub(crate) enum Refused {
    TooLarge,
    Gone,
}

impl Intake<'_> {
    /// Reads the body if it is small enough to be held back, and the beginning of it if it turns out not to
    /// be.
    pub(crate) async fn take(&self, mut body: Incoming) -> Result<Taken, Refused> {
        if body.is_end_stream() {
            return Ok(Taken::Whole(Bytes::new(), None));
        }
        let declared = body.size_hint().exact();
        if declared.is_some_and(|length| length > self.max_body) {
            return Err(Refused::TooLarge);
        }
        if declared.is_some_and(|length| length > REPLAYABLE) {
            return Ok(self.stream(None, body, None));
        }
        let (mut bytes, mut held) = (Buffer::Empty, None);
        while let Some(frame) = self.frame(&mut body).await {
            let Ok(frame) = frame else { return Err(Refused::Gone) };
            if let Ok(data) = frame.into_data() {
                bytes = bytes.push(data, declared);
            }
            if bytes.len() > self.max_body {
                return Err(Refused::TooLarge);
            }
            if bytes.len() > REPLAYABLE || !self.grow(&mut held, bytes.len()) {
                return Ok(self.stream(Some(bytes.freeze()), body, held));
            }
        }
        Ok(Taken::Whole(bytes.freeze(), held))
    }

    /// The next part of the body. A part that wakes the task that brought it would have it look a second time.
    async fn frame(&self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        poll_fn(|cx| {
            let mut unheard = Context::from_waker(Waker::noop());
            Pin::new(&mut *body).poll_frame(if self.alone { &mut unheard } else { cx })
        })
        .await
    }

    /// Takes memory for what has arrived; what was merely announced takes none. False when there is no more.
    fn grow(&self, held: &mut Held, length: u64) -> bool {
        let needed = usize::try_from(length.saturating_sub(FREE).div_ceil(1024)).unwrap_or(usize::MAX);
        let missing = needed - held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits).min(needed);
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        if missing == 0 {
            return true;
        }
        let Ok(more) = self.held.clone().try_acquire_many_owned(missing) else { return false };
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        true
    }

    fn stream(&self, first: Option<Bytes>, rest: Incoming, held: Held) -> Taken {
        let fault = Fault::default();
        let room = self.max_body - first.as_ref().map_or(0, |b| b.len() as u64);
        Taken::Stream(
            Payload::Stream { first, rest: Box::new(rest), room, fault: fault.clone(), keep: None },
            fault,
            held,
        )
    }
}

/// Copies only when there is more than one frame.
enum Buffer {
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl Buffer {
    /// `declared` is the length in all, if it is known: memory that is asked for and not written takes no room.
    fn push(self, data: Bytes, declared: Option<u64>) -> Self {
        match self {
            Self::Empty => Self::One(data),
            Self::One(first) => {
                let length = first.len() + data.len();
                let declared = declared.and_then(|length| usize::try_from(length).ok());
                let mut many = BytesMut::with_capacity(declared.unwrap_or(length * 2).max(length));
                many.extend_from_slice(&first);
                many.extend_from_slice(&data);
                Self::Many(many)
            }
            Self::Many(mut many) => {
                many.extend_from_slice(&data);
                Self::Many(many)
            }
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::One(bytes) => bytes.len() as u64,
            Self::Many(bytes) => bytes.len() as u64,
        }
    }

    fn freeze(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_known_length_is_copied_once_into_as_much_memory() {
        let held = |declared| {
            let parts = [1_000, 16_000, 16_000, 7_000].map(|length| Bytes::from(vec![7; length]));
            let all = parts.into_iter().fold(Buffer::Empty, |all, part| all.push(part, declared));
            let Buffer::Many(bytes) = all else { panic!("there are several") };
            assert_eq!(bytes.len(), 40_000);
            bytes.capacity()
        };
        assert_eq!(held(Some(40_000)), 40_000);
        assert!((40_000..=80_000).contains(&held(None)), "doubled as it grows");
    }

    #[test]
    fn memory_is_taken_as_bytes_arrive_and_small_bodies_take_none() {
        let held = Arc::new(Semaphore::new(100));
        let intake = Intake { max_body: 1 << 20, held: &held, alone: true };
        let (mut one, mut two) = (None, None);
        assert!(intake.grow(&mut one, FREE) && one.is_none());
        assert!(intake.grow(&mut one, FREE + 1) && held.available_permits() == 99);
        assert!(intake.grow(&mut one, FREE + 60 * 1024) && held.available_permits() == 40);
        assert!(intake.grow(&mut one, FREE + 60 * 1024) && held.available_permits() == 40);
        assert!(!intake.grow(&mut two, FREE + 41 * 1024) && two.is_none());
        assert!(intake.grow(&mut two, FREE), "small ones are held whoever has the rest");
        drop(one);
        assert_eq!(held.available_permits(), 100);
    }
}
