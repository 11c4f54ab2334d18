//! A set of slots, as bits and as text.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SLOTS;

const WORDS: usize = (SLOTS as usize).div_ceil(64);
/// Bytes of the text's bits: slot `s` is bit `s % 8`, lowest first, of byte `s / 8`.
const BYTES: usize = (SLOTS as usize).div_ceil(8);

/// A set of slots: 1.2 KiB. As text (on the page, and in persisted evidence) it is the base64 of its bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet(Box<[u64; WORDS]>);

/// Why a text is no set of slots, or no list of their cells.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// More or fewer characters than all slots take.
    #[error("{found} characters, all slots take {allowed}")]
    Length {
        /// Characters found.
        found: usize,
        /// Characters that all slots take.
        allowed: usize,
    },
    /// Not the base64 of as many bytes as all slots take.
    #[error("no base64 of all slots: {0}")]
    Base64(String),
    /// A cell that the grid does not have.
    #[error("slot {slot} has cell mark {found}, at most {allowed} is allowed")]
    Cell {
        /// The slot.
        slot: usize,
        /// What was found.
        found: u8,
        /// The highest mark: the number of the grid's cells.
        allowed: usize,
    },
}

impl Default for SlotSet {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<u16> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u16>>(slots: I) -> Self {
        let mut set = Self::default();
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

impl SlotSet {
    /// Characters of [`SlotSet::to_text`].
    pub const TEXT: usize = BYTES.div_ceil(3) * 4;

    /// Puts a slot into it.
    ///
    /// # Panics
    /// When `slot` is not below [`SLOTS`].
    pub fn insert(&mut self, slot: u16) {
        assert!(slot < SLOTS, "slot {slot} is not below {SLOTS}");
        self.0[usize::from(slot / 64)] |= 1 << (slot % 64);
    }

    /// Whether a slot is in it.
    #[must_use]
    pub fn contains(&self, slot: u16) -> bool {
        self.0.get(usize::from(slot / 64)).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Number of slots in it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether no slot is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Its slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        (0..SLOTS).filter(|slot| self.contains(*slot))
    }

    /// Puts all slots of another set into it.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            *mine |= theirs;
        }
    }

    /// The slots that are in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.words(other, |mine, theirs| mine & theirs)
    }

    /// The slots that are in this one only.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.words(other, |mine, theirs| mine & !theirs)
    }

    fn words(&self, other: &Self, of: fn(u64, u64) -> u64) -> Self {
        Self(Box::new(std::array::from_fn(|i| of(self.0[i], other.0[i]))))
    }

    /// As text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).take(BYTES).collect();
        STANDARD.encode(bytes)
    }

    /// Reads [`SlotSet::to_text`].
    ///
    /// # Errors
    /// Another length, or no base64.
    pub fn parse(text: &str) -> Result<Self, SlotError> {
        let bytes = decode(text, BYTES)?;
        let mut set = Self::default();
        for (word, bytes) in set.0.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(whole);
        }
        Ok(set)
    }
}

impl Serialize for SlotSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for SlotSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| serde::de::Error::custom(format!("a set of slots: {error}")))
    }
}

impl super::Worst {
    pub(crate) fn to_text(&self) -> String {
        STANDARD.encode(&self.cells)
    }

    /// Reads [`Self::to_text`]: one byte per slot.
    pub(crate) fn read(&mut self, text: &str) -> Result<(), SlotError> {
        let cells = decode(text, usize::from(SLOTS))?;
        let allowed = self.grid.len();
        if let Some((slot, found)) = cells.iter().enumerate().find(|(_, cell)| usize::from(**cell) > allowed)
        {
            return Err(SlotError::Cell { slot, found: *found, allowed });
        }
        self.cells = cells.into_boxed_slice();
        Ok(())
    }
}

/// Exactly so many bytes: the length is checked before anything is allocated.
fn decode(text: &str, bytes: usize) -> Result<Vec<u8>, SlotError> {
    let allowed = bytes.div_ceil(3) * 4;
    if text.len() != allowed {
        return Err(SlotError::Length { found: text.len(), allowed });
    }
    let decoded = STANDARD.decode(text).map_err(|error| SlotError::Base64(error.to_string()))?;
    // Less padding means more bytes in as many characters.
    if decoded.len() != bytes {
        return Err(SlotError::Base64(format!("{} bytes instead of {bytes}", decoded.len())));
    }
    Ok(decoded)
}
