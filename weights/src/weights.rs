use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use crate::archive::{self, Archive};
use crate::checkpoint::{self, Entry};
use crate::legacy::{self, Legacy};
use crate::pickle::{Storage, Tree};
use crate::{Array, Limits, ReadError, tensors};

/// What wrappers put before every name: `DataParallel`, and `torch.compile`.
const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];

/// The tensors of a model by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    arrays: BTreeMap<String, Array>,
}

impl Weights {
    /// Reads a state dict: safetensors or `torch.save`, of the dict itself or of a checkpoint with it under
    /// `state_dict`, `model_state_dict`, `model`, `net` or `weights`. What else a checkpoint holds is read over. If
    /// all names begin with `module.` or `_orig_mod.`, that is left out.
    ///
    /// # Errors
    /// If it is something else, is broken, or asks for more than `limits`.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Self, ReadError> {
        let named = if bytes.starts_with(archive::START) {
            let mut archive = Archive::open(bytes, limits)?;
            let pickle = archive.pickle()?;
            Limits::check("bytes of the pickle", pickle.len(), limits.pickle)?;
            let tree = Tree::read(pickle, 0, limits)?;
            arrays(&tree, limits, |storage| archive.storage(storage))?
        } else if legacy::is_legacy(bytes) {
            let file = Legacy::read(bytes, limits)?;
            arrays(&file.tree, limits, |storage| file.storage(storage))?
        } else if tensors::is_safetensors(bytes) {
            tensors::read(bytes, limits)?
        } else {
            let start = bytes[..bytes.len().min(8)].escape_ascii().to_string();
            return Err(ReadError::Unknown { start });
        };
        Self::new(named)
    }

    fn new(mut named: Vec<(String, Array)>) -> Result<Self, ReadError> {
        while let Some(prefix) = PREFIXES.iter().find(|prefix| is_wrapped(&named, prefix)) {
            for (name, _) in &mut named {
                name.drain(..prefix.len());
            }
        }
        let mut arrays = BTreeMap::new();
        for (name, array) in named {
            match arrays.entry(name) {
                Slot::Vacant(slot) => slot.insert(array),
                Slot::Occupied(slot) => return Err(ReadError::Twice { name: slot.key().clone() }),
            };
        }
        Ok(Self { arrays })
    }

    /// The tensor of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.arrays.iter().map(|(name, array)| (name.as_str(), array))
    }

    /// Number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arrays.len()
    }

    /// Whether there are no tensors, which only a safetensors file can say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arrays.is_empty()
    }
}

fn is_wrapped(named: &[(String, Array)], prefix: &str) -> bool {
    !named.is_empty() && named.iter().all(|(name, _)| name.len() > prefix.len() && name.starts_with(prefix))
}

/// The tensors of a pickle, laid out; memory is taken only for what is within its storage and the limits.
fn arrays<'a>(
    tree: &Tree<'_>,
    limits: &Limits,
    mut storage: impl FnMut(&Storage<'_>) -> Result<&'a [u8], ReadError>,
) -> Result<Vec<(String, Array)>, ReadError> {
    let entries = checkpoint::state(tree, limits)?;
    let mut total = 0usize;
    for entry in &entries {
        total = total.saturating_add(entry.tensor.view.bytes().unwrap_or(usize::MAX));
        Limits::check("bytes of the tensors", total, limits.bytes)?;
    }
    let array = |entry: &Entry<'_>| {
        let (view, name) = (&entry.tensor.view, entry.name.to_owned());
        let bytes = storage(&entry.tensor.storage)?;
        let Some(array) = view.contiguous(bytes) else {
            let (shape, dtype) = (view.shape.clone(), view.dtype);
            return Err(ReadError::Bounds { name, shape, dtype, bytes: bytes.len() });
        };
        Ok((name, array))
    };
    entries.iter().map(array).collect()
}
