//! Connections to one endpoint.

mod health;
mod link;
mod payload;
mod reply;
mod stream;

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use wire::Outcome;

use crate::places::Place;
use health::Health;
pub(crate) use link::{Link, SendError};
pub(crate) use payload::{Fault, Payload, PayloadError};
pub(crate) use reply::Reply;
use stream::Stream;

/// Longest wait for a connection (R5): within a cluster a SYN is answered in a millisecond or never.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);
/// Longest idle time of a connection: below the 5 s after which common servers (uvicorn, Node) close theirs.
const IDLE: Duration = Duration::from_secs(4);
/// Most idle connections that a thread keeps per endpoint.
const MAX_IDLE: usize = 256;
/// How long sent data may stay unacknowledged: by this a pod that vanished with its node is noticed. Not
/// shorter, because the kernel also ends a connection whose server does not read for so long.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
/// How long a connection may take to be ready again after its answer.
const SETTLE: Duration = Duration::from_secs(1);

/// Zero of the times that are kept in atomics.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    /// Which of the pools of connections this thread uses.
    static POOL: Cell<usize> = const { Cell::new(0) };
}

/// From now on this thread uses the pool of this number: a connection lives on the thread that opened it.
pub(crate) fn enter_pool(number: usize) {
    POOL.set(number);
}

/// One endpoint: its idle connections, and whether it is passed over. It outlives table changes.
#[derive(Debug)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    /// A pool for each thread that serves. The locks are there for the sweep.
    idle: Box<[Mutex<Vec<Idle>>]>,
    /// The same by HTTP/2, of which one is enough.
    streams: Box<[Mutex<Option<Stream>>]>,
    health: Health,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

impl Endpoint {
    /// An endpoint that so many threads use.
    pub(crate) fn new(address: SocketAddr, pools: usize) -> Self {
        LazyLock::force(&START);
        let idle = std::iter::repeat_with(Mutex::default).take(pools.max(1)).collect();
        let streams = std::iter::repeat_with(Mutex::default).take(pools.max(1)).collect();
        Self { address, idle, streams, health: Health::new(millis()) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How well it does.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// An idle connection, or a new one; `fresh` asks for a new one.
    ///
    /// # Errors
    /// When there is no connection: nothing was sent.
    pub(crate) async fn connect(&self, fresh: bool) -> io::Result<Link> {
        if !fresh && let Some(link) = self.take_idle() {
            return Ok(link);
        }
        Link::open(self.dial().await?).await
    }

    /// The connection by HTTP/2, or a new one; `fresh` asks for a new one.
    ///
    /// # Errors
    /// When there is no connection: nothing was sent.
    pub(crate) async fn stream(&self, fresh: bool) -> io::Result<Stream> {
        let place = &self.streams[POOL.get() % self.streams.len()];
        let known = || place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = known().clone().filter(|stream| !fresh && !stream.is_closed()) {
            return Ok(stream);
        }
        let stream = Stream::open(self.dial().await?).await?;
        *known() = Some(stream.clone());
        Ok(stream)
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(ErrorKind::TimedOut, "no answer to the connection request")),
        };
        let stream = stream.inspect_err(|error| {
            if is_its_fault(error.kind()) {
                self.health.refused(millis());
            }
        })?;
        tune(&stream)?;
        Ok(stream)
    }

    /// Keeps a connection whose answer is complete.
    pub(crate) fn put_back(self: &Arc<Self>, mut link: Link) {
        link.settle();
        if link.is_ready() {
            self.keep(link);
        } else if !link.is_closed() {
            let endpoint = self.clone();
            tokio::spawn(async move {
                if let Ok(true) = tokio::time::timeout(SETTLE, link.ready()).await {
                    endpoint.keep(link);
                }
            });
        }
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn sweep(&self) {
        for pool in &self.idle {
            pool.lock().unwrap_or_else(PoisonError::into_inner).retain(Idle::is_good);
        }
    }

    fn keep(&self, link: Link) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { link, since: Instant::now() });
        }
    }

    /// The connection that was used last: the others may age out.
    pub(crate) fn take_idle(&self) -> Option<Link> {
        let mut idle = self.idle();
        while let Some(mut last) = idle.pop() {
            last.link.catch_up();
            if last.is_good() {
                return Some(last.link);
            }
        }
        None
    }

    /// The pool of this thread.
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle[POOL.get() % self.idle.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn is_good(&self) -> bool {
        self.since.elapsed() < IDLE && self.link.is_ready()
    }
}

/// A request that an endpoint has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Errand {
    endpoint: Arc<Endpoint>,
    began: Instant,
    /// That which it has at the revision.
    place: Option<Place>,
}

impl Errand {
    pub(crate) fn begin(endpoint: Arc<Endpoint>) -> Self {
        endpoint.health.begin();
        Self { endpoint, began: Instant::now(), place: None }
    }

    /// The same with its place at the revision.
    pub(crate) fn holding(self, place: Option<Place>) -> Self {
        let mut this = self;
        this.place = place;
        this
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The head of an answer has come.
    pub(crate) fn answered(&self, status: u16) {
        match Outcome::of_status(status) {
            Outcome::Error | Outcome::Timeout => self.failed(),
            _ => self.endpoint.health.succeeded(millis(), self.began.elapsed().as_secs_f64() * 1e3),
        }
    }

    /// None has, or it broke off.
    pub(crate) fn failed(&self) {
        if self.endpoint.health.failed(millis()) {
            tracing::warn!(endpoint = %self.endpoint.address, "it failed too often in a row: passed over for a while");
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.endpoint.health.end();
    }
}

/// Whether a failed connection says something about the endpoint, rather than about this machine.
fn is_its_fault(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    // A request whose server vanished after taking it has nothing unacknowledged: ask.
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(UNACKNOWLEDGED).with_interval(Duration::from_secs(1)),
    )
}

/// The time that [`Health`] counts in.
pub(crate) fn millis() -> u64 {
    START.elapsed().as_millis() as u64
}
