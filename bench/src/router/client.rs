//! One connection of a client, opened and used by hand: a library with a pool would send again what broke. Blocking,
//! because a thread that sleeps in the kernel wakes more precisely than a timer of a runtime, which ticks in
//! milliseconds.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::model::{self, VERSIONS};

/// Longest wait for a connection, and for a part of an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Header that names the user, by whom requests are sticky.
pub(super) const USER: &str = "x-user-id";

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Revision {
    Stable,
    Candidate,
}

/// A request that was not answered well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Failure {
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

/// A request, spelt once; only the user in it changes.
#[derive(Debug, Clone)]
pub(super) struct Request {
    bytes: Vec<u8>,
    /// Where the user's digits are, if it has one.
    user: Option<usize>,
}

const DIGITS: usize = 8;

impl Request {
    /// A POST with a body of so many bytes, of user 0.
    pub(super) fn of_users(body: usize) -> Self {
        let mut request = Self::new(body, &format!("{USER}: u{}\r\n", "0".repeat(DIGITS)));
        let at = request.bytes.windows(USER.len()).position(|window| window == USER.as_bytes());
        request.user = at.map(|at| at + USER.len() + ": u".len());
        request
    }

    /// One with other headers, each line with its end.
    pub(super) fn new(body: usize, headers: &str) -> Self {
        let head = format!(
            "POST /predict HTTP/1.1\r\nhost: digits\r\ncontent-type: application/json\r\n{headers}content-length: {body}\r\n\r\n"
        );
        let mut bytes = head.into_bytes();
        bytes.resize(bytes.len() + body, b'A');
        Self { bytes, user: None }
    }

    /// Makes it the request of another user.
    pub(super) fn set_user(&mut self, user: u64) {
        let Some(at) = self.user else { return };
        let text = format!("{user:0DIGITS$}");
        self.bytes[at..at + DIGITS].copy_from_slice(&text.as_bytes()[text.len() - DIGITS..]);
    }
}

/// An open connection.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) revision: Revision,
    /// Whether the connection takes no further request.
    pub(super) last: bool,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> Result<Self, Failure> {
        let open = || {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            io::Result::Ok(Self { stream, buffer: vec![0; 4096] })
        };
        open().map_err(|error| Failure::Connect(error.kind()))
    }

    /// Sends a request and reads its answer, which must be one of the two that the servers give.
    pub(super) fn send(&mut self, request: &Request) -> Result<Answer, Failure> {
        self.stream.write_all(&request.bytes).map_err(|error| spell(&error))?;
        let (head, length) = self.read()?;
        let text = std::str::from_utf8(&self.buffer[..length]).map_err(|_| Failure::Wrong("not UTF-8"))?;
        let (head, body) = text.split_at(head);
        let status = status(head).ok_or(Failure::Wrong("no status"))?;
        if status != 200 {
            return Err(Failure::Status(status));
        }
        let version = header(head, wire::header::MODEL_VERSION).ok_or(Failure::Wrong("no version"))?;
        let revision = match VERSIONS.iter().position(|known| *known == version) {
            Some(0) => Revision::Stable,
            Some(_) => Revision::Candidate,
            None => return Err(Failure::Wrong("unknown version")),
        };
        if body != model::body(version) {
            return Err(Failure::Wrong("another body"));
        }
        let last = header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Answer { revision, last })
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

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The page at a path, such as `/readyz`, with its status.
pub(super) fn page(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_changes_its_user_only() {
        let mut request = Request::of_users(3);
        let before = request.bytes.clone();
        request.set_user(1_234);
        let text = String::from_utf8(request.bytes.clone()).unwrap();
        assert!(
            text.contains("x-user-id: u00001234\r\n") && text.ends_with("content-length: 3\r\n\r\nAAA"),
            "{text}"
        );
        request.set_user(0);
        assert_eq!(request.bytes, before);
    }
}
