//! Names of images that were kept.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// Digits of the time: enough until the year 10889.
const TIME: usize = 12;
/// Digits of an id.
const LENGTH: usize = 32;

/// Names one image: 12 hex digits of its time in milliseconds, by which names sort, and 20 that nobody guesses. Nothing
/// else is ever one, so that it can be part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ItemId(String);

/// What is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has {LENGTH} lower-case hex digits")]
pub struct IdError;

/// So many random bytes in hex digits.
pub(super) fn random<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ItemId {
    /// A new one.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(format!("{}{}", Self::start(now), random::<{ (LENGTH - TIME) / 2 }>()))
    }

    /// What all ids of this millisecond begin with; times before 1970 are as 1970.
    #[must_use]
    pub fn start(time: Timestamp) -> String {
        format!("{:0TIME$x}", time.as_millisecond().max(0))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ItemId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == LENGTH && text.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError)
        }
    }
}

impl TryFrom<String> for ItemId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ItemId> for String {
    fn from(id: ItemId) -> Self {
        id.0
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let ids: Vec<ItemId> = [0, 1, 15, 16, 1_764_285_600_000, 1_764_285_600_001, 253_402_207_200_000]
            .map(|ms| ItemId::new(at(ms)))
            .into();
        assert!(ids.is_sorted(), "{ids:?}");
        let many: HashSet<ItemId> = (0..1_000).map(|_| ItemId::new(at(1_764_285_600_000))).collect();
        assert_eq!(many.len(), 1_000);
        assert!(many.iter().all(|id| id.as_str().starts_with(&ItemId::start(at(1_764_285_600_000)))));
    }

    proptest! {
        #[test]
        fn nothing_else_is_an_id(text in "[0-9a-fA-F./\\\\%\\x00 g-]{30,34}|\\PC{32}|[0-9a-f]{32}\n?") {
            let is_plain = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            prop_assert_eq!(text.parse::<ItemId>().is_ok(), is_plain);
        }
    }
}
