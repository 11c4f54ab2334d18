//! The body of an answer on its way from an endpoint.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Link;

/// A body, with the connection that it comes by: that moves while somebody asks for the body.
pub(crate) struct Reply {
    body: Incoming,
    /// Absent where the connection moves by itself, and once it was taken.
    link: Option<Link>,
}

impl Reply {
    pub(crate) fn new(body: Incoming, link: Option<Link>) -> Self {
        Self { body, link }
    }

    /// The connection, when nobody wants to read on.
    pub(crate) fn take_link(&mut self) -> Option<Link> {
        self.link.take()
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body, link } = self.get_mut();
        let Some(link) = link else { return Pin::new(body).poll_frame(cx) };
        // Only the connection brings more of it, and it is moved here.
        let mut unheard = Context::from_waker(Waker::noop());
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(&mut unheard) {
            return Poll::Ready(frame);
        }
        link.drive(cx);
        Pin::new(body).poll_frame(&mut unheard)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
