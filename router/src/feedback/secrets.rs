//! What a deployment's routers share: the keys of ids, the token of clients, and perhaps the classes.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hmac::Mac;

use super::keys::Keys;

/// Name of the file with the key that signs ids.
const KEY: &str = "key";
/// Name of the file with further keys whose ids are taken, one a line: those before it, and the one that comes next. It
/// need not be there.
const OTHER_KEYS: &str = "other-keys";
/// Most of them: each costs a try.
const MOST_KEYS: usize = 8;
/// Name of the file with what clients send as `Authorization: Bearer`.
const TOKEN: &str = "token";
/// Name of the file with the class names, one a line. It need not be there.
const CLASSES: &str = "classes";
/// Fewest bytes of a key, those of the hash (RFC 2104 §3).
const SHORTEST_KEY: usize = 32;
/// Fewest bytes of a token.
const SHORTEST_TOKEN: usize = 16;
/// Largest file: a Secret holds no more.
const LARGEST: u64 = 1 << 20;

/// Why the secrets cannot be used. Never says what they hold.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A file cannot be read.
    #[error("{file} of the Secret cannot be read: {source}")]
    File {
        /// Its name.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Too short to be one.
    #[error("{file} of the Secret: {found} bytes, at least {needed} are needed")]
    Short {
        /// Its name.
        file: &'static str,
        /// Bytes found, without white space at the end.
        found: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// More further keys than are tried.
    #[error("other-keys of the Secret: {found} lines, at most {MOST_KEYS} are allowed")]
    Keys {
        /// Lines found.
        found: usize,
    },
    /// A token that no header can carry.
    #[error("token of the Secret: a byte at {at} is no visible ASCII, nothing else is allowed")]
    Token {
        /// Where.
        at: usize,
    },
    /// Class names that are no text.
    #[error("classes of the Secret: no UTF-8")]
    Classes,
}

/// What was read.
pub(super) struct Secrets {
    keys: Keys,
    /// The token's own signature: to compare these says nothing of how much of a guess was right.
    token: Vec<u8>,
    classes: Option<HashSet<String>>,
}

impl Secrets {
    /// Reads the files of a folder. White space at their ends does not count: `echo` writes it.
    pub(super) fn read(folder: &Path) -> Result<Self, SecretError> {
        let (key, token) = (file(folder, KEY)?, file(folder, TOKEN)?);
        long_enough(KEY, &key, SHORTEST_KEY)?;
        long_enough(TOKEN, &token, SHORTEST_TOKEN)?;
        if let Some(at) = token.iter().position(|byte| !byte.is_ascii_graphic()) {
            return Err(SecretError::Token { at });
        }
        let others = optional(folder, OTHER_KEYS)?.unwrap_or_default();
        let others =
            others.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let others: Vec<&[u8]> = others.collect();
        if others.len() > MOST_KEYS {
            return Err(SecretError::Keys { found: others.len() });
        }
        others.iter().try_for_each(|key| long_enough(OTHER_KEYS, key, SHORTEST_KEY))?;
        let keys = Keys::new(&key, others);
        let token = keys.signing().1.clone().chain_update(&token).finalize().into_bytes().to_vec();
        Ok(Self { keys, token, classes: classes(folder)? })
    }

    pub(super) const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether this is the token.
    pub(super) fn admits(&self, token: &str) -> bool {
        self.keys.signing().1.clone().chain_update(token).verify_slice(&self.token).is_ok()
    }

    /// Whether a label may be true: any, where no classes are known.
    pub(super) fn knows(&self, label: &str) -> bool {
        self.classes.as_ref().is_none_or(|classes| classes.contains(label))
    }
}

fn classes(folder: &Path) -> Result<Option<HashSet<String>>, SecretError> {
    let Some(bytes) = optional(folder, CLASSES)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_| SecretError::Classes)?;
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    Ok(Some(names.map(str::to_owned).collect()))
}

/// A file that need not be there.
fn optional(folder: &Path, name: &'static str) -> Result<Option<Vec<u8>>, SecretError> {
    match file(folder, name) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(SecretError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn long_enough(file: &'static str, bytes: &[u8], needed: usize) -> Result<(), SecretError> {
    match bytes.len() {
        found if found < needed => Err(SecretError::Short { file, found, needed }),
        _ => Ok(()),
    }
}

fn file(folder: &Path, file: &'static str) -> Result<Vec<u8>, SecretError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(folder.join(file))?.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| SecretError::File { file, source })?;
    Ok(bytes.trim_ascii_end().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Secrets, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        for (file, content) in files {
            std::fs::write(folder.path().join(file), content).unwrap();
        }
        Secrets::read(folder.path())
    }

    const LONG: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_token_is_compared_and_classes_are_known_where_they_are_named() {
        let secrets = read(&[("key", LONG), ("token", "a-token-of-some-length\n")]).unwrap();
        assert!(secrets.admits("a-token-of-some-length"));
        for wrong in ["", "a-token-of-some-lengt", "a-token-of-some-length\n", "A-token-of-some-length"] {
            assert!(!secrets.admits(wrong), "{wrong:?}");
        }
        assert!(secrets.knows("anything"));
        let named = read(&[("key", LONG), ("token", LONG), ("classes", "cat\n dog \n\n")]).unwrap();
        assert!(named.knows("cat") && named.knows("dog") && !named.knows("cow") && !named.knows(""));
    }

    #[test]
    fn further_keys_are_lines_and_the_token_is_the_same_beside_them() {
        let lines = format!("\n {} \r\n\n{}", LONG.to_uppercase(), LONG.replace('0', "x"));
        let secrets = read(&[("key", LONG), ("token", LONG), ("other-keys", &lines)]).unwrap();
        assert!(secrets.admits(LONG));
        let upper = LONG.to_uppercase();
        let alone = read(&[("key", &upper), ("token", LONG)]).unwrap();
        assert_eq!((secrets.keys().of(None).count(), alone.keys().of(None).count()), (3, 1));
        assert_eq!(secrets.keys().of(Some(alone.keys().signing().0)).count(), 1);
    }

    #[test]
    fn further_keys_that_cannot_be_used_are_refused() {
        for (lines, why) in [
            (format!("{LONG}\nshort\n"), "other-keys of the Secret: 5 bytes, at least 32 are needed"),
            (format!("{LONG}\n").repeat(9), "other-keys of the Secret: 9 lines, at most 8 are allowed"),
        ] {
            let read = read(&[("key", LONG), ("token", LONG), ("other-keys", &lines)]);
            assert_eq!(read.err().unwrap().to_string(), why);
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_shown() {
        let refused = |files: &[_]| read(files).err().unwrap().to_string();
        assert!(refused(&[]).starts_with("key of the Secret cannot be read: "));
        assert!(refused(&[("key", LONG)]).starts_with("token of the Secret cannot be read: "));
        let short = refused(&[("key", "secret "), ("token", LONG)]);
        assert_eq!(short, "key of the Secret: 6 bytes, at least 32 are needed");
        let short = refused(&[("key", LONG), ("token", "secret")]);
        assert_eq!(short, "token of the Secret: 6 bytes, at least 16 are needed");
        let spaced = refused(&[("key", LONG), ("token", "a token of some length")]);
        assert_eq!(spaced, "token of the Secret: a byte at 1 is no visible ASCII, nothing else is allowed");
    }
}
