//! Kolmogorov-Smirnov on the values themselves.

use super::ks::told;
use super::{Distance, DistanceError};

/// The Kolmogorov-Smirnov distance of two samples of values, 0..=1, ties and infinities included: the largest
/// difference of the shares that lie at or below a value. p is exact for small samples as in [`super::ks`]. No
/// parts: there are no cells.
///
/// # Errors
/// Refuses an empty side and NaN, with its position.
pub fn ks_values(ours: &[f64], theirs: &[f64], level: f64) -> Result<Distance, DistanceError> {
    let (ours, theirs) = (sorted(ours, "ours")?, sorted(theirs, "theirs")?);
    let (n, m) = (ours.len(), theirs.len());
    // n m (F - G) after each value, in whole numbers.
    let (up, down) = (m as i128, n as i128);
    let (mut i, mut j, mut difference, mut largest) = (0, 0, 0i128, 0i128);
    while i < n && j < m {
        let x = ours[i].min(theirs[j]);
        while i < n && ours[i] == x {
            (i, difference) = (i + 1, difference + up);
        }
        while j < m && theirs[j] == x {
            (j, difference) = (j + 1, difference - down);
        }
        largest = largest.max(difference.abs());
    }
    Ok(told(n as u64, m as u64, largest.unsigned_abs(), level, Vec::new()))
}

fn sorted(values: &[f64], side: &'static str) -> Result<Vec<u64>, DistanceError> {
    if values.is_empty() {
        return Err(DistanceError::Empty { side });
    }
    if let Some(index) = values.iter().position(|x| x.is_nan()) {
        return Err(DistanceError::NotANumber { side, index });
    }
    Ok(radix_sorted(values.iter().copied().map(key).collect()))
}

/// An integer in the order of the values: the bits, with the sign's flipped, and all of them where it is set. 0.0 and
/// -0.0 are one value.
fn key(x: f64) -> u64 {
    let bits = (x + 0.0).to_bits();
    let negative = 0u64.wrapping_sub(bits >> 63);
    bits ^ (negative | 1 << 63)
}

/// Bits of a digit.
const DIGIT: u32 = 11;

/// Sorts by one digit after the other, the lowest first, which is several times faster than by comparisons. Digits
/// that all keys share are skipped.
fn radix_sorted(mut keys: Vec<u64>) -> Vec<u64> {
    const MASK: u64 = (1 << DIGIT) - 1;
    let mut other = vec![0; keys.len()];
    for shift in (0..u64::BITS).step_by(DIGIT as usize) {
        let digit = |key: u64| (key >> shift & MASK) as usize;
        let mut starts = [0usize; 1 << DIGIT];
        keys.iter().for_each(|&key| starts[digit(key)] += 1);
        if starts[digit(keys[0])] == keys.len() {
            continue;
        }
        let mut next = 0;
        for start in &mut starts {
            (*start, next) = (next, next + *start);
        }
        for &key in &keys {
            let at = &mut starts[digit(key)];
            other[*at] = key;
            *at += 1;
        }
        std::mem::swap(&mut keys, &mut other);
    }
    keys
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
