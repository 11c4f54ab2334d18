//! Tuples, lists and dicts.

use super::machine::Machine;
use super::{Id, Node, op};
use crate::Fault;

impl Machine<'_> {
    pub(super) fn container(&mut self, op: u8) -> Result<(), Fault> {
        let node = match op {
            op::EMPTY_TUPLE => Node::Tuple(Vec::new()),
            op::EMPTY_LIST => Node::List(Vec::new()),
            op::EMPTY_DICT => Node::Dict(Vec::new()),
            op::TUPLE => Node::Tuple(self.pop_to_mark()?),
            op::LIST => Node::List(self.pop_to_mark()?),
            op::DICT => Node::Dict(pairs(&self.pop_to_mark()?)?),
            _ => {
                let mut items = Vec::new();
                for _ in op::TUPLE1..=op {
                    items.push(self.pop()?);
                }
                items.reverse();
                Node::Tuple(items)
            }
        };
        self.push(node)
    }

    /// Adds to the list or dict below.
    pub(super) fn fill(&mut self, op: u8) -> Result<(), Fault> {
        let items = match op {
            op::APPEND => vec![self.pop()?],
            op::SET_ITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.pop_to_mark()?,
        };
        let target = self.top()?;
        match (op, &mut self.nodes[target.0 as usize]) {
            (op::APPEND | op::APPENDS, Node::List(list)) => list.extend(items),
            (op::SET_ITEM | op::SET_ITEMS, Node::Dict(dict)) => dict.extend(pairs(&items)?),
            (_, target) => return Err(Fault::Misplaced { what: "an item", found: target.kind() }),
        }
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Fault> {
    let (pairs, []) = items.as_chunks::<2>() else { return Err(Fault::Stack) };
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}
