//! Reading a body: its size is refused before it is held, from the head if the head says it.
//!
//! Memory is reserved as bytes arrive and not as they are announced: a head costs its sender nothing. Small
//! bodies have a reserve of their own, so that large ones, however slow, do not shut them out.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::encoding::Encoding;
use super::text::short;
use super::{Problem, Service};

/// Bodies up to this many bytes are small.
const SMALL: usize = 256 << 10;
/// Memory for small bodies, in bytes: 64 of the largest.
const SMALL_MEMORY: usize = 64 * SMALL;
/// Smallest buffer of a body, in bytes, unless it is announced as smaller.
const FIRST: usize = 16 << 10;

/// There is no memory for a body.
const FULL: &str = "too many large requests at a time";

/// The memory for bodies, counted in bytes. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// A body, and its share of the memory for bodies.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    #[allow(dead_code, reason = "held as long as the bytes")]
    share: Share,
}

/// Memory that a body takes up; given back when dropped.
#[derive(Debug)]
struct Share {
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
    /// Whether it comes out of the reserve for small bodies.
    small: bool,
}

/// Refuses another content type than `expected`.
pub(super) fn expect_type(request: &Request, expected: &str) -> Result<(), Problem> {
    let value = request.headers().get(CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()));
    let essence = value.as_deref().and_then(|v| v.split(';').next()).unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let found = value.as_deref().map_or("missing".to_owned(), |v| format!("{:?}", short(v)));
    let message = format!("Content-Type is {found}, allowed: {expected}");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

impl Service {
    /// Reads the body of a request, which is at most `max` bytes also when it is unpacked, within the limits of memory and
    /// time.
    pub(super) async fn read_request(&self, request: Request, max: usize) -> Result<Held, Problem> {
        let encoding = Encoding::of(request.headers())?;
        let Held { bytes, share } = self.read(request.into_body(), max).await?;
        let Some(encoding) = encoding else { return Ok(Held { bytes, share }) };
        let (memory, refused) = (self.memory.clone(), self.metrics.refused.clone());
        let unpack = move || {
            let mut unpacked = Share { permit: None, bytes: 0, small: true };
            let room = |length: usize| {
                if length <= unpacked.bytes || unpacked.grow(length, &memory) {
                    return Ok(());
                }
                refused.with_label_values(&["bodies"]).inc();
                Err(Problem::busy(FULL))
            };
            let result = encoding.unpack(&bytes, max, room);
            drop((bytes, share));
            result.map(|bytes| Held { bytes: bytes.into(), share: unpacked })
        };
        // It may be a thousand times as much.
        tokio::task::spawn_blocking(unpack).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the unpacking task is gone");
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "unpacking failed; the server's log says why",
            ))
        })
    }

    /// Reads a body of at most `max` bytes, as it is, within the limits of memory and time.
    pub(super) async fn read(&self, body: Body, max: usize) -> Result<Held, Problem> {
        let time = self.limits.body_time;
        tokio::time::timeout(time, self.collect(body, max)).await.unwrap_or_else(|_| {
            let message = format!("the body did not arrive within {} s", time.as_secs_f64());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, message))
        })
    }

    async fn collect(&self, mut body: Body, max: usize) -> Result<Held, Problem> {
        let too_large = |what: &str| {
            let message = format!("the body has {what} bytes, allowed: {max}");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        };
        let hint = body.size_hint();
        if hint.lower() > max as u64 {
            return Err(too_large(&hint.lower().to_string()));
        }
        let announced = hint.exact().map(|length| length as usize);
        let mut share = Share { permit: None, bytes: 0, small: announced.is_none_or(|n| n <= SMALL) };
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::bad("the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > max {
                return Err(too_large(&format!("more than {max}")));
            }
            if length > share.bytes {
                // Doubled, so that copying stays cheap: at most half of what is reserved has not arrived.
                let end = announced.unwrap_or(if length <= SMALL { SMALL } else { max });
                let room = (2 * share.bytes).max(FIRST).min(end).max(length);
                if !share.grow(room, &self.memory) {
                    self.metrics.refused.with_label_values(&["bodies"]).inc();
                    return Err(Problem::busy(FULL));
                }
                bytes.reserve_exact(room - bytes.len());
            }
            bytes.extend_from_slice(&data);
        }
        if bytes.is_empty() {
            return Err(Problem::bad("the body is empty"));
        }
        Ok(Held { bytes: bytes.into(), share })
    }
}

impl Memory {
    /// `large` bytes for large bodies, beside the reserve for small ones.
    pub(super) fn new(large: usize) -> Self {
        Self { small: Arc::new(Semaphore::new(SMALL_MEMORY)), large: Arc::new(Semaphore::new(large)) }
    }
}

impl Share {
    /// Makes the share `to` bytes large. Says whether there was room; if not, it is as before.
    fn grow(&mut self, to: usize, memory: &Memory) -> bool {
        if self.small && to <= SMALL && self.add(to - self.bytes, &memory.small) {
            self.bytes = to;
            return true;
        }
        if self.small {
            // What turns out to be large (or finds the reserve empty) moves with all it has.
            let mut moved = Self { permit: None, bytes: to, small: false };
            let fits = moved.add(to, &memory.large);
            if fits {
                *self = moved;
            }
            return fits;
        }
        let fits = self.add(to - self.bytes, &memory.large);
        if fits {
            self.bytes = to;
        }
        fits
    }

    fn add(&mut self, bytes: usize, from: &Arc<Semaphore>) -> bool {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = from.clone().try_acquire_many_owned(wanted) else { return false };
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        true
    }
}
