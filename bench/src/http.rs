//! One connection of a client, opened and used by hand: a library with a pool would send again what broke. Blocking,
//! because a thread that sleeps in the kernel wakes more precisely than a timer of a runtime, which ticks in
//! milliseconds.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for a connection, and for a part of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that was not answered well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no connection: {0}")]
    Connect(io::ErrorKind),
    #[error("the connection broke: {0}")]
    Broken(io::ErrorKind),
    #[error("no answer within 10 s")]
    Timeout,
    #[error("status {0}")]
    Status(u16),
    #[error("wrong answer: {0}")]
    Wrong(&'static str),
}

/// An open connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// Status line and headers.
    pub(crate) head: &'a str,
    pub(crate) body: &'a str,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self, Failure> {
        let open = || {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            io::Result::Ok(Self { stream, buffer: vec![0; 4096] })
        };
        open().map_err(|error| Failure::Connect(error.kind()))
    }

    /// Sends a request, spelt out, and reads its answer, whatever that is.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<Answer<'_>, Failure> {
        self.stream.write_all(request).map_err(|error| spell(&error))?;
        let (head, length) = self.read()?;
        let text = std::str::from_utf8(&self.buffer[..length]).map_err(|_| Failure::Wrong("not UTF-8"))?;
        let (head, body) = text.split_at(head);
        let status = status(head).ok_or(Failure::Wrong("no status"))?;
        Ok(Answer { status, head, body })
    }

    /// Reads an answer into the buffer: the length of its head, and of all of it.
    fn read(&mut self) -> Result<(usize, usize), Failure> {
        let (mut filled, mut head) = (0, 0);
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(2 * filled, 0);
            }
            match self.stream.read(&mut self.buffer[filled..]) {
                Ok(0) => return Err(Failure::Broken(io::ErrorKind::UnexpectedEof)),
                Ok(n) => filled += n,
                // Nothing was read: a process that was held up for a moment (a snapshot of the machine) wakes from its wait
                // so. The request was sent once, and its answer is still to come.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(spell(&error)),
            }
            if head == 0 {
                let end = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n");
                head = end.map_or(0, |end| end + 4);
            }
            if head > 0 {
                let text =
                    std::str::from_utf8(&self.buffer[..head]).map_err(|_| Failure::Wrong("not UTF-8"))?;
                let body = header(text, "content-length").and_then(|text| text.parse::<usize>().ok());
                let length = head + body.ok_or(Failure::Wrong("no content-length"))?;
                if filled > length {
                    return Err(Failure::Wrong("more than the answer"));
                }
                if filled == length {
                    return Ok((head, length));
                }
            }
        }
    }
}

fn spell(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::Timeout,
        kind => Failure::Broken(kind),
    }
}

fn status(head: &str) -> Option<u16> {
    head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// The value of a header in an answer's head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Whether the connection takes no further request.
pub(crate) fn is_last(head: &str) -> bool {
    header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

/// The page at a path, such as `/readyz`, with its status.
pub(crate) fn page(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    let mut part = [0; 4096];
    // The played servers keep the connection, whatever is asked: the length says where the end is.
    loop {
        let whole = text.split_once("\r\n\r\n").and_then(|(head, body)| {
            Some(header(head, "content-length")?.parse::<usize>().ok()? <= body.len())
        });
        if whole == Some(true) {
            break;
        }
        let n = stream.read(&mut part)?;
        if n == 0 {
            break;
        }
        text.push_str(&String::from_utf8_lossy(&part[..n]));
    }
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((status(head).ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}

/// Threads that are started by this sleep as precisely as the kernel can, where that is allowed: it wakes others up to
/// 50 us late, to save power. The limit is inherited from the main thread, whose own is put back.
pub(crate) fn precisely<T>(start: impl FnOnce() -> T) -> T {
    let slack = |nanoseconds: &str| std::fs::write("/proc/self/timerslack_ns", nanoseconds);
    // Refused to some; then all contestants are measured a little late.
    let _ = slack("1");
    let started = start();
    let _ = slack("0");
    started
}
