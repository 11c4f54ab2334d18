//! Upper tails of the normal, gamma and chi-square laws, precise where 1 - level rounds to 1.

use statrs::function::gamma::{gamma_ur, ln_gamma};

pub(super) use crate::share::{normal_above, normal_critical};

/// Steps that a quantile may take; about four are needed.
const STEPS: u32 = 100;
/// Below this skewness the approximation of Wilson and Hilferty is as good as the gamma law itself.
const SLIGHT_SKEW: f64 = 0.2;

/// The probability that chi-square with `freedom` degrees exceeds `x`.
pub(super) fn chi_square_tail(freedom: usize, x: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { gamma_ur(freedom as f64 / 2.0, x / 2.0) }
}

/// The value that chi-square with `freedom` degrees exceeds with probability `level`, 0 < level < 1; 0 for
/// no degrees.
#[must_use]
pub fn chi_square_critical(freedom: usize, level: f64) -> f64 {
    if freedom == 0 { 0.0 } else { 2.0 * gamma_quantile(freedom as f64 / 2.0, level) }
}

/// About what chi-square with `freedom` degrees and this noncentrality exceeds with probability `level`, 0 < level <
/// 1: the scaled chi-square with the same mean and variance (Patnaik, Biometrika 36 (1949) 202), whose tail is
/// heavier.
pub(super) fn noncentral_critical(freedom: usize, noncentrality: f64, level: f64) -> f64 {
    let (mean, spread) = (freedom as f64 + noncentrality, freedom as f64 + 2.0 * noncentrality);
    if mean == 0.0 { 0.0 } else { spread / mean * 2.0 * gamma_quantile(mean * mean / spread / 2.0, level) }
}

/// What a gamma variable of mean 0, variance 1 and this skewness >= 0 exceeds with probability `level`; the normal
/// quantile without skewness. `normal` is that quantile. It stands for sums of skewed terms (Pearson's type III).
pub(super) fn skewed_quantile(skew: f64, level: f64, normal: f64) -> f64 {
    if skew < SLIGHT_SKEW {
        // Wilson & Hilferty, PNAS 17 (1931) 684, as a correction of z.
        let h = skew / 6.0;
        return if h < 1e-6 { normal } else { ((1.0 + h * normal - h * h).powi(3) - 1.0) / (3.0 * h) };
    }
    let shape = 4.0 / (skew * skew);
    (gamma_quantile(shape, level) - shape) / shape.sqrt()
}

/// The value x with Q(shape, x) = level: Newton's steps on ln Q, which is nearly straight, from where Wilson &
/// Hilferty (PNAS 17 (1931) 684) put it.
fn gamma_quantile(shape: f64, level: f64) -> f64 {
    let (spread, log_gamma) = (1.0 / (9.0 * shape), ln_gamma(shape));
    let guess = 1.0 - spread + normal_critical(level) * spread.sqrt();
    let mut x = shape * guess.max(0.01).powi(3);
    for _ in 0..STEPS {
        let above = gamma_ur(shape, x).max(f64::MIN_POSITIVE);
        let density = ((shape - 1.0) * x.ln() - x - log_gamma).exp();
        let step = (above / level).ln() * above / density;
        // Not below 0, nor far beyond where the tail still has a value.
        let next = (x + step).clamp(0.1 * x, 3.0 * x + 1.0);
        let moved = (next - x).abs();
        x = next;
        if moved <= 1e-13 * x {
            break;
        }
    }
    x
}
