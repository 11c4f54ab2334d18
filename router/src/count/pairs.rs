//! What became of the copies of one state beside the answers that users got.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wire::{CELLS, Grid, PAIR_LABELS, PairOutcome, Pairs};

use crate::Table;
use crate::compare::Pair;

/// Counters of the copies that one revision gets.
pub(super) struct PairCounts {
    pub(super) revision: Arc<str>,
    pub(super) outcomes: [AtomicU64; PairOutcome::ALL.len()],
    pub(super) gap: [AtomicU64; CELLS],
    pub(super) ratio: [AtomicU64; CELLS],
    labels: [AtomicU64; PAIR_LABELS.len()],
}

impl PairCounts {
    /// Counters for a table that copies requests; `None` for others, and while all requests are pinned.
    pub(super) fn new(table: &Table) -> Option<Self> {
        let revision = &table.revisions[table.copies_to()?].name;
        Some(Self {
            revision: revision.clone(),
            outcomes: [const { AtomicU64::new(0) }; _],
            gap: [const { AtomicU64::new(0) }; _],
            ratio: [const { AtomicU64::new(0) }; _],
            labels: [const { AtomicU64::new(0) }; _],
        })
    }

    pub(super) fn count(&self, pair: &Pair) {
        self.outcomes[pair.outcome.index()].fetch_add(1, Relaxed);
        if let Some(cell) = pair.gap.and_then(|gap| Grid::Gap.cell(gap)) {
            self.gap[cell].fetch_add(1, Relaxed);
        }
        if let Some(cell) = pair.ratio.and_then(|ratio| Grid::Ratio.cell(ratio)) {
            self.ratio[cell].fetch_add(1, Relaxed);
        }
    }

    /// Counts a label by whether the user's answer and the copy's are right.
    pub(super) fn label(&self, right: [bool; 2]) {
        let at = match right {
            [true, true] => 0,
            [true, false] => 1,
            [false, true] => 2,
            [false, false] => 3,
        };
        self.labels[at].fetch_add(1, Relaxed);
    }

    /// As they are now.
    pub(super) fn read(&self) -> Pairs {
        let read = |cells: &[AtomicU64]| cells.iter().map(|c| c.load(Relaxed)).collect();
        Pairs {
            outcomes: std::array::from_fn(|i| self.outcomes[i].load(Relaxed)),
            gap: read(&self.gap),
            ratio: read(&self.ratio),
            labels: self.labels.each_ref().map(|count| count.load(Relaxed)),
        }
    }
}
