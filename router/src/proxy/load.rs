//! How many requests are under way, and since when none is: by this a drain ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// What is under way.
pub(crate) struct Load {
    requests: AtomicUsize,
    started: Instant,
    /// Milliseconds from `started` to the last end of one.
    changed: AtomicU64,
}

/// One request that is under way, until it is dropped.
pub(crate) struct UnderWay(Arc<Load>);

impl Load {
    pub(super) fn new() -> Self {
        Self { requests: AtomicUsize::new(0), started: Instant::now(), changed: 0.into() }
    }

    pub(super) fn enter(self: &Arc<Self>) -> UnderWay {
        self.requests.fetch_add(1, SeqCst);
        UnderWay(self.clone())
    }

    fn touch(&self) {
        self.changed.store(self.started.elapsed().as_millis() as u64, SeqCst);
    }

    /// For how long nothing was under way.
    pub(crate) fn idle(&self) -> Duration {
        if self.requests.load(SeqCst) > 0 {
            return Duration::ZERO;
        }
        self.started.elapsed().saturating_sub(Duration::from_millis(self.changed.load(SeqCst)))
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.touch();
        self.0.requests.fetch_sub(1, SeqCst);
    }
}
