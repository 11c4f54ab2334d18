//! A client's connection that is read along: for the time that a head takes, and for lengths given twice. A
//! client that does not read what it asked for is left after a while.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::time::{Instant, Sleep};

use super::linger::{Linger, discard};
use super::scan::Scan;
use crate::watched::Onlooker;

/// Whether a head on this connection gave the length of its body twice.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict(Arc<AtomicBool>);

impl Verdict {
    pub(super) fn is_ambiguous(&self) -> bool {
        self.0.load(SeqCst)
    }
}

/// What looks on.
pub(super) struct Guard {
    /// Absent for what is not read by lines.
    scan: Option<Scan>,
    verdict: Verdict,
    /// Longest time from the first byte of a head to its last.
    head: Duration,
    /// Runs while a head is incomplete.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Longest time in which the client takes no byte.
    stall: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs while a client is waited for that was answered before it had sent all.
    linger: Option<Linger>,
}

impl Guard {
    pub(super) fn new(head: Duration, stall: Duration) -> (Self, Verdict) {
        let verdict = Verdict::default();
        let scan = Some(Scan::default());
        let this =
            Self { scan, verdict: verdict.clone(), head, alarm: None, stall, stalled: None, linger: None };
        (this, verdict)
    }

    /// One that only minds whether the client reads.
    pub(super) fn of_writes(stall: Duration) -> Self {
        let (guard, _) = Self::new(Duration::MAX, stall);
        Self { scan: None, ..guard }
    }

    /// Gives up a client that takes nothing.
    fn minds<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let stall = self.stall;
        let alarm = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        if alarm.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client does not read")));
        }
        Poll::Pending
    }

    fn inspect(&mut self, bytes: &[u8]) {
        let Some(scan) = &mut self.scan else { return };
        if scan.feed(bytes) {
            self.verdict.0.store(true, SeqCst);
        }
        if !scan.in_head() {
            self.alarm = None;
        } else if self.alarm.is_none() {
            self.alarm = Some(Box::pin(tokio::time::sleep_until(Instant::now() + self.head)));
        }
    }
}

impl Onlooker for Guard {
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        result: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if !bytes.is_empty() {
            self.inspect(bytes);
        }
        if result.is_pending()
            && let Some(alarm) = &mut self.alarm
            && alarm.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(
                ErrorKind::TimedOut,
                "the head of a request took too long",
            )));
        }
        result
    }

    fn wrote(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.minds(cx, result)
    }

    fn flushed(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        self.minds(cx, result)
    }

    fn shut(&mut self, cx: &mut Context<'_>, stream: &mut (impl AsyncRead + Unpin)) -> Poll<()> {
        let Some(scan) = &self.scan else { return Poll::Ready(()) };
        // Between two requests there is nothing to wait for, unless the next one is here already.
        if self.linger.is_none() && scan.is_between() && !matches!(discard(cx, stream), Poll::Ready(1..)) {
            return Poll::Ready(());
        }
        self.linger.get_or_insert_with(Linger::new).poll(cx, stream)
    }
}
