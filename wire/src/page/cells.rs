//! The lines of [`LATER_FEATURES`]: one of each series, with the cells that are not empty. Comments to a Prometheus parser and
//! to operators of earlier releases, which refuse features of `sluice_input` that they do not know. A line for each bucket would also make
//! the page more than half as long again.

use std::fmt::{self, Write};

use super::parse::{Labels, label};
use super::slots::MARK;
use super::{Counts, MAX_COUNT, family};
use crate::{CELLS, Feature, LATER_FEATURES};

/// Writes the lines of one revision and assignment; what is empty is absent.
pub(super) fn write(out: &mut String, labels: &str, counts: &Counts) -> fmt::Result {
    for feature in LATER_FEATURES {
        let mut cells = counts.features[feature.index()].iter().enumerate().filter(|(_, n)| **n > 0);
        let Some((cell, n)) = cells.next() else { continue };
        let (family, name) = (family::CELLS, feature.as_str());
        write!(out, "{MARK}{family}{{{labels},feature=\"{name}\"}} {cell}:{n}")?;
        for (cell, n) in cells {
            write!(out, " {cell}:{n}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Takes one line; a feature of a later release is not for this one.
pub(super) fn take(counts: &mut Counts, labels: &Labels<'_>, value: &str) -> Result<(), String> {
    let name = label(labels, "feature")?;
    let Some(feature) = Feature::parse(name).filter(|feature| LATER_FEATURES.contains(feature)) else {
        return Ok(());
    };
    let cells = &mut counts.features[feature.index()];
    if cells.iter().any(|n| *n > 0) {
        return Err(format!("cells of {name}: a second time"));
    }
    let mut least = 0;
    for part in value.split(' ') {
        let (cell, n) = pair(part).ok_or_else(|| {
            format!(
                "cells of {name}: {part:?} is no cell below {CELLS} with a count of 1 to {MAX_COUNT}, as 3:17"
            )
        })?;
        if cell < least {
            return Err(format!("cells of {name}: {cell} behind {}, they ascend", least - 1));
        }
        (cells[cell], least) = (n, cell + 1);
    }
    Ok(())
}

fn pair(text: &str) -> Option<(usize, u64)> {
    let (cell, n) = text.split_once(':')?;
    let (cell, n) = (cell.parse().ok()?, n.parse().ok()?);
    (cell < CELLS && (1..=MAX_COUNT).contains(&n)).then_some((cell, n))
}
