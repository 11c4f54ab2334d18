//! What becomes of letters.

use prometheus::{IntCounterVec, Opts, Registry};

/// The counters; clones count together.
#[derive(Debug, Clone)]
pub(super) struct Metrics(IntCounterVec);

impl Metrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let what =
            "Notifications, by what became of them: delivered, lost (given up) or refused (too many wait).";
        let letters = IntCounterVec::new(Opts::new("sluice_notifications_total", what), &["result"])?;
        registry.register(Box::new(letters.clone()))?;
        Ok(Self(letters))
    }

    pub(super) fn delivered(&self) {
        self.0.with_label_values(&["delivered"]).inc();
    }

    pub(super) fn lost(&self) {
        self.0.with_label_values(&["lost"]).inc();
    }

    pub(super) fn refused(&self, letters: usize) {
        self.0.with_label_values(&["refused"]).inc_by(letters as u64);
    }

    #[cfg(test)]
    pub(super) fn count(&self, result: &str) -> u64 {
        self.0.with_label_values(&[result]).get()
    }
}
