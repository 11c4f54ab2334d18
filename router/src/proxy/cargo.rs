//! What an attempt sends to an endpoint, and what becomes of it.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::attempts::Failure;
use crate::upstream::{Endpoint, Link, Payload};

/// What an attempt sends.
pub(super) struct Cargo {
    pub(super) grpc: bool,
    pub(super) parts: Parts,
    pub(super) body: Source,
}

pub(super) enum Source {
    Whole(Bytes),
    /// `None` once it is on its way.
    Once(Option<Payload>),
}

impl Cargo {
    fn request(&mut self) -> Request<Payload> {
        let payload = match &mut self.body {
            Source::Whole(bytes) => Payload::whole(bytes.clone()),
            Source::Once(payload) => payload.take().expect("a spent body ends the attempts"),
        };
        Request::from_parts(self.parts.clone(), payload)
    }

    /// Takes back what was not sent.
    fn restore(&mut self, request: Request<Payload>) {
        if let Source::Once(payload) = &mut self.body {
            *payload = Some(request.into_body());
        }
    }

    pub(super) fn is_spent(&self) -> bool {
        matches!(self.body, Source::Once(None))
    }
}

/// One attempt. A retry asks for a new connection: an idle one may have died with the first.
pub(super) async fn attempt(
    endpoint: &Arc<Endpoint>,
    cargo: &mut Cargo,
    fresh: bool,
) -> Result<(Response<Incoming>, Option<Link>), Failure> {
    let none = |error: std::io::Error| {
        tracing::debug!(endpoint = %endpoint.address(), %error, "no connection");
        Failure::Unsent
    };
    let sent = if cargo.grpc {
        let mut stream = endpoint.stream(fresh).await.map_err(none)?;
        stream.send(cargo.request()).await.map(|response| (response, None))
    } else {
        let mut link = endpoint.connect(fresh).await.map_err(none)?;
        link.send(cargo.request()).await.map(|response| (response, Some(link)))
    };
    match sent {
        Ok(answer) => Ok(answer),
        Err(refused) => {
            tracing::debug!(endpoint = %endpoint.address(), error = ?refused.error, "a connection broke");
            if let Some(request) = refused.request {
                cargo.restore(*request);
            }
            Err(refused.failure)
        }
    }
}
