//! A way to the API server that fails as told, and writes down every write.
//!
//! ```text
//! operator (own process) ──plain HTTP──> Proxy ──TLS, its certificate──> kube-apiserver
//! ```
//!
//! The operator's kubeconfig holds this address and no credentials, so that no request of it can take another
//! way. What the proxy can do to it: see [`Fault`], [`Proxy::crash_at`] and [`Proxy::away`].

mod requests;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use requests::Requests;
pub use requests::{At, Fault, Moment, Write};

/// What its parts share.
#[derive(Clone)]
struct Shared {
    client: Client,
    requests: Arc<Mutex<Requests>>,
    /// The crash that was planned is due.
    crash: Arc<Notify>,
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy; gone when this is dropped, with every connection through it.
pub struct Proxy {
    shared: Shared,
    address: SocketAddr,
    folder: tempfile::TempDir,
    serving: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Proxy {
    /// Starts one on loopback that reaches the API server as `client` does.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(client: Client, namespace: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let folder = tempfile::tempdir()?;
        let shared = Shared { client, requests: Arc::default(), crash: Arc::default() };
        let serving = Mutex::new(Some(serve::spawn(listener, shared.clone())));
        let proxy = Self { shared, address, folder, serving };
        std::fs::write(proxy.kubeconfig(), kubeconfig(address, namespace))?;
        Ok(proxy)
    }

    /// Path of a kubeconfig that leads here.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Every write so far but those of Leases, in order of arrival.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.shared.requests().writes.clone()
    }

    /// How many writes so far were only tried (`dryRun`).
    #[must_use]
    pub fn dry_runs(&self) -> usize {
        self.shared.requests().dry_runs
    }

    /// What is done to a share of the writes from now on.
    pub fn fault(&self, fault: Fault, share: f64) {
        self.shared.requests().fault = Some((fault, share));
    }

    /// Plans a crash, before or after that write. From then on nothing is answered any more; [`Proxy::crashed`] says
    /// when the process shall be killed.
    pub fn crash_at(&self, at: At, moment: Moment) {
        self.shared.requests().crash_at(at, moment);
    }

    /// Waits for the moment of the planned crash.
    pub async fn crashed(&self) {
        self.shared.crash.notified().await;
    }

    /// Closes every connection, and refuses others, for this long.
    ///
    /// # Errors
    /// When it cannot listen again.
    pub async fn away(&self, time: Duration) -> Result<()> {
        drop(self.serving().take());
        tokio::time::sleep(time).await;
        let listener = TcpListener::bind(self.address).await.context("the port was taken meanwhile")?;
        *self.serving() = Some(serve::spawn(listener, self.shared.clone()));
        Ok(())
    }

    /// Ends every watch; each that goes on from where it was is told once that this is too long ago (410).
    ///
    /// # Errors
    /// When it cannot listen again.
    pub async fn expire(&self) -> Result<()> {
        self.shared.requests().expire();
        self.away(Duration::ZERO).await
    }

    /// How many watches were told that their version is gone.
    #[must_use]
    pub fn expired(&self) -> usize {
        self.shared.requests().expired()
    }

    fn serving(&self) -> MutexGuard<'_, Option<AbortOnDropHandle<()>>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kubeconfig(address: SocketAddr, namespace: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: proxy, cluster: {{server: 'http://{address}'}}}}]
contexts: [{{name: proxy, context: {{cluster: proxy, user: nobody, namespace: {namespace}}}}}]
current-context: proxy
users: [{{name: nobody, user: {{}}}}]
"
    )
}
