//! Contestants in turn, round by round: this machine changes its speed from second to second, so only what was measured
//! in the same round is compared, and the median over the rounds counts.

use std::fmt;

use serde::Serialize;

/// Median, least and most of some values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of any number of values; without a value it is not a number, which reaches no target.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Self { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        };
        let middle = values.len() / 2;
        let below = if values.len().is_multiple_of(2) { values[middle - 1] } else { values[middle] };
        Self { median: f64::midpoint(below, values[middle]), min, max }
    }

    /// Of the ratios of two series, round by round.
    pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> Self {
        Self::of(ours.iter().zip(theirs).map(|(a, b)| a / b))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}-{:.2})", self.median, self.min, self.max)
    }
}

/// The value below which this share of the sorted values lies.
pub(crate) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(((sorted.len() as f64 * share) as usize).min(last)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_counts() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]).median, 2.5);
        assert!(Spread::of([]).median.is_nan());
        // The machine was twice as fast in the second round, for both.
        let ratio = Spread::ratio(&[10.0, 20.0], &[20.0, 40.0]);
        assert_eq!((ratio.min, ratio.max, ratio.to_string().as_str()), (0.5, 0.5, "0.50 (0.50-0.50)"));
    }

    #[test]
    fn quantiles_are_values() {
        let sorted: Vec<u64> = (0..100).collect();
        assert_eq!((quantile(&sorted, 0.5), quantile(&sorted, 0.99), quantile(&sorted, 1.0)), (50, 99, 99));
        assert_eq!(quantile(&[], 0.5), 0);
    }
}
