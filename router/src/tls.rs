//! TLS for clients, with a certificate that is read again when its files change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Version;
use prometheus::{IntCounterVec, IntGauge, Opts};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use xxhash_rust::xxh3::xxh3_128;

use crate::budget;

/// Largest file: a Secret holds no more.
const LARGEST: u64 = 1 << 20;
/// How HTTP/2 is named in a handshake.
const H2: &[u8] = b"h2";

/// Why a pair of certificate and key cannot be used. Never says what the files hold.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", file.display())]
    File {
        /// Its path.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds no certificate or key in PEM.
    #[error("{}: {source}; it must hold {needed} in PEM", file.display())]
    Pem {
        /// Its path.
        file: PathBuf,
        /// Why.
        source: pem::Error,
        /// What it must hold.
        needed: &'static str,
    },
    /// They do not belong together, or are of a kind that is not known.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// What the files held.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn digest(&self) -> u128 {
        xxh3_128(&[self.certificate.as_slice(), b"\0", &self.key].concat())
    }
}

/// Serves TLS 1.2 and 1.3, with HTTP/2 and HTTP/1.1 by ALPN.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
    /// Of what was loaded.
    first: u128,
    loads: IntCounterVec,
    refused: IntGauge,
    failed: IntCounterVec,
}

impl Tls {
    /// Reads both files: a chain of certificates, the server's own first, and its key, in PEM.
    ///
    /// # Errors
    /// When they are no pair that can be served with.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let pair = read(&certificate, &key)?;
        let config = ArcSwap::from_pointee(config(&pair, &certificate, &key)?);
        let counter = |name: &str, what: &str, label: &str| {
            IntCounterVec::new(Opts::new(name, what), &[label]).expect("the names are constants")
        };
        let loads = "New certificates that were read, by result: ok, or refused, and the old one was kept.";
        let refused =
            "1 while the files hold a certificate and key that cannot be used, and an older pair serves.";
        let failed = "Connections that ended before the TLS handshake did, by reason: timeout, failed.";
        Ok(Self {
            first: pair.digest(),
            certificate,
            key,
            config,
            loads: counter("sluice_router_tls_loads_total", loads, "result"),
            refused: IntGauge::new("sluice_router_tls_refused", refused).expect("the names are constants"),
            failed: counter("sluice_router_tls_handshakes_failed_total", failed, "reason"),
        })
    }

    /// Shows its numbers to a registry.
    ///
    /// # Errors
    /// When the registry has them already.
    pub fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.loads.clone()))?;
        registry.register(Box::new(self.refused.clone()))?;
        registry.register(Box::new(self.failed.clone()))
    }

    /// Looks at the files this often, for ever. A new pair serves those who connect from then on; connections that are
    /// open stay. One that cannot be used is refused once it is there at two looks in a row: whoever writes the files may
    /// be between the two.
    pub async fn follow(self: Arc<Self>, every: Duration) {
        let (mut serving, mut suspect, mut told) = (Ok(self.first), None, false);
        loop {
            tokio::time::sleep(every).await;
            let this = self.clone();
            let look = tokio::task::spawn_blocking(move || this.look());
            // An error means that the program ends.
            let Ok((seen, outcome)) = look.await else { return };
            if seen == serving {
                // Also when the old pair is back.
                self.refused.set(0);
                (suspect, told) = (None, false);
                continue;
            }
            match outcome {
                Ok(config) => {
                    self.config.store(Arc::new(config));
                    self.loads.with_label_values(&["ok"]).inc();
                    self.refused.set(0);
                    tracing::info!(file = %self.certificate.display(), "a new certificate serves");
                    (serving, suspect, told) = (seen, None, false);
                }
                Err(error) if suspect.as_ref() == Some(&seen) => {
                    if !std::mem::replace(&mut told, true) {
                        self.loads.with_label_values(&["refused"]).inc();
                        self.refused.set(1);
                        tracing::error!(%error, "the new certificate is refused, the old one serves");
                    }
                }
                Err(_) => (suspect, told) = (Some(seen), false),
            }
        }
    }

    /// What the files hold now, in short, and what it makes.
    fn look(&self) -> (Result<u128, io::ErrorKind>, Result<ServerConfig, TlsError>) {
        match read(&self.certificate, &self.key) {
            Ok(pair) => (Ok(pair.digest()), config(&pair, &self.certificate, &self.key)),
            Err(TlsError::File { file, source }) => {
                (Err(source.kind()), Err(TlsError::File { file, source }))
            }
            Err(error) => (Err(io::ErrorKind::Other), Err(error)),
        }
    }

    /// Shakes hands with a client, which has this long for it. The version of HTTP is what both agreed on.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        limit: Duration,
    ) -> Option<(TlsStream<TcpStream>, Version)> {
        let acceptor = TlsAcceptor::from(self.config.load_full());
        let handshake =
            acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(budget::SEALED)));
        let reason = match tokio::time::timeout(limit, handshake).await {
            Ok(Ok(stream)) => {
                let h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
                return Some((stream, if h2 { Version::HTTP_2 } else { Version::HTTP_11 }));
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                "failed"
            }
            Err(_) => "timeout",
        };
        self.failed.with_label_values(&[reason]).inc();
        None
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Pair, TlsError> {
    Ok(Pair { certificate: file(certificate)?, key: file(key)? })
}

fn file(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| TlsError::File { file: path.to_owned(), source })
}

fn config(pair: &Pair, certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let wrong = |file: &Path, needed| {
        let file = file.to_owned();
        move |source| TlsError::Pem { file, source, needed }
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pair.certificate)
        .collect::<Result<_, _>>()
        .map_err(wrong(certificate, "certificates"))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "certificates")(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(wrong(key, "a private key"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
