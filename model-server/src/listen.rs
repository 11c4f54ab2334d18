//! Connections of the public port, and how they end.
//!
//! On SIGTERM a pod is still reachable for those who have not heard yet, so the drain answers them: known
//! and new connections are served, each answer says `Connection: close`, and the port closes once nothing
//! was asked for a while. Idle connections are closed last: a client that is about to reuse one learns
//! from an answer, not from a reset, that it should go elsewhere.

mod http2;
mod linger;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Version;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::linger::{Lingering, Unread, watching};
use crate::http::{Activity, Service};

/// How long a connection may be idle, or take to send a request's head. Longer than clients' pools keep
/// connections (mostly 60 s or less), so that it is the client that closes.
const HEAD_TIME: Duration = Duration::from_secs(90);
/// Buffer of a connection: room for any sensible head; bodies are limited elsewhere.
const BUFFER: usize = 64 << 10;
/// Nothing was asked for this long in a drain: nobody is left who has not heard.
const QUIET: Duration = Duration::from_secs(2);

/// What a port serves.
pub(crate) trait Serving: Send + Sync + 'static {
    /// Its routes.
    fn routes(self: &Arc<Self>) -> Router;

    /// Who is being served.
    fn activity(&self) -> &Activity;

    /// The number of open connections.
    fn connections(&self) -> &IntGauge;
}

impl Serving for Service {
    fn routes(self: &Arc<Self>) -> Router {
        Self::routes(self)
    }

    fn activity(&self) -> &Activity {
        self.activity()
    }

    fn connections(&self) -> &IntGauge {
        &self.metrics().connections
    }
}

/// Serves until `shutdown`, then drains within `drain`. Returns the number of connections that were cut at
/// the deadline.
pub async fn serve(
    listener: TcpListener,
    service: &Arc<Service>,
    max_connections: usize,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) -> usize {
    serve_any(listener, service, max_connections, drain, shutdown).await
}

/// As [`serve`], whatever it is.
pub(crate) async fn serve_any<S: Serving>(
    listener: TcpListener,
    service: &Arc<S>,
    max_connections: usize,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let routes = service.routes();
    let room = Arc::new(Semaphore::new(max_connections));
    let open = Open::default();
    let accepting = async {
        loop {
            // Room first: who does not fit waits in the kernel's queue, and costs no memory here.
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => connect(stream, permit, &routes, service.connections(), &open),
                Err(error) => pause(&error).await,
            }
        }
    };
    let draining = async {
        shutdown.await;
        let deadline = Instant::now() + drain;
        service.activity().drain();
        open.http2.cancel();
        drained(service.activity(), drain, deadline).await;
        deadline
    };
    let deadline = tokio::select! {
        deadline = draining => deadline,
        () = accepting => unreachable!("accepting never ends"),
    };
    drop(listener);
    open.end.cancel();
    match timeout_at(deadline, open.http1.shutdown()).await {
        Ok(()) if room.available_permits() == max_connections => 0,
        // Those by HTTP/2 that were sent away, and still have requests.
        Ok(()) => {
            let _ = timeout_at(deadline, room.acquire_many(max_connections as u32)).await;
            max_connections.saturating_sub(room.available_permits())
        }
        Err(_) => max_connections.saturating_sub(room.available_permits()),
    }
}

/// Connections, by how they end.
#[derive(Debug, Default)]
struct Open {
    /// By HTTP/2 from before the drain: sent away at its start.
    http2: CancellationToken,
    /// By HTTP/1: told at the end of the drain, beside what each answer says.
    http1: GracefulShutdown,
    /// Ends the others: those that have come during the drain, and those that have not sent a byte.
    end: CancellationToken,
}

/// What ends one of them.
struct Ends {
    http1: Watcher,
    http2: CancellationToken,
    end: CancellationToken,
}

impl Open {
    fn ends(&self) -> Ends {
        // Whoever comes by HTTP/2 during the drain is answered too.
        let http2 = if self.http2.is_cancelled() { &self.end } else { &self.http2 };
        Ends { http1: self.http1.watcher(), http2: http2.clone(), end: self.end.clone() }
    }
}

/// Waits until nothing was asked for a while, but leaves a tenth of the time for the last answers.
async fn drained(activity: &Activity, drain: Duration, deadline: Instant) {
    let quiet = QUIET.min(drain / 4);
    let latest = deadline - drain / 10;
    while activity.quiet() < quiet && Instant::now() < latest {
        sleep(Duration::from_millis(20)).await;
    }
}

fn connect(stream: TcpStream, permit: OwnedSemaphorePermit, routes: &Router, count: &IntGauge, open: &Open) {
    // Answers are one small write: waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let (ends, routes) = (open.ends(), routes.clone());
    let count = count.clone();
    count.inc();
    tokio::spawn(async move {
        let first = timeout(HEAD_TIME, admin::preface::version(&stream, HEAD_TIME));
        let version = tokio::select! {
            version = first => version.ok().and_then(Result::ok),
            () = ends.end.cancelled() => None,
        };
        if let Some(version) = version {
            // What a client does to its connection is no event of ours.
            if let Err(error) = answer(stream, version, routes, ends).await {
                tracing::debug!(%error, "a connection ended");
            }
        }
        count.dec();
        drop(permit);
    });
}

async fn answer(stream: TcpStream, version: Version, routes: Router, ends: Ends) -> hyper::Result<()> {
    if version == Version::HTTP_2 {
        // The drain waits for those who watch.
        drop(ends.http1);
        return Box::pin(http2::answer(stream, routes, ends.http2)).await;
    }
    let unread = Unread::default();
    let stream = Lingering::new(stream, unread.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), watching(routes, unread));
    ends.http1.watch(connection).await
}

/// A failed accept concerns one client, unless the process has no file left: then trying at once is a spin.
async fn pause(error: &io::Error) {
    let of_client = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    if !of_client {
        tracing::warn!(%error, "cannot accept connections; trying again in 100 ms");
        sleep(Duration::from_millis(100)).await;
    }
}
