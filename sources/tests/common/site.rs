//! HTTP/1.1 on loopback, by hand: a library would not lie.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};

/// What is wrong with one answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The connection is closed after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body.
    Stall(usize),
    /// Only a status.
    Status(u16),
    /// The head announces so many bytes more than there are.
    Longer(usize),
    /// Bytes without end, in chunks.
    Endless,
    /// Another address.
    Elsewhere(String),
    /// The body says that it is coded.
    Coded,
}

/// A file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    pub(crate) bytes: Vec<u8>,
    pub(crate) etag: Option<String>,
    /// Whether parts are given.
    pub(crate) ranges: bool,
    /// Whether it is sent in chunks, so that nobody knows its length.
    pub(crate) chunked: bool,
    /// Bytes a millisecond; 0: as fast as it goes.
    pub(crate) pace: usize,
    /// Faults of the next answers; the questions for the first byte only are answered well.
    pub(crate) faults: VecDeque<Fault>,
}

impl Page {
    /// A good one.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            etag: Some(format!("\"{}\"", bytes.len())),
            ranges: true,
            ..Self::default()
        }
    }

    pub(crate) fn faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults = faults.into_iter().collect();
        self
    }
}

/// A question, and how much of the body was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
    pub(crate) sent: usize,
}

/// The server. It ends with the runtime.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) address: String,
    pub(crate) pages: Arc<Mutex<BTreeMap<String, Page>>>,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
}

impl Site {
    pub(crate) async fn new(pages: impl IntoIterator<Item = (String, Page)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Self {
            address: listener.local_addr().unwrap().to_string(),
            pages: Arc::new(Mutex::new(pages.into_iter().collect())),
            asked: Arc::default(),
        };
        let serving = site.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let site = serving.clone();
                tokio::spawn(async move { while_asked(site, stream).await });
            }
        });
        site
    }

    /// Files below `/a/`.
    pub(crate) async fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        Self::new(files.iter().map(|(path, bytes)| (format!("/a/{path}"), Page::new(bytes)))).await
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn change(&self, path: &str, change: impl FnOnce(&mut Page)) {
        change(self.pages.lock().unwrap().get_mut(path).unwrap());
    }

    /// The questions for more than a first byte, until now.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let all = self.asked.lock().unwrap();
        let of_content = |a: &&Asked| a.path == path && a.range.as_deref() != Some("bytes=0-0");
        all.iter().filter(of_content).cloned().collect()
    }

    pub(crate) fn sent(&self, path: &str) -> usize {
        self.asked(path).iter().map(|asked| asked.sent).sum()
    }
}

async fn while_asked(site: Site, stream: TcpStream) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    loop {
        let mut head = Vec::new();
        loop {
            match lines.next_line().await {
                Ok(Some(line)) if line.is_empty() => break,
                Ok(Some(line)) => head.push(line),
                _ => return,
            }
        }
        let path = head[0].split(' ').nth(1).unwrap_or_default().to_owned();
        let header = |name: &str| {
            head.iter().find_map(|line| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let asked = Asked { path, range: header("range"), if_range: header("if-range"), sent: 0 };
        let number = {
            let mut all = site.asked.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        let count = |sent| site.asked.lock().unwrap()[number].sent += sent;
        if !answer(&site, &asked, &mut write, count).await {
            return;
        }
    }
}

/// Whether the connection is still of use.
async fn answer(site: &Site, asked: &Asked, write: &mut OwnedWriteHalf, count: impl Fn(usize)) -> bool {
    let found = site.pages.lock().unwrap().get(&asked.path).cloned();
    let Some(page) = found else {
        return write.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.is_ok();
    };
    let looks = asked.range.as_deref() == Some("bytes=0-0");
    let next = || site.pages.lock().unwrap().get_mut(&asked.path).and_then(|page| page.faults.pop_front());
    let fault = if looks { Fault::None } else { next().unwrap_or(Fault::None) };
    match &fault {
        Fault::Status(status) => {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            return write.write_all(head.as_bytes()).await.is_ok();
        }
        Fault::Elsewhere(to) => {
            let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            return write.write_all(head.as_bytes()).await.is_ok();
        }
        _ => {}
    }
    let all = page.bytes.len();
    let part = asked.range.as_ref().filter(|_| page.ranges).and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        let same = asked.if_range.is_none() || asked.if_range == page.etag;
        same.then(|| {
            (from.parse::<usize>().unwrap(), to.parse::<usize>().map_or(all, |to| (to + 1).min(all)))
        })
    });
    let mut head = match part {
        Some((from, _)) if from >= all => {
            let head = format!("HTTP/1.1 416 X\r\ncontent-range: bytes */{all}\r\ncontent-length: 0\r\n\r\n");
            return write.write_all(head.as_bytes()).await.is_ok();
        }
        Some((from, to)) => {
            format!("HTTP/1.1 206 Partial\r\ncontent-range: bytes {from}-{}/{all}\r\n", to - 1)
        }
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    let body = part.map_or(&page.bytes[..], |(from, to)| &page.bytes[from..to]);
    if let Some(etag) = &page.etag {
        head.push_str(&format!("etag: {etag}\r\n"));
    }
    if matches!(fault, Fault::Coded) {
        head.push_str("content-encoding: gzip\r\n");
    }
    let chunked = page.chunked || matches!(fault, Fault::Endless);
    let more = if let Fault::Longer(more) = fault { more } else { 0 };
    head.push_str(&if chunked {
        "transfer-encoding: chunked\r\n\r\n".to_owned()
    } else {
        format!("content-length: {}\r\n\r\n", body.len() + more)
    });
    if write.write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    let until = match fault {
        Fault::Cut(n) | Fault::Stall(n) => n.min(body.len()),
        _ => body.len(),
    };
    send(write, &body[..until], chunked, page.pace, &count).await;
    match fault {
        Fault::Stall(_) => tokio::time::sleep(Duration::from_secs(3600)).await,
        Fault::Endless => {
            let block = vec![7; 64 << 10];
            for _ in 0..16 << 10 {
                if !send(write, &block, true, 0, &count).await {
                    return false;
                }
            }
        }
        _ => {}
    }
    let whole = until == body.len() && more == 0;
    let ended = !chunked || write.write_all(b"0\r\n\r\n").await.is_ok();
    whole && ended
}

/// Whether all of it was taken.
async fn send(
    write: &mut OwnedWriteHalf,
    bytes: &[u8],
    chunked: bool,
    pace: usize,
    count: &impl Fn(usize),
) -> bool {
    for block in bytes.chunks(if pace == 0 { 64 << 10 } else { pace }) {
        let head = if chunked { format!("{:x}\r\n", block.len()) } else { String::new() };
        let tail: &[u8] = if chunked { b"\r\n" } else { b"" };
        for piece in [head.as_bytes(), block, tail] {
            if write.write_all(piece).await.is_err() {
                return false;
            }
        }
        count(block.len());
        if pace > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    true
}
