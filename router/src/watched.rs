//! A connection that someone looks on at: the one place that forwards reads and writes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Looks on at a connection. What it answers is what the reader or writer gets.
pub(crate) trait Onlooker: Unpin {
    /// A read has brought these bytes, maybe none, and this result.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        result: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>>;

    /// A write has had this result.
    fn wrote(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>>;

    /// A flush, or the end of what is written, has had this result: behind TLS, what was written waits for it.
    fn flushed(&mut self, _: &mut Context<'_>, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        result
    }

    /// The writing side was closed: what is still to be done before the connection is.
    fn shut(&mut self, _: &mut Context<'_>, _: &mut (impl AsyncRead + Unpin)) -> Poll<()> {
        Poll::Ready(())
    }
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Watched<S, O> {
    stream: S,
    onlooker: O,
    /// Whether the writing side is closed.
    shut: bool,
}

impl<S, O> Watched<S, O> {
    pub(crate) fn new(stream: S, onlooker: O) -> Self {
        Self { stream, onlooker, shut: false }
    }
}

impl<S: AsyncRead + Unpin, O: Onlooker> AsyncRead for Watched<S, O> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        this.onlooker.read(cx, &buf.filled()[before..], result)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, O: Onlooker> AsyncWrite for Watched<S, O> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.onlooker.wrote(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.onlooker.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.onlooker.flushed(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut {
            let result = Pin::new(&mut this.stream).poll_shutdown(cx);
            std::task::ready!(this.onlooker.flushed(cx, result))?;
            this.shut = true;
        }
        this.onlooker.shut(cx, &mut this.stream).map(Ok)
    }
}
