//! The likelihood of which arm each event hit, if every unit was drawn for its arm at random with a known share.

/// ln L(ratio) - ln L(null) for each of the other ratios, given with ln(ratio / null).
///
/// An event hits the candidate, whose share of the units is pi, with probability pi w / (pi w + 1 - pi) if the rate
/// there is w times that of stable; so L(w) is w^hits / (1 + pi (w - 1))^(hits + misses), up to a constant.
pub(super) fn log_likelihoods<const N: usize>(
    hits: f64,
    misses: f64,
    share: f64,
    (null, others): (f64, &[f64; N]),
    logs: &[f64; N],
) -> [f64; N] {
    let events = hits + misses;
    let log_mass = |ratio: f64| (share * (ratio - 1.0)).ln_1p();
    let log_null = log_mass(null);
    std::array::from_fn(|i| hits * logs[i] - events * (log_mass(others[i]) - log_null))
}
