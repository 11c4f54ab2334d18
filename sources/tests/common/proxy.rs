//! A TCP proxy that counts what comes back, and breaks a connection once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone)]
pub(crate) struct Proxy {
    port: u16,
    /// Bytes from the server to clients.
    down: Arc<AtomicU64>,
    /// Bytes of one connection after which the next break comes; 0: none.
    cut: Arc<AtomicU64>,
    cuts: Arc<AtomicU64>,
}

impl Proxy {
    /// To a port of this machine.
    pub(crate) async fn new(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self { port, down: Arc::default(), cut: Arc::default(), cuts: Arc::default() };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = serving.clone();
                tokio::spawn(async move { proxy.pass(client, to).await });
            }
        });
        proxy
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn down(&self) -> u64 {
        self.down.load(SeqCst)
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(SeqCst)
    }

    /// Breaks the first connection over which that many bytes came.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.cut.store(bytes, SeqCst);
    }

    async fn pass(self, client: TcpStream, to: u16) {
        let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
        let (mut buffer, mut passed) = (vec![0; 16 << 10], 0);
        while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
            if to_client.write_all(&buffer[..n]).await.is_err() {
                break;
            }
            passed += n as u64;
            self.down.fetch_add(n as u64, SeqCst);
            let cut = self.cut.load(SeqCst);
            if cut > 0 && passed >= cut {
                self.cut.store(0, SeqCst);
                self.cuts.fetch_add(1, SeqCst);
                break;
            }
        }
        up.abort();
    }
}
