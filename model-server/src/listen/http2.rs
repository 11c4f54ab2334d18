//! A connection by HTTP/2, which gRPC needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http2;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{BUFFER, HEAD_TIME};

/// How long a connection may be silent before it is asked whether anybody is there, and to answer that.
const SILENCE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// Requests of one connection at one time. What they ask for is limited as everywhere.
const STREAMS: u32 = 128;

/// Answers until the client leaves, or asks nothing for a while, or is sent away: then it is told to go elsewhere with its
/// next request, which is what HTTP/1 says with an answer.
pub(super) async fn answer(stream: TcpStream, routes: Router, away: CancellationToken) -> hyper::Result<()> {
    let (requests, inner) = (Requests::default(), TowerToHyperService::new(routes));
    let service = service_fn(|request| {
        let (entered, answer) = (requests.enter(), inner.call(request));
        async move {
            let _entered = entered;
            answer.await
        }
    });
    let (interval, time) = SILENCE;
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(BUFFER as u32)
        .keep_alive_interval(interval)
        .keep_alive_timeout(time)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        () = away.cancelled() => {}
        () = requests.none_for(HEAD_TIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Those of one connection.
#[derive(Debug, Clone, Default)]
struct Requests {
    open: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
}

struct Entered(Arc<AtomicUsize>);

impl Requests {
    fn enter(&self) -> Entered {
        self.begun.fetch_add(1, SeqCst);
        self.open.fetch_add(1, SeqCst);
        Entered(self.open.clone())
    }

    /// Waits until there was none for so long.
    async fn none_for(&self, time: Duration) {
        loop {
            let before = self.begun.load(SeqCst);
            sleep(time).await;
            if self.open.load(SeqCst) == 0 && self.begun.load(SeqCst) == before {
                return;
            }
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
