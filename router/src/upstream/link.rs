//! One HTTP/1 connection that knows whether it wrote and read anything.
//!
//! It has no task of its own: whoever waits for its answer moves it. That saves each request the ways between two
//! tasks, and nobody else has anything to do with it meanwhile. Who waits is woken by other things too: it is moved only
//! when something has woken the connection itself.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::unconstrained;

use super::Payload;
use crate::attempts::Failure;
use crate::proxy::is_ambiguous;
use crate::watched::{Onlooker, Watched};

/// Largest read buffer, and so the largest head of an answer. Bounded, because hyper's own grows with the
/// answers: 70 MB were seen at 128 connections.
const BUFFER: usize = crate::budget::ANSWER;

/// What has passed since the last request was handed over.
#[derive(Debug, Default)]
struct Traffic {
    wrote: AtomicBool,
    read: AtomicBool,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    sender: SendRequest<Payload>,
    traffic: Arc<Traffic>,
    wire: Wire,
}

/// The part of a connection that reads and writes.
#[derive(Debug)]
struct Wire {
    /// Nothing once it has ended.
    connection: Option<Pin<Box<Http1>>>,
    nudge: Arc<Nudge>,
    /// Of `nudge`.
    waker: Waker,
}

type Http1 = Connection<TokioIo<Watched<TcpStream, Arc<Traffic>>>, Payload>;

/// What wakes a connection: its socket, or a request or part of a body that is handed to it.
#[derive(Debug)]
struct Nudge {
    /// Whether it was woken since it was moved.
    woken: AtomicBool,
    /// Who waits for it.
    waiting: AtomicWaker,
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.waiting.wake();
    }
}

impl Wire {
    fn new(connection: Http1) -> Self {
        let nudge = Arc::new(Nudge { woken: true.into(), waiting: AtomicWaker::new() });
        Self { connection: Some(Box::pin(connection)), waker: nudge.clone().into(), nudge }
    }

    /// Reads and writes what can be; whoever asks is woken when there is more.
    fn drive(&mut self, cx: &Context<'_>) {
        self.nudge.waiting.register(cx.waker());
        if self.nudge.woken.swap(false, SeqCst) {
            self.advance();
        }
    }

    /// Nobody waits for it any more.
    fn leave(&self) {
        self.nudge.waiting.register(Waker::noop());
    }

    fn advance(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        if let Poll::Ready(ended) = connection.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            if let Err(error) = ended {
                tracing::debug!(%error, "connection to an endpoint ended");
            }
            self.connection = None;
        }
    }
}

/// Why there is no answer.
pub(crate) struct SendError {
    pub(crate) failure: Failure,
    /// The request, if the connection never took it.
    pub(crate) request: Option<Box<Request<Payload>>>,
    pub(crate) error: Option<hyper::Error>,
}

impl Link {
    pub(crate) async fn open(stream: TcpStream) -> io::Result<Self> {
        let traffic = Arc::<Traffic>::default();
        let watched = Watched::new(stream, traffic.clone());
        let (sender, connection) = Builder::new()
            .max_buf_size(BUFFER)
            .max_header_size(BUFFER)
            .handshake(TokioIo::new(watched))
            .await
            .map_err(io::Error::other)?;
        Ok(Self { sender, traffic, wire: Wire::new(connection) })
    }

    /// Reads and writes what can be; whoever asks is woken when there is more.
    pub(super) fn drive(&mut self, cx: &Context<'_>) {
        self.wire.drive(cx);
    }

    /// Takes note of what has happened since somebody moved it.
    pub(super) fn catch_up(&mut self) {
        self.drive(&Context::from_waker(Waker::noop()));
    }

    /// Comes to the end of an answer of which the last part was taken: that alone wakes nobody.
    pub(super) fn settle(&mut self) {
        self.wire.leave();
        self.wire.nudge.woken.store(false, SeqCst);
        self.wire.advance();
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until it can take a request; false if it closed instead.
    pub(crate) async fn ready(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            self.sender.poll_ready(cx)
        })
        .await
        .is_ok()
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<Payload>) -> Result<Response<Incoming>, SendError> {
        self.traffic.wrote.store(false, Relaxed);
        self.traffic.read.store(false, Relaxed);
        let Self { sender, wire, .. } = self;
        // Only the connection answers, and it is moved right before. Unconstrained, because what has had its share of
        // time would wait for a waker that wakes nobody.
        let mut answer = pin!(unconstrained(sender.try_send_request(request)));
        let result = poll_fn(|cx| {
            wire.drive(cx);
            match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                // Handed over at the moment in which the connection ended: nobody reads it any more.
                Poll::Pending if wire.connection.is_none() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        // Whoever reads the answer asks for it, and moves the connection then.
        wire.leave();
        let refused = match result {
            Some(Ok(response)) if is_ambiguous(response.status(), response.headers()) => {
                return Err(SendError { failure: Failure::Garbled, request: None, error: None });
            }
            Some(Ok(response)) => return Ok(response),
            Some(Err(refused)) => Some(refused),
            None => None,
        };
        let (wrote, read) = (self.traffic.wrote.load(Relaxed), self.traffic.read.load(Relaxed));
        let (request, error) = match refused {
            Some(mut refused) => (refused.take_message().map(Box::new), Some(refused.into_error())),
            None => (None, None),
        };
        let failure = match (request.is_some() || !wrote, read) {
            (true, _) => Failure::Unsent,
            (false, false) => Failure::Broken,
            (false, true) => Failure::Garbled,
        };
        Err(SendError { failure, request, error })
    }
}

/// Notes that bytes passed.
impl Onlooker for Arc<Traffic> {
    fn read(
        &mut self,
        _: &mut Context<'_>,
        bytes: &[u8],
        result: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if !bytes.is_empty() {
            self.read.store(true, Relaxed);
        }
        result
    }

    fn wrote(&mut self, _: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = result {
            self.wrote.store(true, Relaxed);
        }
        result
    }
}
