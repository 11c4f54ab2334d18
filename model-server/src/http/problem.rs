//! What went wrong, as a client reads it.

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Json, Response};

use crate::decode::DecodeError;
use crate::queue::QueueError;

/// An answer that says what is wrong: `{"error": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// One sentence that names what was found and what is allowed.
    pub message: String,
}

impl Problem {
    /// A problem.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The request itself is malformed.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// No capacity now; the same request may work in a second.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message)
    }

    /// Puts the name of the image in front, when there are several.
    pub(crate) fn of(mut self, image: Option<usize>) -> Self {
        if let Some(i) = image {
            self.message = format!("images[{i}]: {}", self.message);
        }
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({"error": self.message}));
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            return (self.status, [(RETRY_AFTER, "1")], body).into_response();
        }
        (self.status, body).into_response()
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        let status = match error {
            DecodeError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            DecodeError::Empty
            | DecodeError::Format
            | DecodeError::Broken { .. }
            | DecodeError::Animation => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Full { .. } => Self::busy(error.to_string()),
            QueueError::Late => Self::new(StatusCode::GATEWAY_TIMEOUT, error.to_string()),
            QueueError::Engine(_) | QueueError::Stopped => {
                // Nothing that a client sent can cause this: it is the model's or the server's fault.
                tracing::error!(%error, "no answer");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the model failed; the server's log says why")
            }
        }
    }
}
