//! Distances between two samples, and what noise alone would reach.
//!
//! Counts are taken on the same cells on both sides. Each distance comes with the value that it must exceed to be
//! more than noise *at this n and this level*; each of those is checked by simulation down to level 1e-4
//! (`tests/noise.rs`), because the textbook approximations are not valid there:
//!
//! | distance | noise bound |
//! |---|---|
//! | [`ks`], [`ks_values`] | the tail bound of Smirnov's limit; p exact for small samples |
//! | [`chi_square`], [`g_test`] | chi-square, for both tests of homogeneity at once |
//! | [`psi`], [`jensen_shannon`], [`hellinger`] | chi-square to first order, and both tests of homogeneity |
//! | [`l_infinity`] | exact tails of the cells' counts, divided by the number of cells |
//! | [`wasserstein`] | the tail of the difference of the means, and what W1 is on average beyond it |
//!
//! What noise makes of a true distance that is not 0 is in `reach.rs` and `judge/drift.rs` (`tests/reach.rs`).

mod cell;
mod groups;
mod homogeneity;
mod ks;
mod reach;
mod share;
mod tail;
mod transport;
mod values;

use std::ops::Range;

pub use cell::l_infinity;
pub use groups::{GROUPS, groups};
pub use homogeneity::{chi_square, g_test};
pub use ks::{ks, ks_critical, ks_limits};
pub(crate) use reach::psi_reach;
pub(crate) use share::{HELLINGER, JENSEN_SHANNON};
pub use share::{hellinger, jensen_shannon, psi};
pub use tail::chi_square_critical;
pub use transport::wasserstein;
pub use values::ks_values;

/// Parts that a distance names.
const TOP_PARTS: usize = 3;

/// A distance between two samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Distance {
    /// The statistic; its unit and range are those of the function that returned it.
    pub value: f64,
    /// The probability that equal distributions show at least this value, or an upper limit of it; absent where
    /// only the critical value is known.
    pub p_value: Option<f64>,
    /// What the value must exceed to be more than noise at the level asked for; absent for level 0, which asks
    /// for none. Where these samples are too few to tell, it is never exceeded.
    pub critical: Option<f64>,
    /// Degrees of freedom of chi-square, where the statistic has them; after merging for [`chi_square`] and
    /// [`g_test`].
    pub freedom: Option<usize>,
    /// Size of our sample, above 0.
    pub n: u64,
    /// Size of theirs, above 0.
    pub m: u64,
    /// The three cells that contributed most, largest first; without those that contributed nothing.
    pub parts: Vec<Part>,
}

/// What some neighbouring cells contribute to a distance.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The cells.
    pub cells: Range<usize>,
    /// Their term, in the unit that the function names.
    pub contribution: f64,
}

/// Why two samples have no distance.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum DistanceError {
    /// A side without samples has no distribution.
    #[error("{side} has no samples, at least 1 is needed")]
    Empty {
        /// `ours` or `theirs`.
        side: &'static str,
    },
    /// The cells are not the same.
    #[error("{what} has {found} cells, must be {expected} as in ours")]
    Cells {
        /// `theirs` or `values`.
        what: &'static str,
        /// Cells found.
        found: usize,
        /// Cells of ours.
        expected: usize,
    },
    /// A value that has no place in an order.
    #[error("{side}[{index}] is NaN, must be a number")]
    NotANumber {
        /// `ours` or `theirs`.
        side: &'static str,
        /// Where.
        index: usize,
    },
    /// Places of cells that are no scale.
    #[error("values[{index}] is {found}, must be finite and above the one before")]
    Place {
        /// Where.
        index: usize,
        /// What was found.
        found: f64,
    },
}

/// Two samples on the same cells, neither of them empty.
struct Pair<'a> {
    ours: &'a [u64],
    theirs: &'a [u64],
    n: u64,
    m: u64,
}

impl<'a> Pair<'a> {
    fn new(ours: &'a [u64], theirs: &'a [u64]) -> Result<Self, DistanceError> {
        if ours.len() != theirs.len() {
            let (found, expected) = (theirs.len(), ours.len());
            return Err(DistanceError::Cells { what: "theirs", found, expected });
        }
        match (ours.iter().sum(), theirs.iter().sum()) {
            (0, _) => Err(DistanceError::Empty { side: "ours" }),
            (_, 0) => Err(DistanceError::Empty { side: "theirs" }),
            (n, m) => Ok(Self { ours, theirs, n, m }),
        }
    }

    /// The counts of both sides, cell by cell.
    fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ours.iter().copied().zip(self.theirs.iter().copied())
    }

    /// The shares of both sides, cell by cell.
    fn shares(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let (n, m) = (self.n as f64, self.m as f64);
        self.counts().map(move |(a, b)| (a as f64 / n, b as f64 / m))
    }

    fn noise(&self) -> f64 {
        noise(self.n, self.m)
    }

    /// A distance with nothing known of its noise yet.
    fn distance(&self, value: f64, parts: Vec<Part>) -> Distance {
        Distance { value, p_value: None, critical: None, freedom: None, n: self.n, m: self.m, parts }
    }
}

/// The variance of a difference of shares, over p (1 - p): 1/n + 1/m.
fn noise(n: u64, m: u64) -> f64 {
    1.0 / n as f64 + 1.0 / m as f64
}

/// The largest of the terms, one per cell.
pub(crate) fn top_parts(terms: impl IntoIterator<Item = f64>) -> Vec<Part> {
    let parts = terms
        .into_iter()
        .enumerate()
        .map(|(cell, contribution)| Part { cells: cell..cell + 1, contribution })
        .collect();
    top(parts)
}

fn top(mut parts: Vec<Part>) -> Vec<Part> {
    parts.retain(|part| part.contribution > 0.0);
    parts.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
    parts.truncate(TOP_PARTS);
    parts
}
