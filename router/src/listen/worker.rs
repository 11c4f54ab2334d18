//! One thread that accepts clients and serves them from the first byte to the last. Its connections, to servers too, are
//! nobody else's, so that no request waits for another core, and no core for a lock.

use std::io;
use std::net;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};

use super::{Limits, accept, connection};
use crate::{Proxy, Tls, upstream};

/// What workers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    /// Serve.
    Serve,
    /// Serve on, and tell clients to go elsewhere.
    Drain,
    /// Accept nobody any more, and let connections end.
    Close,
    /// Stop, whatever is still under way.
    Stop,
}

/// What every worker has.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) proxy: Arc<Proxy>,
    /// Absent: clients come without TLS.
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) limits: Limits,
    /// Places for connections.
    pub(super) places: Arc<Semaphore>,
    pub(super) told: watch::Receiver<Told>,
}

/// Waits until this is told, or something that comes after it.
pub(super) async fn is_told(told: &mut watch::Receiver<Told>, what: Told) {
    // An error means that nobody is left to tell anything, which is the same.
    let _ = told.wait_for(|told| *told >= what).await;
}

impl Worker {
    /// Starts a thread that serves the clients of this socket, with the connections to servers of this `number`.
    ///
    /// # Errors
    /// When there is no thread or no runtime to be had.
    pub(super) fn start(self, number: usize, socket: net::TcpListener) -> io::Result<JoinHandle<()>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        socket.set_nonblocking(true)?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(socket)?
        };
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            upstream::enter_pool(number);
            runtime.block_on(self.run(listener));
            // Connections that are left are cut off, not waited for.
            runtime.shutdown_background();
        })
    }

    async fn run(mut self, listener: TcpListener) {
        let accepting = async {
            loop {
                let (stream, permit) = accept(&listener, &self.places, "a connection").await;
                tokio::spawn(connection(stream, self.clone(), permit));
            }
        };
        let mut told = self.told.clone();
        tokio::select! {
            never = accepting => never,
            () = is_told(&mut told, Told::Close) => {}
        }
        drop(listener);
        is_told(&mut self.told, Told::Stop).await;
    }
}
