//! After a promotion: the old revision stays warm, with its holdback, until the time is over.

use super::Turn;
use crate::{Phase, Reason, Watching};

impl Turn<'_> {
    pub(super) fn step_watching(&mut self, watch: &Watching) {
        if self.wanted.kept_until(watch.since) > self.now {
            return;
        }
        let message = format!("{} is no longer kept warm", watch.old);
        self.note(Reason::WatchEnded, watch.sequence, message);
        // rule: T4. A breach in the watch stands still no longer than the watch.
        self.end_halt();
        self.state.phase = Phase::Idle;
    }

    /// Forgets warm revisions whose time is over.
    pub(super) fn drop_cold(&mut self) {
        let (wanted, now) = (self.wanted, self.now);
        self.state.warm.retain(|w| wanted.kept_until(w.since) > now);
    }
}
