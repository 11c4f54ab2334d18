//! Names of predicted classes of one state, bounded, and the same cell for the same name in its counters.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use wire::{
    Assignment, CELLS, FEATURES, LATENCY_CELLS, LATER_FEATURES, Outcome, PAIR_LABELS, PairOutcome, RESULTS,
    SlotSet, Slots, endpoint,
};

use super::LabelCounts;
use super::series::Shown;
use crate::{Revision, Table};

/// Where names beyond the bound are counted. A class of this name is counted here too.
pub(crate) const OTHER: &str = "(other)";
/// Longest class name that is kept, in bytes as it stands on the page.
const MAX_NAME: usize = 48;
/// States with split evidence that are on the page at the same time: the current one and the one before.
const STATES: usize = 2;
/// What the page needs for pinned states and its own lines, in bytes.
const MARGIN: usize = 64 * 1024;
/// Bytes of a feature's cells where they are in one line: two digits, a colon, thirteen digits and a space for each.
const CELLS_TEXT: usize = CELLS * 17;

/// Gives each class name a cell, in order of appearance. Shared by the revisions of a state, so that two arms
/// never disagree on which classes are `(other)`; of one state, so that names which one model made up do not
/// stay for ever.
pub(crate) struct Classes {
    known: RwLock<Known>,
    /// Bytes on the page of a name, wherever it may be counted, without the name itself.
    around: usize,
    /// How often it may be there: the revisions that count it, and each of their assignments.
    times: usize,
}

struct Known {
    cells: HashMap<String, usize>,
    names: Vec<String>,
    /// Bytes on the page that names may still take.
    room: usize,
}

impl Classes {
    /// Most names: as many as ImageNet has classes. Fewer when the page could not hold them.
    pub(crate) const MAX: usize = 1_000;
    /// Cells that counters need: one for each name, and the one for others.
    pub(crate) const CELLS: usize = Self::MAX + 1;

    /// Names of a table's state; `labelled` where labels are taken.
    pub(crate) fn new(table: &Table, labelled: bool) -> Self {
        /// A line without the labels that name a state and revision: names, quotes, an upper bound, and a count of up to 2^43,
        /// which is the most that is read.
        const LINE: usize = 80;
        /// So a bucket of seconds, of doubt and of a feature: most of the page are these.
        const BUCKETS: [(usize, usize); 3] = [(LATENCY_CELLS, 64), (CELLS, 54), (FEATURES.len() * CELLS, 75)];
        // The labels that name a state and revision.
        let labels = |revision: &str| 80 + table.state.uid.len() + revision.len();
        let outcomes = Outcome::ALL.len() + 1 + FEATURES.len() + 2;
        let results = RESULTS.len() * (LabelCounts::CELLS + 1);
        let mut room = (endpoint::PAGE_LIMIT - MARGIN) / STATES;
        let (mut around, mut times) = (0, 0);
        for (i, Revision { name, .. }) in table.revisions.iter().enumerate() {
            let line = LINE + labels(name);
            let buckets: usize = BUCKETS.map(|(cells, line)| cells * (line + labels(name))).iter().sum();
            // What is pinned is within the margin.
            for assignment in Assignment::ALL.into_iter().filter(|a| *a != Assignment::Pin) {
                let shown = Shown::of(table, i, assignment);
                if labelled && shown.is_labelled(assignment) {
                    room = room.saturating_sub(results * line);
                }
                let more = match shown {
                    Shown::Nothing => continue,
                    Shown::Outcomes => 0,
                    Shown::All => {
                        (around, times) = (around + line, times + 1);
                        buckets + LATER_FEATURES.len() * (line + CELLS_TEXT)
                    }
                };
                room = room.saturating_sub(outcomes * line + more);
            }
            if table.is_drawn(i) && table.counts_slots() {
                room = room.saturating_sub(line + SlotSet::TEXT);
            }
            if table.copies_to() == Some(i) {
                room = room.saturating_sub((PairOutcome::ALL.len() + 2 * CELLS + PAIR_LABELS.len()) * line);
            }
        }
        if table.counts_slots() {
            room = room.saturating_sub(4 * (LINE + labels("")) + 2 * (SlotSet::TEXT + Slots::CELLS_TEXT));
        }
        let room = room.saturating_sub(around + OTHER.len() * times);
        let known = Known { cells: HashMap::new(), names: vec![], room };
        Self { known: RwLock::new(known), around, times }
    }

    /// The cell of a name.
    pub(crate) fn index(&self, name: &str) -> usize {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = known.cells.get(name) {
            return *cell;
        }
        let length = escaped(name);
        let cost = self.around + length * self.times;
        if known.names.len() == Self::MAX || known.room < cost || length > MAX_NAME || name == OTHER {
            return Self::MAX;
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Known { cells, names, room } = &mut *known;
        if let Some(cell) = cells.get(name) {
            return *cell;
        }
        if names.len() == Self::MAX || *room < cost {
            return Self::MAX;
        }
        *room -= cost;
        names.push(name.to_owned());
        cells.insert(name.to_owned(), names.len() - 1);
        names.len() - 1
    }

    /// The name of a cell.
    pub(crate) fn name(&self, cell: usize) -> String {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.names.get(cell).cloned().unwrap_or_else(|| OTHER.to_owned())
    }
}

/// Bytes of a label's value as it is written.
fn escaped(name: &str) -> usize {
    name.len() + name.bytes().filter(|b| matches!(b, b'\\' | b'"' | b'\n')).count()
}
