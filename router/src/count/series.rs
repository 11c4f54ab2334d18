//! Counters of one revision and assignment, and which of them a state has.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wire::{Assignment, CELLS, Counts, Feature, Grid, LATENCY_CELLS, Outcome};

use super::{Classes, LabelCounts, Tally};
use crate::Table;
use crate::items::Item;

/// Units of a histogram's sum in one: so fine that 290 years of seconds fit, either side of 0. Of pixels, which are many and whole,
/// one is one.
fn units(grid: Grid) -> f64 {
    if grid == Grid::Pixels { 1.0 } else { 1e9 }
}

/// What of a revision's requests of one assignment is on the page, which is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// There are none: the table never draws them.
    Nothing,
    /// What became of them.
    Outcomes,
    /// That, and what their answers say.
    All,
}

impl Shown {
    pub(super) fn of(table: &Table, revision: usize, assignment: Assignment) -> Self {
        let is = |role: Option<usize>| role == Some(revision);
        // rule: C1. What is matched or targeted is no evidence, unless the candidate has nothing else (T2).
        let ahead = |any: bool| {
            if table.state.pin.is_some() || !any || !(is(table.stable) || is(table.candidate)) {
                Self::Nothing
            } else if is(table.candidate) && !table.is_drawn(revision) {
                Self::All
            } else {
                Self::Outcomes
            }
        };
        match assignment {
            Assignment::Split if table.is_drawn(revision) => Self::All,
            Assignment::Split | Assignment::Pin => Self::Outcomes,
            Assignment::Match => ahead(!table.matches.is_empty()),
            Assignment::Target => ahead(table.targeting),
            Assignment::Shadow if is(table.copies_to()) => Self::All,
            Assignment::Shadow => Self::Nothing,
        }
    }

    /// Whether labels of such answers are counted: of those that are evidence, and that a client gets.
    pub(super) fn is_labelled(self, assignment: Assignment) -> bool {
        self == Self::All && assignment != Assignment::Shadow
    }
}

/// Counters of one revision and assignment.
pub(super) struct Series {
    pub(super) outcomes: [AtomicU64; Outcome::ALL.len()],
    pub(super) latency: [AtomicU64; LATENCY_CELLS],
    pub(super) features: [[AtomicU64; CELLS]; Feature::ALL.len()],
    pub(super) doubt: [AtomicU64; CELLS],
    pub(super) classes: Box<[AtomicU64]>,
    pub(super) nulls: AtomicU64,
    /// Where labels are taken.
    pub(super) labels: Option<Box<LabelCounts>>,
    /// In [`units`], as two's complement: energies are negative.
    pub(super) sums: [AtomicU64; 2 + Feature::ALL.len()],
}

impl Series {
    pub(super) fn new(labelled: bool) -> Self {
        Self {
            outcomes: [const { AtomicU64::new(0) }; _],
            latency: [const { AtomicU64::new(0) }; _],
            features: [const { [const { AtomicU64::new(0) }; CELLS] }; _],
            doubt: [const { AtomicU64::new(0) }; _],
            classes: std::iter::repeat_with(AtomicU64::default).take(Classes::CELLS).collect(),
            nulls: AtomicU64::new(0),
            labels: labelled.then(|| Box::new(LabelCounts::new())),
            sums: [const { AtomicU64::new(0) }; _],
        }
    }

    /// Counts an item, and says which cell of [`Grid::Doubt`] it fell into.
    pub(super) fn count_item(&self, item: &Item<'_>, classes: &Classes) -> Option<usize> {
        if item.null {
            self.nulls.fetch_add(1, Relaxed);
        }
        if let Some(class) = &item.class {
            self.classes[classes.index(class)].fetch_add(1, Relaxed);
        }
        for (i, value) in item.stats.iter().enumerate() {
            let Some(value) = value else { continue };
            observe(&self.features[i], &self.sums[2 + i], Feature::ALL[i].grid(), *value);
        }
        observe(&self.doubt, &self.sums[1], Grid::Doubt, 1.0 - item.confidence?)
    }

    pub(super) fn tally(&self, classes: &Classes) -> Tally {
        let read = |cells: &[AtomicU64]| cells.iter().map(|c| c.load(Relaxed)).collect::<Vec<_>>();
        let named = self.classes.iter().enumerate().map(|(i, count)| (i, count.load(Relaxed)));
        let counts = Counts {
            outcomes: std::array::from_fn(|i| self.outcomes[i].load(Relaxed)),
            latency: read(&self.latency),
            features: self.features.iter().map(|f| read(f)).collect(),
            doubt: read(&self.doubt),
            classes: named.filter(|(_, n)| *n > 0).map(|(i, n)| (classes.name(i), n)).collect(),
            null_outputs: self.nulls.load(Relaxed),
        };
        let grid = |i: usize| match i {
            0 => Grid::Seconds,
            1 => Grid::Doubt,
            i => Feature::ALL[i - 2].grid(),
        };
        Tally {
            counts,
            sums: std::array::from_fn(|i| self.sums[i].load(Relaxed).cast_signed() as f64 / units(grid(i))),
            feedback: self.labels.as_ref().map(|labels| labels.read()),
        }
    }
}

/// Counts a value, unless it is NaN, and says in which cell.
pub(super) fn observe(cells: &[AtomicU64], sum: &AtomicU64, grid: Grid, value: f64) -> Option<usize> {
    let cell = grid.cell(value)?;
    cells[cell].fetch_add(1, Relaxed);
    // A part of a unit is nothing, and rounding would be a call of a function.
    let units = (value.clamp(grid.bottom(), most(grid)) * units(grid)) as i64;
    sum.fetch_add(units.cast_unsigned(), Relaxed);
    Some(cell)
}

/// Largest value that enters a sum, a day of seconds: one absurd value shall not drown all others.
fn most(grid: Grid) -> f64 {
    if grid.top().is_finite() { grid.top() } else { 86_400.0 }
}
