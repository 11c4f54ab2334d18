//! How sure a check must be: the budget of false rollbacks, shared by metrics and by checks (J3, S2).

use std::f64::consts::PI;

use crate::Metric;

/// Part of `falseRollback` that thresholds may spend; the sequential tests and the trip-wire have the rest (S2).
pub const THRESHOLD_SHARE: f64 = 0.3 - crate::TRIP_SHARE;

/// Delta: one metric's part of `falseRollback`. Metrics that roll back and follow the promise (no
/// `significance` of their own) share [`THRESHOLD_SHARE`] of it equally; by the union bound the chance that
/// any of them ever rolls back a harmless candidate stays below that share. Metrics that only pause or alert
/// spend nothing of it and are as strict as those that do.
#[must_use]
pub fn metric_budget(metrics: &[Metric], false_rollback: f64) -> f64 {
    // rule: S2
    let sharing = metrics.iter().filter(|m| m.rolls_back() && m.significance.is_none()).count();
    THRESHOLD_SHARE * false_rollback / sharing.max(1) as f64
}

/// Level of the `check`-th comparison (from 1) of a metric whose budget is `delta`: delta * 6 / (pi^2 k^2),
/// which sums to delta over all k (Basel series), however often it is checked.
#[must_use]
pub fn check_level(delta: f64, check: u64) -> f64 {
    // rule: J3
    let k = check.max(1) as f64;
    delta * 6.0 / (PI * PI * k * k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bound, Kind, OnBreach};

    #[test]
    fn the_levels_of_all_checks_sum_to_the_budget() {
        // rule: J3
        let sum: f64 = (1..200_000).map(|k| check_level(0.003, k)).sum();
        assert!(sum < 0.003 && sum > 0.00299, "{sum}");
    }

    #[test]
    fn metrics_that_roll_back_share_what_is_theirs() {
        // rule: S2
        let errors = Metric::new("errors", Kind::ErrorRate, Bound::Max(0.02));
        let alert = Metric { on_breach: Some(OnBreach::Alert), ..errors.clone() };
        let own = Metric { significance: Some(0.05), ..errors.clone() };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
        close(metric_budget(&[errors.clone(), errors.clone(), alert.clone(), own], 0.01), 0.0014);
        close(metric_budget(&[alert], 0.01), 0.0028);
        close(metric_budget(&[errors], 0.0), 0.0);
    }
}
