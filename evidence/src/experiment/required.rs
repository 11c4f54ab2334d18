//! How many samples a fixed-horizon test needs.

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
