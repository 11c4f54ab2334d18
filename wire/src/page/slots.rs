//! The lines of slots: comments to a Prometheus parser, which ignores what follows `#` but HELP and TYPE.

use std::fmt::{self, Write};

use super::family;
use super::parse::{Labels, label};
use super::write::escape;
use crate::{SlotSet, Slots};

/// What a line of slots begins with.
pub(super) const MARK: &str = "# SLUICE ";

/// Writes the lines of one state; what is empty is absent.
pub(super) fn write(out: &mut String, state: &str, slots: &Slots) -> fmt::Result {
    let Slots { owned, seen, failed, latency, doubt } = slots;
    for (revision, owned) in owned {
        let revision = escape(revision);
        let set = owned.to_text();
        writeln!(out, "{MARK}{}{{{state},kind=\"owned\",revision=\"{revision}\"}} {set}", family::SLOTS)?;
    }
    for (kind, set) in [("seen", seen), ("failed", failed)] {
        if !set.is_empty() {
            writeln!(out, "{MARK}{}{{{state},kind=\"{kind}\"}} {}", family::SLOTS, set.to_text())?;
        }
    }
    for (kind, worst) in [("latency", latency), ("doubt", doubt)] {
        if !worst.is_empty() {
            writeln!(out, "{MARK}{}{{{state},kind=\"{kind}\"}} {}", family::SLOTS, worst.to_text())?;
        }
    }
    Ok(())
}

/// Takes one line of a state's slots.
pub(super) fn take(slots: &mut Slots, labels: &Labels<'_>, value: &str) -> Result<(), String> {
    let kind = label(labels, "kind")?;
    let wrong = |error| format!("{kind} slots: {error}");
    match kind {
        "owned" => {
            let set = SlotSet::parse(value).map_err(wrong)?;
            own(slots, label(labels, "revision")?, set)?;
        }
        "seen" if slots.seen.is_empty() => slots.seen = SlotSet::parse(value).map_err(wrong)?,
        "failed" if slots.failed.is_empty() => slots.failed = SlotSet::parse(value).map_err(wrong)?,
        "latency" if slots.latency.is_empty() => slots.latency.read(value).map_err(wrong)?,
        "doubt" if slots.doubt.is_empty() => slots.doubt.read(value).map_err(wrong)?,
        "seen" | "failed" | "latency" | "doubt" => return Err(format!("{kind} slots: a second time")),
        _ => return Err(format!("unknown kind of slots {kind:?}")),
    }
    Ok(())
}

fn own(slots: &mut Slots, revision: &str, set: SlotSet) -> Result<(), String> {
    for (other, theirs) in slots.owned.iter().filter(|(other, _)| *other != revision) {
        if let Some(slot) = theirs.and(&set).iter().next() {
            return Err(format!("owned slots: slot {slot} belongs to {other:?} and to {revision:?}"));
        }
    }
    match slots.owned.insert(revision.to_owned(), set) {
        Some(_) => Err(format!("owned slots: a second time for {revision:?}")),
        None => Ok(()),
    }
}
