//! Lets a client read its answer before the connection closes.
//!
//! Who is answered while still sending (413, 408, 415, …) may look at the answer only when all is sent, as many clients
//! and proxies do. Closed at once, the connection would be reset by what still arrives, and a reset takes the answer away:
//! a proxy makes 502 of it. So the rest is read and dropped for a while.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long it is read on, at most.
const TIME: Duration = Duration::from_secs(2);
/// How many bytes are read, at most: bodies that are too large are seldom twice as large as allowed.
const BYTES: usize = 32 << 20;
const BUFFER: usize = 16 << 10;

/// Whether the last request of a connection was answered before its body had arrived.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

/// A connection that reads on, once its writing side is closed, where a body is left.
#[derive(Debug)]
pub(super) struct Lingering {
    stream: TcpStream,
    unread: Unread,
    until: Option<Pin<Box<Sleep>>>,
    left: usize,
}

impl Lingering {
    pub(super) fn new(stream: TcpStream, unread: Unread) -> Self {
        Self { stream, unread, until: None, left: BYTES }
    }

    /// Reads on, until the client closes its side or enough was waited.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(TIME)));
        let mut room = [0; BUFFER];
        while self.left > 0 && until.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    self.left = self.left.saturating_sub(buffer.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.until.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.unread.0.load(Ordering::SeqCst) {
            ready!(self.linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

/// The routes, for one connection: what they leave of a body is written down, and such an answer is the last one.
pub(super) fn watching(
    routes: Router,
    unread: Unread,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> {
    let routes = TowerToHyperService::new(routes);
    service_fn(move |request: Request<Incoming>| {
        let unread = unread.clone();
        unread.0.store(false, Ordering::SeqCst);
        let answer = routes.call(request.map(|body| Watched { body, over: false, unread: unread.clone() }));
        async move {
            let mut response = answer.await?;
            if unread.0.load(Ordering::SeqCst) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    })
}

/// A body that says so if it is left before its end.
struct Watched {
    body: Incoming,
    over: bool,
    unread: Unread,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // After an error there is nobody to wait for.
        self.over |= !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.over && !self.body.is_end_stream() {
            self.unread.0.store(true, Ordering::SeqCst);
        }
    }
}
