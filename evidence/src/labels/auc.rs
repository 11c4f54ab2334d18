//! The area under the ROC curve from two histograms.

use crate::Measured;
use crate::share::normal_critical;

/// The chance that a positive item scores higher than a negative one, ties half, from counts per cell of
/// rising score: the Mann-Whitney statistic, which is the area under the ROC curve (Bamber 1975). Items of
/// one cell are ties. With an interval at two-sided `level`; `None` when either side is empty.
///
/// The interval is the hull of two. DeLong's variance ([`auc_variance`]) on the logit scale (Pepe, *Statistical
/// evaluation of medical tests*, 2003, 5.2) is right for large samples of any shape, and has no width when one
/// side lies above the other. Newcombe's score interval (Stat. Med. 25 (2006) 559, method 5), all t with
/// |a - t| <= z sqrt(V(t)), has one, and holds in small samples; its V is Hanley & McNeil's (Radiology 143
/// (1982) 29) with the two sample sizes averaged:
/// V(t) = t (1-t) / (m n) * (1 + ((m+n)/2 - 1) ((1-t)/(2-t) + t/(1+t))).
#[must_use]
pub fn auc(positive: &[u64], negative: &[u64], level: f64) -> Option<Measured> {
    let area = area(positive, negative)?;
    let z = normal_critical(level / 2.0);
    let (m, n) = (total(positive), total(negative));
    let (mut low, mut high) = (score_limit(area, m, n, z), 1.0 - score_limit(1.0 - area, m, n, z));
    let variance = auc_variance(positive, negative).filter(|_| area > 0.0 && area < 1.0);
    if let Some(variance) = variance {
        let (logit, step) = ((area / (1.0 - area)).ln(), z * variance.sqrt() / (area * (1.0 - area)));
        low = low.min(logistic(logit - step));
        high = high.max(logistic(logit + step));
    }
    Some(Measured::new(area, low, high))
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn total(cells: &[u64]) -> f64 {
    cells.iter().sum::<u64>() as f64
}

/// Exact in whole numbers: 1e9 items on each side give 1e18 pairs.
fn area(positive: &[u64], negative: &[u64]) -> Option<f64> {
    let (mut below, mut doubled, mut m) = (0u128, 0u128, 0u128);
    for (&ours, &theirs) in positive.iter().zip(negative) {
        let (ours, theirs) = (u128::from(ours), u128::from(theirs));
        doubled += ours * (2 * below + theirs);
        below += theirs;
        m += ours;
    }
    let pairs = 2 * m * below;
    (pairs > 0).then(|| doubled as f64 / pairs as f64)
}

/// DeLong's variance of [`auc`] (DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988) 837): S10/m + S01/n, the
/// sample variances of each item's share of the other side that it beats. `None` with less than two on a side.
#[must_use]
pub fn auc_variance(positive: &[u64], negative: &[u64]) -> Option<f64> {
    let (m, n) = (total(positive), total(negative));
    let area = area(positive, negative)?;
    if m < 2.0 || n < 2.0 {
        return None;
    }
    let (mut below, mut above) = (0.0, m);
    let (mut ours_squared, mut theirs_squared) = (0.0, 0.0);
    for (&ours, &theirs) in positive.iter().zip(negative) {
        let (ours, theirs) = (ours as f64, theirs as f64);
        above -= ours;
        ours_squared += ours * ((below + 0.5 * theirs) / n - area).powi(2);
        theirs_squared += theirs * ((above + 0.5 * ours) / m - area).powi(2);
        below += theirs;
    }
    Some(ours_squared / (m - 1.0) / m + theirs_squared / (n - 1.0) / n)
}

/// The lower limit of Newcombe's interval, by bisection: the distance a - t falls and z sqrt(V) rises once
/// past it.
fn score_limit(area: f64, m: f64, n: f64, z: f64) -> f64 {
    let variance = |t: f64| {
        let spread = (1.0 - t) / (2.0 - t) + t / (1.0 + t);
        t * (1.0 - t) / (m * n) * (1.0 + (0.5 * (m + n) - 1.0) * spread)
    };
    let (mut low, mut high) = (0.0, area);
    for _ in 0..80 {
        let t = 0.5 * (low + high);
        if area - t > z * variance(t).sqrt() { low = t } else { high = t }
    }
    low
}
