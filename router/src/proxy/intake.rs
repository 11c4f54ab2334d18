//! Reads the body of a request as far as it can be held back.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::REPLAYABLE;
use crate::upstream::{Fault, Payload};

/// The limits.
pub(crate) struct Intake<'a> {
    pub(crate) max_body: u64,
    /// Memory for bodies that are held back, in KiB.
    pub(crate) held: &'a Arc<Semaphore>,
}

/// A body that was taken in.
pub(crate) enum Taken {
    /// Can be sent as often as wanted.
    Whole(Bytes, Option<OwnedSemaphorePermit>),
    /// Can be sent once.
    Stream(Payload, Fault),
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
        let expected = declared.unwrap_or(REPLAYABLE);
        let kib = u32::try_from(expected.div_ceil(1024)).unwrap_or(u32::MAX);
        let permit = (expected <= REPLAYABLE).then(|| self.held.clone().try_acquire_many_owned(kib).ok());
        let Some(Some(permit)) = permit else { return Ok(self.stream(None, body)) };
        let mut bytes = Buffer::Empty;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(Refused::Gone) };
            if let Ok(data) = frame.into_data() {
                bytes = bytes.push(data);
            }
            if bytes.len() > self.max_body {
                return Err(Refused::TooLarge);
            }
            if bytes.len() > REPLAYABLE {
                return Ok(self.stream(Some(bytes.freeze()), body));
            }
        }
        Ok(Taken::Whole(bytes.freeze(), Some(permit)))
    }

    fn stream(&self, first: Option<Bytes>, rest: Incoming) -> Taken {
        let fault = Fault::default();
        let room = self.max_body - first.as_ref().map_or(0, |b| b.len() as u64);
        Taken::Stream(Payload::Stream { first, rest: Box::new(rest), room, fault: fault.clone() }, fault)
    }
}

/// Copies only when there is more than one frame.
enum Buffer {
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl Buffer {
    fn push(self, data: Bytes) -> Self {
        match self {
            Self::Empty => Self::One(data),
            Self::One(first) => {
                let mut many = BytesMut::with_capacity((first.len() + data.len()) * 2);
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
