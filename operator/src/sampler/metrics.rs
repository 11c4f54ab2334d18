//! What the samplers measure of themselves.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

use super::page::Kind;

#[derive(Debug, Clone)]
pub(super) struct Metrics {
    reads: IntCounterVec,
    dropped: IntCounterVec,
    lateness: Histogram,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let reads = IntCounterVec::new(
            Opts::new("sluice_pod_reads_total", "Pages read from pods, by page and result."),
            &["page", "result"],
        )?;
        let dropped = IntCounterVec::new(
            Opts::new("sluice_samples_dropped_total", "Router pages that added nothing to an interval (C4)."),
            &["why"],
        )?;
        let buckets = vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
        let lateness = Histogram::with_opts(
            HistogramOpts::new(
                "sluice_sampling_lateness_seconds",
                "How much later than planned a sampling began.",
            )
            .buckets(buckets),
        )?;
        registry.register(Box::new(reads.clone()))?;
        registry.register(Box::new(dropped.clone()))?;
        registry.register(Box::new(lateness.clone()))?;
        Ok(Self { reads, dropped, lateness })
    }

    pub(super) fn read(&self, kind: Kind, ok: bool) {
        self.reads.with_label_values(&[kind.as_str(), if ok { "ok" } else { "failed" }]).inc();
    }

    pub(super) fn dropped(&self, why: evidence::Dropped) {
        let why = match why {
            evidence::Dropped::Missing => "missing",
            evidence::Dropped::Baseline => "baseline",
            evidence::Dropped::Backwards => "backwards",
        };
        self.dropped.with_label_values(&[why]).inc();
    }

    pub(super) fn late(&self, by: Duration) {
        self.lateness.observe(by.as_secs_f64());
    }
}
