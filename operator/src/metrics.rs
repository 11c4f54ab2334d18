//! What the operator counts about itself. Labels are from closed lists: no name of an object is one.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The counters; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Reconciles that were done.
    pub reconciles: IntCounter,
    /// Seconds that one takes.
    pub seconds: Histogram,
    /// Reconciles that failed, by class.
    pub errors: IntCounterVec,
    /// Decisions, by reason.
    pub decisions: IntCounterVec,
    /// 1 while this replica leads.
    pub leading: IntGauge,
}

impl Metrics {
    /// Registers the counters.
    ///
    /// # Errors
    /// When one of the names is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
        let seconds = HistogramOpts::new("sluice_operator_reconcile_seconds", "Time of one reconcile.");
        let metrics = Self {
            reconciles: IntCounter::new("sluice_operator_reconciles_total", "Reconciles that were done.")?,
            seconds: Histogram::with_opts(seconds.buckets(buckets))?,
            errors: IntCounterVec::new(
                Opts::new("sluice_operator_errors_total", "Reconciles that failed, by class."),
                &["class"],
            )?,
            decisions: IntCounterVec::new(
                Opts::new("sluice_operator_decisions_total", "Decisions, by reason."),
                &["reason"],
            )?,
            leading: IntGauge::new("sluice_operator_leading", "1 while this replica leads.")?,
        };
        registry.register(Box::new(metrics.reconciles.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.decisions.clone()))?;
        registry.register(Box::new(metrics.leading.clone()))?;
        Ok(metrics)
    }
}
