//! Fisher's noncentral hypergeometric distribution: how many of x events hit the candidate, given the units of
//! both arms, if the odds of an event are `ratio` times higher there.
//!
//! With h(k) = C(n, k) C(m, x-k) / C(n+m, x) its normaliser is M(w) = sum_k h(k) w^k (Fisher 1935; Fog,
//! *Calculation methods for Fisher's noncentral hypergeometric distribution*, 2008), and the likelihood of
//! what was seen is h(x_candidate) w^x_candidate / M(w).

use super::Stratum;

mod loader;
mod sum;

use sum::Table;

/// Terms up to which M is evaluated as one polynomial for all ratios together.
const FEW: u64 = 128;
/// Largest ln of a power of a ratio that the polynomial may meet: f64 ends at 709.
const LARGEST_POWER: f64 = 600.0;

/// ln L(ratio) - ln L(tolerance) of the interval for each of the other ratios, given with their logarithms.
/// Both arms have units and there is an event ([`Stratum::informs`]).
pub(super) fn log_likelihoods<const N: usize>(
    stratum: &Stratum,
    (tolerance, others): (f64, &[f64; N]),
    (log_tolerance, log_others): (f64, &[f64; N]),
) -> [f64; N] {
    let table = Table::new(stratum);
    let largest = log_others.iter().fold(log_tolerance.abs(), |most, log| most.max(log.abs()));
    let terms = table.high - table.low;
    let mut out = [0.0; N];
    if terms < FEW && terms as f64 * largest < LARGEST_POWER {
        let polynomial = table.polynomial();
        // Powers are counted from the mode at ratio 1, where the polynomial is normalised.
        let hits = stratum.x as f64 - polynomial.mode as f64;
        let null = hits * log_tolerance - polynomial.at(&[tolerance])[0].ln();
        let sums = polynomial.at(others);
        for i in 0..N {
            out[i] = hits * log_others[i] - sums[i].ln() - null;
        }
        return out;
    }
    let log_likelihood = |ratio: f64, log: f64| {
        let (from, log_sum) = table.sum(ratio);
        (stratum.x as f64 - from as f64) * log - log_sum
    };
    let null = log_likelihood(tolerance, log_tolerance);
    for i in 0..N {
        out[i] = log_likelihood(others[i], log_others[i]) - null;
    }
    out
}
