//! The evidence page: exact counters of one router, as Prometheus text (`GET /evidence`).
//!
//! The families are those of `/metrics`, with three labels more that name the state of the route table
//! under which a request was assigned (`uid`, `generation`, `pin`; C2, R1), so that a change of weights
//! drops nothing. Histogram buckets are cumulative, and written only where a cell is not empty. Where requests are
//! copied, pairs follow ([`Pairs`]); where labels arrived, what they say ([`Feedback`]); in lines that are comments to others
//! the [`LATER_FEATURES`], and under sticky routing the slots ([`Slots`], C5). Families that a reader does not know
//! are not for it: a later router may say more.

mod cells;
mod feedback;
mod pairs;
mod parse;
mod slots;
mod trips;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{
    Assignment, CELLS, FEATURES, Feature, Feedback, Grid, LATENCY_CELLS, Outcome, Pairs, RouteState, Slots,
    Trip,
};

/// Names of the families, shared by `/evidence` and `/metrics`.
pub mod family {
    /// Version of the grids (gauge).
    pub const GRID: &str = "sluice_grid_version";
    /// Names the process (gauge, always 1, label `instance`).
    pub const INSTANCE: &str = "sluice_router_info";
    /// Requests by outcome (counter).
    pub const REQUESTS: &str = "sluice_requests_total";
    /// Seconds from the last byte of the request head to the last byte of the answer (histogram).
    pub const SECONDS: &str = "sluice_request_seconds";
    /// 1 - confidence per item (histogram).
    pub const DOUBT: &str = "sluice_doubt";
    /// Features of images per item (histogram, label `feature`; on the evidence page those of [`crate::FEATURES`]).
    pub const INPUT: &str = "sluice_input";
    /// Features of answers per item (histogram on `/metrics` alone, label `feature`).
    pub const OUTPUT: &str = "sluice_output";
    /// Items per cell of a feature that earlier releases do not know (in comments of the evidence page, label `feature`).
    pub const CELLS: &str = "sluice_cells";
    /// Predicted classes per item (counter, label `class`).
    pub const PREDICTIONS: &str = "sluice_predictions_total";
    /// Items whose answer was withheld or NaN (counter).
    pub const NULL_OUTPUTS: &str = "sluice_null_outputs_total";
    /// 1 - confidence of labelled answers (histogram on the evidence page, label `result`).
    pub const FEEDBACK: &str = "sluice_feedback";
    /// Labelled answers that were given under a state which is no longer shown (counter, label `result`).
    pub const FEEDBACK_LATE: &str = "sluice_feedback_late_total";
    /// All labelled answers (counter on `/metrics` alone, label `result`).
    pub const LABELS: &str = "sluice_labels_total";
    /// Slots of a sticky route (base64 in comments of the evidence page, labels `kind` and `revision`).
    pub const SLOTS: &str = "sluice_slots";
    /// Copies of requests by what became of them beside the user's answer (counter, labels `revision`, `result`).
    pub const PAIRS: &str = "sluice_pairs_total";
    /// Confidence of the copy less that of the user's answer (histogram, label `revision`).
    pub const PAIR_GAP: &str = "sluice_pair_confidence_gap";
    /// Labelled pairs by who was right (counter, labels `revision`, `result`).
    pub const PAIR_LABELS: &str = "sluice_pair_labels_total";
    /// Candidates that a router has stopped sending to by itself (gauge, always 1, labels `revision` and what it saw).
    pub const TRIPPED: &str = "sluice_tripped";
    /// Seconds of the copy over those of the user's answer (histogram, label `revision`).
    pub const PAIR_RATIO: &str = "sluice_pair_latency_ratio";
}

/// Highest count that is read, 2^43: more requests than 100,000 per second make in two years. Sums over 2^20
/// of them (cells, routers, intervals) fit a u64, and over 2^10 of them are exact in an f64.
const MAX_COUNT: u64 = 1 << 43;
/// Most states that are read: routers show up to 8, the current one, the one before and pins. Twice that, so
/// that a later router may show more. With [`MAX_KEYS`] and [`MAX_PAIRED`] a page of any content takes less than 5 MiB
/// in memory: 5.3 KiB for each key and 1.1 KiB for its labels, 1.1 KiB for each revision with pairs, and 21 KiB for each state with slots.
const MAX_STATES: usize = 16;
/// Most keys of one state that are read: a table has up to 16 revisions, each with split and pin; only stable and the
/// candidate have match and target, and one revision shadow.
const MAX_KEYS: usize = 16 * 2 + 2 * 2 + 1;
/// Most candidates that are read as tripped: a table has up to 16 revisions.
const MAX_TRIPPED: usize = 16;
/// Most revisions of one state whose pairs are read: a router copies to one, a later one may copy to all.
const MAX_PAIRED: usize = 16;

/// Whom a set of counts belongs to, within one state of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The revision that the requests were drawn for.
    pub revision: String,
    /// How they were drawn.
    pub assignment: Assignment,
}

/// Monotone counters of one revision under one state and assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Requests per outcome, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Latency cells on [`Grid::Seconds`] of the requests that the revision itself answered well, or let time out.
    pub latency: Vec<u64>,
    /// Items per cell of each of [`Feature::ALL`]. Of a batch one item is counted, drawn at random (C3).
    pub features: Vec<Vec<u64>>,
    /// Items per cell of [`Grid::Doubt`].
    pub doubt: Vec<u64>,
    /// Items per predicted class.
    pub classes: BTreeMap<String, u64>,
    /// Items without an answer (C3).
    pub null_outputs: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            outcomes: [0; Outcome::ALL.len()],
            latency: vec![0; LATENCY_CELLS],
            features: vec![vec![0; CELLS]; Feature::ALL.len()],
            doubt: vec![0; CELLS],
            classes: BTreeMap::new(),
            null_outputs: 0,
        }
    }
}

impl Counts {
    /// Requests with this outcome.
    #[must_use]
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()]
    }

    /// Requests that the error rate counts as trials, and as events (C2).
    #[must_use]
    pub fn errors(&self) -> (u64, u64) {
        let sum = |pick: fn(Outcome) -> bool| {
            Outcome::ALL.into_iter().filter(|o| pick(*o)).map(|o| self.outcome(o)).sum()
        };
        (sum(Outcome::is_error), sum(Outcome::is_trial))
    }

    /// All requests that were completed, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Adds the counts of another pod or interval.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.cells_mut().zip(other.cells()) {
            *mine += theirs;
        }
        for (class, count) in &other.classes {
            *self.classes.entry(class.clone()).or_default() += count;
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
        for (class, count) in &earlier.classes {
            let mine = delta.classes.get_mut(class)?;
            *mine = mine.checked_sub(*count)?;
        }
        delta.classes.retain(|_, count| *count > 0);
        Some(delta)
    }

    /// Every counter but those of classes, in a fixed order.
    pub fn cells(&self) -> impl Iterator<Item = &u64> {
        self.outcomes
            .iter()
            .chain(&self.latency)
            .chain(self.features.iter().flatten())
            .chain(&self.doubt)
            .chain(std::iter::once(&self.null_outputs))
    }

    /// The same, to be changed.
    pub fn cells_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.outcomes
            .iter_mut()
            .chain(&mut self.latency)
            .chain(self.features.iter_mut().flatten())
            .chain(&mut self.doubt)
            .chain(std::iter::once(&mut self.null_outputs))
    }
}

/// Everything on one router's page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Names the process; another name means that all counters started from zero.
    pub instance: String,
    /// Counts by state of the table; the last two states are kept.
    pub states: BTreeMap<RouteState, BTreeMap<Key, Counts>>,
    /// The slots of those states whose routing is sticky.
    pub slots: BTreeMap<RouteState, Slots>,
    /// The pairs of those states whose requests are copied, by the revision that gets the copies.
    pub pairs: BTreeMap<RouteState, BTreeMap<String, Pairs>>,
    /// The labels of those states that got any, by whose answers they are about.
    pub feedback: BTreeMap<RouteState, BTreeMap<Key, Feedback>>,
    /// Candidates that it has stopped sending to by itself (R7).
    pub tripped: BTreeMap<String, Trip>,
}

/// Why a page cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PageError {
    /// Counted on other grids, or no grid version found.
    #[error("grid version {found:?}, this release reads {}", crate::GRID_VERSION)]
    Version {
        /// What was found.
        found: Option<String>,
    },
    /// A line is not what the writer writes.
    #[error("line {line}: {what}")]
    Line {
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// Cumulative counts of a histogram that fall.
    #[error(
        "{family} of revision {revision:?}: {found} in bucket {le}, {below} before it; counts never fall from one bucket \
         to the next"
    )]
    Falling {
        /// The family.
        family: &'static str,
        /// Whose it is.
        revision: String,
        /// The bucket.
        le: &'static str,
        /// What was found in it; 0 also where the last bucket is missing.
        found: u64,
        /// What the bucket before holds, and the least that is allowed.
        below: u64,
    },
    /// Nothing says which process it is.
    #[error("the page does not name its process: {} is missing", family::INSTANCE)]
    Nameless,
    /// The page ends before its end mark.
    #[error("the page is cut off: no end mark")]
    Cut,
}

/// The last line of a page; a page without it was cut off.
const END: &str = "# EOF";

/// Family, extra label and grid of the histograms of a [`Counts`]: seconds, doubt, and then each of [`FEATURES`].
fn histogram_kinds() -> impl Iterator<Item = (&'static str, Option<&'static str>, Grid)> {
    let inputs = FEATURES.into_iter().map(|f| (family::INPUT, Some(f.as_str()), f.grid()));
    [(family::SECONDS, None, Grid::Seconds), (family::DOUBT, None, Grid::Doubt)].into_iter().chain(inputs)
}

/// The histograms of a [`Counts`] with their cells.
fn histograms(
    counts: &Counts,
) -> impl Iterator<Item = (&'static str, Option<&'static str>, Grid, &Vec<u64>)> {
    let cells = [&counts.latency, &counts.doubt].into_iter().chain(&counts.features);
    histogram_kinds().zip(cells).map(|((family, label, grid), cells)| (family, label, grid, cells))
}
