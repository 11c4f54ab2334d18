//! What became of each slot of a sticky route (C5).
//!
//! With sticky routing users are drawn, not requests: a user's slot decides, and whoever is unlucky is unlucky
//! in every request. So the unit of evidence is the slot. Within one state of the table a slot belongs to one
//! revision, so that one set of cells serves all of them.

mod set;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use set::{SlotError, SlotSet};

use crate::{Grid, SLOTS};

/// The slots of one state of the table: whose they are, and what happened in each since the state began.
/// Split requests only (C1). Everything in it only grows, so that those of several routers are merged by OR
/// and maximum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    pub(crate) owned: BTreeMap<String, SlotSet>,
    pub(crate) seen: SlotSet,
    pub(crate) failed: SlotSet,
    pub(crate) latency: Worst,
    pub(crate) doubt: Worst,
}

/// Per slot the highest cell of a grid that was counted: 0 for none, else the cell + 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Worst {
    pub(crate) grid: Grid,
    pub(crate) cells: Box<[u8]>,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            owned: BTreeMap::new(),
            seen: SlotSet::default(),
            failed: SlotSet::default(),
            latency: Worst::new(Grid::Seconds),
            doubt: Worst::new(Grid::Doubt),
        }
    }
}

/// Writers: every slot is below [`SLOTS`], else they panic.
impl Slots {
    /// The slots that the table gives to a revision, those of no revision that it takes over included.
    pub fn own(&mut self, revision: &str, slots: &SlotSet) {
        self.owned.entry(revision.to_owned()).or_default().add(slots);
    }

    /// A request that the error rate counts as a trial (C2).
    pub fn see(&mut self, slot: u16) {
        self.seen.insert(slot);
    }

    /// A request that the error rate counts as an event (C2).
    pub fn fail(&mut self, slot: u16) {
        self.failed.insert(slot);
    }

    /// A latency, by its cell of [`Grid::Seconds`].
    pub fn raise_latency(&mut self, slot: u16, cell: usize) {
        self.latency.raise(slot, cell);
    }

    /// The doubt of an item, by its cell of [`Grid::Doubt`].
    pub fn raise_doubt(&mut self, slot: u16, cell: usize) {
        self.doubt.raise(slot, cell);
    }

    /// Takes in what another router, or another state, shows.
    pub fn merge(&mut self, other: &Self) {
        for (revision, slots) in &other.owned {
            self.own(revision, slots);
        }
        self.seen.add(&other.seen);
        self.failed.add(&other.failed);
        self.latency.merge(&other.latency);
        self.doubt.merge(&other.doubt);
    }
}

/// Readers.
impl Slots {
    /// Characters on the page of the highest cells of one kind.
    pub const CELLS_TEXT: usize = (SLOTS as usize).div_ceil(3) * 4;

    /// The slots of a revision; none when the table does not name it.
    #[must_use]
    pub fn owned(&self, revision: &str) -> SlotSet {
        self.owned.get(revision).cloned().unwrap_or_default()
    }

    /// Slots with a request that counts for the error rate.
    #[must_use]
    pub const fn seen(&self) -> &SlotSet {
        &self.seen
    }

    /// Slots with an error.
    #[must_use]
    pub const fn failed(&self) -> &SlotSet {
        &self.failed
    }

    /// Slots with a latency in this cell of [`Grid::Seconds`] or a later one.
    #[must_use]
    pub fn slow_from(&self, cell: usize) -> SlotSet {
        self.latency.from(cell)
    }

    /// Slots with an item whose doubt lies in this cell of [`Grid::Doubt`] or a later one.
    #[must_use]
    pub fn unsure_from(&self, cell: usize) -> SlotSet {
        self.doubt.from(cell)
    }
}

impl Worst {
    fn new(grid: Grid) -> Self {
        Self { grid, cells: vec![0; usize::from(SLOTS)].into_boxed_slice() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| *cell == 0)
    }

    fn raise(&mut self, slot: u16, cell: usize) {
        let mark = mark(self.grid, cell);
        let worst = &mut self.cells[usize::from(slot)];
        *worst = mark.max(*worst);
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            *mine = (*mine).max(*theirs);
        }
    }

    fn from(&self, cell: usize) -> SlotSet {
        let least = mark(self.grid, cell);
        (0..SLOTS).zip(&self.cells).filter(|(_, worst)| **worst >= least).map(|(slot, _)| slot).collect()
    }
}

/// The cell + 1; cells beyond the grid's last one are taken as that.
fn mark(grid: Grid, cell: usize) -> u8 {
    u8::try_from(cell.min(grid.len() - 1) + 1).expect("no grid has more than 254 cells")
}
