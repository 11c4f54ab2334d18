//! A request to another program, and its whole answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use object_store::client::HttpRequestBody;
use tokio::time::timeout;

use crate::Patience;
use crate::secrets::Secrets;
use crate::transport::{Transport, TransportError};

/// The client of other parts of the product: by HTTP or HTTPS, following nothing, repeating nothing.
#[derive(Debug, Clone)]
pub struct Caller {
    transport: Arc<Transport>,
    time: Duration,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

/// Why there was no answer. No text holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The certificates or the TLS settings cannot be used.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The request cannot be made of this.
    #[error("{0}")]
    Request(String),
    /// Nothing came, or not all of it.
    #[error("{at} does not answer: {reason}")]
    Away {
        /// Who was asked.
        at: String,
        /// Why.
        reason: String,
    },
}

impl Caller {
    /// One that waits so long for a whole answer.
    ///
    /// # Errors
    /// If the certificates cannot be used.
    pub fn new(time: Duration) -> Result<Self, CallError> {
        let patience =
            Patience { connect: time.min(Duration::from_secs(5)), stall: time, ..Patience::default() };
        let tls = |error: TransportError| CallError::Tls(error.to_string());
        Ok(Self { transport: Arc::new(Transport::new(&patience, true).map_err(tls)?), time })
    }

    /// Posts JSON, and reads an answer of at most `most` bytes.
    ///
    /// # Errors
    /// If there is no whole answer in time.
    pub async fn post(
        &self,
        uri: &Uri,
        token: Option<&str>,
        json: Bytes,
        most: usize,
    ) -> Result<Called, CallError> {
        let secrets = Secrets::of(&[("TOKEN".to_owned(), token.unwrap_or_default().to_owned())]);
        let mut request = Request::post(uri.clone()).header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| CallError::Request("the token cannot be sent in a header".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request
            .body(HttpRequestBody::from(json))
            .map_err(|error| CallError::Request(error.to_string()))?;
        let away = |reason: String| CallError::Away { at: uri.to_string(), reason };
        let whole = async {
            let answer = self.transport.send(request).await.map_err(|error| away(secrets.clean(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), most).collect().await;
            let body = body.map_err(|error| away(secrets.clean(&*error)))?;
            Ok(Called { status, body: body.to_bytes() })
        };
        timeout(self.time, whole)
            .await
            .unwrap_or_else(|_| Err(away(format!("nothing came for {:?}", self.time))))
    }
}
