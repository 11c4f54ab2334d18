//! Reads the page. Strict: what of it this release knows and is not what the writer writes is an error, never a guess.
//! Families that it does not know are left alone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{
    Counts, END, Key, MAX_COUNT, MAX_KEYS, MAX_PAIRED, MAX_STATES, MAX_TRIPPED, Page, PageError, cells,
    family, feedback, histogram_kinds, pairs, slots, trips,
};
use crate::{Assignment, FEATURES, Feature, Feedback, GRID_VERSION, Grid, Outcome, Pairs, RouteState};

/// Labels of one line: so few that a search beats hashing, and seldom with anything to unescape.
pub(super) type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// What a page says of itself, each once.
#[derive(Default)]
struct Head {
    version: Option<String>,
    instance: Option<String>,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// Another grid version, a line that cannot be read or that no router writes (with its number), buckets
    /// that fall, or a page that was cut off or does not name its process.
    pub fn parse(text: &str) -> Result<Self, PageError> {
        let (mut page, mut head) = (Self::default(), Head::default());
        let mut ended = false;
        for (number, line) in text.lines().enumerate() {
            let taken = match line.strip_prefix(slots::MARK) {
                _ if ended => Err(format!("text after {END:?}")),
                Some(line) => page.take_comment(line),
                None if line.starts_with('#') || line.is_empty() => {
                    ended = line == END;
                    continue;
                }
                None => page.take(line, &mut head),
            };
            taken.map_err(|what| PageError::Line { line: number + 1, what })?;
        }
        if head.version.as_deref() != Some(GRID_VERSION.to_string().as_str()) {
            return Err(PageError::Version { found: head.version });
        }
        if !ended {
            return Err(PageError::Cut);
        }
        page.instance = head.instance.ok_or(PageError::Nameless)?;
        for (key, counts) in page.states.values_mut().flatten() {
            let Counts { latency, doubt, features, .. } = counts;
            let all = [latency, doubt].into_iter().chain(features);
            for ((family, _, grid), cells) in histogram_kinds().zip(all) {
                uncumulate(family, &key.revision, grid, cells)?;
            }
        }
        for (key, counts) in page.feedback.values_mut().flatten() {
            for cells in &mut counts.cells {
                uncumulate(family::FEEDBACK, &key.revision, Grid::Doubt, cells)?;
            }
        }
        for (revision, pairs) in page.pairs.values_mut().flatten() {
            for (family, grid, cells) in pairs::histograms(pairs) {
                uncumulate(family, revision, grid, cells)?;
            }
        }
        Ok(page)
    }

    fn take(&mut self, line: &str, head: &mut Head) -> Result<(), String> {
        let (name, labels, value) = split(line)?;
        match name {
            family::GRID => return once(&mut head.version, value),
            family::INSTANCE => return once(&mut head.instance, label(&labels, "instance")?),
            _ if !is_known(name) => return Ok(()),
            _ => {}
        }
        let count = value.parse().ok().filter(|count| *count <= MAX_COUNT);
        let value = count.ok_or_else(|| {
            format!("{value:?} is not a count, a whole number up to {MAX_COUNT} is allowed")
        })?;
        if name == family::TRIPPED {
            return self.trip(&labels);
        }
        if pairs::is_of_pairs(name) {
            return pairs::take(self.paired(&labels)?, name, &labels, value);
        }
        if feedback::is_of_feedback(name) {
            return feedback::take(self.labelled(&labels)?, name, &labels, value);
        }
        let counts = self.counts(&labels)?;
        match name {
            family::REQUESTS => {
                let outcome = label(&labels, "outcome")?;
                let outcome =
                    Outcome::parse(outcome).ok_or_else(|| format!("unknown outcome {outcome:?}"))?;
                set(&mut counts.outcomes[outcome.index()], value)
            }
            family::NULL_OUTPUTS => set(&mut counts.null_outputs, value),
            family::PREDICTIONS => match counts.classes.insert(label(&labels, "class")?.to_owned(), value) {
                Some(before) => Err(twice(before, value)),
                None => Ok(()),
            },
            _ => {
                let (cells, grid) = histogram(counts, name, &labels)?;
                bucket(cells, grid, &labels, value)
            }
        }
    }

    fn take_comment(&mut self, line: &str) -> Result<(), String> {
        let (name, labels, value) = split(line)?;
        match name {
            family::SLOTS => {
                let slots = bounded(&mut self.slots, state(&labels)?, MAX_STATES, "states")?;
                slots::take(slots, &labels, value)
            }
            family::CELLS => cells::take(self.counts(&labels)?, &labels, value),
            _ => Ok(()),
        }
    }

    fn trip(&mut self, labels: &Labels<'_>) -> Result<(), String> {
        let revision = label(labels, "revision")?.to_owned();
        *bounded(&mut self.tripped, revision, MAX_TRIPPED, "tripped candidates")? = trips::read(labels)?;
        Ok(())
    }

    fn counts(&mut self, labels: &Labels<'_>) -> Result<&mut Counts, String> {
        keyed(&mut self.states, labels)
    }

    fn labelled(&mut self, labels: &Labels<'_>) -> Result<&mut Feedback, String> {
        keyed(&mut self.feedback, labels)
    }

    fn paired(&mut self, labels: &Labels<'_>) -> Result<&mut Pairs, String> {
        let revisions = bounded(&mut self.pairs, state(labels)?, MAX_STATES, "states")?;
        bounded(
            revisions,
            label(labels, "revision")?.to_owned(),
            MAX_PAIRED,
            "revisions with pairs of one state",
        )
    }
}

/// The value of the state, revision and assignment that a line names.
fn keyed<'a, V: Default>(
    states: &'a mut BTreeMap<RouteState, BTreeMap<Key, V>>,
    labels: &Labels<'_>,
) -> Result<&'a mut V, String> {
    let assignment = label(labels, "assignment")?;
    let key = Key {
        revision: label(labels, "revision")?.to_owned(),
        assignment: Assignment::parse(assignment)
            .ok_or_else(|| format!("unknown assignment {assignment:?}"))?,
    };
    let keys = bounded(states, state(labels)?, MAX_STATES, "states")?;
    bounded(keys, key, MAX_KEYS, "revisions and assignments of one state")
}

/// Whether a line of this name is for this release.
fn is_known(name: &str) -> bool {
    matches!(
        name.strip_suffix("_bucket").unwrap_or(name),
        family::REQUESTS
            | family::SECONDS
            | family::DOUBT
            | family::INPUT
            | family::PREDICTIONS
            | family::NULL_OUTPUTS
            | family::PAIRS
            | family::PAIR_GAP
            | family::PAIR_RATIO
            | family::PAIR_LABELS
            | family::FEEDBACK
            | family::FEEDBACK_LATE
            | family::TRIPPED
    )
}

/// The value of a key, new ones only up to `most` of them: what the page names is allocated.
fn bounded<'a, K: Ord, V: Default>(
    map: &'a mut BTreeMap<K, V>,
    key: K,
    most: usize,
    what: &str,
) -> Result<&'a mut V, String> {
    let full = map.len() >= most;
    match map.entry(key) {
        Entry::Vacant(_) if full => Err(format!("more than {most} {what}")),
        entry => Ok(entry.or_default()),
    }
}

/// Sets the bucket that the line names.
pub(super) fn bucket(cells: &mut [u64], grid: Grid, labels: &Labels<'_>, value: u64) -> Result<(), String> {
    let le = label(labels, "le")?;
    let cell = grid.find(le).ok_or_else(|| format!("le {le:?} is no edge of the grid"))?;
    if value == 0 && cell + 1 < grid.len() {
        return Err(format!("0 in bucket {le}, which is left out while it is empty"));
    }
    set(&mut cells[cell], value)
}

/// Sets a cell that no line has set yet. That another 0 is taken again harms nobody.
pub(super) fn set(cell: &mut u64, value: u64) -> Result<(), String> {
    if *cell > 0 {
        return Err(twice(*cell, value));
    }
    *cell = value;
    Ok(())
}

fn once(place: &mut Option<String>, value: &str) -> Result<(), String> {
    match place.replace(value.to_owned()) {
        Some(before) => Err(format!("a second time: {before:?} before, {value:?} now")),
        None => Ok(()),
    }
}

fn twice(before: u64, now: u64) -> String {
    format!("the same series a second time: {before} before, {now} now")
}

fn state(labels: &Labels<'_>) -> Result<RouteState, String> {
    let generation = label(labels, "generation")?;
    let pin = label(labels, "pin")?;
    Ok(RouteState {
        uid: label(labels, "uid")?.to_owned(),
        generation: generation.parse().map_err(|_| format!("generation {generation:?} is no number"))?,
        pin: (!pin.is_empty()).then(|| pin.to_owned()),
    })
}

fn histogram<'a>(
    counts: &'a mut Counts,
    name: &str,
    labels: &Labels<'_>,
) -> Result<(&'a mut Vec<u64>, Grid), String> {
    match name.strip_suffix("_bucket") {
        Some(family::SECONDS) => Ok((&mut counts.latency, Grid::Seconds)),
        Some(family::DOUBT) => Ok((&mut counts.doubt, Grid::Doubt)),
        Some(family::INPUT) => {
            let name = label(labels, "feature")?;
            let feature = Feature::parse(name).filter(|known| FEATURES.contains(known));
            let feature = feature.ok_or_else(|| format!("unknown feature {name:?}"))?;
            Ok((&mut counts.features[feature.index()], feature.grid()))
        }
        _ => Err(format!("unknown family {name:?}")),
    }
}

/// Cumulative buckets, absent where empty but for the last one, to counts per cell.
fn uncumulate(family: &'static str, revision: &str, grid: Grid, cells: &mut [u64]) -> Result<(), PageError> {
    let mut below = 0;
    for (i, cell) in cells.iter_mut().enumerate() {
        if *cell == 0 && i + 1 < grid.len() {
            continue;
        }
        let cumulative = *cell;
        *cell = cumulative.checked_sub(below).ok_or_else(|| PageError::Falling {
            family,
            revision: revision.to_owned(),
            le: grid.label(i),
            found: cumulative,
            below,
        })?;
        below = cumulative;
    }
    Ok(())
}

pub(super) fn label<'a>(labels: &'a Labels<'_>, name: &str) -> Result<&'a str, String> {
    // As in a map, the last one of a name counts.
    let found = labels.iter().rev().find(|(label, _)| *label == name);
    found.map(|(_, value)| &**value).ok_or_else(|| format!("label {name} is missing"))
}

/// `name{labels} value` to its parts.
fn split(line: &str) -> Result<(&str, Labels<'_>, &str), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, rest) = line.split_at(end);
    let Some(mut rest) = rest.strip_prefix('{') else {
        return Ok((name, Labels::new(), rest.trim()));
    };
    let mut labels = Labels::with_capacity(8);
    loop {
        if let Some(value) = rest.strip_prefix('}') {
            return Ok((name, labels, value.trim()));
        }
        let (label, after) = rest.split_once('=').ok_or("a label without a value")?;
        let (value, after) = unescape(after.strip_prefix('"').ok_or("a label without a value")?)?;
        labels.push((label.trim_start_matches(','), value));
        rest = after;
    }
}

/// Reads up to the closing quote.
fn unescape(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let mut value = Cow::default();
    let mut rest = text;
    loop {
        let at = rest.find(['"', '\\']).ok_or("a label value without its closing quote")?;
        let (plain, special) = rest.split_at(at);
        value += plain;
        if let Some(after) = special.strip_prefix('"') {
            return Ok((value, after));
        }
        let mut chars = special.chars();
        let escaped = chars.nth(1).ok_or("a label value without its closing quote")?;
        value.to_mut().push(if escaped == 'n' { '\n' } else { escaped });
        rest = chars.as_str();
    }
}
