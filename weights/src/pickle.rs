//! A pickle machine that makes plain values and descriptions of tensors, and nothing else.
//!
//! Why our own: serde-pickle makes serde values, and candle's reader skips what it cannot read, copies the memo on
//! every use and takes lengths on trust; neither knows the older format, tensors with any strides, or a refusal by name.
//!
//! Values lie in one list and name each other by index, so that cycles, deep nesting and "billion laughs" are as cheap
//! as the instructions that make them, and nothing recurses.

mod call;
mod containers;
mod global;
mod input;
mod machine;
mod op;

use memchr::memmem;

use crate::strided::View;
use crate::{Dtype, Fault, Limits, ReadError};
use machine::Machine;

pub(crate) use global::Global;

/// Index of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(u32);

/// A value.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// In the order of the file; a key can come twice.
    Dict(Vec<(Id, Id)>),
    /// A known name that was not called.
    Global(Global),
    Storage(Storage<'a>),
    Tensor(Box<Tensor<'a>>),
    /// Read over: of no use in a state dict.
    Other(&'static str),
}

impl Node<'_> {
    /// For messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an integer",
            Self::Text(_) => "text",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a class",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Other(kind) => kind,
        }
    }
}

/// Bytes that tensors are views of, by the name under which the file holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Storage<'a> {
    pub(crate) key: &'a str,
    pub(crate) dtype: Dtype,
    /// Values of `dtype`, if the file is right.
    pub(crate) elements: usize,
}

impl Storage<'_> {
    /// Bytes, if anything could hold them.
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.elements.checked_mul(self.dtype.size())
    }
}

/// What it is a view of, and how.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) storage: Storage<'a>,
    pub(crate) view: View,
}

/// What a pickle holds.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
    /// Bytes of the pickle.
    pub(crate) end: usize,
    /// How many were carried out and values copied, with those before it.
    pub(crate) instructions: usize,
}

impl<'a> Tree<'a> {
    /// Reads the pickle at the beginning of `bytes`, after so many `instructions` of those before it.
    pub(crate) fn read(bytes: &'a [u8], instructions: usize, limits: &Limits) -> Result<Self, ReadError> {
        Machine::new(bytes, instructions, limits.instructions).run().map_err(|(at, fault)| match fault {
            Fault::Global(name) if is_module(bytes) => ReadError::WholeModel { class: name },
            Fault::Global(name) => ReadError::Global { name },
            fault => ReadError::Pickle { at, fault },
        })
    }

    /// The value that all others belong to.
    pub(crate) fn root(&self) -> Id {
        self.root
    }

    /// Values are only named after they were made, so every [`Id`] is one.
    pub(crate) fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }

    /// All values.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node<'a>> {
        self.nodes.iter()
    }

    /// The last entry of a dict under this key, as in Python.
    pub(crate) fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        let Node::Dict(entries) = self.node(dict) else { return None };
        let found =
            entries.iter().rev().find(|(k, _)| matches!(self.node(*k), Node::Text(text) if *text == key));
        found.map(|(_, value)| *value)
    }
}

/// Whether it is an `nn.Module`: its attributes are in the pickle by name.
fn is_module(pickle: &[u8]) -> bool {
    ["_parameters", "_modules", "training"].iter().all(|name| memmem::find(pickle, name.as_bytes()).is_some())
}
