//! Writes the page.

use std::fmt::{self, Write};

use super::{Counts, END, Key, Page, cells, family, feedback, histograms, pairs, slots, trips};
use crate::{GRID_VERSION, Grid, Outcome, RouteState};

impl Page {
    /// The page as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        self.write(&mut out).expect("writing to a String does not fail");
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "# TYPE {} gauge\n{} {GRID_VERSION}", family::GRID, family::GRID)?;
        writeln!(out, "# TYPE {} gauge", family::INSTANCE)?;
        writeln!(out, "{}{{instance=\"{}\"}} 1", family::INSTANCE, escape(&self.instance))?;
        for (name, kind) in [
            (family::REQUESTS, "counter"),
            (family::NULL_OUTPUTS, "counter"),
            (family::PREDICTIONS, "counter"),
            (family::SECONDS, "histogram"),
            (family::DOUBT, "histogram"),
            (family::INPUT, "histogram"),
        ] {
            writeln!(out, "# TYPE {name} {kind}")?;
            for (state, keys) in &self.states {
                for (key, counts) in keys {
                    one(out, name, &labels(state, key), counts)?;
                }
            }
        }
        pairs::write(out, &self.pairs)?;
        feedback::write(out, &self.feedback)?;
        trips::write(out, &self.tripped)?;
        for (state, keys) in &self.states {
            for (key, counts) in keys {
                cells::write(out, &labels(state, key), counts)?;
            }
        }
        for (state, slots) in &self.slots {
            slots::write(out, &state_labels(state), slots)?;
        }
        writeln!(out, "{END}")
    }
}

fn one(out: &mut String, name: &str, labels: &str, counts: &Counts) -> fmt::Result {
    match name {
        family::REQUESTS => {
            for outcome in Outcome::ALL {
                writeln!(
                    out,
                    "{name}{{{labels},outcome=\"{}\"}} {}",
                    outcome.as_str(),
                    counts.outcome(outcome)
                )?;
            }
        }
        family::NULL_OUTPUTS => writeln!(out, "{name}{{{labels}}} {}", counts.null_outputs)?,
        family::PREDICTIONS => {
            for (class, count) in &counts.classes {
                writeln!(out, "{name}{{{labels},class=\"{}\"}} {count}", escape(class))?;
            }
        }
        _ => {
            for (_, feature, grid, cells) in histograms(counts).filter(|h| h.0 == name) {
                let feature = feature.map(|f| format!(",feature=\"{f}\"")).unwrap_or_default();
                buckets(out, name, &format!("{labels}{feature}"), grid, cells)?;
            }
        }
    }
    Ok(())
}

/// The cumulative buckets of a histogram: those of cells that are not empty, and the last one.
pub(super) fn buckets(out: &mut String, name: &str, labels: &str, grid: Grid, cells: &[u64]) -> fmt::Result {
    let mut sum = 0;
    for (i, count) in cells.iter().enumerate() {
        sum += count;
        if *count > 0 || i + 1 == cells.len() {
            writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {sum}", grid.label(i))?;
        }
    }
    Ok(())
}

pub(super) fn labels(state: &RouteState, key: &Key) -> String {
    format!(
        "{},revision=\"{}\",assignment=\"{}\"",
        state_labels(state),
        escape(&key.revision),
        key.assignment.as_str(),
    )
}

pub(super) fn state_labels(state: &RouteState) -> String {
    format!(
        "uid=\"{}\",generation=\"{}\",pin=\"{}\"",
        escape(&state.uid),
        state.generation,
        escape(state.pin.as_deref().unwrap_or_default()),
    )
}

pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
