//! Averages over the classes, every class with the same weight.

use serde::{Deserialize, Serialize};

use super::confusion::{Confusion, Tally};
use crate::{Measured, Share};

/// A mean over classes. Classes for which the measure is a division by zero are left out, not taken as 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Macro {
    /// The mean with its interval.
    pub measured: Measured,
    /// Classes in the mean.
    pub classes: usize,
    /// Classes that were seen but for which the measure is not defined. A class that is never predicted has no
    /// precision: its absence lowers recall and F1 only.
    pub left_out: usize,
}

/// The mean of the classes' precisions with an interval at two-sided `level`; `None` without any.
///
/// Given how often each class was predicted, the precisions are independent shares. Their Wilson limits are
/// joined by the "method of variance estimates recovery" (Zou & Donner, Stat. Med. 27 (2008) 1693):
/// lower = mean - sqrt(sum (p_i - l_i)^2) / k, and likewise above. Unlike the delta method it has a width when
/// all were right.
#[must_use]
pub fn macro_precision(confusion: &Confusion, level: f64) -> Option<Macro> {
    mean_of(confusion, 1.0, |tally| tally.precision().wilson(level))
}

/// The mean of the classes' recalls; as [`macro_precision`], given how often each class occurred.
#[must_use]
pub fn macro_recall(confusion: &Confusion, level: f64) -> Option<Macro> {
    mean_of(confusion, 1.0, |tally| tally.recall().wilson(level))
}

/// The mean of the classes' F1 with an interval at two-sided `level`; `None` without any.
///
/// As [`macro_precision`], from the limits of [`Tally::f1`]; but one mistake lowers the F1 of two classes, so
/// the sum of squares is multiplied by 1..=2, by how much the classes of `confusion` depend on each other.
#[must_use]
pub fn macro_f1(confusion: &Confusion, level: f64) -> Option<Macro> {
    mean_of(confusion, dependence(confusion), |tally| tally.f1(level))
}

fn mean_of(
    confusion: &Confusion,
    dependence: f64,
    measure: impl Fn(&Tally) -> Option<Measured>,
) -> Option<Macro> {
    let seen = confusion.classes.len();
    let defined: Vec<Measured> = confusion.classes.values().filter_map(measure).collect();
    if defined.is_empty() {
        return None;
    }
    let k = defined.len() as f64;
    let mean = defined.iter().map(|m| m.value).sum::<f64>() / k;
    let joined = |side: fn(&Measured) -> f64| {
        (dependence * defined.iter().map(|m| side(m).powi(2)).sum::<f64>()).sqrt() / k
    };
    let (below, above) = (joined(|m| m.value - m.low), joined(|m| m.high - m.value));
    Some(Macro {
        measured: Measured::new(mean, (mean - below).max(0.0), (mean + above).min(1.0)),
        classes: defined.len(),
        left_out: seen - defined.len(),
    })
}

/// By how much the variance of the sum of the classes' F1 exceeds the sum of their variances.
///
/// By the delta method (Takahashi et al., *Confidence interval for micro-averaged F1 and macro-averaged F1
/// scores*, Appl. Intell. 52 (2022) 4961) a mistake that takes class t for p moves F1_t by -a_t and F1_p by
/// -a_p, a_i = 2 hits_i / s_i^2, s_i = truths_i + predictions_i, and a hit moves F1_i by b_i = 2 (1 - F1_i) / s_i.
/// So the variance of the sum is sum over hits b_i^2 + sum over mistakes (a_t + a_p)^2, against
/// sum b_i^2 + a_t^2 + a_p^2 if classes were independent. For pairs that the cap hides, and where nothing went
/// wrong at all, (a + b)^2 <= 2 (a^2 + b^2) is taken: 2 at most, as with two classes.
fn dependence(confusion: &Confusion) -> f64 {
    let slope = |class: &str| {
        let tally = confusion.classes.get(class).copied().unwrap_or_default();
        let sum = tally.truths + tally.predictions;
        if sum == 0 { 0.0 } else { 2.0 * tally.hits as f64 / (sum as f64).powi(2) }
    };
    let (mut apart, mut shared, mut told) = (0.0, 0.0, 0.0);
    for (class, tally) in &confusion.classes {
        let sum = (tally.truths + tally.predictions) as f64;
        let misses = sum - 2.0 * tally.hits as f64;
        let Some(f1) = Share::new(2 * tally.hits, tally.truths + tally.predictions).value() else { continue };
        apart += tally.hits as f64 * (2.0 * (1.0 - f1) / sum).powi(2);
        shared += misses * slope(class).powi(2);
    }
    let mut common = 0.0;
    for (truth, row) in &confusion.mistakes {
        for (predicted, count) in row.iter().filter(|(name, _)| confusion.classes.contains_key(*name)) {
            let (a, b) = (slope(truth), slope(predicted));
            common += *count as f64 * 2.0 * a * b;
            told += *count as f64 * (a * a + b * b);
        }
    }
    let hidden = (shared - told).max(0.0);
    if apart + shared > 0.0 { 1.0 + (common + hidden) / (apart + shared) } else { 2.0 }
}
