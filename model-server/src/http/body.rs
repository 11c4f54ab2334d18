//! Reading a body: its size is refused before it is held, from the head if the head says it.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;

use super::{Problem, Service};

/// A body, and its share of the memory for bodies.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
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
    /// Reads a body within the limits of size, memory and time.
    pub(super) async fn read(&self, body: Body) -> Result<Held, Problem> {
        let time = self.limits.body_time;
        tokio::time::timeout(time, self.collect(body)).await.unwrap_or_else(|_| {
            let message = format!("the body did not arrive within {} s", time.as_secs_f64());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, message))
        })
    }

    async fn collect(&self, mut body: Body) -> Result<Held, Problem> {
        let max = self.limits.body_bytes;
        let too_large = |what: &str| {
            let message = format!("the body has {what} bytes, allowed: {max}");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        };
        let announced = body.size_hint().lower();
        if announced > max as u64 {
            return Err(too_large(&announced.to_string()));
        }
        let mut room = self.room(announced as usize)?;
        let mut held = announced as usize;
        let mut bytes = Vec::with_capacity(held);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::bad("the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > max {
                return Err(too_large(&format!("more than {max}")));
            }
            if length > held {
                let more = self.room(length - held)?;
                held = length;
                match (&mut room, more) {
                    (Some(room), Some(more)) => room.merge(more),
                    (room, more) => *room = more,
                }
            }
            bytes.extend_from_slice(&data);
        }
        if bytes.is_empty() {
            return Err(Problem::bad("the body is empty"));
        }
        Ok(Held { bytes: bytes.into(), _room: room })
    }

    /// Takes `bytes` of the memory for bodies.
    fn room(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        if bytes == 0 {
            return Ok(None);
        }
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = self.buffer.clone().try_acquire_many_owned(wanted).map_err(|_| {
            self.metrics.refused.with_label_values(&["bodies"]).inc();
            Problem::busy("too many large requests at a time")
        })?;
        Ok(Some(permit))
    }
}

/// Something a client sent, fit for a message.
pub(super) fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
