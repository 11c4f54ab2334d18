//! Exact confidence limits of a share.

use statrs::function::beta::beta_reg;

/// Halvings of an interval within 0..=1 that exhaust an f64.
const HALVINGS: u32 = 80;

/// The Clopper-Pearson interval of `events` out of `trials` at two-sided level `level` (half of it on each
/// side), for 0 < level < 1: the shares p under which neither "at most" nor "at least" so many events has a
/// probability below level/2. Exact: the true share lies outside with probability `level` at most.
///
/// lower = p with P(Bin(n, p) >= x) = I_p(x, n-x+1) = level/2; upper = p with P(Bin(n, p) <= x) = level/2
/// (Clopper & Pearson, Biometrika 26 (1934) 404; I is the regularised incomplete beta function). Solved by
/// bisection on I: `Beta::inverse_cdf` of statrs stops too early for levels of 1e-9.
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
    let (mut low, mut high) = (0.0, x as f64 / n as f64);
    for _ in 0..HALVINGS {
        let p = 0.5 * (low + high);
        if beta_reg(a, b, p) < tail { low = p } else { high = p }
    }
    low
}
