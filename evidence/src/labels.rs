//! What true labels say of a model: accuracy, precision, recall, F1, calibration and AUC from counters.
//!
//! ```text
//! label arrives ─> Labels::count ─> counters ─ add (pods, intervals) ─> since (exact delta) ─> measures
//! ```
//!
//! A label arrives minutes or days after its answer. It is counted in the interval in which it **arrives**,
//! for the revision that gave the answer: no past interval is ever reopened, counters only grow, and a delta
//! is a difference of two readings, as with [`wire::Counts`]. All state is sums, so that the order in which
//! pods and intervals are merged does not matter. Which labels arrive is not random: compare two arms only
//! when their labels arrive in the ratio of their shares.

mod auc;
mod average;
mod calibration;
mod confusion;
mod histogram;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::Grid;

pub use auc::{auc, auc_variance};
pub use average::{Macro, macro_f1, macro_precision, macro_recall};
pub use calibration::{Calibration, CalibrationBin, calibration, confidence_bins};
pub use confusion::{ClassScores, Confusion, MAX_PAIRS, OTHER, Tally};
pub use histogram::{Histogram, HistogramError};

use crate::{Measured, Share};

/// Why a label cannot be counted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LabelError {
    /// Not a confidence.
    #[error("confidence: found {0}, a number in 0..=1 is needed")]
    Confidence(f64),
    /// Not a score.
    #[error("scores.{class}: found {found}, a number in 0..=1 is needed")]
    Score {
        /// The class whose score it is.
        class: String,
        /// What was found.
        found: f64,
    },
    /// Scores of some classes only would bias the rest.
    #[error("scores: found {found}, one for each of the {needed} classes is needed")]
    Classes {
        /// How many were found.
        found: usize,
        /// How many classes there are.
        needed: usize,
    },
}

/// Scores of one class in 0..=1 on [`Grid::Unit`]: of items of the class, and of all others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scores {
    /// Items whose true class it is.
    pub members: Histogram,
    /// All other items.
    pub rest: Histogram,
}

impl Scores {
    /// One-vs-rest AUC: the chance that a member scores higher than one of the rest ([`auc`]).
    #[must_use]
    pub fn auc(&self, level: f64) -> Option<Measured> {
        auc(self.members.cells(), self.rest.cells(), level)
    }
}

/// Counters of the labels of one revision that have arrived so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Labels {
    /// True against predicted class.
    pub confusion: Confusion,
    /// Right answers by 1 - confidence on [`Grid::Doubt`].
    pub correct: Histogram,
    /// Wrong answers by 1 - confidence on [`Grid::Doubt`].
    pub wrong: Histogram,
    /// Scores of every class, where all scores of an answer were captured; 1 KiB per class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, Scores>,
}

impl Labels {
    /// Counts one label. A true class outside `classes` counts as [`Confusion::other`] only; a predicted one
    /// outside of them is a wrong answer. Refuses a confidence outside 0..=1, and then counts nothing.
    pub fn count(
        &mut self,
        classes: &BTreeSet<String>,
        truth: &str,
        predicted: &str,
        confidence: f64,
    ) -> Result<(), LabelError> {
        let cell = cell(Grid::Doubt, 1.0 - confidence).ok_or(LabelError::Confidence(confidence))?;
        if self.confusion.count(classes, truth, predicted) {
            let side = if truth == predicted { &mut self.correct } else { &mut self.wrong };
            side.count(cell);
        }
        Ok(())
    }

    /// Counts the scores of one labelled answer, one per class, for one-vs-rest AUC. A true class outside
    /// `classes` is not counted. Refuses missing classes and scores outside 0..=1, and then counts nothing.
    pub fn count_scores(
        &mut self,
        classes: &BTreeSet<String>,
        truth: &str,
        scores: &BTreeMap<String, f64>,
    ) -> Result<(), LabelError> {
        let known = scores.keys().filter(|class| classes.contains(*class)).count();
        if known != classes.len() || known != scores.len() {
            return Err(LabelError::Classes { found: scores.len(), needed: classes.len() });
        }
        let mut cells = Vec::with_capacity(known);
        for (class, &found) in scores {
            let refused = || LabelError::Score { class: class.clone(), found };
            cells.push((class, cell(Grid::Unit, found).ok_or_else(refused)?));
        }
        if classes.contains(truth) {
            for (class, cell) in cells {
                let counted = self.scores.entry(class.clone()).or_default();
                if class == truth { counted.members.count(cell) } else { counted.rest.count(cell) }
            }
        }
        Ok(())
    }

    /// Adds the counts of another pod or interval.
    pub fn add(&mut self, other: &Self) {
        self.confusion.add(&other.confusion);
        self.correct.add(&other.correct);
        self.wrong.add(&other.wrong);
        for (class, scores) in &other.scores {
            let mine = self.scores.entry(class.clone()).or_default();
            mine.members.add(&scores.members);
            mine.rest.add(&scores.rest);
        }
    }

    /// What was counted since an earlier reading of the same counters; `None` when any of them went
    /// backwards, which is a reset (C4).
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        // rule: C4
        let mut scores = self.scores.clone();
        for (class, before) in &earlier.scores {
            let mine = scores.get_mut(class)?;
            mine.members = mine.members.since(&before.members)?;
            mine.rest = mine.rest.since(&before.rest)?;
        }
        scores.retain(|_, scores| scores.members.total() + scores.rest.total() > 0);
        Some(Self {
            confusion: self.confusion.since(&earlier.confusion)?,
            correct: self.correct.since(&earlier.correct)?,
            wrong: self.wrong.since(&earlier.wrong)?,
            scores,
        })
    }

    /// Right answers out of all labelled ones, labels outside the class list left out.
    #[must_use]
    pub fn accuracy(&self) -> Share {
        self.confusion.accuracy()
    }

    /// The chance that a right answer is more confident than a wrong one, ties half ([`auc`]); `None` when
    /// either is missing.
    #[must_use]
    pub fn auc(&self, level: f64) -> Option<Measured> {
        // Less doubt is more confidence: the sides change places.
        auc(self.wrong.cells(), self.correct.cells(), level)
    }

    /// The mean over the classes of one-vs-rest AUC, of those that have members and others. How the classes
    /// depend on each other is not counted: the limits are the means of the limits, which hold whatever it is.
    #[must_use]
    pub fn macro_auc(&self, level: f64) -> Option<Macro> {
        let defined: Vec<Measured> = self.scores.values().filter_map(|scores| scores.auc(level)).collect();
        let n = defined.len() as f64;
        let mean = |pick: fn(&Measured) -> f64| defined.iter().map(pick).sum::<f64>() / n;
        (!defined.is_empty()).then(|| Macro {
            measured: Measured::new(mean(|m| m.value), mean(|m| m.low), mean(|m| m.high)),
            classes: defined.len(),
            left_out: self.scores.len() - defined.len(),
        })
    }

    /// How far confidence is from the share of right answers ([`calibration`]), in `bins` equal bins.
    #[must_use]
    pub fn calibration(&self, bins: usize, level: f64) -> Option<Calibration> {
        calibration(self.correct.cells(), self.wrong.cells(), &confidence_bins(bins), level)
    }
}

/// The cell of a number in 0..=1; `None` for any other.
fn cell(grid: Grid, x: f64) -> Option<usize> {
    (0.0..=1.0).contains(&x).then(|| grid.cell(x)).flatten()
}
