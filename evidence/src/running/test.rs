//! One test of harm with the totals that explain it.

use serde::{Deserialize, Serialize};

use crate::text::count;
use crate::{Process, Stratum};

/// Events and units of both arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) x: u64,
    pub(super) n: u64,
    pub(super) x_stable: u64,
    pub(super) n_stable: u64,
    /// Units are slots (C5).
    #[serde(default)]
    pub(super) slots: bool,
}

impl Totals {
    /// Whether anything can be compared.
    pub(super) const fn has_both_arms(&self) -> bool {
        self.n > 0 && self.n_stable > 0
    }

    /// Adds the events and units of an interval.
    pub(super) fn add(&mut self, Stratum { x, n, x_stable, n_stable, .. }: Stratum) {
        self.x += x;
        self.n += n;
        self.x_stable += x_stable;
        self.n_stable += n_stable;
    }

    /// Adds the events of an interval whose units are slots: an arm's are those at risk now and those that had
    /// their event.
    pub(super) fn add_slots(&mut self, Stratum { x, n, x_stable, n_stable, .. }: Stratum) {
        self.slots = true;
        (self.n, self.n_stable) = (n + self.x, n_stable + self.x_stable);
        (self.x, self.x_stable) = (self.x + x, self.x_stable + x_stable);
    }

    /// "41 of 1,900 requests", or items, or slots.
    pub(super) fn ours(&self, unit: &str) -> String {
        format!("{} of {} {}", count(self.x), count(self.n), if self.slots { "slots" } else { unit })
    }

    /// The same of stable, without the unit.
    pub(super) fn theirs(&self) -> String {
        format!("{} of {}", count(self.x_stable), count(self.n_stable))
    }
}

/// A process and its totals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Test {
    pub(super) process: Process,
    pub(super) totals: Totals,
}

impl Test {
    pub(super) fn new(tolerance: f64) -> Self {
        let process = Process::new(tolerance).expect("tolerances are validated with the spec");
        Self { process, totals: Totals::default() }
    }

    /// Takes the counts of an interval.
    pub(super) fn observe(&mut self, stratum: Stratum) {
        // Counts of a page are consistent and below 2^53; otherwise the interval says nothing.
        if self.process.observe(&stratum).is_ok() {
            self.totals.add(stratum);
        }
    }

    /// Takes the slots of an interval.
    pub(super) fn observe_slots(&mut self, stratum: Stratum) {
        if self.process.observe(&stratum).is_ok() {
            self.totals.add_slots(stratum);
        }
    }
}
