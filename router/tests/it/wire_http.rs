//! HTTP/1 by hand, so that tests see and send the bytes that they mean.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request or an answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// First line.
    pub(crate) first: String,
    /// Headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection with what was read ahead.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    ahead: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, ahead: vec![] }
    }

    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::new(TcpStream::connect(address).await?))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.ahead).await? == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed"));
        }
        Ok(())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more().await?;
        }
    }

    /// Reads so many bytes.
    pub(crate) async fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < n {
            self.more().await?;
        }
        Ok(self.ahead.drain(..n).collect())
    }

    /// Reads the head of a message, and nothing behind it.
    pub(crate) async fn read_head(&mut self) -> io::Result<Message> {
        let mut message = Message { first: self.line().await?, ..Message::default() };
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            message.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(message)
    }

    /// Reads one message.
    pub(crate) async fn read(&mut self) -> io::Result<Message> {
        let mut message = self.read_head().await?;
        if message.header("transfer-encoding").is_some() {
            loop {
                let length = self.line().await?;
                let length = usize::from_str_radix(&length, 16).map_err(io::Error::other)?;
                message.body.extend(self.exactly(length).await?);
                self.line().await?;
                if length == 0 {
                    break;
                }
            }
        } else if let Some(length) = message.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            message.body = self.exactly(length).await?;
        }
        Ok(message)
    }

    /// Whether the other side closes without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        self.ahead.is_empty() && matches!(self.stream.read(&mut byte).await, Ok(0) | Err(_))
    }

    /// Posts a body and reads the answer.
    pub(crate) async fn post(&mut self, headers: &str, body: &[u8]) -> io::Result<Message> {
        let head = format!(
            "POST /predict HTTP/1.1\r\nhost: digits\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send(bytes).await?;
        self.read().await
    }
}

/// Posts on a connection of its own.
pub(crate) async fn post(address: SocketAddr, headers: &str, body: &[u8]) -> io::Result<Message> {
    Wire::connect(address).await?.post(headers, body).await
}
