//! How the chance of a false rollback is shared among the tests (S2).

/// Part of `falseRollback` that the sequential tests may spend; thresholds have the rest
/// ([`crate::THRESHOLD_SHARE`]).
pub const SEQUENTIAL_SHARE: f64 = 0.7;
/// Level of each test of equality: it holds or alerts, and never rolls back (S1), so it spends nothing.
pub const CHANGE_LEVEL: f64 = 0.001;
/// Level of the test of the split: it alerts and freezes the verdicts of the others.
pub const MISMATCH_LEVEL: f64 = 0.001;

/// The tests that run on every rollout; accuracy joins them where labels come.
pub const DEFAULT_HARM_TESTS: [HarmTest; 3] = [HarmTest::Errors, HarmTest::Latency, HarmTest::LowConfidence];

/// The tests that roll back by default (S1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HarmTest {
    /// Requests that failed.
    Errors,
    /// Answers slower than stable's tail.
    Latency,
    /// Wrong labels, where labels come.
    Accuracy,
    /// Answers of low confidence.
    LowConfidence,
}

impl HarmTest {
    /// Errors are what a rollback is for, and the rarest events: they get twice as much as any other.
    const fn weight(self) -> f64 {
        match self {
            Self::Errors => 0.5,
            Self::Latency | Self::Accuracy | Self::LowConfidence => 0.25,
        }
    }
}

/// The level of each of the tests that roll back: its weight's part of [`SEQUENTIAL_SHARE`] of
/// `false_rollback`. By the union bound, which needs nothing of how they depend on each other, the chance that any ever
/// crosses its level while the candidate is harmless stays below their sum.
#[must_use]
pub fn split_budget(tests: &[HarmTest], false_rollback: f64) -> Vec<f64> {
    // rule: S2
    let sum: f64 = tests.iter().map(|test| test.weight()).sum();
    tests.iter().map(|test| SEQUENTIAL_SHARE * false_rollback * test.weight() / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::THRESHOLD_SHARE;

    #[test]
    fn the_levels_sum_to_seventy_percent_whoever_takes_part() {
        // rule: S2
        use HarmTest::{Accuracy, Errors, Latency, LowConfidence};
        assert!((SEQUENTIAL_SHARE + THRESHOLD_SHARE - 1.0).abs() < 1e-15);
        for tests in [&[Errors][..], &[Latency, Errors], &[Errors, Latency, Accuracy, LowConfidence]] {
            let levels = split_budget(tests, 0.01);
            assert!((levels.iter().sum::<f64>() - 0.007).abs() < 1e-15, "{levels:?}");
        }
        let levels = split_budget(&DEFAULT_HARM_TESTS, 0.01);
        for (level, expected) in levels.iter().zip([0.0035, 0.00175, 0.00175]) {
            assert!((level - expected).abs() < 1e-15, "{levels:?}");
        }
        assert!(split_budget(&[], 0.01).is_empty());
    }
}
