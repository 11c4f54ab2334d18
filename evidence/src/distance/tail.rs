//! Upper tails of the normal, gamma and chi-square laws, precise where 1 - level rounds to 1.

use statrs::function::erf::erfc;
use statrs::function::gamma::gamma_ur;

/// Steps that a quantile may take; about ten are needed.
const STEPS: u32 = 200;
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

/// The probability that a standard normal variable exceeds `x`.
pub(super) fn normal_tail(x: f64) -> f64 {
    0.5 * erfc(x * std::f64::consts::FRAC_1_SQRT_2)
}

/// The value that a standard normal variable exceeds with probability `level`: the square of one is chi-square.
pub(super) fn normal_quantile(level: f64) -> f64 {
    if level > 0.5 { -normal_quantile(1.0 - level) } else { chi_square_critical(1, 2.0 * level).sqrt() }
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

/// The value x with Q(shape, x) = level, by false position on ln Q(e^u) (Illinois), which is nearly straight.
fn gamma_quantile(shape: f64, level: f64) -> f64 {
    let excess = |u: f64| (gamma_ur(shape, u.exp()).max(f64::MIN_POSITIVE) / level).ln();
    let (mut low, mut high) = (shape.ln(), (shape + 1.0).ln());
    let (mut above, mut below) = (excess(low), excess(high));
    while above < 0.0 {
        (high, below) = (low, above);
        low -= 1.0;
        above = excess(low);
    }
    while below > 0.0 {
        (low, above) = (high, below);
        high += 0.7;
        below = excess(high);
    }
    for _ in 0..STEPS {
        let u = (low * below - high * above) / (below - above);
        let at = excess(u);
        if at.abs() < 1e-13 || high - low < 1e-15 {
            return u.exp();
        }
        if at > 0.0 {
            (low, above, below) = (u, at, 0.5 * below);
        } else {
            (high, below, above) = (u, at, 0.5 * above);
        }
    }
    high.exp()
}
