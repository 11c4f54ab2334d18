//! Which states' counters are kept, and what is shown of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::{Assignment, Key, Page, RouteState};

use super::{Classes, StateCounts, Tally};
use crate::Table;

/// States on the page: the current one and the one before, so that a change of weights drops nothing.
const KEPT: usize = 2;
/// Revisions whose totals outlive their states on `/metrics`.
const FOLDED: usize = 32;

/// All counters of this process.
pub struct Ledger {
    instance: String,
    classes: Arc<Classes>,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    /// The last states, the current one last.
    kept: Vec<Arc<StateCounts>>,
    /// States that left the page while requests were under way.
    retiring: Vec<Arc<StateCounts>>,
    /// Totals of states without any request left, oldest first.
    folded: Vec<(Key, Tally)>,
}

impl Ledger {
    /// An empty ledger. `instance` names the process: it must differ after every start.
    #[must_use]
    pub fn new(instance: String) -> Self {
        Self { instance, classes: Arc::default(), books: Mutex::default() }
    }

    /// The name of the process.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The counters of the table's state; those of a state that is still kept go on.
    pub(crate) fn enter(&self, table: &Table) -> Arc<StateCounts> {
        let mut books = self.books();
        let known = books.kept.iter().position(|c| c.state == table.state);
        let counts = if let Some(i) = known {
            books.kept.remove(i)
        } else {
            let revisions = table.revisions.iter().map(|r| r.name.clone()).collect();
            Arc::new(StateCounts::new(table.state.clone(), revisions, self.classes.clone()))
        };
        books.kept.push(counts.clone());
        if books.kept.len() > KEPT {
            let oldest = books.kept.remove(0);
            books.retiring.push(oldest);
        }
        counts
    }

    /// The evidence page. Split counters are always there, others once they have counted.
    #[must_use]
    pub fn page(&self) -> Page {
        let mut states: BTreeMap<RouteState, BTreeMap<Key, wire::Counts>> = BTreeMap::new();
        for counts in self.books().kept.clone() {
            let keys = states.entry(counts.state.clone()).or_default();
            for (revision, assignment, tally) in counts.tallies() {
                if assignment == Assignment::Split || tally.counts.requests() > 0 {
                    let key = Key { revision: revision.to_string(), assignment };
                    keys.insert(key, tally.counts);
                }
            }
        }
        Page { instance: self.instance.clone(), states }
    }

    /// Sums over all states, for `/metrics`: they never go down while a revision is in the table.
    pub(crate) fn totals(&self) -> BTreeMap<Key, Tally> {
        let mut books = self.books();
        books.fold();
        let mut totals: BTreeMap<Key, Tally> = books.folded.iter().cloned().collect();
        for counts in books.kept.iter().chain(&books.retiring) {
            for (revision, assignment, tally) in counts.tallies() {
                totals.entry(Key { revision: revision.to_string(), assignment }).or_default().add(&tally);
            }
        }
        totals
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Adds up the states that no request can count into any more: this is their last owner.
    fn fold(&mut self) {
        let (done, busy) = std::mem::take(&mut self.retiring)
            .into_iter()
            .partition::<Vec<_>, _>(|counts| Arc::strong_count(counts) == 1);
        self.retiring = busy;
        for counts in done {
            for (revision, assignment, tally) in counts.tallies() {
                let key = Key { revision: revision.to_string(), assignment };
                match self.folded.iter_mut().find(|(k, _)| *k == key) {
                    Some((_, total)) => total.add(&tally),
                    None => self.folded.push((key, tally)),
                }
            }
        }
        let excess = self.folded.len().saturating_sub(FOLDED * Assignment::ALL.len());
        let Self { kept, folded, .. } = self;
        let shown = |key: &Key| kept.iter().any(|c| c.revisions.iter().any(|r| **r == key.revision));
        let mut dropped = 0;
        folded.retain(|(key, _)| {
            let drop = dropped < excess && !shown(key);
            dropped += usize::from(drop);
            !drop
        });
    }
}
