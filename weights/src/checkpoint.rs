//! Finds the state dict in what people save around it.

use crate::pickle::{Id, Node, Storage, Tree};
use crate::strided::View;
use crate::{Limits, ReadError};

/// The keys under which training scripts keep it.
const KEYS: [&str; 5] = ["state_dict", "model_state_dict", "model", "net", "weights"];

/// A tensor of the state dict, not read yet.
pub(crate) struct Entry<'t> {
    pub(crate) name: &'t str,
    pub(crate) storage: Storage<'t>,
    pub(crate) view: &'t View,
}

/// The tensors of the state dict that a pickle is, or holds.
pub(crate) fn state<'t>(tree: &'t Tree<'_>, limits: &Limits) -> Result<Vec<Entry<'t>>, ReadError> {
    let mut dict = tree.root();
    for _ in 0..=limits.nesting {
        let Node::Dict(entries) = tree.node(dict) else {
            let kind = tree.node(dict).kind();
            return Err(ReadError::NoState(format!("the file holds {kind}, save model.state_dict()")));
        };
        let inner: Vec<_> =
            KEYS.iter().filter_map(|key| Some((*key, state_under(tree, dict, key)?))).collect();
        match inner.as_slice() {
            [] => return tensors(tree, entries, limits),
            [(_, one)] => dict = *one,
            [(one, _), (other, _), ..] => {
                return Err(ReadError::Ambiguous((*one).to_owned(), (*other).to_owned()));
            }
        }
    }
    Err(ReadError::Limit { what: "nested dicts", value: limits.nesting + 1, limit: limits.nesting })
}

/// The dict under a key, if it holds tensors or goes on to one that may.
fn state_under(tree: &Tree<'_>, dict: Id, key: &str) -> Option<Id> {
    let inner = tree.entry(dict, key)?;
    let Node::Dict(entries) = tree.node(inner) else { return None };
    let is_tensor = |id: Id| matches!(tree.node(id), Node::Tensor(..));
    let is_dict = |id: Id| matches!(tree.node(id), Node::Dict(_));
    let holds_tensors = entries.iter().any(|(_, value)| is_tensor(*value));
    let goes_on = KEYS.iter().filter_map(|key| tree.entry(inner, key)).any(is_dict);
    (holds_tensors || goes_on).then_some(inner)
}

fn tensors<'t>(
    tree: &'t Tree<'_>,
    entries: &[(Id, Id)],
    limits: &Limits,
) -> Result<Vec<Entry<'t>>, ReadError> {
    if !entries.iter().any(|(_, value)| matches!(tree.node(*value), Node::Tensor(..))) {
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
    let Node::Tensor(storage, view) = tree.node(value) else {
        return Err(ReadError::NotATensor { name: (*name).to_owned(), found: tree.node(value).kind() });
    };
    let Node::Storage(storage) = tree.node(*storage) else { unreachable!("a tensor is made of a storage") };
    Ok(Entry { name, storage: *storage, view })
}
