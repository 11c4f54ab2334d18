//! The lines of labels: those of a state, revision and assignment that got any.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::parse::{Labels, bucket, label, set};
use super::write::{buckets, labels};
use super::{Key, family};
use crate::feedback::RESULTS;
use crate::{Feedback, Grid, RouteState};

/// Writes the lines of all states, by family; nothing at all where no label arrived, so that a page without labels is
/// what releases before them wrote.
pub(super) fn write(out: &mut String, states: &BTreeMap<RouteState, BTreeMap<Key, Feedback>>) -> fmt::Result {
    if states.is_empty() {
        return Ok(());
    }
    let all = || {
        states
            .iter()
            .flat_map(|(state, keys)| keys.iter().map(move |(key, counts)| (labels(state, key), counts)))
    };
    writeln!(out, "# TYPE {} histogram", family::FEEDBACK)?;
    for (labels, counts) in all() {
        for (result, cells) in RESULTS.into_iter().zip(&counts.cells) {
            buckets(out, family::FEEDBACK, &format!("{labels},result=\"{result}\""), Grid::Doubt, cells)?;
        }
    }
    writeln!(out, "# TYPE {} counter", family::FEEDBACK_LATE)?;
    for (labels, counts) in all() {
        for (result, count) in RESULTS.into_iter().zip(counts.late) {
            writeln!(out, "{}{{{labels},result=\"{result}\"}} {count}", family::FEEDBACK_LATE)?;
        }
    }
    Ok(())
}

/// Whether a line of this name is one of labels.
pub(super) fn is_of_feedback(name: &str) -> bool {
    name == family::FEEDBACK_LATE || name.strip_suffix("_bucket") == Some(family::FEEDBACK)
}

/// Takes one line of a key's labels.
pub(super) fn take(counts: &mut Feedback, name: &str, labels: &Labels<'_>, value: u64) -> Result<(), String> {
    let found = label(labels, "result")?;
    let result = RESULTS.iter().position(|result| *result == found);
    let result = result.ok_or_else(|| format!("unknown result {found:?}"))?;
    if name == family::FEEDBACK_LATE {
        return set(&mut counts.late[result], value);
    }
    bucket(&mut counts.cells[result], Grid::Doubt, labels, value)
}
