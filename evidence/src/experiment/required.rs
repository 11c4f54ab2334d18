//! How many samples a fixed-horizon test needs.

use statrs::function::gamma::{gamma_ur, ln_gamma};

use crate::chi_square_critical;
use crate::share::normal_critical;

/// Samples of the candidate and of stable with which the pooled z-test at one-sided `level` finds the
/// difference of the two shares with probability `power`; `split` is the candidate's part of all samples.
///
/// n = (z_level sqrt(r (1-r) (1 + 1/k)) + z_power sqrt(p (1-p) + q (1-q) / k))^2 / (p - q)^2, k = m/n, r the share
/// of both together (Fleiss, Levin & Paik, *Statistical methods for rates and proportions*, 2003, 4.2, without
/// continuity correction).
#[must_use]
pub fn required_shares(candidate: f64, stable: f64, level: f64, power: f64, split: f64) -> [u64; 2] {
    let (p, q, k) = (candidate, stable, (1.0 - split) / split);
    let pooled = split * p + (1.0 - split) * q;
    let null = (pooled * (1.0 - pooled) * (1.0 + 1.0 / k)).sqrt();
    let aim = (p * (1.0 - p) + q * (1.0 - q) / k).sqrt();
    let n = ((normal_critical(level) * null + normal_critical(1.0 - power) * aim) / (p - q)).powi(2);
    [n.ceil() as u64, (k * n).ceil() as u64]
}

/// As [`required_shares`], for Welch's t-test of two means that differ by `effect`, with the same standard
/// `deviation` in both arms: n = (z_level + z_power)^2 deviation^2 (1 + 1/k) / effect^2, and z_level^2 / 2 more
/// samples in all, since the deviation has to be estimated (Guenther, Am. Stat. 35 (1981) 243).
#[must_use]
pub fn required_means(effect: f64, deviation: f64, level: f64, power: f64, split: f64) -> [u64; 2] {
    let (k, z) = ((1.0 - split) / split, normal_critical(level));
    let ratio = (z + normal_critical(1.0 - power)) * deviation / effect;
    let n = ratio * ratio * (1.0 + 1.0 / k) + split * z * z / 2.0;
    // A variance needs two values.
    [(n.ceil() as u64).max(2), ((k * n).ceil() as u64).max(2)]
}

/// As [`required_shares`], for [`super::chi_square`] of the shares of several classes, each list adding up to 1.
/// Classes that are 0 in both are left out. `None` when the shares do not differ.
///
/// n + m = lambda / w^2, with w^2 = split (1 - split) sum (p - q)^2 / r and r the share of both together (Cohen,
/// *Statistical power analysis for the behavioral sciences*, 1988, 7.4), lambda the noncentrality at which
/// chi-square exceeds its critical value with probability `power`.
#[must_use]
pub fn required_classes(
    candidate: &[f64],
    stable: &[f64],
    level: f64,
    power: f64,
    split: f64,
) -> Option<[u64; 2]> {
    let (mut effect, mut classes) = (0.0, 0);
    for (p, q) in candidate.iter().zip(stable).filter(|(p, q)| **p + **q > 0.0) {
        effect += split * (1.0 - split) * (p - q).powi(2) / (split * p + (1.0 - split) * q);
        classes += 1;
    }
    if effect <= 0.0 || classes < 2 {
        return None;
    }
    let n = noncentrality(classes - 1, level, power) / effect;
    Some([(split * n).ceil() as u64, ((1.0 - split) * n).ceil() as u64])
}

/// Where noncentral chi-square exceeds the critical value of `level` with probability `power`, by bisection.
fn noncentrality(freedom: usize, level: f64, power: f64) -> f64 {
    let critical = chi_square_critical(freedom, level);
    let (mut low, mut high) = (0.0, critical);
    while noncentral_above(freedom, high, critical) < power {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if noncentral_above(freedom, middle, critical) < power { low = middle } else { high = middle }
    }
    high
}

/// P(X > x) of noncentral chi-square: the mean of chi-square's with `freedom` + 2j degrees, j Poisson with mean
/// noncentrality / 2 (Johnson, Kotz & Balakrishnan, *Continuous univariate distributions* 2, 1995, 29.3).
fn noncentral_above(freedom: usize, noncentrality: f64, x: f64) -> f64 {
    let (mean, shape) = (0.5 * noncentrality, 0.5 * freedom as f64);
    // Ten deviations and more hold all of the mass that an f64 can tell.
    let last = (mean + 10.0 * mean.sqrt() + 30.0) as usize;
    (0..=last)
        .map(|j| {
            let j = j as f64;
            (j * mean.ln() - mean - ln_gamma(j + 1.0)).exp() * gamma_ur(shape + j, 0.5 * x)
        })
        .sum()
}
