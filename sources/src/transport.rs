//! One HTTP client for all of them, over hyper and the TLS of the other programs (ADR 11): no answer, and no piece of
//! one, is waited for longer than [`Patience`] says, and nothing goes unencrypted that may not.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// How long others are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer, and for each next piece of its body.
    pub stall: Duration,
    /// How often a file is asked for again after a failure, all its failures together.
    pub retries: u32,
    /// First pause before it is asked for again; each is twice as long, up to 10 s.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            retries: 5,
            pause: Duration::from_millis(500),
        }
    }
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// The certificates or the TLS settings cannot be used.
    #[error("no TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Plain HTTP where it may not be.
    #[error("http:// is only taken with a sha256")]
    Open,
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Stalled(Duration),
}

/// The client. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Transport {
    client: legacy::Client<HttpsConnector<Tcp>, HttpRequestBody>,
    stall: Duration,
    may_be_open: bool,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl Transport {
    /// Trusts what Mozilla trusts, since an image may hold no certificates, and what `SSL_CERT_FILE` names.
    pub(crate) fn new(patience: &Patience, may_be_open: bool) -> Result<Self, TransportError> {
        let bundled = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(bundled.map(|der| CertificateDer::from(der.as_ref())));
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = Tcp::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(patience.connect));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(4)
            .build(connector);
        Ok(Self { client, stall: patience.stall, may_be_open })
    }

    /// Asks once; follows nothing, repeats nothing.
    pub(crate) async fn send(
        &self,
        mut request: Request<HttpRequestBody>,
    ) -> Result<HttpResponse, HttpError> {
        if !self.may_be_open && request.uri().scheme() != Some(&Scheme::HTTPS) {
            return Err(HttpError::new(HttpErrorKind::Unknown, TransportError::Open));
        }
        let agent = HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(USER_AGENT).or_insert(agent);
        let answer: Response<Incoming> = match timeout(self.stall, self.client.request(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request };
                return Err(HttpError::new(kind, error));
            }
            Err(_) => return Err(stalled(self.stall)),
        };
        let stall = self.stall;
        Ok(answer.map(|body| {
            HttpResponseBody::new(Watched { body, stall, sleep: Box::pin(sleep(stall)), waits: false })
        }))
    }
}

fn stalled(stall: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, TransportError::Stalled(stall))
}

/// A body that must go on.
struct Watched {
    body: Incoming,
    stall: Duration,
    sleep: Pin<Box<Sleep>>,
    /// Whether somebody has begun to wait: a slow reader is no stall.
    waits: bool,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.waits = false;
            return Poll::Ready(frame.map(|f| f.map_err(|e| HttpError::new(HttpErrorKind::Interrupted, e))));
        }
        if !self.waits {
            self.waits = true;
            let until = Instant::now() + self.stall;
            self.sleep.as_mut().reset(until);
        }
        ready!(self.sleep.as_mut().poll(context));
        Poll::Ready(Some(Err(stalled(self.stall))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[async_trait::async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.send(request).await
    }
}

/// Gives object_store this client for all that it asks.
#[derive(Debug, Clone)]
pub(crate) struct Connector(pub(crate) Arc<Transport>);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // Where a pod gets its credentials, object_store allows plain HTTP by itself: that is within the node.
        let may_be_open = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        Ok(HttpClient::new(Transport { may_be_open, ..Transport::clone(&self.0) }))
    }
}
