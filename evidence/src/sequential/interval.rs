//! From likelihoods on a grid to a confidence sequence.

use super::log_sum_exp;
use super::ratios::{LOGS, OTHERS, SIDE};

/// Where, in ln of ratio / tolerance, the likelihood may still lie within ln(1/level) of the mixture's: a set
/// that at every time at once holds the true ratio with probability 1 - level. `None`: beyond the grid.
///
/// For each ratio w the mean over the grid of L(w') / L(w) is an e-process if w is true, so all w for which it
/// is below 1/level form a confidence sequence (Robbins 1970; Darling & Robbins 1967). ln L is concave in ln w
/// (both families are exponential). So it lies below the continuation of the chords beside a gap of the grid,
/// and where these cross the bound is outside of the true end, never inside.
pub(super) fn bounds(evidence: &[f64; OTHERS], level: f64) -> (Option<f64>, Option<f64>) {
    const POINTS: usize = OTHERS + 1;
    // The tolerance itself, at likelihood ratio 1, belongs between the two sides.
    let points: [(f64, f64); POINTS] = std::array::from_fn(|i| match i.cmp(&SIDE) {
        std::cmp::Ordering::Less => (LOGS[i], evidence[i]),
        std::cmp::Ordering::Equal => (0.0, 0.0),
        std::cmp::Ordering::Greater => (LOGS[i - 1], evidence[i - 1]),
    });
    let bound = log_sum_exp(points.iter().map(|p| p.1)) - (POINTS as f64).ln() + level.ln();
    let mirrored: [(f64, f64); POINTS] = std::array::from_fn(|i| {
        let (log, height) = points[POINTS - 1 - i];
        (-log, height)
    });
    (upper(&mirrored, bound).map(|log| -log), upper(&points, bound))
}

/// The upper end of the heights above `bound`; points ascend.
fn upper(points: &[(f64, f64)], bound: f64) -> Option<f64> {
    // The largest height is above the mean, and the mean above the bound.
    let last = points.iter().rposition(|p| p.1 > bound)?;
    let outside = *points.get(last + 1)?;
    // Where the line through two points falls to the bound.
    let falls = |from: usize, to: usize| {
        let ((a, height), (b, other)) = (points.get(from)?, points.get(to)?);
        let slope = (other - height) / (b - a);
        (slope < 0.0).then(|| a + (bound - height) / slope)
    };
    let before = last.checked_sub(1).and_then(|previous| falls(previous, last));
    let after = falls(last + 1, last + 2);
    Some(before.into_iter().chain(after).fold(outside.0, f64::min).max(points[last].0))
}
