//! True labels beside the answers that they are about.

/// What a label says of an answer, as it is written: the class was right, or it was not.
pub const RESULTS: [&str; 2] = ["correct", "wrong"];

/// Monotone counters of the labels that arrived for the answers of one revision under one state and assignment. A label
/// counts when it arrives, which may be days after its answer: no past interval is ever reopened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// Right and wrong answers, in the order of [`RESULTS`], per cell of [`crate::Grid::Doubt`]; an answer without a
    /// confidence is in the last cell. Routers count four cells as one, the last of them.
    pub cells: [Vec<u64>; 2],
    /// Right and wrong answers of the revision under states that are no longer on the page, whose labels arrived under
    /// this one. Shares were others then: they never enter a comparison of arms that have one split.
    pub late: [u64; 2],
}

impl Default for Feedback {
    fn default() -> Self {
        Self { cells: [vec![0; crate::CELLS], vec![0; crate::CELLS]], late: [0; 2] }
    }
}

impl Feedback {
    /// Right answers of this state, and all that were labelled.
    #[must_use]
    pub fn own(&self) -> (u64, u64) {
        let [correct, wrong] = self.cells.each_ref().map(|cells| cells.iter().sum::<u64>());
        (correct, correct + wrong)
    }

    /// The same of the answers of earlier states.
    #[must_use]
    pub fn earlier(&self) -> (u64, u64) {
        let [correct, wrong] = self.late;
        (correct, correct + wrong)
    }

    /// Adds the counts of another pod or interval.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counters_mut().zip(other.counters()) {
            *mine += theirs;
        }
    }

    /// What was counted since an earlier reading of the same counters; `None` when any of them went
    /// backwards, which is a reset (C4).
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut delta = self.clone();
        for (mine, theirs) in delta.counters_mut().zip(earlier.counters()) {
            *mine = mine.checked_sub(*theirs)?;
        }
        Some(delta)
    }

    fn counters(&self) -> impl Iterator<Item = &u64> {
        self.cells.iter().flatten().chain(&self.late)
    }

    fn counters_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.cells.iter_mut().flatten().chain(&mut self.late)
    }
}
