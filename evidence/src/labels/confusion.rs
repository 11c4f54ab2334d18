//! True against predicted class: exact per class, sparse and capped per pair.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Measured, Share};

/// The name that stands for every class outside the class list, and for pairs above [`MAX_PAIRS`].
pub const OTHER: &str = "(other)";

/// Pairs of a true and a wrong predicted class that one process tells apart.
pub const MAX_PAIRS: usize = 512;

/// What was counted of one class. Precision, recall and F1 need no more, so the cap on pairs never touches
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Items of the class that were predicted as it.
    pub hits: u64,
    /// Items whose true class it is: the support.
    pub truths: u64,
    /// Items that were predicted as it.
    pub predictions: u64,
}

impl Tally {
    /// Hits of all predictions of the class.
    #[must_use]
    pub fn precision(self) -> Share {
        Share::new(self.hits, self.predictions)
    }

    /// Hits of all items of the class.
    #[must_use]
    pub fn recall(self) -> Share {
        Share::new(self.hits, self.truths)
    }

    /// Hits of all items that are of the class or were predicted as it (Jaccard's index J).
    #[must_use]
    pub fn overlap(self) -> Share {
        Share::new(self.hits, (self.truths + self.predictions).saturating_sub(self.hits))
    }

    /// F1 = 2 hits / (truths + predictions), the harmonic mean of precision and recall; `None` when the
    /// class neither occurred nor was predicted.
    ///
    /// F1 = 2J / (1 + J) grows with J, and given how many items touch the class the hits are binomial with
    /// J. So the limits are those of J, mapped: Wilson's here, exact ones with [`Share::exact`] of
    /// [`Tally::overlap`] and [`Tally::f1_of`].
    #[must_use]
    pub fn f1(self, level: f64) -> Option<Measured> {
        self.overlap().wilson(level).map(Self::f1_of)
    }

    /// F1 of a measured [`Tally::overlap`].
    #[must_use]
    pub fn f1_of(overlap: Measured) -> Measured {
        let map = |j: f64| 2.0 * j / (1.0 + j);
        Measured::new(map(overlap.value), map(overlap.low), map(overlap.high))
    }

    fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.truths += other.truths;
        self.predictions += other.predictions;
    }

    fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            hits: self.hits.checked_sub(earlier.hits)?,
            truths: self.truths.checked_sub(earlier.truths)?,
            predictions: self.predictions.checked_sub(earlier.predictions)?,
        })
    }
}

/// The scores of one class, each with Wilson's limits; `None` is a division by zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassScores {
    /// Items whose true class it is.
    pub support: u64,
    /// Right among those predicted as the class; `None` if it never was.
    pub precision: Option<Measured>,
    /// Found among those of the class; `None` without any.
    pub recall: Option<Measured>,
    /// [`Tally::f1`].
    pub f1: Option<Measured>,
}

/// A confusion matrix. [`Confusion::classes`] are exact; [`Confusion::mistakes`] tells what was taken for what
/// and is capped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confusion {
    /// By class.
    pub classes: BTreeMap<String, Tally>,
    /// Wrong answers by true class, then by predicted class.
    pub mistakes: BTreeMap<String, BTreeMap<String, u64>>,
    /// Labels whose true class is outside the class list: no answer could be right, so nothing else counts
    /// them.
    pub other: u64,
}

impl Confusion {
    /// Counts one label; whether its true class is in the class list. A pair that would exceed
    /// [`MAX_PAIRS`] has [`OTHER`] as its predicted class.
    pub fn count(&mut self, classes: &BTreeSet<String>, truth: &str, predicted: &str) -> bool {
        let known = |class: &str| class != OTHER && classes.contains(class);
        if !known(truth) {
            self.other += 1;
            return false;
        }
        self.classes.entry(truth.to_owned()).or_default().truths += 1;
        if known(predicted) {
            self.classes.entry(predicted.to_owned()).or_default().predictions += 1;
        }
        if truth == predicted {
            self.classes.entry(truth.to_owned()).or_default().hits += 1;
        } else {
            let room = self.has(truth, predicted) || self.pairs() < MAX_PAIRS;
            let predicted = if known(predicted) && room { predicted } else { OTHER };
            let row = self.mistakes.entry(truth.to_owned()).or_default();
            *row.entry(predicted.to_owned()).or_default() += 1;
        }
        true
    }

    fn has(&self, truth: &str, predicted: &str) -> bool {
        self.mistakes.get(truth).is_some_and(|row| row.contains_key(predicted))
    }

    fn pairs(&self) -> usize {
        self.mistakes.values().map(BTreeMap::len).sum()
    }

    /// Labels with a true class of the class list.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.classes.values().map(|tally| tally.truths).sum()
    }

    /// Right answers out of [`Confusion::total`].
    #[must_use]
    pub fn accuracy(&self) -> Share {
        Share::new(self.classes.values().map(|tally| tally.hits).sum(), self.total())
    }

    /// The scores of a class, limits at two-sided `level`; all `None` for one that was never seen.
    #[must_use]
    pub fn scores(&self, class: &str, level: f64) -> ClassScores {
        let tally = self.classes.get(class).copied().unwrap_or_default();
        ClassScores {
            support: tally.truths,
            precision: tally.precision().wilson(level),
            recall: tally.recall().wilson(level),
            f1: tally.f1(level),
        }
    }

    /// Adds the counts of another pod or interval.
    pub fn add(&mut self, other: &Self) {
        for (class, tally) in &other.classes {
            self.classes.entry(class.clone()).or_default().add(*tally);
        }
        for (truth, row) in &other.mistakes {
            let mine = self.mistakes.entry(truth.clone()).or_default();
            for (predicted, count) in row {
                *mine.entry(predicted.clone()).or_default() += count;
            }
        }
        self.other += other.other;
    }

    /// What was counted since an earlier reading of the same counters; `None` after a reset (C4).
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        // rule: C4
        let mut delta = self.clone();
        for (class, tally) in &earlier.classes {
            let mine = delta.classes.get_mut(class)?;
            *mine = mine.since(*tally)?;
        }
        for (truth, row) in &earlier.mistakes {
            let mine = delta.mistakes.get_mut(truth)?;
            for (predicted, count) in row {
                let mine = mine.get_mut(predicted)?;
                *mine = mine.checked_sub(*count)?;
            }
        }
        delta.other = self.other.checked_sub(earlier.other)?;
        delta.classes.retain(|_, tally| *tally != Tally::default());
        delta.mistakes.retain(|_, row| {
            row.retain(|_, count| *count > 0);
            !row.is_empty()
        });
        Some(delta)
    }

    /// The same with the `limit` most frequent pairs, and the rest as [`OTHER`]. Sums of many processes know
    /// more pairs than one: this is for what is stored and shown. Of equal pairs the first by name stay.
    #[must_use]
    pub fn capped(&self, limit: usize) -> Self {
        let mut pairs: Vec<(&String, &String, u64)> = self
            .mistakes
            .iter()
            .flat_map(|(truth, row)| row.iter().map(move |(predicted, count)| (truth, predicted, *count)))
            .filter(|(_, predicted, _)| *predicted != OTHER)
            .collect();
        pairs.sort_by_key(|(truth, predicted, count)| (Reverse(*count), *truth, *predicted));
        let mut capped = self.clone();
        for (truth, predicted, count) in pairs.into_iter().skip(limit) {
            let row = capped.mistakes.entry(truth.clone()).or_default();
            row.remove(predicted);
            *row.entry(OTHER.to_owned()).or_default() += count;
        }
        capped
    }
}
