//! Connections of the public port, and how they end.
//!
//! On SIGTERM a pod is still reachable for those who have not heard yet, so the drain answers them: known
//! and new connections are served, each answer says `Connection: close`, and the port closes once nothing
//! was asked for a while. Idle connections are closed last: a client that is about to reuse one learns
//! from an answer, not from a reset, that it should go elsewhere.

mod linger;

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::Version;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::linger::{Lingering, Unread, watching};
use crate::http::Service;

/// How long a connection may be idle, or take to send a request's head. Longer than clients' pools keep
/// connections (mostly 60 s or less), so that it is the client that closes.
const HEAD_TIME: Duration = Duration::from_secs(90);
/// How long a connection by HTTP/2 may be silent before it is asked whether anybody is there, and to answer that.
const SILENCE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// Buffer of a connection: room for any sensible head; bodies are limited elsewhere.
const BUFFER: usize = 64 << 10;
/// Requests of one connection by HTTP/2 at one time. What they ask for is limited as everywhere.
const STREAMS: u32 = 128;
/// Nothing was asked for this long in a drain: nobody is left who has not heard.
const QUIET: Duration = Duration::from_secs(2);

/// Serves until `shutdown`, then drains within `drain`. Returns the number of connections that were cut at
/// the deadline.
pub async fn serve(
    listener: TcpListener,
    service: &Arc<Service>,
    max_connections: usize,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let routes = service.routes();
    let room = Arc::new(Semaphore::new(max_connections));
    let open = Open { http2: Mutex::new(Some(GracefulShutdown::new())), ..Open::default() };
    let accepting = async {
        loop {
            // Room first: who does not fit waits in the kernel's queue, and costs no memory here.
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => connect(stream, permit, &routes, service, &open),
                Err(error) => pause(&error).await,
            }
        }
    };
    let draining = async {
        shutdown.await;
        let deadline = Instant::now() + drain;
        service.activity().drain();
        open.send_http2_away();
        drained(service, drain, deadline).await;
        deadline
    };
    let deadline = tokio::select! {
        deadline = draining => deadline,
        () = accepting => unreachable!("accepting never ends"),
    };
    drop(listener);
    open.silent.cancel();
    match timeout_at(deadline, open.last.shutdown()).await {
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
    /// By HTTP/2 from before the drain: told at its start to go elsewhere with their next request, which is what HTTP/1 says
    /// with each answer.
    http2: Mutex<Option<GracefulShutdown>>,
    /// All others: told at the end of the drain.
    last: GracefulShutdown,
    /// Ends those that have not sent a byte.
    silent: CancellationToken,
}

/// What ends a connection, by its version of HTTP.
struct Ends {
    http1: Watcher,
    http2: Watcher,
    silent: CancellationToken,
}

impl Open {
    fn ends(&self) -> Ends {
        let http2 = self.http2.lock().unwrap_or_else(PoisonError::into_inner);
        Ends {
            http1: self.last.watcher(),
            http2: http2.as_ref().unwrap_or(&self.last).watcher(),
            silent: self.silent.clone(),
        }
    }

    fn send_http2_away(&self) {
        let http2 = self.http2.lock().unwrap_or_else(PoisonError::into_inner).take();
        tokio::spawn(http2.unwrap_or_default().shutdown());
    }
}

/// Waits until nothing was asked for a while, but leaves a tenth of the time for the last answers.
async fn drained(service: &Service, drain: Duration, deadline: Instant) {
    let quiet = QUIET.min(drain / 4);
    let latest = deadline - drain / 10;
    while service.activity().quiet() < quiet && Instant::now() < latest {
        sleep(Duration::from_millis(20)).await;
    }
}

fn connect(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    routes: &Router,
    service: &Arc<Service>,
    open: &Open,
) {
    // Answers are one small write: waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let (ends, routes) = (open.ends(), routes.clone());
    let count = service.metrics().connections.clone();
    count.inc();
    tokio::spawn(async move {
        let first = timeout(HEAD_TIME, admin::preface::version(&stream, HEAD_TIME));
        let version = tokio::select! {
            version = first => version.ok().and_then(Result::ok),
            () = ends.silent.cancelled() => None,
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
    // The one that does not watch must not be waited for.
    if version == Version::HTTP_2 {
        drop(ends.http1);
        let (interval, time) = SILENCE;
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(BUFFER as u32)
            .keep_alive_interval(interval)
            .keep_alive_timeout(time)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
        return Box::pin(ends.http2.watch(connection)).await;
    }
    drop(ends.http2);
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
