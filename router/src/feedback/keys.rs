//! The keys of ids: one signs, and ids of all of them are taken, so that a key can be replaced (ADR 19). Pure.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A keyed HMAC, to be cloned for each message.
pub(crate) type Key = Hmac<Sha256>;

/// Tells keys apart: the first bytes of the key's own signature of a fixed text, so that nobody has to name them, and all
/// routers give the same name. It says nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyId(pub(crate) u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// What is signed for a [`KeyId`]. No id and no token begins like that: the one begins with a version, the other has no
/// space.
const NAME: &[u8] = b"sluice key id";

/// The keys of a deployment, the one that signs first.
pub(crate) struct Keys(Vec<(KeyId, Key)>);

impl Keys {
    /// `signs` signs; ids of `others` are taken too.
    pub(crate) fn new<'a>(signs: &'a [u8], others: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let named = |bytes: &[u8]| {
            let key = Key::new_from_slice(bytes).expect("HMAC takes keys of any length");
            let signature = key.clone().chain_update(NAME).finalize().into_bytes();
            let first = signature.first_chunk().expect("a SHA-256 has 32 bytes");
            (KeyId(u32::from_be_bytes(*first)), key)
        };
        Self(std::iter::once(signs).chain(others).map(named).collect())
    }

    /// The one that signs.
    pub(crate) fn signing(&self) -> (KeyId, &Key) {
        let (id, key) = self.0.first().expect("it begins with the one that signs");
        (*id, key)
    }

    /// Those of this id: hardly ever more than one. All of them, without.
    pub(crate) fn of(&self, id: Option<KeyId>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |(named, _)| id.is_none_or(|id| id == *named)).map(|(_, key)| key)
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} signs", self.signing().0)?;
        self.0.iter().skip(1).try_for_each(|(id, _)| write!(f, ", {id} is taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_same_name_wherever_it_stands() {
        let (ours, next) = (Keys::new(b"ours", []), Keys::new(b"next", [b"ours".as_slice()]));
        let (id, _) = ours.signing();
        assert_ne!(next.signing().0, id);
        assert_eq!((next.of(Some(id)).count(), next.of(None).count()), (1, 2));
        assert_eq!(ours.of(Some(next.signing().0)).count(), 0);
        assert_eq!(next.to_string(), format!("{} signs, {id} is taken", next.signing().0));
    }
}
