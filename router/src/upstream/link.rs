//! One HTTP/1 connection that knows whether it wrote and read anything.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};

use futures::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

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
    /// Fails once the connection's task has ended.
    ended: oneshot::Receiver<Infallible>,
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
        let (end, ended) = oneshot::channel();
        tokio::spawn(async move {
            let _end = end;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to an endpoint ended");
            }
        });
        Ok(Self { sender, traffic, ended })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until it can take a request; false if it closed instead.
    pub(crate) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<Payload>) -> Result<Response<Incoming>, SendError> {
        self.traffic.wrote.store(false, SeqCst);
        self.traffic.read.store(false, SeqCst);
        let mut answer = pin!(self.sender.try_send_request(request));
        // hyper alone is not enough: a request handed over at the moment in which the connection's task ends
        // may stay in the channel between the two, which nobody reads any more (seen in tests, under load).
        let result = tokio::select! {
            biased;
            result = &mut answer => Some(result),
            _ = &mut self.ended => answer.now_or_never(),
        };
        let refused = match result {
            Some(Ok(response)) if is_ambiguous(response.status(), response.headers()) => {
                return Err(SendError { failure: Failure::Garbled, request: None, error: None });
            }
            Some(Ok(response)) => return Ok(response),
            Some(Err(refused)) => Some(refused),
            None => None,
        };
        let (wrote, read) = (self.traffic.wrote.load(SeqCst), self.traffic.read.load(SeqCst));
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
            self.read.store(true, SeqCst);
        }
        result
    }

    fn wrote(&mut self, _: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = result {
            self.wrote.store(true, SeqCst);
        }
        result
    }
}
