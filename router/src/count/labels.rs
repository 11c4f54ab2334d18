//! Labels of the answers of one revision and assignment.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wire::{CELLS, Feedback};

/// Counters of labels, of right answers and of wrong ones.
pub(super) struct LabelCounts {
    pub(super) cells: [[AtomicU64; CELLS]; 2],
    pub(super) late: [AtomicU64; 2],
}

impl LabelCounts {
    pub(super) fn new() -> Self {
        Self {
            cells: [const { [const { AtomicU64::new(0) }; CELLS] }; 2],
            late: [const { AtomicU64::new(0) }; 2],
        }
    }

    /// Counts the label of an answer that was given under this state.
    pub(super) fn count(&self, cell: usize, correct: bool) {
        self.cells[usize::from(!correct)][cell].fetch_add(1, Relaxed);
    }

    /// Counts one of an answer that was given under a state which is gone.
    pub(super) fn count_late(&self, correct: bool) {
        self.late[usize::from(!correct)].fetch_add(1, Relaxed);
    }

    /// As they are now.
    pub(super) fn read(&self) -> Feedback {
        Feedback {
            cells: self.cells.each_ref().map(|cells| cells.iter().map(|c| c.load(Relaxed)).collect()),
            late: self.late.each_ref().map(|count| count.load(Relaxed)),
        }
    }
}
