//! Copies of requests beside the answers that users got.

use serde::{Deserialize, Serialize};

use crate::Grid;

/// What became of a copy beside the user's answer. Of a batch one item is compared, drawn at random (C3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairOutcome {
    /// Both are good answers, and name the same class, or both none: a null output is an answer too.
    Agree,
    /// Both are good answers that name different classes, one of them maybe none, or batches of different length.
    Disagree,
    /// The copy brought no good answer, where the user got one.
    Failed,
    /// The user's answer is no success, or one of both good answers says nothing of its class: there is nothing to
    /// compare.
    Unjudged,
    /// The copy was not sent: no memory or place for it, a body too large, or no endpoint.
    Dropped,
}

impl PairOutcome {
    /// All values, in the order in which they are written.
    pub const ALL: [Self; 5] = [Self::Agree, Self::Disagree, Self::Failed, Self::Unjudged, Self::Dropped];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::Disagree => "disagree",
            Self::Failed => "failed",
            Self::Unjudged => "unjudged",
            Self::Dropped => "dropped",
        }
    }

    /// Reads [`PairOutcome::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.as_str() == text)
    }

    /// Position in [`PairOutcome::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What a true label says of a pair, as it is written and in the order of [`Pairs::labels`].
pub const PAIR_LABELS: [&str; 4] = ["both", "stable", "shadow", "neither"];

/// Monotone counters of the copies that one revision gets under one state. Each copy is counted under one outcome,
/// when it is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    /// Copies per outcome, in the order of [`PairOutcome::ALL`].
    pub outcomes: [u64; PairOutcome::ALL.len()],
    /// Pairs per cell of [`Grid::Gap`], of those whose compared items both have a confidence.
    pub gap: Vec<u64>,
    /// Pairs per cell of [`Grid::Ratio`], of those of two good answers.
    pub ratio: Vec<u64>,
    /// Pairs of which both answers named a class, and whose true label came while the copy's was still remembered, by
    /// who was right, in the order of [`PAIR_LABELS`]: both, the user's answer alone, the copy's alone, neither. They count
    /// when the label arrives.
    pub labels: [u64; PAIR_LABELS.len()],
}

impl Default for Pairs {
    fn default() -> Self {
        Self {
            outcomes: [0; PairOutcome::ALL.len()],
            gap: vec![0; Grid::Gap.len()],
            ratio: vec![0; Grid::Ratio.len()],
            labels: [0; PAIR_LABELS.len()],
        }
    }
}

impl Pairs {
    /// Copies with this outcome.
    #[must_use]
    pub fn outcome(&self, outcome: PairOutcome) -> u64 {
        self.outcomes[outcome.index()]
    }

    /// Pairs that disagree, and all those whose answers could be compared.
    #[must_use]
    pub fn disagreements(&self) -> (u64, u64) {
        let disagree = self.outcome(PairOutcome::Disagree);
        (disagree, disagree + self.outcome(PairOutcome::Agree))
    }

    /// Labelled pairs whose copy was right, those whose user's answer was, and all of them.
    #[must_use]
    pub fn right(&self) -> (u64, u64, u64) {
        let [both, stable, shadow, neither] = self.labels;
        (both + shadow, both + stable, both + stable + shadow + neither)
    }

    /// Adds the counts of another pod or interval.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.cells_mut().zip(other.cells()) {
            *mine += theirs;
        }
    }

    /// What was counted since an earlier reading of the same counters; `None` when any of them went
    /// backwards, which is a reset (C4).
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut delta = self.clone();
        for (mine, theirs) in delta.cells_mut().zip(earlier.cells()) {
            *mine = mine.checked_sub(*theirs)?;
        }
        Some(delta)
    }

    /// Every counter, in a fixed order.
    pub fn cells(&self) -> impl Iterator<Item = &u64> {
        self.outcomes.iter().chain(&self.gap).chain(&self.ratio).chain(&self.labels)
    }

    /// The same, to be changed.
    pub fn cells_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.outcomes.iter_mut().chain(&mut self.gap).chain(&mut self.ratio).chain(&mut self.labels)
    }
}
