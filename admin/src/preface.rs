//! Which version of HTTP a client begins with.

use std::io;
use std::time::{Duration, Instant};

use hyper::Version;
use tokio::net::TcpStream;

/// The first bytes of a connection by HTTP/2 (RFC 9113 §3.4), which no request of HTTP/1 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause before a preface that came in parts is looked at again.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits for the first bytes of a client, and leaves them to be read. From the first one on a preface has `time`; who calls
/// says how long a client may send nothing.
///
/// # Errors
/// If the client leaves before, or a preface takes longer.
pub async fn version(stream: &TcpStream, time: Duration) -> io::Result<Version> {
    let mut first = [0; PREFACE.len()];
    let mut since = None;
    loop {
        let n = stream.peek(&mut first).await?;
        match PREFACE.strip_prefix(&first[..n]) {
            _ if n == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => return Ok(Version::HTTP_11),
            Some([]) => return Ok(Version::HTTP_2),
            Some(_) if since.get_or_insert_with(Instant::now).elapsed() > time => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Some(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
