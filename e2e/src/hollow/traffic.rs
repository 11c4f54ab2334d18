//! One synthetic request: drawn, answered and counted as a router would.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use wire::{Assignment, Counts, EndpointCounts, Feature, Feedback, Grid, Key, Outcome, Profile, Slots};

use super::router::Table;
use super::script::{Model, REFERENCE_BRIGHTNESS, Script};

/// Images that a reference profile was made from.
const PROFILED: u64 = 2000;

/// Where a request is counted.
pub(super) struct Book<'a> {
    pub(super) counts: &'a mut BTreeMap<Key, Counts>,
    /// Only under sticky routing, for split requests (C5).
    pub(super) slots: Option<&'a mut Slots>,
    pub(super) feedback: &'a mut BTreeMap<Key, Feedback>,
}

/// A table's slots, none of which was asked yet.
pub(super) fn slots(table: &Table) -> Slots {
    let mut slots = Slots::default();
    let mut from = 0;
    for (revision, n) in &table.slots {
        slots.own(revision, &(from..from + n).collect());
        from += n;
    }
    slots
}

/// Counts one request. Returns the answer, if stable gave it and it may be copied.
pub(super) fn one(
    table: &Table,
    slot: u16,
    endpoints: &BTreeMap<String, EndpointCounts>,
    script: &Script,
    models: &BTreeMap<String, (String, Option<String>)>,
    random: &mut StdRng,
    mut book: Book<'_>,
) -> Option<Item> {
    let matched = table.candidate.as_ref().filter(|_| random.random::<f64>() < script.routers.matched);
    let (revision, assignment) = match (&table.state.pin, matched) {
        (Some(pin), _) => (pin.clone(), Assignment::Pin),
        (None, Some(candidate)) => (candidate.clone(), Assignment::Match),
        // Nobody has a share: such a request is refused, and counted for nobody.
        (None, None) => (drawn(table, slot)?, Assignment::Split),
    };
    if assignment != Assignment::Split {
        book.slots = None;
    }
    let seen = endpoints.get(&revision).copied().unwrap_or_default();
    let key = Key { revision: revision.clone(), assignment };
    let counts = book.counts.entry(key.clone()).or_default();
    let mut became = |outcome: Outcome| {
        counts.outcomes[outcome.index()] += 1;
        if let Some(slots) = &mut book.slots {
            if outcome.is_trial() {
                slots.see(slot);
            }
            if outcome.is_error() {
                slots.fail(slot);
            }
        }
    };
    if seen.ready == 0 {
        let drained = seen.terminating > 0 && seen.unready == 0;
        became(if drained { Outcome::Drained } else { Outcome::Fallback });
        return None;
    }
    let version = models.get(&revision).map(|(version, _)| version.clone()).unwrap_or_default();
    let model = script.model(&version);
    let latency = latency(&model, random);
    let outcome = fate(&model, random);
    became(outcome);
    counts.latency[latency] += 1;
    book.slots.iter_mut().for_each(|slots| slots.raise_latency(slot, latency));
    if outcome != Outcome::Ok {
        return None;
    }
    let mut item = Item::draw(&model, script.routers.brightness, random);
    item.count(counts);
    // Not drawn where nobody labels: all else stays as it is.
    if script.routers.labelled > 0.0 && random.random::<f64>() < script.routers.labelled {
        let wrong = random.random::<f64>() >= model.accuracy;
        book.feedback.entry(key).or_default().cells[usize::from(wrong)][item.doubt] += 1;
        item.right = Some(!wrong);
    }
    book.slots.iter_mut().for_each(|slots| slots.raise_doubt(slot, item.doubt));
    (assignment == Assignment::Split && table.stable.as_ref() == Some(&revision)).then_some(item)
}

/// Cell of the time that an answer takes.
pub(super) fn latency(model: &Model, random: &mut StdRng) -> usize {
    cell(Grid::Seconds, model.latency.as_secs_f64() * normal(random, 0.0, 0.2).exp())
}

/// What becomes of a request that is answered.
pub(super) fn fate(model: &Model, random: &mut StdRng) -> Outcome {
    let fate: f64 = random.random();
    if fate < model.errors {
        Outcome::Error
    } else if fate < model.errors + model.rejected {
        Outcome::Rejected
    } else {
        Outcome::Ok
    }
}

/// The reference profile of a model: the same distributions, on images as they were at training.
pub(super) fn profile(version: &str, digest: String, model: &Model, random: &mut StdRng) -> Profile {
    let classes: Vec<String> = model.classes.iter().map(|(class, _)| class.clone()).collect();
    let mut profile = Profile { digest, images: PROFILED, ..Profile::new(version, &classes) };
    for _ in 0..PROFILED {
        let item = Item::draw(model, REFERENCE_BRIGHTNESS, random);
        for (cells, value) in profile.features.iter_mut().zip(item.features) {
            cells[value] += 1;
        }
        profile.confidence[item.doubt] += 1;
        if let Some(class) = profile.classes.iter_mut().find(|c| c.class == item.class) {
            class.count += 1;
        }
    }
    profile
}

/// An image and its answer, as cells of the grids.
pub(super) struct Item {
    pub(super) features: [usize; 3],
    pub(super) doubt: usize,
    pub(super) class: String,
    /// What its label says of it, if it has one.
    pub(super) right: Option<bool>,
}

impl Item {
    /// Adds it to what a revision answered.
    pub(super) fn count(&self, counts: &mut Counts) {
        for (cells, value) in counts.features.iter_mut().zip(self.features) {
            cells[value] += 1;
        }
        counts.doubt[self.doubt] += 1;
        *counts.classes.entry(self.class.clone()).or_default() += 1;
    }

    pub(super) fn draw(model: &Model, brightness: f64, random: &mut StdRng) -> Self {
        let features = [
            cell(Feature::Brightness.grid(), normal(random, brightness, 0.08)),
            cell(Feature::Contrast.grid(), normal(random, 0.25, 0.04)),
            cell(Feature::Sharpness.grid(), normal(random, 0.07, 0.02).max(0.0)),
        ];
        let (mean, deviation) = model.doubt;
        let doubt = cell(Grid::Doubt, 10f64.powf(normal(random, mean, deviation)).min(1.0));
        Self { features, doubt, class: class(model, random), right: None }
    }
}

fn class(model: &Model, random: &mut StdRng) -> String {
    let sum: f64 = model.classes.iter().map(|(_, share)| share).sum();
    let mut at = random.random::<f64>() * sum;
    for (class, share) in &model.classes {
        at -= share;
        if at < 0.0 {
            return class.clone();
        }
    }
    model.classes.last().map(|(class, _)| class.clone()).unwrap_or_default()
}

fn drawn(table: &Table, slot: u16) -> Option<String> {
    let mut end = 0;
    table.slots.iter().find_map(|(revision, slots)| {
        end += slots;
        (slot < end).then(|| revision.clone())
    })
}

fn cell(grid: Grid, value: f64) -> usize {
    grid.cell(value).expect("no value drawn here is NaN")
}

/// Box-Muller; one of the pair is enough here.
fn normal(random: &mut StdRng, mean: f64, deviation: f64) -> f64 {
    let (u, v): (f64, f64) = (random.random(), random.random());
    mean + deviation * (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
