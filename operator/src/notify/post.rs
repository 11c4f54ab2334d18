//! One attempt: finds the address, posts the letter, reads the status. No redirects.

use std::error::Error as _;
use std::io;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::letter::{Address, Letter};

/// Header: the letter's id, so that a receiver can drop what it has already.
const ID: &str = "x-sluice-event-id";

type Body = Full<Bytes>;

/// Why an attempt failed. No text holds an address, or anything that a receiver said.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// No Secret of that name.
    #[error("there is no Secret {0} in the namespace of the ModelDeployment")]
    NoSecret(String),
    /// RBAC.
    #[error("the Secret {0} may not be read: the chart's notifications.secretNames must name it")]
    Forbidden(String),
    /// The Secret does not hold it.
    #[error("the Secret {secret} has no key {key}")]
    NoKey {
        /// Its name.
        secret: String,
        /// The key that was looked for.
        key: String,
    },
    /// The API server fails.
    #[error("the Secret {0} cannot be read now")]
    Unread(String),
    /// No address that can be posted to.
    #[error("the address is not http://… or https://… without user and password")]
    Address,
    /// No connection.
    #[error("no connection: {0}")]
    Connect(&'static str),
    /// The connection broke.
    #[error("the connection broke before the answer")]
    Broken,
    /// No answer in time.
    #[error("no answer in time")]
    Slow,
    /// It was not taken.
    #[error("status {0}")]
    Status(StatusCode),
}

impl PostError {
    /// Whether another attempt may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            // A Secret may be made a moment after what refers to it.
            Self::NoSecret(_) | Self::Unread(_) | Self::Connect(_) | Self::Broken | Self::Slow => true,
            Self::Status(status) => *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error(),
            Self::Forbidden(_) | Self::NoKey { .. } | Self::Address => false,
        }
    }
}

/// The client of all receivers.
#[derive(Clone)]
pub(super) struct Post {
    kube: Client,
    http: legacy::Client<HttpsConnector<HttpConnector>, Body>,
}

impl Post {
    /// Trusts what Mozilla trusts, since the operator's image has no certificates of its own, and what
    /// `SSL_CERT_FILE` names.
    pub(super) fn new(kube: Client) -> Result<Self, rustls::Error> {
        let mut roots = bundled();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // Letters are rare: a connection that is kept would be closed by the next one.
        let http = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { kube, http })
    }

    /// Posts a letter once.
    pub(super) async fn post(&self, letter: &Letter) -> Result<(), PostError> {
        let address = match &letter.address {
            Address::Url(url) => parse(url)?,
            Address::Secret { namespace, from } => {
                parse(&self.secret(namespace, &from.secret_name, &from.key).await?)?
            }
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(address)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .header(ID, &letter.id)
            .body(Body::from(letter.body.clone()))
            .map_err(|_| PostError::Address)?;
        let answer = self.http.request(request).await.map_err(|error| class(&error))?;
        // What it says is nobody's business: only whether it took it.
        if answer.status().is_success() { Ok(()) } else { Err(PostError::Status(answer.status())) }
    }

    async fn secret(&self, namespace: &str, name: &str, key: &str) -> Result<String, PostError> {
        let api: Api<Secret> = Api::namespaced(self.kube.clone(), namespace);
        let secret = api.get(name).await.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 404 => PostError::NoSecret(name.to_owned()),
            kube::Error::Api(status) if status.code == 403 => PostError::Forbidden(name.to_owned()),
            _ => PostError::Unread(name.to_owned()),
        })?;
        let value = secret.data.and_then(|mut data| data.remove(key));
        let text = value.and_then(|value| String::from_utf8(value.0).ok());
        text.ok_or_else(|| PostError::NoKey { secret: name.to_owned(), key: key.to_owned() })
    }
}

/// The authorities in the binary.
fn bundled() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots
}

/// The line break at the end of a file is no part of the address.
fn parse(text: &str) -> Result<Uri, PostError> {
    let address: Uri = text.trim().parse().map_err(|_| PostError::Address)?;
    let known = matches!(address.scheme_str(), Some("http" | "https"));
    let plain = address.authority().is_some_and(|a| !a.as_str().contains('@') && !a.host().is_empty());
    if known && plain { Ok(address) } else { Err(PostError::Address) }
}

/// By kind alone: the texts of the libraries name hosts.
fn class(error: &legacy::Error) -> PostError {
    if !error.is_connect() {
        return PostError::Broken;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return PostError::Connect(match innermost(io) {
                io::ErrorKind::ConnectionRefused => "refused",
                io::ErrorKind::TimedOut => "timed out",
                io::ErrorKind::InvalidData => "the TLS handshake failed; is its certificate trusted?",
                _ => "its host is not found or not reached",
            });
        }
        cause = error.source();
    }
    PostError::Connect("its host is not found or not reached")
}

/// The connector of TLS wraps the error that matters.
fn innermost(error: &io::Error) -> io::ErrorKind {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    inner.map_or_else(|| error.kind(), innermost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receiver_that_is_not_there_and_one_without_tls_are_told_apart() {
        assert!(bundled().len() > 100, "without them no certificate is trusted in an empty image");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, axum::Router::new()).await });
        let kube = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let post = Post::new(kube).unwrap();
        let said = async |url: String| {
            let (id, reason, body) = (String::new(), String::new(), "{}".to_owned());
            let letter = Letter { id, reason, address: Address::Url(url), body };
            post.post(&letter).await.unwrap_err().to_string()
        };
        assert_eq!(said("https://127.0.0.1:1/".into()).await, "no connection: refused");
        let handshake = "no connection: the TLS handshake failed; is its certificate trusted?";
        assert_eq!(said(format!("https://{plain}/")).await, handshake);
    }

    #[test]
    fn an_address_is_http_and_carries_no_password() {
        for good in ["http://hooks:8080", "https://hooks.example/T0/B0?x=1\n"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "hooks.example/T0", "ftp://hooks", "https://me:word@hooks/", "/T0", "https:///T0"] {
            assert!(matches!(parse(bad), Err(PostError::Address)), "{bad}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let again = |code: u16| PostError::Status(StatusCode::from_u16(code).unwrap()).is_passing();
        assert!(again(429) && again(500) && again(503));
        assert!(!again(400) && !again(404) && !again(302));
        assert!(
            !PostError::Forbidden("s".into()).is_passing() && PostError::NoSecret("s".into()).is_passing()
        );
    }
}
