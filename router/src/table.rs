//! The route table as the router obeys it: checked once, then only looked up.

use std::sync::Arc;
use std::time::Duration;

use api::ModelRoute;
use http::HeaderName;
use wire::{RouteState, SLOTS};

/// Slot that no revision was given.
const UNASSIGNED: u8 = u8::MAX;
/// Most revisions of a table: each is one byte in the slot array.
const MAX_REVISIONS: usize = 16;

/// An immutable route table. Revisions are named by their index in [`Table::revisions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The state that requests are assigned under (R1).
    pub state: RouteState,
    /// A pin that names no revision of the table: ignored and reported (R8).
    pub unknown_pin: Option<String>,
    /// The pinned revision.
    pub pinned: Option<usize>,
    /// Takes over for a revision without ready endpoints, and slots of no revision.
    pub stable: Option<usize>,
    /// Header whose value is the sticky key.
    pub sticky: Option<HeaderName>,
    /// Salt of the sticky hash.
    pub salt: String,
    /// Longest time from the last byte of a request to the end of its answer.
    pub request_timeout: Duration,
    /// Whether a request whose connection breaks before any byte of the answer is sent once more (R6).
    pub retry: bool,
    /// The revisions.
    pub revisions: Vec<Revision>,
    slots: Box<[u8]>,
}

/// One revision of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Name of the revision.
    pub name: Arc<str>,
    /// Service whose EndpointSlices list its pods.
    pub service: String,
}

/// Why a ModelRoute is not obeyed. The last good table stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// More revisions than the slot array can name.
    #[error("spec.revisions holds {found} revisions, at most {MAX_REVISIONS} are allowed")]
    TooMany {
        /// Number found.
        found: usize,
    },
    /// A name occurs twice.
    #[error("spec.revisions names {name:?} twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A range ends before it begins, or reaches beyond the slots.
    #[error("spec.revisions[{revision}].slots: {from}..{to} is no range within 0..{SLOTS}")]
    Range {
        /// The revision.
        revision: String,
        /// First slot.
        from: u16,
        /// One past the last slot.
        to: u16,
    },
    /// A slot is assigned twice.
    #[error("spec.revisions: slot {slot} is assigned to {first} and to {second}")]
    Overlap {
        /// The slot.
        slot: usize,
        /// Who has it.
        first: String,
        /// Who wants it too.
        second: String,
    },
    /// `stable` names no revision of the table.
    #[error("spec.stable names {name:?}, the revisions are {known}")]
    UnknownStable {
        /// What it names.
        name: String,
        /// The names of the table.
        known: String,
    },
    /// The sticky header cannot be a header.
    #[error("spec.sticky.header {header:?} is no header name")]
    Header {
        /// What was found.
        header: String,
    },
    /// Nothing could be answered in no time.
    #[error("spec.requestTimeout is 0, it must be longer")]
    NoTime,
}

impl Table {
    /// Whether a revision is drawn for requests: it has slots, or takes those of no revision.
    #[must_use]
    pub fn is_busy(&self, revision: usize) -> bool {
        self.stable == Some(revision) || self.slots.iter().any(|slot| usize::from(*slot) == revision)
    }

    /// Checks a ModelRoute and prepares it for look-ups.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(route: &ModelRoute) -> Result<Self, TableError> {
        let spec = &route.spec;
        let revisions: Vec<Revision> = spec
            .revisions
            .iter()
            .map(|r| Revision { name: r.name.as_str().into(), service: r.service.clone() })
            .collect();
        check_names(&revisions)?;
        let find = |name: &str| revisions.iter().position(|r| &*r.name == name);
        let stable = match spec.stable.as_deref() {
            None => None,
            Some(name) => Some(find(name).ok_or_else(|| TableError::UnknownStable {
                name: name.to_owned(),
                known: revisions.iter().map(|r| &*r.name).collect::<Vec<_>>().join(", "),
            })?),
        };
        let asked = pin(route);
        let pinned = asked.as_deref().and_then(find);
        let (pin, unknown_pin) = if pinned.is_some() { (asked, None) } else { (None, asked) };
        let request_timeout = spec.request_timeout.get();
        if request_timeout.is_zero() {
            return Err(TableError::NoTime);
        }
        Ok(Self {
            state: RouteState {
                uid: route.metadata.uid.clone().unwrap_or_default(),
                generation: route.metadata.generation.unwrap_or_default(),
                pin,
            },
            unknown_pin,
            pinned,
            stable,
            sticky: spec.sticky.as_ref().map(|s| header(&s.header)).transpose()?,
            salt: spec.salt.clone(),
            request_timeout,
            retry: spec.retry,
            slots: slots(route)?,
            revisions,
        })
    }

    /// The revision that a slot is assigned to; `None` for a slot of no revision, and beyond the last slot.
    #[must_use]
    pub fn revision_of(&self, slot: u16) -> Option<usize> {
        let index = *self.slots.get(usize::from(slot))?;
        (index != UNASSIGNED).then_some(usize::from(index))
    }

    /// The revision that a split request of this slot is drawn for: the slot's own, else stable.
    #[must_use]
    pub fn drawn_for(&self, slot: u16) -> Option<usize> {
        self.revision_of(slot).or(self.stable)
    }

    /// Whether the slot is the unit of evidence: requests are drawn by sticky keys, and not all pinned (C5).
    #[must_use]
    pub fn counts_slots(&self) -> bool {
        self.sticky.is_some() && self.state.pin.is_none()
    }

    /// Index of a revision by name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.revisions.iter().position(|r| &*r.name == name)
    }
}

fn pin(route: &ModelRoute) -> Option<String> {
    let pin = route.metadata.annotations.as_ref()?.get(api::names::PIN)?.trim();
    (!pin.is_empty()).then(|| pin.to_owned())
}

fn header(name: &str) -> Result<HeaderName, TableError> {
    name.parse().map_err(|_| TableError::Header { header: name.to_owned() })
}

fn check_names(revisions: &[Revision]) -> Result<(), TableError> {
    if revisions.len() > MAX_REVISIONS {
        return Err(TableError::TooMany { found: revisions.len() });
    }
    for (i, revision) in revisions.iter().enumerate() {
        if revisions[..i].iter().any(|r| r.name == revision.name) {
            return Err(TableError::Duplicate { name: revision.name.to_string() });
        }
    }
    Ok(())
}

fn slots(route: &ModelRoute) -> Result<Box<[u8]>, TableError> {
    let mut slots = vec![UNASSIGNED; usize::from(SLOTS)].into_boxed_slice();
    for (index, revision) in (0u8..).zip(&route.spec.revisions) {
        for range in &revision.slots {
            // An empty range says nothing wrong; refusing it could hold up a rollback.
            if range.from > range.to || range.to > SLOTS {
                let revision = revision.name.clone();
                return Err(TableError::Range { revision, from: range.from, to: range.to });
            }
            for slot in usize::from(range.from)..usize::from(range.to) {
                if slots[slot] != UNASSIGNED {
                    return Err(TableError::Overlap {
                        slot,
                        first: route.spec.revisions[usize::from(slots[slot])].name.clone(),
                        second: revision.name.clone(),
                    });
                }
                slots[slot] = index;
            }
        }
    }
    Ok(slots)
}

#[cfg(test)]
mod tests;
