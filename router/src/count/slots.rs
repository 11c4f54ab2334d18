//! What became of each slot of a sticky route (C5).
//!
//! One array per state, shared by all workers. After the first few requests of a slot nothing in it changes
//! any more, so that a request reads before it writes: the lines stay in every core's cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use wire::{Outcome, SLOTS, SlotSet, Slots};

use crate::Table;

const WORDS: usize = (SLOTS as usize).div_ceil(64);

/// Counters of the slots of one state: 22 KiB, and 1.2 KiB for each revision with slots.
pub(crate) struct SlotCounts {
    owned: Vec<(Arc<str>, SlotSet)>,
    seen: Box<[AtomicU64; WORDS]>,
    failed: Box<[AtomicU64; WORDS]>,
    /// The highest cell of [`wire::Grid::Seconds`] + 1; 0 for none.
    latency: Box<[AtomicU8]>,
    /// The same of [`wire::Grid::Doubt`].
    doubt: Box<[AtomicU8]>,
}

impl SlotCounts {
    /// Counters for a table whose split is by slots; `None` for others, and while all requests are pinned.
    pub(crate) fn new(table: &Table) -> Option<Self> {
        table.counts_slots().then(|| {
            let owned = table.revisions.iter().enumerate().map(|(i, revision)| {
                let slots = (0..SLOTS).filter(|slot| table.drawn_for(*slot) == Some(i));
                (revision.name.clone(), slots.collect::<SlotSet>())
            });
            Self {
                owned: owned.filter(|(_, slots)| !slots.is_empty()).collect(),
                seen: Box::new([const { AtomicU64::new(0) }; WORDS]),
                failed: Box::new([const { AtomicU64::new(0) }; WORDS]),
                latency: cells(),
                doubt: cells(),
            }
        })
    }

    /// Whether any of them is drawn for a revision.
    pub(crate) fn are_drawn(&self) -> bool {
        !self.owned.is_empty()
    }

    pub(crate) fn count(&self, slot: u16, outcome: Outcome) {
        if outcome.is_trial() {
            set(&self.seen, slot);
        }
        if outcome.is_error() {
            set(&self.failed, slot);
        }
    }

    pub(crate) fn raise_latency(&self, slot: u16, cell: usize) {
        raise(&self.latency, slot, cell);
    }

    pub(crate) fn raise_doubt(&self, slot: u16, cell: usize) {
        raise(&self.doubt, slot, cell);
    }

    /// As they are now.
    pub(crate) fn read(&self) -> Slots {
        let mut slots = Slots::default();
        for (revision, owned) in &self.owned {
            slots.own(revision, owned);
        }
        for slot in 0..SLOTS {
            if is_set(&self.seen, slot) {
                slots.see(slot);
            }
            if is_set(&self.failed, slot) {
                slots.fail(slot);
            }
            if let Some(cell) = worst(&self.latency, slot) {
                slots.raise_latency(slot, cell);
            }
            if let Some(cell) = worst(&self.doubt, slot) {
                slots.raise_doubt(slot, cell);
            }
        }
        slots
    }
}

fn cells() -> Box<[AtomicU8]> {
    std::iter::repeat_with(AtomicU8::default).take(usize::from(SLOTS)).collect()
}

fn set(bits: &[AtomicU64; WORDS], slot: u16) {
    if !is_set(bits, slot) {
        bits[usize::from(slot / 64)].fetch_or(1 << (slot % 64), Relaxed);
    }
}

fn is_set(bits: &[AtomicU64; WORDS], slot: u16) -> bool {
    bits[usize::from(slot / 64)].load(Relaxed) >> (slot % 64) & 1 == 1
}

fn raise(cells: &[AtomicU8], slot: u16, cell: usize) {
    const { assert!(wire::LATENCY_CELLS < 255 && wire::CELLS < 255, "a mark is one byte") }
    let (worst, mark) = (&cells[usize::from(slot)], cell as u8 + 1);
    if worst.load(Relaxed) < mark {
        worst.fetch_max(mark, Relaxed);
    }
}

fn worst(cells: &[AtomicU8], slot: u16) -> Option<usize> {
    usize::from(cells[usize::from(slot)].load(Relaxed)).checked_sub(1)
}

#[cfg(test)]
mod tests;
