//! Connections to one endpoint.

mod link;
mod payload;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

pub(crate) use link::Link;
pub(crate) use payload::{Fault, Payload, PayloadError};

/// Longest wait for a connection (R5): within a cluster a SYN is answered in a millisecond or never.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);
/// How long an endpoint without a connection is passed over.
const ASIDE: Duration = Duration::from_secs(1);
/// Longest idle time of a connection: below the 5 s after which common servers (uvicorn, Node) close theirs.
const IDLE: Duration = Duration::from_secs(4);
/// Most idle connections that are kept per endpoint.
const MAX_IDLE: usize = 256;
/// How long sent data may stay unacknowledged: by this a pod that vanished with its node is noticed. Not
/// shorter, because the kernel also ends a connection whose server does not read for so long.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
/// How long a connection may take to be ready again after its answer.
const SETTLE: Duration = Duration::from_secs(1);

/// Zero of the times that are kept in atomics.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One endpoint: its idle connections, and whether it is passed over. It outlives table changes.
#[derive(Debug)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    idle: Mutex<Vec<Idle>>,
    /// Milliseconds since [`START`] until which it is passed over.
    aside_until: AtomicU64,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

impl Endpoint {
    pub(crate) fn new(address: SocketAddr) -> Self {
        LazyLock::force(&START);
        Self { address, idle: Mutex::default(), aside_until: AtomicU64::new(0) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it refused or ignored a connection within the last second.
    pub(crate) fn is_aside(&self) -> bool {
        millis() < self.aside_until.load(Relaxed)
    }

    /// An idle connection, or a new one; `fresh` asks for a new one.
    ///
    /// # Errors
    /// When there is no connection: nothing was sent.
    pub(crate) async fn connect(&self, fresh: bool) -> io::Result<Link> {
        if !fresh && let Some(link) = self.take_idle() {
            return Ok(link);
        }
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(ErrorKind::TimedOut, "no answer to the connection request")),
        };
        let stream = stream.inspect_err(|error| {
            if is_its_fault(error.kind()) {
                self.aside_until.store(millis() + ASIDE.as_millis() as u64, Relaxed);
            }
        })?;
        tune(&stream)?;
        Link::open(stream).await
    }

    /// Keeps a connection whose answer is complete.
    pub(crate) fn put_back(self: &Arc<Self>, mut link: Link) {
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
        self.idle().retain(Idle::is_good);
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
        while let Some(last) = idle.pop() {
            if last.is_good() {
                return Some(last.link);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn is_good(&self) -> bool {
        self.since.elapsed() < IDLE && self.link.is_ready()
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

fn millis() -> u64 {
    START.elapsed().as_millis() as u64
}
