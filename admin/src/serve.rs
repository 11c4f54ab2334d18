//! Listening on the admin port, and the signal to stop.

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
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// How long answers that are on their way may still take after the shutdown: pages are small.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Connections at a time. Those who ask are few: a kubelet, a scraper, the operator.
const CONNECTIONS: usize = 64;
/// How long a client may take to send a request's head.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a connection may last: one request and its answer, read at any sensible pace.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// Serves `router` until `shutdown` is done, then closes what is idle and gives answers on their way two
/// seconds. A program that drains passes the *end* of its drain, so that `/readyz` answers meanwhile.
///
/// Limits: 64 connections at a time (others wait in the kernel's queue), 5 s for a request's head, 30 s for
/// a connection, and one request for each: nobody holds a place without asking.
///
/// # Errors
/// None today: a failed accept is logged and tried again.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = GracefulShutdown::new();
    let accepting = async {
        loop {
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => connect(stream, permit, &router, &connections),
                Err(error) if of_client(&error) => {}
                Err(error) => {
                    // Out of files, mostly: trying at once would be a spin.
                    tracing::warn!(%error, "the admin port cannot accept; trying again in 100 ms");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = accepting => unreachable!("accepting never ends"),
    }
    drop(listener);
    // An error means that time is up: what is left ends with its own deadline, or with the process.
    let _ = timeout(LAST_ANSWERS, connections.shutdown()).await;
    Ok(())
}

fn connect(stream: TcpStream, permit: OwnedSemaphorePermit, router: &Router, connections: &GracefulShutdown) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        // What a client does to its connection is no event of ours.
        let _ = timeout(CONNECTION_TIME, connection).await;
        drop(permit);
    });
}

/// A failed accept that concerns one client only.
fn of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Done at the first SIGTERM or SIGINT. The handlers are installed by the call itself, not by the first
/// poll, so a signal between the two is not lost. Must be called within a tokio runtime.
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            // Without handlers the default action of the signals ends the process: nothing to wait for.
            tracing::error!("signal handlers cannot be installed: the process will stop without a drain");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn it_serves_until_the_shutdown_and_an_open_connection_does_not_hold_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let routes = crate::routes(crate::Readiness::default(), prometheus::Registry::new());
        let server = tokio::spawn(serve(listener, routes, async {
            let _ = stopped.await;
        }));
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        idle.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        // Half a request: the server waits for the rest, but not for longer than LAST_ANSWERS.
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /livez HT").await.unwrap();
        stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap().unwrap();
    }
    #[tokio::test]
    async fn slow_heads_are_cut_and_keep_the_others_out_no_longer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = crate::routes(crate::Readiness::default(), prometheus::Registry::new());
        let server = tokio::spawn(serve(listener, routes, std::future::pending()));
        let mut slow = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /livez HT").await.unwrap();
            slow.push(stream);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // All places are taken.
        let early = timeout(Duration::from_secs(1), next.read_to_end(&mut answer)).await;
        assert!(early.is_err() && answer.is_empty(), "{answer:?}");
        // The end of the answer is the end of the connection.
        timeout(2 * HEAD_TIME, next.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("connection: close"), "{answer}");
        for mut stream in slow {
            // A 408 may come first; what matters is that it ends.
            timeout(HEAD_TIME, stream.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        }
        server.abort();
    }
}
