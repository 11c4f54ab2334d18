//! Two arms over many classes.

use statrs::function::gamma::{gamma_lr, gamma_ur};

use super::Test;

/// Pearson's chi-square test that two arms have the same shares of `k` classes: sum (O - E)^2 / E over the 2 x k
/// table, k - 1 degrees of freedom, without continuity correction. Classes that are empty in both arms are
/// left out. It has no direction, so it tells of a difference and never of a win. `None` when an arm is empty
/// or only one class is left.
#[must_use]
pub fn chi_square(candidate: &[u64], stable: &[u64]) -> Option<Test> {
    let (n, m) = (candidate.iter().sum::<u64>() as f64, stable.iter().sum::<u64>() as f64);
    let classes = candidate.iter().zip(stable).filter(|(a, b)| **a + **b > 0);
    let freedom = classes.clone().count().checked_sub(1).filter(|k| *k > 0)? as f64;
    if n == 0.0 || m == 0.0 {
        return None;
    }
    // Both terms of a class have the same numerator: (a - n s)^2 with s its share of both arms.
    let statistic: f64 = classes
        .map(|(&a, &b)| {
            let share = (a + b) as f64 / (n + m);
            (a as f64 - n * share).powi(2) / share * (1.0 / n + 1.0 / m)
        })
        .sum();
    let (shape, half) = (0.5 * freedom, 0.5 * statistic);
    // The incomplete gamma functions refuse 0.
    let (above, below) = if half > 0.0 { (gamma_ur(shape, half), gamma_lr(shape, half)) } else { (1.0, 0.0) };
    Some(Test { statistic, freedom, above, below })
}
