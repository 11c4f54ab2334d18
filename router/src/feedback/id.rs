//! The name of one answer: all that its label needs, and who gave it. Pure.
//!
//! Bytes, big-endian: version, time u32, nonce u64, state u64, assignment, confidence cell, length and bytes of the
//! revision, length and bytes of the class, then the first 16 bytes of their HMAC-SHA256 (RFC 2104 §5 allows half).
//! Written as base64url without padding, about 90 characters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use wire::{Assignment, CELLS};

/// A keyed HMAC, to be cloned for each message.
pub(crate) type Key = Hmac<Sha256>;

/// Cell of an answer without a confidence: the last one, in which nothing is sure.
pub(crate) const NO_CONFIDENCE: usize = CELLS - 1;

const VERSION: u8 = 1;
/// Bytes of the signature.
const SIGNATURE: usize = 16;
/// Longest class name that gets an id, in bytes.
const MAX_CLASS: usize = 128;
/// Longest id that is looked at, in characters.
const MAX_TEXT: usize = 640;

/// What one answer was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PredictionId {
    /// Seconds since 1970.
    pub(crate) time: u32,
    /// Random: tells it from all others.
    pub(crate) nonce: u64,
    /// The state of the route table under which the request was assigned, hashed.
    pub(crate) state: u64,
    /// How its revision was drawn.
    pub(crate) assignment: Assignment,
    /// Cell of [`wire::Grid::Doubt`], or [`NO_CONFIDENCE`].
    pub(crate) cell: usize,
    /// The revision that answered.
    pub(crate) revision: String,
    /// The class that it named.
    pub(crate) class: String,
}

impl PredictionId {
    /// The signed text; `None` for a class of more than [`MAX_CLASS`] bytes.
    pub(crate) fn sign(&self, key: &Key) -> Option<String> {
        let length = |text: &str, most| u8::try_from(text.len()).ok().filter(|n| usize::from(*n) <= most);
        let mut bytes = Vec::with_capacity(128);
        bytes.push(VERSION);
        bytes.extend(self.time.to_be_bytes());
        bytes.extend(self.nonce.to_be_bytes());
        bytes.extend(self.state.to_be_bytes());
        bytes.push(self.assignment as u8);
        bytes.push(u8::try_from(self.cell).ok()?);
        bytes.push(length(&self.revision, usize::from(u8::MAX))?);
        bytes.extend(self.revision.as_bytes());
        bytes.push(length(&self.class, MAX_CLASS)?);
        bytes.extend(self.class.as_bytes());
        let signature = key.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend(&signature[..SIGNATURE]);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads what [`PredictionId::sign`] wrote with the same key; `None` for anything else.
    pub(crate) fn read(text: &str, key: &Key) -> Option<Self> {
        let bytes = (text.len() <= MAX_TEXT).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
        let (signed, signature) = bytes.split_at_checked(bytes.len().checked_sub(SIGNATURE)?)?;
        // In constant time.
        key.clone().chain_update(signed).verify_truncated_left(signature).ok()?;
        let mut rest = signed;
        let [VERSION] = take(&mut rest)? else { return None };
        let time = u32::from_be_bytes(take(&mut rest)?);
        let nonce = u64::from_be_bytes(take(&mut rest)?);
        let state = u64::from_be_bytes(take(&mut rest)?);
        let [assignment, cell] = take(&mut rest)?;
        let (revision, class) = (text_of(&mut rest)?, text_of(&mut rest)?);
        let assignment = *Assignment::ALL.get(usize::from(assignment))?;
        let cell = Some(usize::from(cell)).filter(|cell| *cell < CELLS)?;
        rest.is_empty().then_some(Self { time, nonce, state, assignment, cell, revision, class })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

fn text_of(rest: &mut &[u8]) -> Option<String> {
    let [length] = take(rest)?;
    let (text, after) = rest.split_at_checked(length.into())?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(secret: &[u8]) -> Key {
        Key::new_from_slice(secret).unwrap()
    }

    prop_compose! {
        fn id()(
            (time, nonce, state) in any::<(u32, u64, u64)>(),
            assignment in prop::sample::select(Assignment::ALL.to_vec()),
            cell in 0..CELLS,
            revision in "[a-z0-9-]{1,63}",
            class in "\\PC{0,20}",
        ) -> PredictionId {
            PredictionId { time, nonce, state, assignment, cell, revision, class }
        }
    }

    proptest! {
        #[test]
        fn an_id_comes_back_with_its_key_alone(id in id()) {
            let text = id.sign(&key(b"ours")).unwrap();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(PredictionId::read(&text, &key(b"ours")), Some(id));
            prop_assert_eq!(PredictionId::read(&text, &key(b"theirs")), None);
        }

        #[test]
        fn no_bit_of_an_id_can_be_changed(id in id(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let text = id.sign(&key(b"ours")).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(PredictionId::read(&URL_SAFE_NO_PAD.encode(&bytes), &key(b"ours")), None);
            // Nor can it be cut.
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(PredictionId::read(&URL_SAFE_NO_PAD.encode(&bytes[..at]), &key(b"ours")), None);
        }

        #[test]
        fn no_text_is_taken_for_an_id(text in "\\PC{0,700}") {
            prop_assert_eq!(PredictionId::read(&text, &key(b"ours")), None);
        }
    }

    #[test]
    fn a_class_that_is_too_long_has_no_id() {
        let of = |length: usize| {
            let id = PredictionId {
                time: 1,
                nonce: 2,
                state: 3,
                assignment: Assignment::Split,
                cell: 4,
                revision: "r".repeat(255),
                class: "c".repeat(length),
            };
            id.sign(&key(b"ours"))
        };
        let longest = of(MAX_CLASS).unwrap();
        assert!(PredictionId::read(&longest, &key(b"ours")).is_some() && longest.len() <= MAX_TEXT);
        assert_eq!(of(MAX_CLASS + 1), None);
    }
}
