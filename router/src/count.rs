//! Counters of one state of the table (C2, C3). Made when the state is entered, so that a request finds its
//! counters by index and touches nothing but atomics.

mod classes;
mod collector;
mod ledger;
mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use wire::{Assignment, CELLS, Counts, FEATURES, Grid, LATENCY_CELLS, Outcome, RouteState};

pub(crate) use classes::Classes;
pub use collector::Collector;
pub use ledger::Ledger;

use crate::items::{AnswerHeaders, Item};
use crate::{Choice, Table};
use slots::SlotCounts;

/// Units of a histogram's sum in one: so fine that 580 years of seconds fit.
const UNITS: f64 = 1e9;

/// Counts with the sums that Prometheus wants for each histogram: latency, doubt, then the features.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    pub(crate) sums: [f64; 2 + FEATURES.len()],
}

impl Tally {
    /// Adds what is kept for good: names beyond the bound are added to the others.
    pub(crate) fn fold(&mut self, mut other: Self) {
        let known = &self.counts.classes;
        let mut room = Classes::MAX.saturating_sub(known.len());
        let mut excess = 0;
        other.counts.classes.retain(|name, n| {
            let fits = room > 0;
            let keep = name == classes::OTHER || known.contains_key(name) || fits;
            if keep && !known.contains_key(name) {
                room = room.saturating_sub(1);
            }
            excess += if keep { 0 } else { *n };
            keep
        });
        if excess > 0 {
            *other.counts.classes.entry(classes::OTHER.to_owned()).or_default() += excess;
        }
        self.add(&other);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (mine, theirs) in self.sums.iter_mut().zip(other.sums) {
            *mine += theirs;
        }
    }
}

/// Counters of one revision and assignment.
struct Series {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    latency: [AtomicU64; LATENCY_CELLS],
    features: [[AtomicU64; CELLS]; FEATURES.len()],
    doubt: [AtomicU64; CELLS],
    classes: Box<[AtomicU64]>,
    nulls: AtomicU64,
    /// In [`UNITS`].
    sums: [AtomicU64; 2 + FEATURES.len()],
}

impl Series {
    fn new() -> Self {
        Self {
            outcomes: [const { AtomicU64::new(0) }; _],
            latency: [const { AtomicU64::new(0) }; _],
            features: [const { [const { AtomicU64::new(0) }; CELLS] }; _],
            doubt: [const { AtomicU64::new(0) }; _],
            classes: std::iter::repeat_with(AtomicU64::default).take(Classes::CELLS).collect(),
            nulls: AtomicU64::new(0),
            sums: [const { AtomicU64::new(0) }; _],
        }
    }

    /// Counts an item, and says which cell of [`Grid::Doubt`] it fell into.
    fn count_item(&self, item: &Item, classes: &Classes) -> Option<usize> {
        if item.null {
            self.nulls.fetch_add(1, Relaxed);
        }
        if let Some(class) = &item.class {
            self.classes[classes.index(class)].fetch_add(1, Relaxed);
        }
        for (feature, value) in item.stats.iter().filter(|(_, v)| v.is_finite()) {
            let i = feature.index();
            observe(&self.features[i], &self.sums[2 + i], feature.grid(), *value);
        }
        observe(&self.doubt, &self.sums[1], Grid::Doubt, 1.0 - item.confidence?)
    }

    fn tally(&self, classes: &Classes) -> Tally {
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
        Tally { counts, sums: std::array::from_fn(|i| self.sums[i].load(Relaxed) as f64 / UNITS) }
    }
}

/// Counts a value, unless it is NaN, and says in which cell.
fn observe(cells: &[AtomicU64], sum: &AtomicU64, grid: Grid, value: f64) -> Option<usize> {
    let cell = grid.cell(value)?;
    cells[cell].fetch_add(1, Relaxed);
    sum.fetch_add((value.clamp(0.0, most(grid)) * UNITS).round() as u64, Relaxed);
    Some(cell)
}

/// Largest value that enters a sum, a day of seconds: one absurd value shall not drown all others.
fn most(grid: Grid) -> f64 {
    grid.top().min(86_400.0)
}

/// Counters of one state, by index of the table's revisions.
pub(crate) struct StateCounts {
    state: RouteState,
    revisions: Vec<Arc<str>>,
    series: Vec<[Series; Assignment::ALL.len()]>,
    classes: Classes,
    slots: Option<SlotCounts>,
}

impl StateCounts {
    fn new(table: &Table) -> Self {
        let state = table.state.clone();
        let revisions: Vec<_> = table.revisions.iter().map(|r| r.name.clone()).collect();
        let classes = Classes::new(table);
        let series = revisions.iter().map(|_| Assignment::ALL.map(|_| Series::new())).collect();
        Self { state, revisions, series, classes, slots: SlotCounts::new(table) }
    }

    fn tallies(&self) -> impl Iterator<Item = (&Arc<str>, Assignment, Tally)> {
        self.revisions.iter().zip(&self.series).flat_map(move |(revision, both)| {
            Assignment::ALL
                .into_iter()
                .zip(both)
                .map(move |(assignment, series)| (revision, assignment, series.tally(&self.classes)))
        })
    }
}

/// One assigned request. It is counted exactly once: by [`Ticket::finish`], or as cancelled when it is
/// dropped, because a request is dropped only when its client went away (C2).
pub(crate) struct Ticket {
    counts: Arc<StateCounts>,
    choice: Choice,
    slot: u16,
    started: Instant,
    finished: bool,
}

impl Ticket {
    pub(crate) fn new(counts: Arc<StateCounts>, choice: Choice, slot: u16, started: Instant) -> Self {
        Self { counts, choice, slot, started, finished: false }
    }

    /// Leaves it out of all counts: it is no prediction.
    pub(crate) fn uncounted(self) -> Self {
        let mut this = self;
        this.finished = true;
        this
    }

    /// Takes time out of the latency: the client was waited for.
    pub(crate) fn pause(&mut self, waited: Duration) {
        self.started += waited;
    }

    /// Counts the request without an answer of the revision drawn, except for a timeout's latency.
    pub(crate) fn finish(mut self, outcome: Outcome) {
        if outcome == Outcome::Timeout {
            self.count_latency();
        }
        self.count(outcome);
    }

    /// Counts the request with the complete answer of the revision drawn.
    pub(crate) fn finish_answered(mut self, outcome: Outcome, success: Option<&AnswerHeaders>) {
        // An error that comes at once would make a failing revision a fast one (C2).
        if matches!(outcome, Outcome::Ok | Outcome::Timeout) {
            self.count_latency();
        }
        // rule: C3
        let item = success.filter(|_| !self.finished).and_then(|headers| headers.draw(rand::random()));
        if let Some(item) = item {
            let doubt = self.series().count_item(&item, &self.counts.classes);
            if let (Some(slots), Some(cell)) = (self.slots(), doubt) {
                slots.raise_doubt(self.slot, cell);
            }
        }
        self.count(outcome);
    }

    fn series(&self) -> &Series {
        &self.counts.series[self.choice.revision][self.choice.assignment as usize]
    }

    /// Where its slot is counted, if slots are.
    fn slots(&self) -> Option<&SlotCounts> {
        // rule: C1, C5
        self.counts.slots.as_ref().filter(|_| self.choice.assignment == Assignment::Split)
    }

    fn count_latency(&self) {
        if self.finished {
            return;
        }
        let elapsed: Duration = self.started.elapsed();
        let series = self.series();
        let cell = observe(&series.latency, &series.sums[0], Grid::Seconds, elapsed.as_secs_f64());
        if let (Some(slots), Some(cell)) = (self.slots(), cell) {
            slots.raise_latency(self.slot, cell);
        }
    }

    fn count(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.finished, true) {
            self.series().outcomes[outcome.index()].fetch_add(1, Relaxed);
            if let Some(slots) = self.slots() {
                slots.count(self.slot, outcome);
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.count(Outcome::Cancelled);
    }
}

#[cfg(test)]
mod tests;
