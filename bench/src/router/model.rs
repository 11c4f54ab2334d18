//! Model servers that are played: `bench model`. Each reads a request to its end, as one that decodes an image must,
//! and then gives the same answer with the headers of the evidence. As little as possible, so that most of its core is
//! the clients'.
//!
//! nginx would answer before the body is here, by which other proxies lose their connection to it.

mod head;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use head::Head;

/// Versions of the model that is played: stable, and the candidate.
pub(super) const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];
/// What has been seen, as [`Seen`].
pub(super) const SEEN: &str = "/bench/seen";
/// Sets how many milliseconds each answer takes, `POST /bench/stall/5000`.
pub(super) const STALL: &str = "/bench/stall/";
/// Asks for the body's digest, which [`Seen`] names afterwards.
pub(super) const DIGEST: &str = "x-bench-digest";
/// What is read at a time: a large body in few pieces.
const BUFFER: usize = 64 * 1024;

/// Plays model servers until SIGTERM.
#[derive(Debug, Args)]
pub struct Model {
    /// Address and version of each, such as 127.0.0.1:18101=1.0.0.
    #[arg(long = "pod", required = true, value_parser = pod)]
    pods: Vec<(SocketAddr, String)>,
}

fn pod(text: &str) -> Result<(SocketAddr, String), String> {
    let (address, version) = text.split_once('=').ok_or("an example: 127.0.0.1:18101=1.0.0")?;
    Ok((address.parse().map_err(|error| format!("{address}: {error}"))?, version.to_owned()))
}

/// What one server has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Requests that were read to the end, copies too.
    pub(super) requests: u64,
    /// Of these, copies.
    pub(super) copies: u64,
    /// Bytes of the last body whose digest was asked for.
    pub(super) length: u64,
    /// Its digest.
    pub(super) digest: u64,
}

struct Pod {
    answer: Vec<u8>,
    last: Vec<u8>,
    requests: AtomicU64,
    copies: AtomicU64,
    length: AtomicU64,
    digest: AtomicU64,
    stall: AtomicU64,
    stopping: watch::Receiver<bool>,
}

/// The body of each answer of a version.
pub(super) fn body(version: &str) -> String {
    format!(
        r#"{{"prediction":"seven","confidence":0.973512,"version":"{version}","probabilities":[0.001,0.002,0.003,0.004,0.005,0.006,0.0054,0.9735]}}"#
    )
}

fn answer(version: &str, connection: &str) -> Vec<u8> {
    let body = body(version);
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-model-version: {version}\r\n\
         x-prediction: seven\r\nx-confidence: 0.973512\r\nx-input-stats: brightness=0.41211 contrast=0.22054 \
         sharpness=0.07131\r\n{connection}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Model {
    /// Serves until SIGTERM: then connections end, each after the answer that is under way.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub fn run(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (stop, stopping) = watch::channel(false);
            let mut listening = JoinSet::new();
            for (address, version) in &self.pods {
                let listener = TcpListener::bind(address).await.with_context(|| address.to_string())?;
                let pod = Arc::new(Pod::new(version, stopping.clone()));
                listening.spawn(pod.listen(listener));
            }
            let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            term.recv().await;
            stop.send_replace(true);
            while listening.join_next().await.is_some() {}
            Ok(())
        })
    }
}

impl Pod {
    fn new(version: &str, stopping: watch::Receiver<bool>) -> Self {
        Self {
            answer: answer(version, ""),
            last: answer(version, "connection: close\r\n"),
            requests: AtomicU64::new(0),
            copies: AtomicU64::new(0),
            length: AtomicU64::new(0),
            digest: AtomicU64::new(0),
            stall: AtomicU64::new(0),
            stopping,
        }
    }

    async fn listen(self: Arc<Self>, listener: TcpListener) {
        let mut stopping = self.stopping.clone();
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    open.spawn(self.clone().serve(stream));
                },
                Some(_) = open.join_next() => {}
                _ = stopping.wait_for(|stop| *stop) => break,
            }
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }

    /// One connection; whatever breaks it is counted by who sends.
    async fn serve(self: Arc<Self>, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stopping = self.stopping.clone();
        let mut buffer = vec![0; BUFFER];
        let mut filled = 0;
        loop {
            let head = loop {
                if let Some(head) = Head::find(&buffer[..filled]) {
                    break head;
                }
                if filled == buffer.len() {
                    return Err(io::Error::other("a head of more than 64 KiB"));
                }
                let read = stream.read(&mut buffer[filled..]);
                let n = if filled > 0 {
                    read.await?
                } else {
                    tokio::select! {
                        biased;
                        n = read => n?,
                        // Only between two requests.
                        _ = stopping.wait_for(|stop| *stop) => return Ok(()),
                    }
                };
                if n == 0 {
                    return Ok(());
                }
                filled += n;
            };
            filled = self.take(&head, &mut stream, &mut buffer, filled).await?;
            let last = *stopping.borrow();
            self.answer(&head, &mut stream, last).await?;
            if last {
                return Ok(());
            }
        }
    }

    /// Reads the body, and moves what is behind it to the front of the buffer: so many bytes.
    async fn take(
        &self,
        head: &Head,
        stream: &mut TcpStream,
        buffer: &mut [u8],
        filled: usize,
    ) -> io::Result<usize> {
        let here = (filled - head.bytes).min(head.body);
        let mut hash = head.digest.then(xxhash_rust::xxh3::Xxh3::new);
        let mut note = |bytes: &[u8]| hash.iter_mut().for_each(|hash| hash.update(bytes));
        note(&buffer[head.bytes..head.bytes + here]);
        let behind = filled - head.bytes - here;
        buffer.copy_within(filled - behind..filled, 0);
        // Something is behind the body only if all of it is here.
        let mut missing = head.body - here;
        while missing > 0 {
            let most = missing.min(buffer.len());
            let n = stream.read(&mut buffer[..most]).await?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            note(&buffer[..n]);
            missing -= n;
        }
        if let Some(hash) = hash {
            self.length.store(head.body as u64, Relaxed);
            self.digest.store(hash.digest(), Relaxed);
        }
        Ok(behind)
    }

    async fn answer(&self, head: &Head, stream: &mut TcpStream, last: bool) -> io::Result<()> {
        if let Some(question) = &head.question {
            let text = self.asked(question);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            return stream.write_all(head.as_bytes()).await;
        }
        self.requests.fetch_add(1, Relaxed);
        if head.copy {
            self.copies.fetch_add(1, Relaxed);
        }
        let stall = self.stall.load(Relaxed);
        if stall > 0 {
            tokio::time::sleep(Duration::from_millis(stall)).await;
        }
        stream.write_all(if last { &self.last } else { &self.answer }).await
    }

    /// What the benchmark asks.
    fn asked(&self, path: &str) -> String {
        if let Some(stall) = path.strip_prefix(STALL).and_then(|text| text.parse().ok()) {
            self.stall.store(stall, Relaxed);
        }
        let [requests, copies, length, digest] =
            [&self.requests, &self.copies, &self.length, &self.digest].map(|count| count.load(Relaxed));
        serde_json::to_string(&Seen { requests, copies, length, digest }).expect("four numbers")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A server that plays a version, for as long as the runtime is kept.
    pub(in crate::router) fn start(version: &str) -> (SocketAddr, tokio::runtime::Runtime) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let pod = Arc::new(Pod::new(version, stopping));
        runtime.spawn(async move {
            pod.listen(listener).await;
            drop(stop);
        });
        (address, runtime)
    }
}
