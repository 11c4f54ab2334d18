//! The lines of candidates that a router has stopped sending to by itself.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::family;
use super::parse::{Labels, label};
use super::write::escape;
use crate::Trip;

/// Writes a line for each; nothing at all where there is none.
pub(super) fn write(out: &mut String, tripped: &BTreeMap<String, Trip>) -> fmt::Result {
    if tripped.is_empty() {
        return Ok(());
    }
    writeln!(out, "# TYPE {} gauge", family::TRIPPED)?;
    for (revision, trip) in tripped {
        let Trip { failures, requests, stable_failures, stable_requests } = trip;
        writeln!(
            out,
            "{}{{revision=\"{}\",failures=\"{failures}\",requests=\"{requests}\",stable_failures=\"{stable_failures}\",stable_requests=\"{stable_requests}\"}} 1",
            family::TRIPPED,
            escape(revision),
        )?;
    }
    Ok(())
}

/// Reads what one line says.
pub(super) fn read(labels: &Labels<'_>) -> Result<Trip, String> {
    let number = |name: &str| {
        let found = label(labels, name)?;
        let number = found.parse().ok().filter(|number| *number <= Trip::MEMORY);
        number.ok_or_else(|| format!("{name} is {found:?}, a whole number up to {} is allowed", Trip::MEMORY))
    };
    Ok(Trip {
        failures: number("failures")?,
        requests: number("requests")?,
        stable_failures: number("stable_failures")?,
        stable_requests: number("stable_requests")?,
    })
}
