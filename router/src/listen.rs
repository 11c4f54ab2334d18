//! Accepts clients, and stops without losing a request.

mod guard;
mod linger;
mod scan;
mod worker;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::Version;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::alarm::Alarms;
use crate::watched::Watched;
use crate::{Proxy, Tls, budget};
use guard::Guard;
use worker::{Told, Worker};

/// Limits of the listener. The defaults are for pods behind a Service.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections; further clients wait in the kernel's queue.
    pub connections: usize,
    /// Longest time from the first byte of a head to its last, for a TLS handshake, and by HTTP/2 from the first byte of a
    /// connection to its first request.
    pub head: Duration,
    /// Longest time in which a client takes no byte of its answer.
    pub stall: Duration,
    /// Largest head in bytes, at least 8 KiB.
    pub head_bytes: usize,
    /// Longest time between two requests of a connection. Longer than what clients and load balancers use
    /// (60 s), so that it is they who close.
    pub idle: Duration,
    /// Most requests at once on a connection by HTTP/2; each of them but one takes the place of a connection.
    pub streams: u32,
    /// Longest time from the signal to stop to the end.
    pub drain: Duration,
    /// How long nothing must have been under way before open but idle connections are closed in a drain.
    pub quiet: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: budget::CONNECTIONS,
            head: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            head_bytes: budget::HEAD,
            idle: Duration::from_secs(75),
            streams: 64,
            // Longer than the default request timeout.
            drain: Duration::from_secs(31),
            quiet: Duration::from_secs(3),
        }
    }
}

/// How often a drain looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);
/// Without any connection a drain waits this long for another one.
const LAST_CALL: Duration = Duration::from_secs(1);
/// Time for idle connections to close once they were told to.
const CLOSING: Duration = Duration::from_secs(1);

/// Serves `proxy` on these sockets, by TLS if it is given, each with a thread of its own, until `shutdown` is done and the drain is over.
/// During the drain clients are still accepted and answered, with `Connection: close`, because a Service sends new ones
/// until all nodes have taken the pod out (R6).
///
/// # Errors
/// When a thread cannot be started, or has ended: then its socket would take clients that nobody serves.
pub async fn serve(
    sockets: Vec<std::net::TcpListener>,
    proxy: Arc<Proxy>,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (tell, told) = watch::channel(Told::Serve);
    let places = Arc::new(Semaphore::new(limits.connections));
    let worker = Worker { proxy: proxy.clone(), tls, limits, places: places.clone(), told };
    let workers: Vec<_> = (0..)
        .zip(sockets)
        .map(|(number, socket)| worker.clone().start(number, socket))
        .collect::<io::Result<_>>()?;
    // Each accept loop holds a place while it waits.
    let open = |waiting: usize| (limits.connections - places.available_permits()).saturating_sub(waiting);
    let watching = async {
        while !workers.iter().any(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            proxy.board().sweep();
        }
    };
    let draining = async {
        shutdown.await;
        proxy.draining.store(true, SeqCst);
        tell.send_replace(Told::Drain);
        let start = Instant::now();
        while start.elapsed() < limits.drain && !is_over(&proxy, open(workers.len()), start, &limits) {
            tokio::time::sleep(LOOK).await;
        }
        start
    };
    let start = tokio::select! {
        () = watching => return Err(io::Error::other("a thread that serves clients has ended")),
        start = draining => start,
    };
    tell.send_replace(Told::Close);
    let closing = Instant::now();
    while open(0) > 0 && closing.elapsed() < CLOSING {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (left, took) = (proxy.load.requests(), start.elapsed());
    if left > 0 {
        tracing::warn!(requests = left, ?took, "the drain is over: requests under way are cut off");
    } else {
        tracing::info!(?took, "drained");
    }
    tell.send_replace(Told::Stop);
    for worker in workers {
        if worker.join().is_err() {
            return Err(io::Error::other("a thread that serves clients has panicked"));
        }
    }
    Ok(())
}

/// The next connection, once there is a place for it; `what` it is, for the log.
pub(crate) async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    what: &str,
) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            // Out of file descriptors, most likely: connections that end give some back.
            Err(error) => {
                tracing::warn!(%error, "{what} cannot be accepted");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

fn is_over(proxy: &Proxy, connections: usize, start: Instant, limits: &Limits) -> bool {
    let quiet = proxy.load.idle().min(start.elapsed());
    quiet >= limits.quiet || (connections == 0 && quiet >= LAST_CALL.min(limits.quiet))
}

/// One client's connection, by whichever version of HTTP it begins with or has agreed on.
async fn connection(stream: TcpStream, worker: Worker, permit: OwnedSemaphorePermit) {
    let _permit = permit;
    let limits = worker.limits;
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%error, "a client left at once");
    }
    let ended = if let Some(tls) = worker.tls.clone() {
        let Some((stream, version)) = tls.accept(stream, limits.head).await else { return };
        Box::pin(by(version, stream, worker)).await
    } else {
        let version = tokio::time::timeout(limits.idle, admin::preface::version(&stream, limits.head)).await;
        let Ok(Ok(version)) = version else { return };
        by(version, stream, worker).await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection to a client ended");
    }
}

async fn by<S>(version: Version, stream: S, worker: Worker) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // On their own, as what comes by TLS: the place of an idle connection is as large as the largest that it could be.
    if version == Version::HTTP_2 {
        Box::pin(by_http2(stream, worker)).await
    } else {
        by_http1(stream, worker).await
    }
}

async fn by_http1<S>(stream: S, worker: Worker) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Worker { proxy, limits, mut told, .. } = worker;
    let (guard, verdict) = Guard::new(limits.head, limits.stall);
    let service = service_fn(|request| {
        let (proxy, malformed) = (proxy.clone(), verdict.is_ambiguous());
        // On its own: hyper keeps a place of its size, some 8 KB, for as long as a connection lasts.
        Box::pin(async move { Ok::<_, Infallible>(proxy.handle(request, malformed).await) })
    });
    // More than 100 headers are refused by hyper itself; told a number, it would make a place for so many of each request.
    let connection = http1::Builder::new()
        .timer(Alarms)
        // hyper's clock starts when it waits for a head, so this is the idle time; heads have their own clock.
        .header_read_timeout(limits.idle)
        .max_buf_size(limits.head_bytes)
        .max_header_size(limits.head_bytes)
        .serve_connection(TokioIo::new(Watched::new(stream, guard)), service);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = worker::is_told(&mut told, Told::Close) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// By HTTP/2, for gRPC. When a drain begins the client is told to go elsewhere with its next request, which is no more
/// than HTTP/1 says with each answer.
async fn by_http2<S>(stream: S, worker: Worker) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Worker { proxy, limits, places, mut told, .. } = worker;
    let (busy, mut closing) = (Arc::new(Busy::default()), told.clone());
    let service = service_fn(|request| {
        let (proxy, places, busy) = (proxy.clone(), places.clone(), busy.clone());
        async move {
            let _busy = busy.enter();
            // The connection's own place is for one of its requests; the others need places of their own.
            let place = places.try_acquire_owned().ok();
            let crowded = place.is_none() && busy.requests() > 1;
            let response = if crowded { proxy.crowded(request) } else { proxy.handle(request, false).await };
            Ok::<_, Infallible>(response.map(|body| body.holding(place)))
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM)
        .initial_connection_window_size(STREAM)
        .max_send_buf_size(STREAM as usize)
        .keep_alive_interval(limits.stall)
        .keep_alive_timeout(limits.head)
        .serve_connection(TokioIo::new(Watched::new(stream, Guard::of_writes(limits.stall))), service);
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        // Whoever has just come is answered first.
        () = async { worker::is_told(&mut told, Told::Drain).await; busy.first.notified().await } => {}
        () = worker::is_told(&mut closing, Told::Close) => {}
        () = busy.idle_for(limits.idle) => {}
        () = busy.unused_for(limits.head) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        result = connection => result,
        // Whoever never asked need not answer either.
        () = busy.unused_for(CLOSING) => Ok(()),
    }
}

/// What a client may send ahead of what is read, on all of its streams together, and what is written ahead of it.
const STREAM: u32 = 64 * 1024;

/// The requests of one connection.
#[derive(Debug, Default)]
struct Busy {
    requests: AtomicUsize,
    begun: AtomicUsize,
    /// The first has begun.
    first: Notify,
}

/// One of them.
struct Entered(Arc<Busy>);

impl Busy {
    fn enter(self: &Arc<Self>) -> Entered {
        self.requests.fetch_add(1, SeqCst);
        if self.begun.fetch_add(1, SeqCst) == 0 {
            self.first.notify_one();
        }
        Entered(self.clone())
    }

    fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// Waits for so long, and for ever if there was one by then.
    async fn unused_for(&self, time: Duration) {
        tokio::time::sleep(time).await;
        if self.begun.load(SeqCst) > 0 {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until there was none for so long.
    async fn idle_for(&self, time: Duration) {
        loop {
            let before = self.begun.load(SeqCst);
            tokio::time::sleep(time).await;
            if self.requests() == 0 && self.begun.load(SeqCst) == before {
                return;
            }
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, SeqCst);
    }
}
