//! Exact confidence limits of a share.

use statrs::function::beta::{beta_reg, ln_beta};

use crate::share::wilson;

/// Steps that a limit may take; about five are needed.
const STEPS: u32 = 100;

/// The Clopper-Pearson interval of `events` out of `trials` at two-sided level `level` (half of it on each
/// side), for 0 < level < 1: the shares p under which neither "at most" nor "at least" so many events has a
/// probability below level/2. Exact: the true share lies outside with probability `level` at most.
///
/// lower = p with P(Bin(n, p) >= x) = I_p(x, n-x+1) = level/2; upper = p with P(Bin(n, p) <= x) = level/2
/// (Clopper & Pearson, Biometrika 26 (1934) 404; I is the regularised incomplete beta function). Solved by
/// Newton's steps: `Beta::inverse_cdf` of statrs stops too early for levels of 1e-9.
///
/// (0, 1) without trials.
#[must_use]
pub fn clopper_pearson(events: u64, trials: u64, level: f64) -> (f64, f64) {
    let events = events.min(trials);
    let tail = level / 2.0;
    (lower(events, trials, tail), 1.0 - lower(trials - events, trials, tail))
}

fn lower(x: u64, n: u64, tail: f64) -> f64 {
    if x == 0 {
        return 0.0;
    }
    let (a, b) = (x as f64, (n - x + 1) as f64);
    let log_beta = ln_beta(a, b);
    // ln I is concave in u = ln p: from below every step stays below, from above the first one leads below.
    let seen = (a / n as f64).ln();
    let mut u = wilson(x, n, 2.0 * tail).0.ln();
    for _ in 0..STEPS {
        let p = u.exp();
        let below = beta_reg(a, b, p).max(f64::MIN_POSITIVE);
        let slope = (a * u + (b - 1.0) * (-p).ln_1p() - log_beta).exp() / below;
        // Where nothing of I is left, or of its slope, back towards the share seen.
        let step = (tail / below).ln() / slope;
        let next = if step.is_finite() { (u + step).min(seen) } else { 0.5 * (u + seen) };
        let moved = (next - u).abs();
        u = next;
        if moved <= 1e-14 {
            break;
        }
    }
    u.exp()
}
