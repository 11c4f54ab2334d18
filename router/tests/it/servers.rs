//! Model servers that do what a test tells them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::wire_http::{Message, Wire};

/// What a server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answers: status, headers, body.
    Answer(u16, &'static str, String),
    /// As `Answer` with 200, after a while.
    After(Duration),
    /// As `Answer` with this status, after a while.
    SlowAnswer(Duration, u16),
    /// Answers, and closes the connection shortly after without having said so.
    AnswerAndLeave,
    /// Never answers.
    Stall,
    /// Ends the connection by a reset, without an answer.
    Reset,
    /// Closes the connection properly, without an answer.
    Close,
    /// Half of a head, then the end.
    HalfHead,
    /// A head and half of a body, then the end.
    HalfBody,
    /// A head and half of a body, then nothing.
    StalledBody,
    /// Answers in chunks, perhaps with trailers.
    Chunked(u16, bool),
    /// Answers without any length: the end of the connection is that of the answer.
    UntilClose(u16),
    /// Something that is not HTTP.
    Garbage,
}

/// What a prediction says in its head.
const ITEM: &str = "x-prediction: seven\r\nx-confidence: 0.9\r\n";

/// 200 with a prediction.
pub(crate) fn ok() -> Act {
    Act::Answer(
        200,
        "x-prediction: seven\r\nx-confidence: 0.9\r\nx-input-stats: brightness=0.5 contrast=0.2 sharpness=0.1\r\n",
        "seven".into(),
    )
}

pub(crate) fn status(status: u16) -> Act {
    Act::Answer(status, "x-prediction: seven\r\nx-confidence: 0.9\r\n", "no".into())
}

type Script = dyn Fn(usize, &Message) -> Act + Send + Sync;

/// A running server. Dropped, it is gone as a killed process is: connections too.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Message>>>,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Serves on a loopback port; the script gets the number of the request, from 0.
    pub(crate) async fn start(script: impl Fn(usize, &Message) -> Act + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), script).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        script: impl Fn(usize, &Message) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Message>>>::default();
        let (script, log): (Arc<Script>, _) = (Arc::new(script), seen.clone());
        let count = Arc::<AtomicUsize>::default();
        let accepted = count.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, SeqCst);
                connections.spawn(serve(stream, script.clone(), log.clone()));
            }
        });
        Self { address, seen, connections: count, task }
    }

    /// How many connections it was asked for.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<Message> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address that refuses connections.
pub(crate) async fn refusing() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    // So that a test may start a server there itself.
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    // Bound as long as the tests run, so that no other test's server gets the port, and never listened on.
    std::mem::forget(socket);
    address
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

async fn serve(stream: TcpStream, script: Arc<Script>, log: Arc<Mutex<Vec<Message>>>) {
    let mut wire = Wire::new(stream);
    while let Ok(request) = wire.read().await {
        let number = {
            let mut log = log.lock().unwrap();
            log.push(request.clone());
            log.len() - 1
        };
        let half =
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nx-prediction: seven\r\nx-confidence: 0.9\r\n\r\nseven";
        let result = match script(number, &request) {
            Act::Answer(status, headers, body) => wire.send(answer(status, headers, &body)).await,
            Act::After(delay) => {
                tokio::time::sleep(delay).await;
                wire.send(answer(200, "", "late")).await
            }
            Act::SlowAnswer(delay, status) => {
                tokio::time::sleep(delay).await;
                wire.send(answer(status, "", "late")).await
            }
            Act::AnswerAndLeave => {
                let _ = wire.send(answer(200, "", "bye")).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                return;
            }
            Act::Chunked(status, trailers) => {
                let end = if trailers { "x-checksum: 1\r\n\r\n" } else { "\r\n" };
                let head = format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n{ITEM}\r\n");
                let _ = wire.send(head + "2\r\nse\r\n").await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                wire.send(format!("3\r\nven\r\n0\r\n{end}")).await
            }
            Act::UntilClose(status) => {
                let _ = wire.send(format!("HTTP/1.1 {status} X\r\n{ITEM}\r\nse")).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                let _ = wire.send("ven").await;
                return;
            }
            Act::Stall => {
                // Until the router gives up.
                wire.is_closed().await;
                return;
            }
            Act::Reset => {
                let _ = wire.stream.set_zero_linger();
                return;
            }
            Act::Close => return,
            Act::HalfHead => {
                let _ = wire.send("HTTP/1.1 200 OK\r\ncontent-le").await;
                return;
            }
            Act::HalfBody => {
                let _ = wire.send(half).await;
                return;
            }
            Act::StalledBody => {
                let _ = wire.send(half).await;
                wire.is_closed().await;
                return;
            }
            Act::Garbage => {
                let _ = wire.send("220 mail.example.org ESMTP\r\n\r\n").await;
                return;
            }
        };
        if result.is_err() {
            return;
        }
    }
}
