//! Labels of the answers of one revision and assignment.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wire::Feedback;

/// Cells of [`wire::Grid::Doubt`] that are counted as one, the last of them: the page is bounded, and labels are few.
const MERGED: usize = 4;

/// Counters of labels, of right answers and of wrong ones.
pub(super) struct LabelCounts {
    pub(super) cells: [[AtomicU64; Self::CELLS]; 2],
    pub(super) late: [AtomicU64; 2],
}

impl LabelCounts {
    /// Cells that are told apart.
    pub(super) const CELLS: usize = wire::CELLS / MERGED;

    pub(super) fn new() -> Self {
        Self {
            cells: [const { [const { AtomicU64::new(0) }; Self::CELLS] }; 2],
            late: [const { AtomicU64::new(0) }; 2],
        }
    }

    /// Counts the label of an answer that was given under this state.
    pub(super) fn count(&self, cell: usize, correct: bool) {
        self.cells[usize::from(!correct)][cell / MERGED].fetch_add(1, Relaxed);
    }

    /// Counts one of an answer that was given under a state which is gone.
    pub(super) fn count_late(&self, correct: bool) {
        self.late[usize::from(!correct)].fetch_add(1, Relaxed);
    }

    /// As they are now.
    pub(super) fn read(&self) -> Feedback {
        let mut feedback = Feedback::default();
        for (cells, counts) in feedback.cells.iter_mut().zip(&self.cells) {
            let last = cells.iter_mut().skip(MERGED - 1).step_by(MERGED);
            last.zip(counts).for_each(|(cell, count)| *cell = count.load(Relaxed));
        }
        feedback.late = self.late.each_ref().map(|count| count.load(Relaxed));
        feedback
    }
}
