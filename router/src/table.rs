//! The route table as the router obeys it: checked once, then only looked up.

use std::sync::Arc;
use std::time::Duration;

use api::{MatchTo, ModelRoute, RouteRevision, Sticky};
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::{RouteState, SLOTS, Trip};

use crate::{StickyRule, TripWire};

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
    /// The revision that is being judged: what requests are matched and targeted to.
    pub candidate: Option<usize>,
    /// Who gets copies of requests.
    pub mirror: Option<Mirrored>,
    /// Requests that go to one revision ahead of the slots; the first rule that fits counts.
    pub matches: Vec<MatchRule>,
    /// Whether a request may name its revision.
    pub targeting: bool,
    /// Where the sticky key is.
    pub sticky: Option<StickyRule>,
    /// Salt of the sticky hash.
    pub salt: String,
    /// Longest time from the last byte of a request to the end of its answer.
    pub request_timeout: Duration,
    /// Whether a request whose connection breaks before any byte of the answer is sent once more (R6).
    pub retry: bool,
    /// Most requests that this router has at one revision at the same time (`None`: no limit).
    pub max_in_flight: Option<usize>,
    /// What servers are told of how much the model decides.
    pub automation: Option<HeaderValue>,
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
    /// When it gets no further request, whatever the slots say (R7).
    pub trip_wire: Option<TripWire>,
}

/// Copies of the split requests of stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirrored {
    /// The revision that gets them.
    pub revision: usize,
    /// How many of a hundred requests are copied, 1..=100.
    pub percent: u8,
}

/// Requests with this header go to one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchRule {
    /// The header.
    pub header: HeaderName,
    /// Its value, exactly.
    pub value: HeaderValue,
    /// The revision; `None` while the route has none of the kind. Then the request is split, whatever the rules
    /// behind this one say.
    pub to: Option<usize>,
}

impl MatchRule {
    /// Whether a request with these headers is meant.
    #[must_use]
    pub fn fits(&self, headers: &HeaderMap) -> bool {
        headers.get_all(&self.header).iter().any(|value| value == self.value)
    }
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
    /// A field names no revision of the table.
    #[error("spec.{field} names {name:?}, the revisions are {known}")]
    UnknownRevision {
        /// The field.
        field: &'static str,
        /// What it names.
        name: String,
        /// The names of the table.
        known: String,
    },
    /// What shall be a header cannot be one.
    #[error("spec.{field} {header:?} is no header name")]
    Header {
        /// The field.
        field: String,
        /// What was found.
        header: String,
    },
    /// No header can have this value.
    #[error("spec.matches[{rule}].value {value:?} is no header value: control characters are not allowed")]
    Value {
        /// Index of the rule.
        rule: usize,
        /// What was found.
        value: String,
    },
    /// More than all requests, or none.
    #[error("spec.mirror.percent is {found}, it must lie within 1..=100")]
    Percent {
        /// What was found.
        found: u8,
    },
    /// The key must be in one place.
    #[error("spec.sticky has {found} of header and cookie, it must have exactly one")]
    Sticky {
        /// How many it has.
        found: u8,
    },
    /// What shall be a cookie cannot be one.
    #[error(
        "spec.sticky.cookie {cookie:?} is no name of a cookie: only letters, digits, _ and - are allowed"
    )]
    Cookie {
        /// What was found.
        cookie: String,
    },
    /// Nothing could be answered.
    #[error("spec.maxInFlight is 0, it must be at least 1")]
    NoPlace,
    /// Nothing could be answered in no time.
    #[error("spec.requestTimeout is 0, it must be longer")]
    NoTime,
}

impl Table {
    /// Whether a revision is drawn for split requests: it has slots, or takes those of no revision.
    #[must_use]
    pub fn is_drawn(&self, revision: usize) -> bool {
        self.stable == Some(revision) || self.slots.iter().any(|slot| usize::from(*slot) == revision)
    }

    /// Checks a ModelRoute and prepares it for look-ups.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(route: &ModelRoute) -> Result<Self, TableError> {
        let spec = &route.spec;
        let revisions: Vec<Revision> = spec.revisions.iter().map(revision).collect();
        check_names(&revisions)?;
        let stable = named(&revisions, "stable", spec.stable.as_deref())?;
        let candidate = named(&revisions, "candidate", spec.candidate.as_deref())?;
        let asked = pin(route);
        let pinned = asked.as_deref().and_then(|name| revisions.iter().position(|r| &*r.name == name));
        let (pin, unknown_pin) = if pinned.is_some() { (asked, None) } else { (None, asked) };
        let request_timeout = spec.request_timeout.get();
        if request_timeout.is_zero() {
            return Err(TableError::NoTime);
        }
        if spec.max_in_flight == Some(0) {
            return Err(TableError::NoPlace);
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
            candidate,
            mirror: mirror(route, &revisions)?,
            matches: matches(route, stable, candidate)?,
            targeting: spec.targeting,
            sticky: spec.sticky.as_ref().map(sticky).transpose()?,
            salt: spec.salt.clone(),
            request_timeout,
            retry: spec.retry,
            max_in_flight: spec.max_in_flight.and_then(|most| most.try_into().ok()),
            // Passed on as it stands: it is the servers' to obey, which may be newer than this router.
            automation: spec.automation.as_deref().and_then(|text| text.parse().ok()),
            slots: slots(route)?,
            revisions,
        })
    }

    /// The same where it may be old: stable has every slot, and nothing is matched, targeted or copied. Without a stable
    /// it stays as it is. A pin stays too.
    #[must_use]
    pub fn cautious(mut self) -> Self {
        let Some(stable) = self.stable else { return self };
        self.slots.fill(u8::try_from(stable).expect("a table has 16 revisions at most"));
        Self { candidate: None, mirror: None, matches: Vec::new(), targeting: false, ..self }
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

    /// The revision that gets copies; `None` also while all requests are pinned (C1).
    #[must_use]
    pub fn copies_to(&self) -> Option<usize> {
        self.mirror.filter(|_| self.state.pin.is_none()).map(|mirror| mirror.revision)
    }

    /// Index of a revision by name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.revisions.iter().position(|r| &*r.name == name)
    }
}

fn revision(revision: &RouteRevision) -> Revision {
    let RouteRevision { name, service, trip_wire, .. } = revision;
    let trip_wire = trip_wire.map(|wire| TripWire {
        failures: wire.failures.into(),
        requests: u32::from(wire.requests).min(Trip::MEMORY),
    });
    Revision { name: name.as_str().into(), service: service.clone(), trip_wire }
}

fn pin(route: &ModelRoute) -> Option<String> {
    let pin = route.metadata.annotations.as_ref()?.get(api::names::PIN)?.trim();
    (!pin.is_empty()).then(|| pin.to_owned())
}

fn header(field: &str, name: &str) -> Result<HeaderName, TableError> {
    name.parse().map_err(|_| TableError::Header { field: field.to_owned(), header: name.to_owned() })
}

fn sticky(sticky: &Sticky) -> Result<StickyRule, TableError> {
    match (&sticky.header, &sticky.cookie) {
        (Some(name), None) => header("sticky.header", name).map(StickyRule::Header),
        (None, Some(name)) => {
            let good = |c: u8| c.is_ascii_alphanumeric() || b"_-".contains(&c);
            let is_name = !name.is_empty() && name.bytes().all(good);
            let rule = is_name.then(|| StickyRule::Cookie(name.clone()));
            rule.ok_or_else(|| TableError::Cookie { cookie: name.clone() })
        }
        (header, _) => Err(TableError::Sticky { found: if header.is_some() { 2 } else { 0 } }),
    }
}

/// Index of the revision that a field names, if it names one.
fn named(
    revisions: &[Revision],
    field: &'static str,
    name: Option<&str>,
) -> Result<Option<usize>, TableError> {
    let Some(name) = name else { return Ok(None) };
    let found = revisions.iter().position(|r| &*r.name == name);
    found.map(Some).ok_or_else(|| TableError::UnknownRevision {
        field,
        name: name.to_owned(),
        known: revisions.iter().map(|r| &*r.name).collect::<Vec<_>>().join(", "),
    })
}

fn mirror(route: &ModelRoute, revisions: &[Revision]) -> Result<Option<Mirrored>, TableError> {
    let Some(mirror) = &route.spec.mirror else { return Ok(None) };
    if !(1..=100).contains(&mirror.percent) {
        return Err(TableError::Percent { found: mirror.percent });
    }
    let revision = named(revisions, "mirror.revision", Some(&mirror.revision))?;
    Ok(revision.map(|revision| Mirrored { revision, percent: mirror.percent }))
}

fn matches(
    route: &ModelRoute,
    stable: Option<usize>,
    candidate: Option<usize>,
) -> Result<Vec<MatchRule>, TableError> {
    let rules = route.spec.matches.iter().enumerate();
    let resolved = rules.map(|(rule, m)| {
        Ok(MatchRule {
            header: header(&format!("matches[{rule}].header"), &m.header)?,
            value: HeaderValue::from_bytes(m.value.as_bytes())
                .map_err(|_| TableError::Value { rule, value: m.value.clone() })?,
            to: match m.to {
                MatchTo::Candidate => candidate,
                MatchTo::Stable => stable,
            },
        })
    });
    resolved.collect()
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
