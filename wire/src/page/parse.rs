//! Reads the page. Strict: a page that is not what the writer writes is an error, never a guess.

use std::borrow::Cow;

use super::{Counts, END, Key, Page, PageError, family, slots};
use crate::{Assignment, Feature, GRID_VERSION, Grid, Outcome, RouteState};

/// Labels of one line: so few that a search beats hashing, and seldom with anything to unescape.
pub(super) type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// Another grid version, a line that cannot be read (with its number), or a page that was cut off.
    pub fn parse(text: &str) -> Result<Self, PageError> {
        let mut page = Self::default();
        let mut version = None;
        let mut ended = false;
        for (number, line) in text.lines().enumerate() {
            if line == END {
                ended = true;
            }
            let taken = match line.strip_prefix(slots::MARK) {
                Some(line) => page.take_slots(line),
                None if line.starts_with('#') || line.is_empty() => continue,
                None => page.take(line, &mut version),
            };
            taken.map_err(|what| PageError::Line { line: number + 1, what })?;
        }
        if version.as_deref() != Some(GRID_VERSION.to_string().as_str()) {
            return Err(PageError::Version { found: version });
        }
        if !ended {
            return Err(PageError::Cut);
        }
        page.states.values_mut().flat_map(|keys| keys.values_mut()).for_each(uncumulate);
        Ok(page)
    }

    fn take(&mut self, line: &str, version: &mut Option<String>) -> Result<(), String> {
        let (name, labels, value) = split(line)?;
        match name {
            family::GRID => {
                *version = Some(value.to_owned());
                return Ok(());
            }
            family::INSTANCE => {
                label(&labels, "instance")?.clone_into(&mut self.instance);
                return Ok(());
            }
            _ => {}
        }
        let value: u64 = value.parse().map_err(|_| format!("{value:?} is not a count"))?;
        let counts = self.counts(&labels)?;
        match name {
            family::REQUESTS => {
                let outcome = label(&labels, "outcome")?;
                let outcome =
                    Outcome::parse(outcome).ok_or_else(|| format!("unknown outcome {outcome:?}"))?;
                counts.outcomes[outcome.index()] = value;
            }
            family::NULL_OUTPUTS => counts.null_outputs = value,
            family::PREDICTIONS => {
                counts.classes.insert(label(&labels, "class")?.to_owned(), value);
            }
            _ => {
                let (cells, grid) = histogram(counts, name, &labels)?;
                let le = label(&labels, "le")?;
                let cell = grid.find(le).ok_or_else(|| format!("le {le:?} is no edge of the grid"))?;
                cells[cell] = value;
            }
        }
        Ok(())
    }

    fn take_slots(&mut self, line: &str) -> Result<(), String> {
        let (name, labels, value) = split(line)?;
        if name != family::SLOTS {
            return Err(format!("unknown family {name:?}"));
        }
        slots::take(self.slots.entry(state(&labels)?).or_default(), &labels, value)
    }

    fn counts(&mut self, labels: &Labels<'_>) -> Result<&mut Counts, String> {
        let assignment = label(labels, "assignment")?;
        let key = Key {
            revision: label(labels, "revision")?.to_owned(),
            assignment: Assignment::parse(assignment)
                .ok_or_else(|| format!("unknown assignment {assignment:?}"))?,
        };
        Ok(self.states.entry(state(labels)?).or_default().entry(key).or_default())
    }
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
            let feature = label(labels, "feature")?;
            let feature = Feature::parse(feature).ok_or_else(|| format!("unknown feature {feature:?}"))?;
            Ok((&mut counts.features[feature.index()], feature.grid()))
        }
        _ => Err(format!("unknown family {name:?}")),
    }
}

/// Cumulative buckets, absent where empty, to counts per cell.
fn uncumulate(counts: &mut Counts) {
    let Counts { latency, doubt, features, .. } = counts;
    for cells in [latency, doubt].into_iter().chain(features) {
        let mut below = 0;
        for cell in cells {
            let cumulative = (*cell).max(below);
            *cell = cumulative - below;
            below = cumulative;
        }
    }
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
