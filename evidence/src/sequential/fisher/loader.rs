//! ln of binomial probabilities to full relative precision, also for counts of 1e9, where differences of
//! ln n! lose everything: C. Loader, *Fast and accurate computation of binomial probabilities*, 2000.

use std::f64::consts::PI;
use std::sync::LazyLock;

use statrs::function::gamma::ln_gamma;

/// From here on the series is exact to 1e-16.
const TABLE: usize = 16;

static SMALL: LazyLock<[f64; TABLE]> = LazyLock::new(|| {
    std::array::from_fn(|n| {
        let n = n as f64;
        if n == 0.0 { 0.0 } else { ln_gamma(n + 1.0) - (n + 0.5) * n.ln() + n - 0.5 * (2.0 * PI).ln() }
    })
});

/// The error of Stirling's formula: ln n! - ln(sqrt(2 pi n) (n/e)^n), for whole n.
fn stirling_error(n: f64) -> f64 {
    if n < TABLE as f64 {
        return SMALL[n as usize];
    }
    let square = n * n;
    let series = 1.0 / 1188.0 / square;
    let series = (1.0 / 1680.0 - series) / square;
    let series = (1.0 / 1260.0 - series) / square;
    let series = (1.0 / 360.0 - series) / square;
    (1.0 / 12.0 - series) / n
}

/// x ln(x/mean) + mean - x, for x, mean > 0, without cancellation where the two are near.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    if difference.abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() - difference;
    }
    let v = difference / (x + mean);
    let (mut sum, mut term) = (difference * v, 2.0 * x * v);
    for odd in (3..).step_by(2) {
        term *= v * v;
        let next = sum + term / f64::from(odd);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// ln C(n, x) p^x q^(n-x), for whole 0 <= x <= n and p + q = 1, both above 0.
pub(super) fn log_binomial(x: f64, n: f64, p: f64, q: f64) -> f64 {
    if x == 0.0 {
        return n * if p < 0.5 { (-p).ln_1p() } else { q.ln() };
    }
    if x == n {
        return n * if q < 0.5 { (-q).ln_1p() } else { p.ln() };
    }
    stirling_error(n)
        - stirling_error(x)
        - stirling_error(n - x)
        - deviance(x, n * p)
        - deviance(n - x, n * q)
        + 0.5 * (n / (2.0 * PI * x * (n - x))).ln()
}
