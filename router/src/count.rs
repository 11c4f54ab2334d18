//! Counters of one state of the table (C2, C3). Made when the state is entered, so that a request finds its
//! counters by index and touches nothing but atomics.

mod classes;
mod collector;
mod labels;
mod ledger;
mod pairs;
mod series;
mod slots;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use wire::{Assignment, Counts, Feature, Feedback, Grid, Outcome, PairOutcome, RouteState};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use classes::Classes;
pub use collector::Collector;
pub use ledger::Ledger;

use crate::compare::Pair;
use crate::disagreements::{Disagreement, Disagreements};
use crate::feedback::{NO_CONFIDENCE, PredictionId};
use crate::items::{AnswerHeaders, Item};
use crate::telemetry::Record;
use crate::tripwire::Memory;
use crate::{Choice, Table, TripWire};
use labels::LabelCounts;
use pairs::PairCounts;
use series::{Series, Shown, observe};
use slots::SlotCounts;

/// Counts with the sums that Prometheus wants for each histogram: latency, doubt, then the features.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    pub(crate) sums: [f64; 2 + Feature::ALL.len()],
    /// Where labels are taken.
    pub(crate) feedback: Option<Feedback>,
}

impl Tally {
    /// Adds what is kept for good: names beyond the bound are added to the others.
    pub(crate) fn fold(&mut self, mut other: Self) {
        let known = &self.counts.classes;
        let mut room = Classes::MAX.saturating_sub(known.len());
        let mut excess = 0;
        other.counts.classes.retain(|name, n| {
            let fits = room > 0;
            let keep = name == classes::OTHER || known.contains_key(name) || fits;
            if keep && !known.contains_key(name) {
                room = room.saturating_sub(1);
            }
            excess += if keep { 0 } else { *n };
            keep
        });
        if excess > 0 {
            *other.counts.classes.entry(classes::OTHER.to_owned()).or_default() += excess;
        }
        self.add(&other);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (mine, theirs) in self.sums.iter_mut().zip(other.sums) {
            *mine += theirs;
        }
        if let Some(theirs) = &other.feedback {
            self.feedback.get_or_insert_default().add(theirs);
        }
    }
}

/// Counters of one state, by index of the table's revisions.
pub(crate) struct StateCounts {
    state: RouteState,
    /// The state in short, as ids of answers name it.
    digest: u64,
    revisions: Vec<Arc<str>>,
    /// Absent for what this state's table never draws.
    series: Vec<[Option<Box<Series>>; Assignment::ALL.len()]>,
    /// What of them is on the page.
    shown: Vec<[Shown; Assignment::ALL.len()]>,
    classes: Classes,
    slots: Option<SlotCounts>,
    pairs: Option<PairCounts>,
    disagreements: Arc<Disagreements>,
    wires: Wires,
}

/// What the trip-wires of a state look at, by index of the table's revisions.
struct Wires {
    memories: Vec<Arc<Memory>>,
    wires: Vec<Option<TripWire>>,
    stable: Option<usize>,
}

impl StateCounts {
    /// `labelled` where labels are taken.
    fn new(
        table: &Table,
        labelled: bool,
        memories: Vec<Arc<Memory>>,
        disagreements: Arc<Disagreements>,
    ) -> Self {
        let state = table.state.clone();
        let revisions: Vec<_> = table.revisions.iter().map(|r| r.name.clone()).collect();
        // Nothing is evidence while all is pinned (C1), and the page is bounded.
        let labelled = labelled && table.state.pin.is_none();
        let classes = Classes::new(table, labelled);
        let shown: Vec<_> = (0..revisions.len())
            .map(|revision| Assignment::ALL.map(|assignment| Shown::of(table, revision, assignment)))
            .collect();
        let series = |all: &[Shown; Assignment::ALL.len()]| {
            Assignment::ALL.map(|assignment| {
                let shown = all[assignment as usize];
                let labelled = labelled && shown.is_labelled(assignment);
                (shown != Shown::Nothing).then(|| Box::new(Series::new(labelled)))
            })
        };
        let series = shown.iter().map(series).collect();
        let (slots, pairs) = (SlotCounts::new(table), PairCounts::new(table));
        let wires = Wires {
            memories,
            wires: table.revisions.iter().map(|revision| revision.trip_wire).collect(),
            stable: table.stable,
        };
        let digest = digest(&state);
        Self { state, digest, revisions, series, shown, classes, slots, pairs, disagreements, wires }
    }

    /// What was counted for each revision and assignment, with what of it is on the page.
    fn tallies(&self) -> impl Iterator<Item = (&Arc<str>, Assignment, Shown, Tally)> {
        let all = self.revisions.iter().zip(self.series.iter().zip(&self.shown));
        all.flat_map(move |(revision, (series, shown))| {
            let each = Assignment::ALL.into_iter().zip(series.iter().zip(shown));
            each.filter_map(move |(assignment, (series, shown))| {
                Some((revision, assignment, *shown, series.as_ref()?.tally(&self.classes)))
            })
        })
    }

    /// Where the labels of a revision's answers are counted, if they are.
    fn labels(&self, revision: &str, assignment: Assignment) -> Option<&LabelCounts> {
        let at = self.revisions.iter().position(|name| **name == *revision)?;
        self.series[at][assignment as usize].as_ref()?.labels.as_deref()
    }

    /// Whether a revision gets no further request, and stable answers in its place (R7).
    pub(crate) fn is_tripped(&self, revision: usize) -> bool {
        let Wires { memories, wires, stable } = &self.wires;
        wires[revision].is_some() && stable.is_some() && memories[revision].tripped().is_some()
    }

    /// Remembers what became of a split request.
    fn remember(&self, revision: usize, failed: bool) {
        let Wires { memories, wires, stable } = &self.wires;
        memories[revision].push(failed);
        let (Some(wire), Some(stable), true) = (wires[revision], *stable, failed) else { return };
        if stable != revision && memories[revision].check(wire, &memories[stable]) {
            let saw = memories[revision].tripped();
            tracing::error!(
                revision = &*self.revisions[revision],
                ?saw,
                "trip-wire: it gets no further request"
            );
        }
    }

    /// Counts a copy that was not sent.
    pub(crate) fn drop_copy(&self) {
        self.pair(&Pair { outcome: PairOutcome::Dropped, gap: None, ratio: None });
    }

    /// Remembers a copy that disagrees with the user's answer.
    pub(crate) fn disagree(&self, disagreement: Disagreement) {
        if let Some(pairs) = &self.pairs {
            self.disagreements.push(&pairs.revision, self.state.generation, disagreement);
        }
    }

    /// Counts what became of a copy.
    pub(crate) fn pair(&self, pair: &Pair) {
        if let Some(pairs) = &self.pairs {
            pairs.count(pair);
        }
    }
}

/// A state in 64 bits.
fn digest(state: &RouteState) -> u64 {
    let RouteState { uid, generation, pin } = state;
    xxh3_64(format!("{uid}\0{generation}\0{}", pin.as_deref().unwrap_or_default()).as_bytes())
}

/// One assigned request. It is counted exactly once: by [`Ticket::finish`], or as cancelled when it is
/// dropped, because a request is dropped only when its client went away (C2).
pub(crate) struct Ticket {
    counts: Arc<StateCounts>,
    choice: Choice,
    slot: u16,
    started: Instant,
    finished: bool,
    /// Tells it from all others, once it was told to a server.
    nonce: Option<u64>,
    /// What is told of it, if anything is.
    record: Option<Arc<Record>>,
}

impl Ticket {
    pub(crate) fn new(counts: Arc<StateCounts>, choice: Choice, slot: u16, started: Instant) -> Self {
        Self { counts, choice, slot, started, finished: false, nonce: None, record: None }
    }

    /// The same that is told of.
    pub(crate) fn recorded(self, record: Option<Arc<Record>>) -> Self {
        let mut this = self;
        if let Some(record) = &record {
            let Choice { revision, assignment } = this.choice;
            record.assigned(this.counts.revisions[revision].clone(), assignment, this.slot);
        }
        this.record = record;
        this
    }

    /// What is told of it, until it is counted.
    pub(crate) fn record(&self) -> Option<&Record> {
        self.record.as_deref()
    }

    /// Leaves it out of all counts: it is no prediction.
    pub(crate) fn uncounted(self) -> Self {
        let mut this = self;
        this.finished = true;
        this
    }

    /// Its time so far, without what the client was waited for.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes time out of the latency: the client was waited for.
    pub(crate) fn pause(&mut self, waited: Duration) {
        self.started += waited;
    }

    /// Counts the request without an answer of the revision drawn, except for a timeout's latency.
    pub(crate) fn finish(mut self, outcome: Outcome) {
        if outcome == Outcome::Timeout {
            self.count_latency();
        }
        self.count(outcome);
    }

    /// Counts the request with the complete answer of the revision drawn.
    pub(crate) fn finish_answered(mut self, outcome: Outcome, success: Option<&AnswerHeaders>) {
        // An error that comes at once would make a failing revision a fast one (C2).
        if matches!(outcome, Outcome::Ok | Outcome::Timeout) {
            self.count_latency();
        }
        // rule: C3
        let item = success.filter(|_| !self.finished).and_then(|headers| headers.draw(rand::random()));
        if let Some(item) = item {
            let doubt = self.series().count_item(&item, &self.counts.classes);
            if let (Some(slots), Some(cell)) = (self.slots(), doubt) {
                slots.raise_doubt(self.slot, cell);
            }
        }
        self.count(outcome);
    }

    /// The name of an item of its answer, given at `time`; `None` for one without a class, and where labels are not
    /// counted: of requests that are no evidence (C1), and of all where none are taken.
    pub(crate) fn name(&self, item: &Item<'_>, time: u32) -> Option<PredictionId> {
        let doubt = item.confidence.and_then(|confidence| Grid::Doubt.cell(1.0 - confidence));
        let cell = doubt.unwrap_or(NO_CONFIDENCE);
        Some(PredictionId { cell, class: item.class.clone()?.into_owned(), ..self.unnamed(time)? })
    }

    /// The name of its answer before there is one. Both have the same nonce, so that one label is taken of them.
    pub(crate) fn ticket(&mut self, time: u32) -> Option<PredictionId> {
        let id = self.unnamed(time)?;
        self.nonce = Some(id.nonce);
        Some(id)
    }

    fn unnamed(&self, time: u32) -> Option<PredictionId> {
        self.series().labels.as_ref()?;
        Some(PredictionId {
            time,
            nonce: self.nonce.unwrap_or_else(rand::random),
            state: self.counts.digest,
            assignment: self.choice.assignment,
            cell: NO_CONFIDENCE,
            revision: self.counts.revisions[self.choice.revision].to_string(),
            class: String::new(),
        })
    }

    fn series(&self) -> &Series {
        let series = &self.counts.series[self.choice.revision][self.choice.assignment as usize];
        series.as_deref().expect("a state has counters for all that its table draws")
    }

    /// Where its slot is counted, if slots are.
    fn slots(&self) -> Option<&SlotCounts> {
        // rule: C1, C5
        self.counts.slots.as_ref().filter(|slots| match self.choice.assignment {
            Assignment::Split => true,
            // Where nobody is drawn, copies are all that users ask.
            Assignment::Shadow => !slots.are_drawn(),
            _ => false,
        })
    }

    fn count_latency(&self) {
        if self.finished {
            return;
        }
        let series = self.series();
        let seconds = self.elapsed().as_secs_f64();
        let cell = observe(&series.latency, &series.sums[0], Grid::Seconds, seconds);
        if let (Some(slots), Some(cell)) = (self.slots(), cell) {
            slots.raise_latency(self.slot, cell);
        }
    }

    fn count(&mut self, outcome: Outcome) {
        if let Some(record) = self.record.take() {
            record.outcome(outcome);
        }
        if !std::mem::replace(&mut self.finished, true) {
            self.series().outcomes[outcome.index()].fetch_add(1, Relaxed);
            // rule: R7, C1
            if self.choice.assignment == Assignment::Split && outcome.is_trial() {
                self.counts.remember(self.choice.revision, outcome.is_error());
            }
            if let Some(slots) = self.slots() {
                slots.count(self.slot, outcome);
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.count(Outcome::Cancelled);
    }
}

#[cfg(test)]
pub(crate) mod tests;
