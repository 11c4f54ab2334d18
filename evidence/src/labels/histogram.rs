//! Counts on the 64 cells of a grid.

use serde::{Deserialize, Serialize};
use wire::CELLS;

/// Why a stored histogram cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("histogram: found {found} cells, {CELLS} are needed")]
pub struct HistogramError {
    /// How many cells were found.
    pub found: usize,
}

/// Counts per cell of a [`wire::Grid`] of [`CELLS`] cells; which grid, the owner says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct Histogram(Vec<u64>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; CELLS])
    }
}

impl TryFrom<Vec<u64>> for Histogram {
    type Error = HistogramError;

    fn try_from(cells: Vec<u64>) -> Result<Self, HistogramError> {
        if cells.len() == CELLS { Ok(Self(cells)) } else { Err(HistogramError { found: cells.len() }) }
    }
}

impl From<Histogram> for Vec<u64> {
    fn from(histogram: Histogram) -> Self {
        histogram.0
    }
}

impl Histogram {
    /// The counts, one per cell.
    #[must_use]
    pub fn cells(&self) -> &[u64] {
        &self.0
    }

    /// All that was counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn count(&mut self, cell: usize) {
        self.0[cell] += 1;
    }

    /// Adds the counts of another pod or interval.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// What was counted since an earlier reading; `None` when a cell went backwards (C4).
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        // rule: C4
        self.0
            .iter()
            .zip(&earlier.0)
            .map(|(now, then)| now.checked_sub(*then))
            .collect::<Option<_>>()
            .map(Self)
    }
}
