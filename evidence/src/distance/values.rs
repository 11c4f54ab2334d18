//! Kolmogorov-Smirnov on the values themselves.

mod buckets;

use super::ks::told;
use super::{Distance, DistanceError};
use buckets::{Buckets, Run};

/// The Kolmogorov-Smirnov distance of two samples of values, 0..=1, ties and infinities included: the largest
/// difference of the shares that lie at or below a value. p is exact for small samples as in [`super::ks`]. No
/// parts: there are no cells.
///
/// Values are put into buckets in the order of their size. Only in those few where the difference could exceed the
/// largest one at the bounds are values sorted: within a bucket it is at most what it becomes if all of one side
/// comes first.
///
/// # Errors
/// Refuses an empty side and NaN, with its position.
pub fn ks_values(ours: &[f64], theirs: &[f64], level: f64) -> Result<Distance, DistanceError> {
    check(ours, "ours")?;
    check(theirs, "theirs")?;
    let (n, m) = (ours.len(), theirs.len());
    let steps = Steps { up: m as i128, down: n as i128 };
    let buckets = Buckets::over(ours, theirs);
    let (ours, theirs) = (buckets.fill(ours), buckets.fill(theirs));
    // The difference before each bucket, and the largest at their bounds.
    let (mut difference, mut largest) = (0, 0);
    let counts = || ours.counts.iter().zip(&theirs.counts);
    let before = counts().map(|(&a, &b)| {
        let before = difference;
        difference += steps.of(a, b);
        largest = largest.max(difference.abs());
        before
    });
    let before: Vec<i128> = before.collect();
    let open = before.iter().zip(counts()).map(|(&before, (&a, &b))| {
        a + b > 0 && (before + steps.of(a, 0) > largest || -before - steps.of(0, b) > largest)
    });
    let open: Vec<bool> = open.collect();
    let (ours, theirs) = (ours.sorted(&open), theirs.sorted(&open));
    let before = before.iter().zip(&open).filter(|(_, open)| **open);
    for ((before, _), (ours, theirs)) in before.zip(ours.runs().zip(theirs.runs())) {
        largest = largest.max(steps.largest(*before, ours, theirs));
    }
    Ok(told(n as u64, m as u64, largest.unsigned_abs(), level, Vec::new()))
}

fn check(values: &[f64], side: &'static str) -> Result<(), DistanceError> {
    if values.is_empty() {
        return Err(DistanceError::Empty { side });
    }
    // All of them first, without a branch per value: hardly ever is one NaN.
    if values.iter().fold(false, |nan, x| nan | x.is_nan()) {
        let index = values.iter().position(|x| x.is_nan()).expect("one of them is NaN");
        return Err(DistanceError::NotANumber { side, index });
    }
    Ok(())
}

/// What a value of either side adds to n m (F - G), in whole numbers.
struct Steps {
    up: i128,
    down: i128,
}

impl Steps {
    fn of(&self, ours: u32, theirs: u32) -> i128 {
        i128::from(ours) * self.up - i128::from(theirs) * self.down
    }

    /// The largest |difference| after any value of two sorted runs, from `difference` on.
    fn largest(&self, mut difference: i128, ours: Run<'_>, theirs: Run<'_>) -> i128 {
        let (mut i, mut j, mut largest) = (0, 0, 0);
        while i < ours.len() && j < theirs.len() {
            let x = ours[i].min(theirs[j]);
            while i < ours.len() && ours[i] == x {
                (i, difference) = (i + 1, difference + self.up);
            }
            while j < theirs.len() && theirs[j] == x {
                (j, difference) = (j + 1, difference - self.down);
            }
            largest = largest.max(difference.abs());
        }
        // What is left on one side moves it towards the bound, or to what it becomes there.
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, value by value.
    fn slow(ours: &[f64], theirs: &[f64]) -> f64 {
        let share =
            |values: &[f64], x: f64| values.iter().filter(|v| **v <= x).count() as f64 / values.len() as f64;
        ours.iter().chain(theirs).map(|&x| (share(ours, x) - share(theirs, x)).abs()).fold(0.0, f64::max)
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let tied = (0u8..20).prop_map(f64::from);
        let wild = prop_oneof![
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(0.0),
            Just(-0.0),
            Just(1e300),
            Just(f64::MIN)
        ];
        let usual = prop_oneof![3 => -1.0..1.0f64, 1 => tied.clone()];
        let with_wild = prop_oneof![9 => -1.0..1.0f64, 1 => wild];
        let of = |one: BoxedStrategy<f64>| prop::collection::vec(one, 1..400);
        prop_oneof![of(usual.boxed()), of(tied.boxed()), of(with_wild.boxed())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn it_is_the_largest_difference_at_any_value(ours in values(), theirs in values()) {
            let fast = ks_values(&ours, &theirs, 0.05).unwrap();
            prop_assert!((fast.value - slow(&ours, &theirs)).abs() < 1e-12);
            prop_assert_eq!(fast.value, ks_values(&theirs, &ours, 0.05).unwrap().value);
        }
    }

    #[test]
    fn what_has_no_order_is_refused_by_name() {
        let refused = ks_values(&[1.0, 2.0], &[0.0, f64::NAN], 0.05).unwrap_err();
        assert_eq!(refused.to_string(), "theirs[1] is NaN, must be a number");
        assert_eq!(
            ks_values(&[], &[0.0], 0.05).unwrap_err().to_string(),
            "ours has no samples, at least 1 is needed"
        );
    }

    #[test]
    fn values_that_never_vary_are_equal() {
        let same = ks_values(&[3.0; 500], &[3.0; 700], 0.05).unwrap();
        assert_eq!((same.value, same.p_value), (0.0, Some(1.0)));
    }
}
