//! One synthetic copy of a request that stable has answered, or nobody.

use rand::Rng;
use rand::rngs::StdRng;
use wire::{Counts, Outcome, PairOutcome, Pairs};

use super::script::{Model, REFERENCE_BRIGHTNESS};
use super::traffic::{Item, fate, latency};

/// Counts the copy of a request with this answer; without a model nobody is there to get it.
pub(super) fn one(
    answer: &Item,
    model: Option<&Model>,
    random: &mut StdRng,
    counts: &mut Counts,
    pairs: &mut Pairs,
) {
    let Some((model, outcome)) = arrive(model, random, counts, pairs) else { return };
    if outcome != Outcome::Ok {
        pairs.outcomes[PairOutcome::Failed.index()] += 1;
        return;
    }
    // The same image: its features are those that stable's answer told of.
    let mut item = Item { features: answer.features, ..Item::draw(model, REFERENCE_BRIGHTNESS, random) };
    let agrees = random.random::<f64>() >= model.disagrees;
    if agrees {
        item.class.clone_from(&answer.class);
    } else if item.class == answer.class {
        item.class.push('?');
    }
    if let Some(stable) = answer.right {
        let copy = random.random::<f64>() < model.accuracy;
        // In the order of `wire::PAIR_LABELS`.
        pairs.labels[2 * usize::from(!stable) + usize::from(!copy)] += 1;
    }
    item.count(counts);
    let outcome = if agrees { PairOutcome::Agree } else { PairOutcome::Disagree };
    pairs.outcomes[outcome.index()] += 1;
}

/// Counts the copy of a request that nobody answers: it makes no pair.
pub(super) fn unanswered(
    model: Option<&Model>,
    brightness: f64,
    random: &mut StdRng,
    counts: &mut Counts,
    pairs: &mut Pairs,
) {
    if let Some((model, Outcome::Ok)) = arrive(model, random, counts, pairs) {
        Item::draw(model, brightness, random).count(counts);
    }
}

/// Counts what became of a copy, and how long it took; `None` where it is dropped.
fn arrive<'m>(
    model: Option<&'m Model>,
    random: &mut StdRng,
    counts: &mut Counts,
    pairs: &mut Pairs,
) -> Option<(&'m Model, Outcome)> {
    let Some(model) = model else {
        pairs.outcomes[PairOutcome::Dropped.index()] += 1;
        return None;
    };
    let outcome = fate(model, random);
    counts.outcomes[outcome.index()] += 1;
    counts.latency[latency(model, random)] += 1;
    Some((model, outcome))
}
