//! Connections of the public port, and how they end.
//!
//! On SIGTERM a pod is still reachable for those who have not heard yet, so the drain answers them: known
//! and new connections are served, each answer says `Connection: close`, and the port closes once nothing
//! was asked for a while. Idle connections are closed last: a client that is about to reuse one learns
//! from an answer, not from a reset, that it should go elsewhere.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use crate::http::Service;

/// How long a connection may be idle, or take to send a request's head. Longer than clients' pools keep
/// connections (mostly 60 s or less), so that it is the client that closes.
const HEAD_TIME: Duration = Duration::from_secs(90);
/// Buffer of a connection: room for any sensible head; bodies are limited elsewhere.
const BUFFER: usize = 64 << 10;
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
    let connections = GracefulShutdown::new();
    let accepting = async {
        loop {
            // Room first: who does not fit waits in the kernel's queue, and costs no memory here.
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => connect(stream, permit, &routes, service, &connections),
                Err(error) => pause(&error).await,
            }
        }
    };
    let draining = async {
        shutdown.await;
        let deadline = Instant::now() + drain;
        service.activity().drain();
        drained(service, drain, deadline).await;
        deadline
    };
    let deadline = tokio::select! {
        deadline = draining => deadline,
        () = accepting => unreachable!("accepting never ends"),
    };
    drop(listener);
    let open = connections.count();
    match timeout_at(deadline, connections.shutdown()).await {
        Ok(()) => 0,
        Err(_) => max_connections.saturating_sub(room.available_permits()).min(open),
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
    connections: &GracefulShutdown,
) {
    // Answers are one small write: waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes.clone()));
    let connection = connections.watch(connection);
    let open = service.metrics().connections.clone();
    open.inc();
    tokio::spawn(async move {
        // What a client does to its connection is no event of ours.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
        open.dec();
        drop(permit);
    });
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
