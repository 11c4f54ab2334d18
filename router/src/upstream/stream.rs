//! One HTTP/2 connection to an endpoint: as many requests at once as it takes.

use std::io;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::{Payload, SendError};
use crate::attempts::Failure;
use crate::budget;

/// What a server may send ahead of a slow client, on one stream and in all.
const WINDOW: u32 = 64 * 1024;
const WINDOWS: u32 = 1024 * 1024;
/// A connection that does not answer to a ping for so long is dead.
const DEAD: Duration = Duration::from_secs(5);

/// A connection. Clones use the same one.
#[derive(Debug, Clone)]
pub(crate) struct Stream(SendRequest<Payload>);

impl Stream {
    pub(crate) async fn open(stream: TcpStream) -> io::Result<Self> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOWS)
            .max_header_list_size(budget::ANSWER as u32)
            .max_send_buf_size(WINDOW as usize)
            .keep_alive_interval(DEAD)
            .keep_alive_timeout(DEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP/2 connection to an endpoint ended");
            }
        });
        Ok(Self(sender))
    }

    /// Whether it takes no request any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<Payload>) -> Result<Response<Incoming>, SendError> {
        if self.0.ready().await.is_err() {
            return Err(SendError {
                failure: Failure::Unsent,
                request: Some(Box::new(request)),
                error: None,
            });
        }
        match self.0.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut refused) => {
                let request = refused.take_message().map(Box::new);
                let failure = if request.is_some() { Failure::Unsent } else { Failure::Broken };
                Err(SendError { failure, request, error: Some(refused.into_error()) })
            }
        }
    }
}
