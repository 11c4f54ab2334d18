//! Distances of smoothed shares: they measure how much has changed, whatever n is.

use super::homogeneity::Proof;
use super::tail::{chi_square_critical, chi_square_tail, noncentral_critical};
use super::{Distance, DistanceError, Pair, noise, top_parts};

/// The population stability index of `ours` from `theirs`: sum (p - q) ln(p / q), the symmetrised
/// Kullback-Leibler divergence (Kullback & Leibler 1951, Jeffreys 1946), of shares smoothed by half an item per
/// cell (J4). From 0, unbounded. A part's contribution is its term.
///
/// To first order PSI is chi-square times (1/n + 1/m) (Yurdakul & Naranjo, *Statistical properties of the population
/// stability index*, 2020), which is why a fixed 0.2 fires on noise at small n. That order is not enough for the small
/// levels of J3: PSI grows without bound where a cell runs empty, so that with 10 even cells, n = 100 and m =
/// 1,000 it is exceeded 2.6 times too often at level 1e-4, and 12 times at 1e-6 (simulated). So both tests of
/// [`super::chi_square`] must exceed their critical value too, expressed as the PSI that is as far above its
/// critical value as they would have to be above theirs.
///
/// # Errors
/// Refuses an empty side and unequal cells.
pub fn psi(ours: &[u64], theirs: &[u64], level: f64) -> Result<Distance, DistanceError> {
    // rule: J2, J4
    let pair = Pair::new(ours, theirs)?;
    let terms = smoothed(&pair).map(psi_term).collect();
    Ok(told(&pair, terms, level, PSI))
}

/// The Jensen-Shannon distance, the root of the divergence in bits, 0..=1: sqrt(sum (p log2(p/r) + q log2(q/r)) / 2)
/// with r = (p + q) / 2 (Lin 1991; Endres & Schindelin 2003), of shares smoothed by half an item per cell (J4). A
/// part's contribution is its term of the divergence. Noise as in [`psi`]: 8 ln 2 times the divergence is
/// chi-square times (1/n + 1/m) to first order.
///
/// # Errors
/// Refuses an empty side and unequal cells.
pub fn jensen_shannon(ours: &[u64], theirs: &[u64], level: f64) -> Result<Distance, DistanceError> {
    // rule: J2, J4
    let pair = Pair::new(ours, theirs)?;
    let terms = smoothed(&pair)
        .map(|(p, q)| {
            let r = 0.5 * (p + q);
            // Rounding may leave less than nothing where p = q.
            (0.5 * (p * (p / r).log2() + q * (q / r).log2())).max(0.0)
        })
        .collect();
    Ok(told(&pair, terms, level, JENSEN_SHANNON))
}

/// The Hellinger distance, 0..=1: sqrt(sum (sqrt p - sqrt q)^2 / 2), of shares smoothed by half an item per cell
/// (J4). A part's contribution is its term under the root. Noise as in [`psi`]: 8 times the square is chi-square
/// times (1/n + 1/m) to first order.
///
/// # Errors
/// Refuses an empty side and unequal cells.
pub fn hellinger(ours: &[u64], theirs: &[u64], level: f64) -> Result<Distance, DistanceError> {
    // rule: J2, J4
    let pair = Pair::new(ours, theirs)?;
    let terms = smoothed(&pair).map(|(p, q)| 0.5 * (p.sqrt() - q.sqrt()).powi(2)).collect();
    Ok(told(&pair, terms, level, HELLINGER))
}

pub(super) fn psi_term((p, q): (f64, f64)) -> f64 {
    (p - q) * (p / q).ln()
}

/// The shares of both sides with half an item more in each cell.
pub(super) fn smoothed<'a>(pair: &'a Pair<'_>) -> impl Iterator<Item = (f64, f64)> + 'a {
    let half = 0.5 * pair.ours.len() as f64;
    let (n, m) = (pair.n as f64 + half, pair.m as f64 + half);
    pair.counts().map(move |(a, b)| ((a as f64 + 0.5) / n, (b as f64 + 0.5) / m))
}

/// How a statistic follows from chi-square times (1/n + 1/m).
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// What the sum of the terms is per unit of it.
    per_chi_square: f64,
    /// Whether the statistic is the root of that sum.
    root: bool,
}

pub(crate) const PSI: Scale = Scale { per_chi_square: 1.0, root: false };
pub(crate) const JENSEN_SHANNON: Scale =
    Scale { per_chi_square: 1.0 / (8.0 * std::f64::consts::LN_2), root: true };
pub(crate) const HELLINGER: Scale = Scale { per_chi_square: 0.125, root: true };

impl Scale {
    fn shown(self, sum: f64) -> f64 {
        if self.root { sum.sqrt() } else { sum }
    }

    /// About what is seen of a true distance of `max` with probability `level` only: to first order, the sum is a
    /// noncentral chi-square. For PSI that is not enough, see [`super::psi_reach`].
    pub(crate) fn reach(self, found: &Distance, max: f64, level: f64) -> f64 {
        let unit = self.per_chi_square * noise(found.n, found.m);
        let sum = if self.root { max * max } else { max };
        self.shown(unit * noncentral_critical(found.freedom.unwrap_or(0), sum / unit, level))
    }
}

fn told(pair: &Pair<'_>, terms: Vec<f64>, level: f64, scale: Scale) -> Distance {
    let sum: f64 = terms.iter().sum();
    let unit = scale.per_chi_square * pair.noise();
    let freedom = terms.len().saturating_sub(1);
    let proof = Proof::new(pair);
    let critical = (level > 0.0)
        .then(|| scale.shown(proof.critical(sum, chi_square_critical(freedom, level) * unit, level)));
    Distance {
        p_value: Some(if freedom == 0 {
            1.0
        } else {
            proof.p_value().max(chi_square_tail(freedom, sum / unit))
        }),
        critical,
        freedom: Some(freedom),
        ..pair.distance(scale.shown(sum), top_parts(terms))
    }
}
