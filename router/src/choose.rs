//! Which revision a request is drawn for, and whether it is copied. Pure: random draws are arguments.

use http::{HeaderMap, HeaderName};
use wire::Assignment;
use xxhash_rust::xxh3::xxh3_64;

use crate::Table;

/// Names the revision that a request asks for.
pub(crate) const TARGET: HeaderName = HeaderName::from_static(wire::header::TARGET);

/// What was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Index of the revision in the table.
    pub revision: usize,
    /// How it was drawn (C1).
    pub assignment: Assignment,
}

/// The slot of a sticky key: `xxh3_64(salt NUL key)` scaled to the slots (R3). Fixed for ever, because a user
/// must keep her revision over every release of the router. The NUL keeps `("ab", "c")` and `("a", "bc")`
/// apart.
#[must_use]
pub fn slot_of_key(salt: &str, key: &[u8]) -> u16 {
    let mut input = Vec::with_capacity(salt.len() + 1 + key.len());
    input.extend_from_slice(salt.as_bytes());
    input.push(0);
    input.extend_from_slice(key);
    slot_of(xxh3_64(&input))
}

/// Scales 64 uniform bits to a slot: `floor(bits * 10,000 / 2^64)`.
#[must_use]
pub fn slot_of(bits: u64) -> u16 {
    scaled(bits, wire::SLOTS)
}

/// Scales 64 uniform bits to `0..n`.
fn scaled(bits: u64, n: u16) -> u16 {
    let scaled = (u128::from(bits) * u128::from(n)) >> 64;
    u16::try_from(scaled).expect("a product of 64 bits and n, shifted by 64, is below n")
}

/// Draws the revision for a request: the pinned one (R8); else the one that the request names, where this is allowed;
/// else that of the first rule that fits; else the one that the slot is assigned to; else stable. `None` when the
/// table has none of them. What is named or meant by a rule and is not there is not obeyed: the slot decides.
#[must_use]
pub fn choose(table: &Table, headers: &HeaderMap, slot: u16) -> Option<Choice> {
    let drawn = |revision, assignment| Choice { revision, assignment };
    if let Some(revision) = table.pinned {
        return Some(drawn(revision, Assignment::Pin));
    }
    if let Some(revision) = target(table, headers) {
        return Some(drawn(revision, Assignment::Target));
    }
    if let Some(revision) = table.matches.iter().find(|rule| rule.fits(headers)).and_then(|rule| rule.to) {
        return Some(drawn(revision, Assignment::Match));
    }
    table.drawn_for(slot).map(|revision| drawn(revision, Assignment::Split))
}

/// The revision that a request names: only stable and the candidate can be.
fn target(table: &Table, headers: &HeaderMap) -> Option<usize> {
    if !table.targeting {
        return None;
    }
    match headers.get(TARGET)?.to_str().ok()? {
        "stable" => table.stable,
        "candidate" => table.candidate,
        name => {
            let named = |revision: &usize| *table.revisions[*revision].name == *name;
            [table.stable, table.candidate].into_iter().flatten().find(named)
        }
    }
}

/// The revision that gets a copy of a request, for 64 uniform bits. Only what is drawn for stable by the slots is
/// copied (C1): so the copies are of the same users as the split. Without a stable it is what is drawn for anybody else,
/// and what nobody is drawn for.
#[must_use]
pub fn copied_to(table: &Table, choice: Option<Choice>, bits: u64) -> Option<usize> {
    let mirror = table.mirror?;
    let is_meant = choice.is_none_or(|choice| {
        let of_stable = table.stable.map_or(choice.revision != mirror.revision, |s| s == choice.revision);
        choice.assignment == Assignment::Split && of_stable
    });
    (is_meant && scaled(bits, 100) < u16::from(mirror.percent)).then_some(mirror.revision)
}

#[cfg(test)]
mod drawn_tests;

#[cfg(test)]
mod tests {
    use super::*;

    // rule: R3. From the C library by way of Python's xxhash 3: int(xxh3_64(salt + b"\0" + key) * 10_000 >> 64).
    #[test]
    fn golden_slots() {
        let long = "k".repeat(300);
        for (salt, key, slot) in [
            ("", "", 7667),
            ("", "user-1", 9123),
            ("digits-1", "user-1", 6080),
            ("digits-1", "user-2", 219),
            ("digits-2", "user-1", 5810),
            ("ab", "c", 4318),
            ("a", "bc", 9812),
            ("s", "a key longer than sixteen bytes", 2250),
            ("s", "ü", 347),
        ] {
            assert_eq!(slot_of_key(salt, key.as_bytes()), slot, "{salt:?} {key:?}");
        }
        assert_eq!(slot_of_key("digits-1", long.as_bytes()), 3239);
    }

    #[test]
    fn scaling_covers_all_slots_evenly() {
        assert_eq!((slot_of(0), slot_of(u64::MAX)), (0, 9_999));
        let step = u64::MAX / 10_000;
        for slot in 0..10_000u16 {
            assert_eq!(slot_of(u64::from(slot) * step + step / 2), slot);
        }
    }
}
