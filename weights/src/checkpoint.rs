//! Finds the state dict in what people save around it.

use std::collections::HashSet;

use crate::pickle::{Id, Node, Tensor, Tree};
use crate::{Limits, ReadError};

/// The keys under which training scripts keep it.
const KEYS: [&str; 5] = ["state_dict", "model_state_dict", "model", "net", "weights"];

/// A tensor of the state dict, not read yet.
pub(crate) struct Entry<'t> {
    pub(crate) name: &'t str,
    pub(crate) tensor: &'t Tensor<'t>,
}

/// The tensors of the state dict that a pickle is, or holds.
pub(crate) fn state<'t>(tree: &'t Tree<'_>, limits: &Limits) -> Result<Vec<Entry<'t>>, ReadError> {
    let mut dict = tree.root();
    for depth in (0..=limits.nesting).rev() {
        let mut seen = HashSet::new();
        let under = KEYS.iter().filter_map(|key| Some((*key, tree.entry(dict, key)?)));
        let inner: Vec<_> = under.filter(|(_, id)| reaches(tree, *id, depth, &mut seen)).collect();
        match inner.as_slice() {
            [] => break,
            [(_, one)] => dict = *one,
            [(one, _), (other, _), ..] => {
                return Err(ReadError::Ambiguous((*one).to_owned(), (*other).to_owned()));
            }
        }
    }
    let Node::Dict(entries) = tree.node(dict) else {
        let kind = tree.node(dict).kind();
        return Err(ReadError::NoState(format!("the file holds {kind}, save model.state_dict()")));
    };
    tensors(tree, entries, limits)
}

/// Whether it is a dict that holds tensors, or holds one that does, not more than `depth` dicts deep. Those that were
/// `seen` are not looked at again: they are the same, or hold themselves.
fn reaches(tree: &Tree<'_>, id: Id, depth: usize, seen: &mut HashSet<Id>) -> bool {
    let Node::Dict(entries) = tree.node(id) else { return false };
    if depth == 0 || !seen.insert(id) {
        return false;
    }
    entries.iter().any(|(_, value)| matches!(tree.node(*value), Node::Tensor(_)))
        || KEYS
            .iter()
            .filter_map(|key| tree.entry(id, key))
            .any(|inner| reaches(tree, inner, depth - 1, seen))
}

fn tensors<'t>(
    tree: &'t Tree<'_>,
    entries: &[(Id, Id)],
    limits: &Limits,
) -> Result<Vec<Entry<'t>>, ReadError> {
    if !entries.iter().any(|(_, value)| matches!(tree.node(*value), Node::Tensor(_))) {
        let hint = format!("looked for tensors, and for a dict of them under one of {KEYS:?}");
        return Err(ReadError::NoState(hint));
    }
    Limits::check("tensors", entries.len(), limits.tensors)?;
    entries.iter().map(|(key, value)| tensor(tree, *key, *value, limits)).collect()
}

fn tensor<'t>(tree: &'t Tree<'_>, key: Id, value: Id, limits: &Limits) -> Result<Entry<'t>, ReadError> {
    let Node::Text(name) = tree.node(key) else {
        return Err(ReadError::NoState(format!("{} is the key of a tensor", tree.node(key).kind())));
    };
    Limits::check("bytes of a tensor's name", name.len(), limits.name)?;
    match tree.node(value) {
        Node::Tensor(tensor) => Ok(Entry { name, tensor }),
        other => Err(ReadError::NotATensor { name: (*name).to_owned(), found: other.kind() }),
    }
}
