//! The name of one answer: all that its label needs, and who gave it. Pure.
//!
//! Bytes, big-endian: version, id of the key u32, time u32, nonce u64, state u64, assignment, confidence cell, length and
//! bytes of the revision, length and bytes of the class, then the first 16 bytes of their HMAC-SHA256 (RFC 2104 §5 allows
//! half). Written as base64url without padding, about 95 characters. Version 1 had no id of the key. Version 3 is a ticket:
//! the same before there is an answer, so without a class.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use wire::{Assignment, CELLS, Grid};

use super::keys::{KeyId, Keys};

/// Cell of an answer without a confidence: the last one, in which nothing is sure.
pub(crate) const NO_CONFIDENCE: usize = CELLS - 1;

const VERSION: u8 = 2;
/// Of a ticket: whoever reads an id would take it for an answer of the class "".
const TICKET: u8 = 3;
/// Before ids named their key.
const KEYLESS: u8 = 1;
/// Bytes of the signature.
const SIGNATURE: usize = 16;
/// Longest class name that gets an id, in bytes.
const MAX_CLASS: usize = 128;
/// Longest id that is looked at, in characters.
const MAX_TEXT: usize = wire::header::TICKET_LENGTH;

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

/// What an answer said, as whoever kept its ticket tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    /// The class that it named.
    pub(crate) class: &'a str,
    /// Within 0..=1; `None` if it had none.
    pub(crate) confidence: Option<f64>,
}

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// None that was signed with one of the keys.
    Forged,
    /// It names a key that is not here.
    Key(KeyId),
}

impl PredictionId {
    /// The signed text; `None` for a class of more than [`MAX_CLASS`] bytes.
    pub(crate) fn sign(&self, keys: &Keys) -> Option<String> {
        self.signed(VERSION, keys)
    }

    /// The signed text of one without a class: of a request that has no answer yet.
    pub(crate) fn sign_ticket(&self, keys: &Keys) -> Option<String> {
        self.signed(TICKET, keys)
    }

    fn signed(&self, version: u8, keys: &Keys) -> Option<String> {
        let (id, key) = keys.signing();
        let length = |text: &str, most| u8::try_from(text.len()).ok().filter(|n| usize::from(*n) <= most);
        let mut bytes = Vec::with_capacity(128);
        bytes.push(version);
        bytes.extend(id.0.to_be_bytes());
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

    /// Reads what [`PredictionId::sign`] wrote with one of the keys.
    pub(crate) fn read(text: &str, keys: &Keys) -> Result<Self, Unread> {
        Self::verified(text, &[KEYLESS, VERSION], keys)
    }

    /// Reads what [`PredictionId::sign_ticket`] wrote with one of the keys, and adds what was answered since.
    pub(crate) fn of_ticket(text: &str, said: &Said<'_>, keys: &Keys) -> Result<Self, Unread> {
        let doubt = said.confidence.and_then(|confidence| Grid::Doubt.cell(1.0 - confidence));
        let (class, cell) = (said.class.to_owned(), doubt.unwrap_or(NO_CONFIDENCE));
        Self::verified(text, &[TICKET], keys).map(|id| Self { cell, class, ..id })
    }

    fn verified(text: &str, versions: &[u8], keys: &Keys) -> Result<Self, Unread> {
        let short = text.len() <= MAX_TEXT;
        let bytes = short.then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten().ok_or(Unread::Forged)?;
        let parts = bytes.len().checked_sub(SIGNATURE).and_then(|end| bytes.split_at_checked(end));
        let (signed, signature) = parts.ok_or(Unread::Forged)?;
        let mut rest = signed;
        let id = key_of(&mut rest, versions).ok_or(Unread::Forged)?;
        if let Some(id) = id.filter(|id| keys.of(Some(*id)).next().is_none()) {
            return Err(Unread::Key(id));
        }
        // In constant time.
        let is_signed = |key: &super::keys::Key| {
            key.clone().chain_update(signed).verify_truncated_left(signature).is_ok()
        };
        if !keys.of(id).any(is_signed) {
            return Err(Unread::Forged);
        }
        Self::fields(rest).ok_or(Unread::Forged)
    }

    fn fields(mut rest: &[u8]) -> Option<Self> {
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

/// The key that it names, if ids of its version do; `None` for a version that is not among these.
fn key_of(rest: &mut &[u8], versions: &[u8]) -> Option<Option<KeyId>> {
    match take(rest)? {
        [version] if !versions.contains(&version) => None,
        [KEYLESS] => Some(None),
        _ => Some(Some(KeyId(u32::from_be_bytes(take(rest)?)))),
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

    fn keys(secret: &'static [u8]) -> Keys {
        Keys::new(secret, [])
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
            let text = id.sign(&keys(b"ours")).unwrap();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(PredictionId::read(&text, &keys(b"ours")), Ok(id.clone()));
            // While a key is replaced, both are here.
            for both in [Keys::new(b"ours", [b"next".as_slice()]), Keys::new(b"next", [b"ours".as_slice()])] {
                prop_assert_eq!(PredictionId::read(&text, &both), Ok(id.clone()));
            }
            let gone = PredictionId::read(&text, &keys(b"theirs"));
            prop_assert_eq!(gone, Err(Unread::Key(keys(b"ours").signing().0)));
        }

        #[test]
        fn no_bit_of_an_id_can_be_changed(id in id(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let text = id.sign(&keys(b"ours")).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(PredictionId::read(&URL_SAFE_NO_PAD.encode(&bytes), &keys(b"ours")).is_err());
            // Nor can it be cut.
            bytes[at] ^= 1 << bit;
            prop_assert!(PredictionId::read(&URL_SAFE_NO_PAD.encode(&bytes[..at]), &keys(b"ours")).is_err());
        }

        #[test]
        fn no_text_is_taken_for_an_id(text in "\\PC{0,700}") {
            prop_assert!(PredictionId::read(&text, &keys(b"ours")).is_err());
        }

        #[test]
        fn a_ticket_becomes_the_id_of_its_answer_and_is_none_itself(
            id in id(), confidence in prop::option::of(0.0..=1.0f64)
        ) {
            let ticket = PredictionId { class: String::new(), cell: NO_CONFIDENCE, ..id.clone() };
            let text = ticket.sign_ticket(&keys(b"ours")).unwrap();
            prop_assert!(text.len() <= MAX_TEXT);
            let said = Said { class: &id.class, confidence };
            let cell = confidence.map_or(NO_CONFIDENCE, |c| Grid::Doubt.cell(1.0 - c).unwrap());
            let named = PredictionId { cell, ..id.clone() };
            prop_assert_eq!(PredictionId::of_ticket(&text, &said, &keys(b"ours")), Ok(named));
            prop_assert_eq!(PredictionId::read(&text, &keys(b"ours")), Err(Unread::Forged));
            let id = id.sign(&keys(b"ours")).unwrap();
            prop_assert_eq!(PredictionId::of_ticket(&id, &said, &keys(b"ours")), Err(Unread::Forged));
        }

        #[test]
        fn ids_of_before_they_named_their_key_are_taken_with_any(id in id()) {
            let [ours, next] = [keys(b"ours"), Keys::new(b"next", [b"ours".as_slice()])];
            let named = URL_SAFE_NO_PAD.decode(id.sign(&ours).unwrap()).unwrap();
            let mut bytes = vec![KEYLESS];
            bytes.extend(&named[5..named.len() - SIGNATURE]);
            let signature = ours.signing().1.clone().chain_update(&bytes).finalize().into_bytes();
            bytes.extend(&signature[..SIGNATURE]);
            let text = URL_SAFE_NO_PAD.encode(bytes);
            for keys in [&ours, &next] {
                prop_assert_eq!(PredictionId::read(&text, keys), Ok(id.clone()));
            }
            prop_assert_eq!(PredictionId::read(&text, &keys(b"theirs")), Err(Unread::Forged));
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
            id.sign(&keys(b"ours"))
        };
        let longest = of(MAX_CLASS).unwrap();
        assert!(PredictionId::read(&longest, &keys(b"ours")).is_ok() && longest.len() <= MAX_TEXT);
        assert_eq!(of(MAX_CLASS + 1), None);
    }
}
