//! What the known names do when a pickle calls them.

use super::machine::Machine;
use super::{Global, Id, Node, Storage, Tensor};
use crate::Fault;
use crate::strided::{RANK, View};

/// Result of a call.
enum Made<'a> {
    /// A value that was not there.
    New(Node<'a>),
    /// One of the arguments.
    Given(Id),
}

impl<'a> Machine<'a> {
    pub(super) fn call(&mut self) -> Result<(), Fault> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Node::Global(global) = *self.node(callee) else {
            return Err(Fault::Misplaced { what: "a call", found: self.node(callee).kind() });
        };
        match self.result(global, arguments).ok_or(Fault::Arguments(global.as_str()))? {
            Made::New(node) => {
                // Or a pickle could have the same list copied again and again.
                if let Node::Dict(entries) = &node {
                    self.spend(entries.len())?;
                }
                self.push(node)
            }
            Made::Given(id) => {
                self.push_again(id);
                Ok(())
            }
        }
    }

    fn result(&self, global: Global, arguments: Id) -> Option<Made<'a>> {
        let Node::Tuple(arguments) = self.node(arguments) else { return None };
        match (global, arguments.as_slice()) {
            (Global::OrderedDict, []) => Some(Made::New(Node::Dict(Vec::new()))),
            // As Python 2 writes it.
            (Global::OrderedDict, [pairs]) => Some(Made::New(Node::Dict(self.pairs(*pairs)?))),
            (Global::Size, [lengths]) => self.is_tuple(*lengths).then_some(Made::Given(*lengths)),
            (Global::Device, _) => Some(Made::New(Node::Other("a device"))),
            (Global::RebuildTensor, [storage, offset, shape, stride]) => {
                self.tensor(*storage, *offset, *shape, *stride)
            }
            // Then: requires_grad, hooks, and in later versions what makes the values others than those in the file.
            (Global::RebuildTensorV2, [storage, offset, shape, stride, _, _, more @ ..]) => {
                self.is_nothing(more).then(|| self.tensor(*storage, *offset, *shape, *stride))?
            }
            (Global::RebuildParameter, [tensor, _, _])
            | (Global::RebuildParameterWithState, [tensor, _, _, _]) => {
                matches!(self.node(*tensor), Node::Tensor(_)).then_some(Made::Given(*tensor))
            }
            (Global::RebuildFromType, [function, class, arguments, _]) => {
                match (self.node(*function), self.node(*class)) {
                    (Node::Global(Global::RebuildTensorV2), Node::Global(Global::TensorType)) => {
                        self.result(Global::RebuildTensorV2, *arguments)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn pairs(&self, list: Id) -> Option<Vec<(Id, Id)>> {
        let Node::List(pairs) = self.node(list) else { return None };
        let pair = |id: &Id| match self.node(*id) {
            Node::List(pair) | Node::Tuple(pair) => {
                <[Id; 2]>::try_from(pair.as_slice()).ok().map(|[k, v]| (k, v))
            }
            _ => None,
        };
        pairs.iter().map(pair).collect()
    }

    /// No tensor is made, only described: its sizes are checked when it is wanted.
    fn tensor(&self, storage: Id, offset: Id, shape: Id, stride: Id) -> Option<Made<'a>> {
        let Node::Storage(storage) = *self.node(storage) else { return None };
        let (shape, stride) = (self.lengths(shape)?, self.lengths(stride)?);
        let fits = shape.len() == stride.len();
        let view = View { dtype: storage.dtype, offset: self.length(offset)?, shape, stride };
        fits.then(|| Made::New(Node::Tensor(Box::new(Tensor { storage, view }))))
    }

    /// Attributes of a dict, as `state_dict()._metadata`; nothing else has any.
    pub(super) fn build(&mut self) -> Result<(), Fault> {
        let attributes = self.pop()?;
        let target = self.top()?;
        match (self.node(target), self.node(attributes)) {
            (Node::Dict(_), Node::Dict(_)) => Ok(()),
            (target, _) => Err(Fault::Misplaced { what: "attributes", found: target.kind() }),
        }
    }

    /// `("storage", type, key, device, elements)`; the older format adds None, or a part of the storage before
    /// torch 0.4.
    pub(super) fn storage(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let storage = self.described(id).ok_or(Fault::Arguments("a storage"))?;
        self.push(Node::Storage(storage))
    }

    fn described(&self, id: Id) -> Option<Storage<'a>> {
        let Node::Tuple(parts) = self.node(id) else { return None };
        let [word, class, key, _, elements, view @ ..] = parts.as_slice() else { return None };
        let (Node::Text("storage"), true) = (self.node(*word), self.is_nothing(view)) else { return None };
        let (Node::Global(Global::Storage(dtype)), Node::Text(key)) = (self.node(*class), self.node(*key))
        else {
            return None;
        };
        Some(Storage { key, dtype: *dtype, elements: self.length(*elements)? })
    }

    fn is_tuple(&self, id: Id) -> bool {
        matches!(self.node(id), Node::Tuple(_))
    }

    /// Optional arguments that were not given.
    fn is_nothing(&self, more: &[Id]) -> bool {
        match more {
            [] => true,
            [one] => match self.node(*one) {
                Node::None => true,
                Node::Dict(entries) => entries.is_empty(),
                _ => false,
            },
            _ => false,
        }
    }

    fn length(&self, id: Id) -> Option<usize> {
        let Node::Int(length) = self.node(id) else { return None };
        usize::try_from(*length).ok()
    }

    fn lengths(&self, id: Id) -> Option<Vec<usize>> {
        let Node::Tuple(lengths) = self.node(id) else { return None };
        (lengths.len() <= RANK).then(|| lengths.iter().map(|id| self.length(*id)).collect())?
    }
}
