//! Two shares, compared once.

use super::Test;
use crate::share::normal_above;
use crate::{Measured, Share, wilson};

/// The smallest expected count for which the normal law is good enough (Cochran, Biometrics 10 (1954) 417).
const EXPECTED: f64 = 5.0;

/// The pooled z-test of two independent shares: z = (p - q) / sqrt(r (1-r) (1/n + 1/m)), r the share of both
/// together. `None` when an arm is empty, or all or nothing happened in both.
#[must_use]
pub fn two_proportion_z(candidate: Share, stable: Share) -> Option<Test> {
    let (p, q) = (candidate.value()?, stable.value()?);
    let (n, m) = (candidate.trials as f64, stable.trials as f64);
    let pooled = pooled(candidate, stable)?;
    let variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m);
    let statistic = (p - q) / variance.sqrt();
    let (above, below) = (normal_above(statistic), normal_above(-statistic));
    (variance > 0.0).then_some(Test { statistic, freedom: f64::INFINITY, above, below })
}

fn pooled(candidate: Share, stable: Share) -> Option<f64> {
    let mut both = candidate;
    both.add(stable);
    both.value()
}

/// Whether all four expected counts are at least 5.
pub(super) fn normal_enough(candidate: Share, stable: Share) -> bool {
    let smaller = candidate.trials.min(stable.trials) as f64;
    pooled(candidate, stable).is_some_and(|share| smaller * share.min(1.0 - share) >= EXPECTED)
}

/// candidate - stable with Newcombe's hybrid score interval at two-sided `level`: the Wilson limits of both,
/// joined by squares (Newcombe, Stat. Med. 17 (1998) 873, method 10). `None` when an arm is empty.
#[must_use]
pub fn newcombe(candidate: Share, stable: Share, level: f64) -> Option<Measured> {
    let (p, q) = (candidate.value()?, stable.value()?);
    let (p_low, p_high) = wilson(candidate.events, candidate.trials, level);
    let (q_low, q_high) = wilson(stable.events, stable.trials, level);
    let value = p - q;
    let below = (p - p_low).hypot(q_high - q);
    let above = (p_high - p).hypot(q - q_low);
    Some(Measured::new(value, value - below, value + above))
}
