//! Kolmogorov-Smirnov on counts.

use super::{Distance, DistanceError, Pair, top_parts};

/// Largest n * m for which p is computed exactly; the recurrence takes as many steps.
const EXACT: u128 = 10_000;

/// The Kolmogorov-Smirnov distance on cells: the largest difference of the cumulative shares at a bound, 0..=1.
/// On cells it is never larger than on the values themselves ([`ks_limits`]), so p and the critical value stay
/// valid. A part's contribution is the difference of its shares.
///
/// # Errors
/// Refuses an empty side and unequal cells.
pub fn ks(ours: &[u64], theirs: &[u64], level: f64) -> Result<Distance, DistanceError> {
    // rule: J2
    let pair = Pair::new(ours, theirs)?;
    let (mut a, mut b, mut largest) = (0, 0, 0);
    for (x, y) in pair.counts() {
        (a, b) = (a + x, b + y);
        largest = largest.max(gap(a, b, pair.n, pair.m));
    }
    let parts = top_parts(pair.shares().map(|(p, q)| (p - q).abs()));
    Ok(told(pair.n, pair.m, largest, level, parts))
}

/// |a/n - b/m| as a whole number of 1/(n m).
pub(super) fn gap(a: u64, b: u64, n: u64, m: u64) -> u128 {
    (u128::from(a) * u128::from(m)).abs_diff(u128::from(b) * u128::from(n))
}

/// The distance whose largest gap is `largest` / (n m).
pub(super) fn told(n: u64, m: u64, largest: u128, level: f64, parts: Vec<super::Part>) -> Distance {
    let pairs = u128::from(n) * u128::from(m);
    let value = largest as f64 / pairs as f64;
    let p = if pairs <= EXACT { exact(n, m, largest) } else { asymptotic(n, m, value) };
    let critical = (level > 0.0).then(|| ks_critical(n, m, level));
    Distance { value, p_value: Some(p), critical, freedom: None, n, m, parts }
}

/// Bounds of the distance of the values themselves, of which only the cells are known: at least the distance at
/// the bounds of cells, and at most what it becomes if within some cell all of one side comes first. The upper
/// one is never more than the lower one and the largest share of a cell. Each 0..=1.
///
/// # Errors
/// As [`ks`].
pub fn ks_limits(ours: &[u64], theirs: &[u64]) -> Result<(f64, f64), DistanceError> {
    let pair = Pair::new(ours, theirs)?;
    let (n, m) = (pair.n, pair.m);
    let (mut a, mut b, mut low, mut high) = (0, 0, 0, 0);
    for (x, y) in pair.counts() {
        high = high.max(gap(a + x, b, n, m)).max(gap(a, b + y, n, m));
        (a, b) = (a + x, b + y);
        low = low.max(gap(a, b, n, m));
    }
    let pairs = (u128::from(n) * u128::from(m)) as f64;
    Ok((low as f64 / pairs, low.max(high) as f64 / pairs))
}

/// What the KS distance of two samples of one distribution exceeds with probability `level` at most, 0 <
/// level < 1: sqrt(-ln(level/2)/2 * (n+m)/(n m)), the first term of Smirnov's limit (Smirnov 1948; as a bound for
/// finite samples Massart 1990, Wei & Dudley 2012).
#[must_use]
pub fn ks_critical(n: u64, m: u64, level: f64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    (-(level / 2.0).ln() / 2.0 * (n + m) / (n * m)).sqrt()
}

/// The probability that two samples of one continuous distribution are at least `gap` / (n m) apart. With ties it
/// is an upper limit of the true one, because a tie leaves fewer bounds to differ at.
///
/// Every order of the n + m values is equally likely; an order is a lattice path from (0, 0) to (n, m). The share
/// of paths to (i, j) that have touched the gap follows from the two points before it (Hodges 1958; Viehmann 2021
/// on why the complement is counted: small p keep their digits).
fn exact(n: u64, m: u64, largest: u128) -> f64 {
    if largest == 0 {
        return 1.0;
    }
    let mut touched = vec![0.0; m as usize + 1];
    for i in 0..=n {
        for j in 0..=m {
            let at = j as usize;
            touched[at] = if gap(i, j, n, m) >= largest {
                1.0
            } else {
                let (from_i, from_j) = (i as f64 / (i + j).max(1) as f64, j as f64 / (i + j).max(1) as f64);
                let left = if j > 0 { touched[at - 1] } else { 0.0 };
                from_i * touched[at] + from_j * left
            };
        }
    }
    touched[m as usize]
}

/// Kolmogorov's limit, 2 sum (-1)^(k-1) exp(-2 k^2 x^2) with x = value * sqrt(n m / (n + m)) (Smirnov 1948).
fn asymptotic(n: u64, m: u64, value: f64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let x2 = value * value * (n * m / (n + m));
    // Below x = 0.2 the series needs many terms to say 1 within 1e-12.
    if x2 < 0.04 {
        return 1.0;
    }
    let (mut sum, mut sign) = (0.0, 1.0);
    for k in 1..=100 {
        let term = (-2.0 * f64::from(k * k) * x2).exp();
        sum += sign * term;
        sign = -sign;
        if term < 1e-17 * sum {
            break;
        }
    }
    (2.0 * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_samples_have_an_exact_p() {
        // scipy#9786: [0] against [1, 2]. All three orders are equally likely, two of them are this far apart.
        let apart = ks(&[1, 0, 0], &[0, 1, 1], 0.05).unwrap();
        assert_eq!(apart.value, 1.0);
        assert!((apart.p_value.unwrap() - 2.0 / 3.0).abs() < 1e-15, "{apart:?}");
    }

    #[test]
    fn the_limit_takes_over_where_the_exact_p_ends() {
        // At n = m = 100, down to 2e-7: the limit is hardly ever too small, and never much too large.
        for largest in (1000..=4000).step_by(500) {
            let (exact, limit) = (exact(100, 100, largest), asymptotic(100, 100, largest as f64 / 1e4));
            assert!(limit > 0.99 * exact && limit < 1.5 * exact, "{largest}: {exact} {limit}");
        }
    }
}
