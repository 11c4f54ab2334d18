//! Which states' counters are kept, and what is shown of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::{Assignment, Key, PAIR_LABELS, Page, PairOutcome, Pairs, RouteState, Trip};

use super::{Shown, StateCounts, Tally};
use crate::Table;
use crate::class_pairs::{ByRevision, ClassPairs};
use crate::disagreements::Disagreements;
use crate::feedback::PredictionId;
use crate::tripwire::Memories;

/// Most states on the page: the current one and the one before, so that a change of weights drops nothing, and
/// the others of the same generation, so that a pin that goes away finds its counters.
const KEPT: usize = 8;
/// Totals that outlive their states on `/metrics`: of two assignments of 32 revisions, and the pairs of as many.
const FOLDED: usize = 64;

/// All counters of this process.
pub struct Ledger {
    instance: String,
    /// Whether labels are counted.
    labelled: bool,
    /// Copies that disagreed, for people.
    disagreements: Arc<Disagreements>,
    /// What was named and what was true, by revision.
    confusion: ByRevision<ClassPairs>,
    books: Mutex<Books>,
}

/// Sums of pairs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PairTotals {
    /// Copies per outcome, in the order of [`PairOutcome::ALL`].
    pub(super) outcomes: [u64; PairOutcome::ALL.len()],
    /// [`Pairs::labels`].
    pub(super) labels: [u64; PAIR_LABELS.len()],
}

impl PairTotals {
    fn add(&mut self, Pairs { outcomes, labels, .. }: &Pairs) {
        let mine = self.outcomes.iter_mut().chain(&mut self.labels);
        mine.zip(outcomes.iter().chain(labels)).for_each(|(mine, theirs)| *mine += theirs);
    }
}

#[derive(Default)]
pub(super) struct Books {
    /// What the trip-wires remember.
    memories: Memories,
    /// The last states, the current one last.
    pub(super) kept: Vec<Arc<StateCounts>>,
    /// States that left the page while requests were under way.
    pub(super) retiring: Vec<Arc<StateCounts>>,
    /// Totals of states without any request left, oldest first.
    pub(super) folded: Vec<(Key, Tally)>,
    /// The same of pairs.
    pub(super) folded_pairs: Vec<(String, PairTotals)>,
}

impl Ledger {
    /// An empty ledger. `instance` names the process: it must differ after every start.
    #[must_use]
    pub fn new(instance: String) -> Self {
        Self {
            instance,
            labelled: false,
            disagreements: Arc::default(),
            confusion: ByRevision::default(),
            books: Mutex::default(),
        }
    }

    /// The same that counts labels too.
    #[must_use]
    pub fn with_feedback(self) -> Self {
        Self { labelled: true, ..self }
    }

    /// The name of the process.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The counters of the table's state; those of a state that is still kept go on.
    pub(crate) fn enter(&self, table: &Table) -> Arc<StateCounts> {
        let mut books = self.books();
        let memories = books.memories.enter(table);
        let anew = || StateCounts::new(table, self.labelled, memories, self.disagreements.clone());
        let counts = books.take(table).unwrap_or_else(|| Arc::new(anew()));
        books.kept.push(counts.clone());
        books.retire();
        // Here too: nobody may ever ask for the totals.
        books.fold();
        counts
    }

    /// Counts a label; false when nobody is left to count it for. What was answered under a state that is no longer on
    /// the page is counted apart, under the newest one: its shares were others.
    pub(crate) fn label(&self, id: &PredictionId, correct: bool) -> bool {
        let books = self.books();
        let kept = books.kept.iter().find(|counts| counts.digest == id.state);
        if let Some(counts) = kept.and_then(|counts| counts.labels(&id.revision, id.assignment)) {
            counts.count(id.cell, correct);
            return true;
        }
        let newest = books.kept.iter().rev().find_map(|counts| counts.labels(&id.revision, id.assignment));
        newest.inspect(|labels| labels.count_late(correct)).is_some()
    }

    /// Copies that disagreed with the answers of users.
    pub(crate) fn disagreements(&self) -> &Disagreements {
        &self.disagreements
    }

    /// Which classes were named for which true ones, by revision: what the labels of its answers said, for people.
    pub(crate) fn confusion(&self) -> &ByRevision<ClassPairs> {
        &self.confusion
    }

    /// Counts the label of an answer beside which a copy was answered, by whether each is right. Where the state of both is
    /// no longer on the page they are not compared any more.
    pub(crate) fn label_pair(&self, id: &PredictionId, right: [bool; 2]) {
        let books = self.books();
        let state = books.kept.iter().find(|counts| counts.digest == id.state);
        state.and_then(|counts| counts.pairs.as_ref()).into_iter().for_each(|pairs| pairs.label(right));
    }

    /// The evidence page. Split counters and pairs are always there unless the state is pinned, others once they have
    /// counted. Of requests that are no evidence (C1) only the outcomes are there: the page is bounded.
    #[must_use]
    pub fn page(&self) -> Page {
        let mut states: BTreeMap<RouteState, BTreeMap<Key, wire::Counts>> = BTreeMap::new();
        let (mut slots, mut pairs) = (BTreeMap::new(), BTreeMap::new());
        let mut feedback: BTreeMap<RouteState, BTreeMap<Key, wire::Feedback>> = BTreeMap::new();
        for counts in self.books().kept.clone() {
            slots.extend(counts.slots.as_ref().map(|slots| (counts.state.clone(), slots.read())));
            pairs.extend(
                counts
                    .pairs
                    .as_ref()
                    .map(|pairs| (counts.state.clone(), [(pairs.revision.to_string(), pairs.read())].into())),
            );
            let keys = states.entry(counts.state.clone()).or_default();
            for (revision, assignment, shown, mut tally) in counts.tallies() {
                if shown != Shown::All {
                    let outcomes = tally.counts.outcomes;
                    tally.counts = wire::Counts { outcomes, ..wire::Counts::default() };
                }
                if let Some(labels) = tally.feedback.filter(|labels| labels.own().1 + labels.earlier().1 > 0)
                {
                    let key = Key { revision: revision.to_string(), assignment };
                    feedback.entry(counts.state.clone()).or_default().insert(key, labels);
                }
                let always = assignment == Assignment::Split && counts.state.pin.is_none();
                if always || tally.counts.requests() > 0 {
                    let key = Key { revision: revision.to_string(), assignment };
                    keys.insert(key, tally.counts);
                }
            }
        }
        let tripped = self.tripped();
        Page { instance: self.instance.clone(), states, slots, pairs, feedback, tripped }
    }

    /// Candidates that get no further request (R7).
    #[must_use]
    pub fn tripped(&self) -> BTreeMap<String, Trip> {
        self.books().memories.tripped()
    }

    /// Sums over all states, for `/metrics`: they never go down while a revision is in the table.
    pub(crate) fn totals(&self) -> BTreeMap<Key, Tally> {
        let mut books = self.books();
        books.fold();
        let mut totals: BTreeMap<Key, Tally> = books.folded.iter().cloned().collect();
        for counts in books.kept.iter().chain(&books.retiring) {
            for (revision, assignment, _, tally) in counts.tallies() {
                totals.entry(Key { revision: revision.to_string(), assignment }).or_default().add(&tally);
            }
        }
        totals
    }

    /// The same sums of pairs, by the revision that got the copies.
    pub(super) fn pair_totals(&self) -> BTreeMap<String, PairTotals> {
        let mut books = self.books();
        books.fold();
        let mut totals: BTreeMap<_, _> = books.folded_pairs.iter().cloned().collect();
        for pairs in books.kept.iter().chain(&books.retiring).filter_map(|counts| counts.pairs.as_ref()) {
            totals.entry(pairs.revision.to_string()).or_default().add(&pairs.read());
        }
        totals
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// The counters of a state that is still known.
    fn take(&mut self, table: &Table) -> Option<Arc<StateCounts>> {
        let same = |c: &Arc<StateCounts>| c.state == table.state;
        if let Some(i) = self.kept.iter().position(same) {
            return Some(self.kept.remove(i));
        }
        let i = self.retiring.iter().position(same)?;
        Some(self.retiring.swap_remove(i))
    }

    /// Takes off the page what belongs to neither the current generation nor the state before.
    fn retire(&mut self) {
        let Some(current) = self.kept.last().map(|c| c.state.clone()) else { return };
        let before = self.kept.len().saturating_sub(2);
        let mut i = 0;
        let (stay, go) = std::mem::take(&mut self.kept).into_iter().partition::<Vec<_>, _>(|counts| {
            let state = &counts.state;
            i += 1;
            i > before || (state.uid == current.uid && state.generation == current.generation)
        });
        self.kept = stay;
        self.retiring.extend(go);
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.retiring.extend(self.kept.drain(..surplus));
    }

    /// Adds up the states that no request can count into any more: this is their last owner.
    fn fold(&mut self) {
        let (done, busy) = std::mem::take(&mut self.retiring)
            .into_iter()
            .partition::<Vec<_>, _>(|counts| Arc::strong_count(counts) == 1);
        self.retiring = busy;
        for counts in done {
            for (revision, assignment, _, tally) in counts.tallies() {
                let key = Key { revision: revision.to_string(), assignment };
                match self.folded.iter_mut().find(|(k, _)| *k == key) {
                    Some((_, total)) => total.fold(tally),
                    None => self.folded.push((key, tally)),
                }
            }
            if let Some(pairs) = &counts.pairs {
                let name = &*pairs.revision;
                let known = self.folded_pairs.iter().position(|(known, _)| known == name);
                let at = known.unwrap_or_else(|| {
                    self.folded_pairs.push((name.to_owned(), PairTotals::default()));
                    self.folded_pairs.len() - 1
                });
                self.folded_pairs[at].1.add(&pairs.read());
            }
        }
        let Self { kept, folded, folded_pairs, .. } = self;
        let shown = |name: &str| kept.iter().any(|c| c.revisions.iter().any(|r| **r == *name));
        trim(folded, |key| shown(&key.revision));
        trim(folded_pairs, |name| shown(name));
    }
}

/// Drops the oldest of what is too much, but nothing that must stay.
fn trim<K, T>(folded: &mut Vec<(K, T)>, stays: impl Fn(&K) -> bool) {
    let excess = folded.len().saturating_sub(FOLDED);
    let mut dropped = 0;
    folded.retain(|(key, _)| {
        let drop = dropped < excess && !stays(key);
        dropped += usize::from(drop);
        !drop
    });
}
