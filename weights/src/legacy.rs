//! What `torch.save` wrote before 1.6, and still does if asked: five pickles (a magic number, the version, the machine,
//! the description, the names of the storages), then the storages in that order, each with its length in front.

use std::collections::HashMap;

use crate::pickle::{Id, Node, Storage, Tree};
use crate::{Limits, ReadError};

/// 0x1950a86a20f9469cfc6c, as a pickle spells it.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
/// PROTO and, since protocol 4, FRAME are before it.
const BEFORE: usize = 2 + 9;
/// The only version that there ever was.
const VERSION: i64 = 1001;

/// Whether a file begins as this format does.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(BEFORE + MAGIC.len())];
    bytes.first() == Some(&0x80) && head.windows(MAGIC.len()).any(|w| w == MAGIC)
}

pub(crate) struct Legacy<'a> {
    pub(crate) tree: Tree<'a>,
    storages: HashMap<&'a str, &'a [u8]>,
}

impl<'a> Legacy<'a> {
    pub(crate) fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self, ReadError> {
        let mut rest = Rest { bytes, instructions: 0, limits };
        rest.pickle()?;
        let version = rest.pickle()?;
        if !matches!(version.node(version.root()), Node::Int(VERSION)) {
            return Err(ReadError::Legacy(format!("it is not of version {VERSION}")));
        }
        let machine = rest.pickle()?;
        let little = machine.entry(machine.root(), "little_endian");
        if !little.is_some_and(|id| matches!(machine.node(id), Node::Bool(true))) {
            return Err(ReadError::BigEndian);
        }
        let tree = rest.pickle()?;
        let keys = rest.pickle()?;
        let storages = storages(rest.bytes, &tree, &keys)?;
        Ok(Self { tree, storages })
    }

    /// The bytes of a storage.
    pub(crate) fn storage(&self, storage: &Storage<'_>) -> Result<&'a [u8], ReadError> {
        let bytes = self.storages.get(storage.key).copied();
        bytes.ok_or_else(|| ReadError::Legacy(format!("it has no storage {:?}", storage.key)))
    }
}

/// What was not read yet.
struct Rest<'a, 'l> {
    bytes: &'a [u8],
    /// Those of the pickles that were read.
    instructions: usize,
    limits: &'l Limits,
}

impl<'a> Rest<'a, '_> {
    fn pickle(&mut self) -> Result<Tree<'a>, ReadError> {
        // Storages follow: the end of the pickle is not known before it is read.
        let most = &self.bytes[..self.bytes.len().min(self.limits.pickle)];
        let tree = Tree::read(most, self.instructions, self.limits)?;
        self.bytes = &self.bytes[tree.end..];
        self.instructions = tree.instructions;
        Ok(tree)
    }
}

/// Cuts what follows the pickles into storages, of the sizes that both the description and the lengths in front say.
fn storages<'a>(
    mut rest: &'a [u8],
    tree: &Tree<'a>,
    keys: &Tree<'a>,
) -> Result<HashMap<&'a str, &'a [u8]>, ReadError> {
    let mut described = HashMap::new();
    for node in tree.nodes() {
        let Node::Storage(storage) = node else { continue };
        if described.insert(storage.key, *storage).is_some_and(|other| other != *storage) {
            return Err(ReadError::Legacy(format!("storage {:?} is described in two ways", storage.key)));
        }
    }
    let Node::List(order) = keys.node(keys.root()) else {
        return Err(ReadError::Legacy("it does not name its storages".to_owned()));
    };
    let mut found = HashMap::new();
    for key in order {
        let storage = text(keys, *key).and_then(|key| described.get(key));
        let storage = storage.ok_or_else(|| ReadError::Legacy("it names an unknown storage".to_owned()))?;
        let broken =
            || ReadError::Legacy(format!("storage {:?} is cut off, or not as described", storage.key));
        let (length, values) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        if u64::from_le_bytes(*length) != storage.elements as u64 {
            return Err(broken());
        }
        let (bytes, after) = storage.bytes().and_then(|n| values.split_at_checked(n)).ok_or_else(broken)?;
        found.insert(storage.key, bytes);
        rest = after;
    }
    Ok(found)
}

fn text<'a>(tree: &Tree<'a>, id: Id) -> Option<&'a str> {
    if let Node::Text(text) = *tree.node(id) { Some(text) } else { None }
}
