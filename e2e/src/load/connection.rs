//! One connection, opened and used by hand: a client library with a pool would send again what broke.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::Failure;

/// Longest answer that is read.
const MAX_ANSWER: usize = 1 << 20;

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) version: Option<String>,
    pub(super) text: String,
}

/// An open connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr, deadline: Instant) -> Result<Self, Failure> {
        let opened = timeout_at(deadline, async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            std::io::Result::Ok(stream)
        });
        let stream = match opened.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Failure::Connect(error.to_string())),
            Err(_) => return Err(Failure::Connect("no answer in time".into())),
        };
        let made = handshake(TokioIo::new(stream)).await;
        let (sender, driver) = made.map_err(|error| Failure::Connect(error.to_string()))?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            // What breaks the connection is told to the request that is on it.
            let _ = driver.await;
        }));
        Ok(Self { sender, _driver: driver })
    }

    /// Whether a request can be sent on it, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed() && self.sender.is_ready()
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let exchange = async {
            let answer = self.sender.send_request(request).await.map_err(|e| Failure::Reset(spell(&e)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| Failure::Reset(format!("the answer broke off: {error}")))?;
            let version = head.headers.get(wire::header::MODEL_VERSION);
            Ok(Answer {
                status: head.status.as_u16(),
                version: version.and_then(|v| v.to_str().ok()).map(str::to_owned),
                text: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            })
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(Failure::Timeout))
    }
}

fn spell(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
