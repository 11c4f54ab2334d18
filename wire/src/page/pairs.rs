//! The lines of pairs. Their labels are those of a state and the revision that gets the copies.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::family;
use super::parse::{Labels, bucket, label, set};
use super::write::{buckets, escape, state_labels};
use crate::{Grid, PAIR_LABELS, PairOutcome, Pairs, RouteState};

/// Writes the lines of all states, by family; those of labels only where a pair has any, so that a page without labels is
/// what releases before them wrote.
pub(super) fn write(out: &mut String, states: &BTreeMap<RouteState, BTreeMap<String, Pairs>>) -> fmt::Result {
    let all = || {
        let lists = states.iter().map(|(state, revisions)| (state_labels(state), revisions));
        lists.flat_map(|(state, revisions)| {
            revisions
                .iter()
                .map(move |(name, pairs)| (format!("{state},revision=\"{}\"", escape(name)), pairs))
        })
    };
    writeln!(out, "# TYPE {} counter", family::PAIRS)?;
    for (labels, pairs) in all() {
        for outcome in PairOutcome::ALL {
            let (result, count) = (outcome.as_str(), pairs.outcome(outcome));
            writeln!(out, "{}{{{labels},result=\"{result}\"}} {count}", family::PAIRS)?;
        }
    }
    writeln!(out, "# TYPE {} histogram", family::PAIR_GAP)?;
    for (labels, pairs) in all() {
        buckets(out, family::PAIR_GAP, &labels, Grid::Gap, &pairs.gap)?;
    }
    writeln!(out, "# TYPE {} histogram", family::PAIR_RATIO)?;
    for (labels, pairs) in all() {
        buckets(out, family::PAIR_RATIO, &labels, Grid::Ratio, &pairs.ratio)?;
    }
    let is_labelled = |(_, pairs): &(String, &Pairs)| pairs.labels.iter().any(|count| *count > 0);
    if !all().any(|pairs| is_labelled(&pairs)) {
        return Ok(());
    }
    writeln!(out, "# TYPE {} counter", family::PAIR_LABELS)?;
    for (labels, pairs) in all().filter(is_labelled) {
        for (result, count) in PAIR_LABELS.into_iter().zip(pairs.labels) {
            writeln!(out, "{}{{{labels},result=\"{result}\"}} {count}", family::PAIR_LABELS)?;
        }
    }
    Ok(())
}

/// Family and grid of each histogram, with its cells.
pub(super) fn histograms(pairs: &mut Pairs) -> [(&'static str, Grid, &mut Vec<u64>); 2] {
    [(family::PAIR_GAP, Grid::Gap, &mut pairs.gap), (family::PAIR_RATIO, Grid::Ratio, &mut pairs.ratio)]
}

/// Whether a line of this name is one of pairs.
pub(super) fn is_of_pairs(name: &str) -> bool {
    let family = name.strip_suffix("_bucket");
    matches!(name, family::PAIRS | family::PAIR_LABELS)
        || matches!(family, Some(family::PAIR_GAP | family::PAIR_RATIO))
}

/// Takes one line of a revision's pairs.
pub(super) fn take(pairs: &mut Pairs, name: &str, labels: &Labels<'_>, value: u64) -> Result<(), String> {
    let family = name.strip_suffix("_bucket");
    if let Some((_, grid, cells)) = histograms(pairs).into_iter().find(|h| family == Some(h.0)) {
        return bucket(cells, grid, labels, value);
    }
    let result = label(labels, "result")?;
    let unknown = || format!("unknown result {result:?}");
    if name == family::PAIR_LABELS {
        let at = PAIR_LABELS.iter().position(|known| *known == result).ok_or_else(unknown)?;
        return set(&mut pairs.labels[at], value);
    }
    let outcome = PairOutcome::parse(result).ok_or_else(unknown)?;
    set(&mut pairs.outcomes[outcome.index()], value)
}
