//! Lets a client read its answer before the connection closes.
//!
//! A client that is answered while it still sends (413, 408, 431) looks at the answer when it has sent all, as many clients
//! do. Closed at once, the connection would be reset by what still arrives, and a reset takes the answer away from the
//! client. So the rest is read and dropped for a while.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

/// How long it is waited for, at most.
const TIME: Duration = Duration::from_secs(1);
/// How many bytes are read, at most: the bodies that are too large are seldom twice as large as allowed (16 MiB).
const BYTES: usize = 32 << 20;
const BUFFER: usize = 16 * 1024;

/// A connection whose answer is written and whose writing side is closed.
pub(super) struct Linger {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self { until: Box::pin(tokio::time::sleep(TIME)), left: BYTES }
    }

    /// Reads on, until the client closes its side or enough was waited.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut (impl AsyncRead + Unpin)) -> Poll<()> {
        while self.left > 0 && self.until.as_mut().poll(cx).is_pending() {
            match discard(cx, stream) {
                Poll::Ready(0) => return Poll::Ready(()),
                Poll::Ready(n) => self.left = self.left.saturating_sub(n),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

/// Reads and forgets; 0 when nothing more comes.
pub(super) fn discard(cx: &mut Context<'_>, stream: &mut (impl AsyncRead + Unpin)) -> Poll<usize> {
    let mut room = [const { MaybeUninit::uninit() }; BUFFER];
    let mut buffer = ReadBuf::uninit(&mut room);
    Pin::new(stream).poll_read(cx, &mut buffer).map(|read| read.map_or(0, |()| buffer.filled().len()))
}
