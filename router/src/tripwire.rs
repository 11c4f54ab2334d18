//! Stops sending to a plainly broken candidate, without asking anybody (R7).
//!
//! Each revision has a memory of its last requests. When one of a revision with a trip-wire fails, and so many of the last
//! ones did while stable's do not, it has tripped: from then on stable answers in its place, also under later tables of
//! the same rollout, until a table says that it needs no trip-wire any more. The operator reads it on the evidence page
//! and takes the candidate back; it need not be there for users to be safe.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use wire::Trip;

use crate::Table;

/// Bits of a memory that hold outcomes, the newest lowest; those above count them.
const MEMORY: u32 = Trip::MEMORY;
const OUTCOMES: u64 = (1 << MEMORY) - 1;
/// Of stable's requests less than one in so many may fail, else the world is broken and not the candidate.
const STABLE_BELOW: u32 = 20;
/// So many requests of stable must be known: a comparison with nothing is none.
const STABLE_KNOWN: u32 = 20;

/// When a candidate trips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TripWire {
    /// So many failures.
    pub failures: u32,
    /// Among so many requests in a row.
    pub requests: u32,
}

/// The last requests of one revision, and whether it has tripped.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Count in the high 8 bits, outcomes in the others: 1 for a failure.
    last: AtomicU64,
    tripped: OnceLock<Trip>,
}

impl Memory {
    /// Remembers a request, and forgets the oldest.
    pub(crate) fn push(&self, failed: bool) {
        let next = |last: u64| {
            let count = ((last >> MEMORY) + 1).min(u64::from(MEMORY));
            let outcomes = (last << 1 | u64::from(failed)) & OUTCOMES;
            Some(count << MEMORY | outcomes)
        };
        let _ = self.last.fetch_update(Relaxed, Relaxed, next);
    }

    /// Failures among the newest `most` requests, and how many these are.
    fn newest(&self, most: u32) -> (u32, u32) {
        let last = self.last.load(Relaxed);
        let n = ((last >> MEMORY) as u32).min(most);
        let mask = (1u64 << n) - 1;
        ((last & mask).count_ones(), n)
    }

    /// What it saw when it tripped.
    pub(crate) fn tripped(&self) -> Option<&Trip> {
        self.tripped.get()
    }

    /// Trips if the candidate is plainly broken and stable is not; whether it does now and did not before.
    pub(crate) fn check(&self, wire: TripWire, stable: &Self) -> bool {
        let (failures, requests) = self.newest(wire.requests);
        if requests < wire.requests || failures < wire.failures {
            return false;
        }
        let (stable_failures, stable_requests) = stable.newest(MEMORY);
        if stable_requests < STABLE_KNOWN || stable_failures * STABLE_BELOW >= stable_requests {
            return false;
        }
        self.tripped.set(Trip { failures, requests, stable_failures, stable_requests }).is_ok()
    }
}

/// The memories of a table's revisions, by name. They live on over table changes.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    salt: String,
    all: HashMap<Arc<str>, Arc<Memory>>,
}

impl Memories {
    /// The memories of a table's revisions, in its order. What a candidate did in an earlier rollout, which had another
    /// salt (R3), does not count, and one whose trip-wire is gone begins anew.
    pub(crate) fn enter(&mut self, table: &Table) -> Vec<Arc<Memory>> {
        let before = std::mem::take(&mut self.all);
        let same = self.salt == table.salt;
        self.salt.clone_from(&table.salt);
        let known = |revision: &crate::Revision| {
            let memory = before.get(&revision.name)?;
            let goes_on = if revision.trip_wire.is_some() { same } else { memory.tripped().is_none() };
            goes_on.then(|| memory.clone())
        };
        let memories: Vec<_> = table.revisions.iter().map(|r| known(r).unwrap_or_default()).collect();
        self.all = table.revisions.iter().map(|r| r.name.clone()).zip(memories.iter().cloned()).collect();
        memories
    }

    /// Those that have tripped, with what they saw.
    pub(crate) fn tripped(&self) -> BTreeMap<String, Trip> {
        let tripped =
            self.all.iter().filter_map(|(name, memory)| Some((name.to_string(), *memory.tripped()?)));
        tripped.collect()
    }
}

#[cfg(test)]
mod tests;
