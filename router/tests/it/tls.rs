//! Clients that come by TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedIssuer, Issuer, KeyPair};
use router::{Limits, Tls};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::rig::{Extras, Rig, ready, route, until};
use crate::servers::{Act, Server, ok};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// As `Limits::default`, in less time.
const HEAD: Duration = Duration::from_secs(1);

/// Who signs, as clients know them.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Certificate and key of the router.
    pub(crate) fn pair(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["digits".to_owned()]).unwrap();
        let issuer: &Issuer<'_, KeyPair> = &self.issuer;
        (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
    }

    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("digits").unwrap(), stream).await
    }

    /// The certificate that a new client is shown.
    async fn shown(&self, address: SocketAddr) -> CertificateDer<'static> {
        let stream = self.connect(address, &[], &[&TLS13]).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

/// Puts the files where a mounted Secret has them: in a folder behind a link, which is exchanged.
pub(crate) fn mount(folder: &Path, number: u32, (certificate, key): &(String, String)) {
    let real = folder.join(format!("..{number}"));
    std::fs::create_dir(&real).unwrap();
    std::fs::write(real.join("tls.crt"), certificate).unwrap();
    std::fs::write(real.join("tls.key"), key).unwrap();
    let link = folder.join("new");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    std::fs::rename(link, folder.join("data")).unwrap();
}

fn load(folder: &Path) -> Result<Tls, router::TlsError> {
    Tls::load(folder.join("data/tls.crt"), folder.join("data/tls.key"))
}

async fn start(a: &Server, authority: &Authority) -> (Rig, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    mount(folder.path(), 0, &authority.pair());
    let tls = Arc::new(load(folder.path()).unwrap());
    tokio::spawn(tls.clone().follow(LOOK));
    let limits = Limits { head: HEAD, stall: Duration::from_millis(400), ..Limits::default() };
    let extras = Extras { tls: Some(tls), ..Extras::default() };
    (Rig::start_told(route(0), (ready(&[a.address]), vec![]), limits, extras).await, folder)
}

const POST: &[u8] = b"POST /predict HTTP/1.1\r\nhost: digits\r\ncontent-length: 1\r\n\r\nx";

/// Posts by HTTP/1.1, and reads what answers come with.
pub(crate) async fn post(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(POST).await.unwrap();
    let mut answer = vec![];
    while !answer.ends_with(b"seven") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed");
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_served_by_either_version_of_tls_and_of_http() {
    let (a, authority) = (Server::start(|_, _| ok()).await, Authority::new());
    let (rig, _folder) = start(&a, &authority).await;
    for versions in [[&TLS12], [&TLS13]] {
        for alpn in [&["http/1.1"][..], &[]] {
            let mut stream = authority.connect(rig.address, alpn, &versions).await.unwrap();
            assert!(post(&mut stream).await.starts_with("HTTP/1.1 200 "));
            // The connection goes on.
            assert!(post(&mut stream).await.contains("x-sluice-revision: a"));
        }
        let stream = authority.connect(rig.address, &["h2", "http/1.1"], &versions).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("https://digits/predict").body(Full::new(Bytes::from("x"))).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        assert_eq!((head.status.as_u16(), head.version), (200, http::Version::HTTP_2));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "seven");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_or_none_of_ours_is_not_served() {
    let (a, authority) = (Server::start(|_, _| ok()).await, Authority::new());
    let (rig, _folder) = start(&a, &authority).await;
    let mut plain = TcpStream::connect(rig.address).await.unwrap();
    plain.write_all(POST).await.unwrap();
    let mut answer = vec![];
    // Perhaps a reset: our bytes were not all read.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    authority.connect(rig.address, &["spdy/3"], &[&TLS13]).await.unwrap_err();
    until("both are counted", || {
        rig.has_metric("sluice_router_tls_handshakes_failed_total{reason=\"failed\"} 2")
    })
    .await;
    assert!(a.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_never_ends_gives_its_place_back() {
    let (a, authority) = (Server::start(|_, _| ok()).await, Authority::new());
    let (rig, _folder) = start(&a, &authority).await;
    let start = std::time::Instant::now();
    let mut slow = TcpStream::connect(rig.address).await.unwrap();
    slow.write_all(&[22, 3, 1]).await.unwrap();
    assert_eq!(slow.read(&mut [0]).await.unwrap(), 0);
    assert!(start.elapsed() >= HEAD && start.elapsed() < 5 * HEAD, "{:?}", start.elapsed());
    until("it is counted", || {
        rig.has_metric("sluice_router_tls_handshakes_failed_total{reason=\"timeout\"} 1")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_serves_new_clients_and_old_ones_stay() {
    let (a, authority) = (Server::start(|_, _| ok()).await, Authority::new());
    let (rig, folder) = start(&a, &authority).await;
    let first = authority.shown(rig.address).await;
    let mut open = authority.connect(rig.address, &[], &[&TLS13]).await.unwrap();
    post(&mut open).await;
    mount(folder.path(), 1, &authority.pair());
    until("it is loaded", || rig.has_metric("sluice_router_tls_loads_total{result=\"ok\"} 1")).await;
    let second = authority.shown(rig.address).await;
    assert_ne!(first, second);
    post(&mut open).await;

    // A certificate with the key of another.
    let (certificate, _) = authority.pair();
    let (_, key) = authority.pair();
    mount(folder.path(), 2, &(certificate, key));
    until("it is refused", || rig.has_metric("sluice_router_tls_refused 1")).await;
    assert_eq!(authority.shown(rig.address).await, second);
    // No certificate at all: another reason, and the same.
    mount(folder.path(), 3, &("nonsense".into(), "nonsense".into()));
    until("it is refused", || rig.has_metric("sluice_router_tls_loads_total{result=\"refused\"} 2")).await;
    std::fs::remove_file(folder.path().join("data")).unwrap();
    until("it is refused", || rig.has_metric("sluice_router_tls_loads_total{result=\"refused\"} 3")).await;
    assert_eq!(authority.shown(rig.address).await, second);
    post(&mut open).await;

    mount(folder.path(), 4, &authority.pair());
    until("all is well again", || rig.has_metric("sluice_router_tls_refused 0")).await;
    assert_ne!(authority.shown(rig.address).await, second);
}

#[test]
fn a_pair_that_cannot_be_used_is_named_and_not_shown() {
    let authority = Authority::new();
    let (certificate, key) = authority.pair();
    let refused = |certificate: &str, key: &str| {
        let folder = tempfile::tempdir().unwrap();
        mount(folder.path(), 0, &(certificate.into(), key.into()));
        load(folder.path()).err().unwrap().to_string()
    };
    let other = authority.pair().1;
    for (certificate, key, what) in [
        (&*certificate, &*other, "certificate and key cannot be used: "),
        (&*key, &*key, "tls.crt: "),
        (&*certificate, "", "tls.key: "),
        (&*certificate, &*certificate, "it must hold a private key in PEM"),
    ] {
        let text = refused(certificate, key);
        assert!(text.contains(what) && !text.contains("BEGIN") && !text.contains("MII"), "{text}");
    }
    let nowhere = load(Path::new("/nowhere")).err().unwrap().to_string();
    assert!(nowhere.starts_with("/nowhere/data/tls.crt cannot be read: "), "{nowhere}");
}

// rule: C2 (behind TLS, too)
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_left() {
    let authority = Authority::new();
    let a = Server::start(|_, _| Act::Answer(200, "", "y".repeat(24 << 20))).await;
    let (rig, _folder) = start(&a, &authority).await;
    let mut stream = authority.connect(rig.address, &[], &[&TLS13]).await.unwrap();
    stream.write_all(POST).await.unwrap();
    until("it is left", || rig.requests() == 1).await;
    assert_eq!(rig.outcome("a"), Some((wire::Outcome::Cancelled, 1)));
}
