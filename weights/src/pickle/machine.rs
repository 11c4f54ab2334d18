//! The machine: a stack, marks on it, and a memo.

use std::collections::HashMap;

use super::input::{Input, text};
use super::{Global, Id, Node, Tree, op};
use crate::Fault;

/// The last protocol there is.
const PROTOCOL: u8 = 5;

pub(super) struct Machine<'a> {
    input: Input<'a>,
    limit: usize,
    /// Those of earlier pickles of the file too.
    instructions: usize,
    pub(super) nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack. What is below the last one is not to be taken.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8], instructions: usize, limit: usize) -> Self {
        Self {
            input: Input::new(bytes),
            limit: limit.min(u32::MAX as usize),
            instructions,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// Runs to the end, or to the instruction (where it begins) that cannot be done.
    pub(super) fn run(mut self) -> Result<Tree<'a>, (usize, Fault)> {
        loop {
            let at = self.input.at();
            if let Some(root) = self.step().map_err(|fault| (at, fault))? {
                let (end, instructions) = (self.input.at(), self.instructions);
                return Ok(Tree { nodes: self.nodes, root, end, instructions });
            }
        }
    }

    /// Counts work towards the limit.
    pub(super) fn spend(&mut self, instructions: usize) -> Result<(), Fault> {
        self.instructions = self.instructions.saturating_add(instructions);
        if self.instructions > self.limit { Err(Fault::Instructions(self.limit)) } else { Ok(()) }
    }

    /// One instruction. The last one gives what the pickle is.
    fn step(&mut self) -> Result<Option<Id>, Fault> {
        self.spend(1)?;
        match self.input.byte()? {
            op::STOP => self.pop().map(Some),
            op => self.carry_out(op).map(|()| None),
        }
    }

    fn carry_out(&mut self, op: u8) -> Result<(), Fault> {
        match op {
            op::PROTO => match self.input.byte()? {
                ..=PROTOCOL => Ok(()),
                protocol => Err(Fault::Protocol(protocol)),
            },
            // For readers that read ahead.
            op::FRAME => self.input.take(8).map(drop),
            op::MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::POP => self.drop_one(),
            op::POP_MARK => self.pop_to_mark().map(drop),
            op::DUP => {
                self.stack.push(self.top()?);
                Ok(())
            }
            op::BIN_PUT | op::LONG_BIN_PUT | op::MEMOIZE => self.remember(op),
            op::BIN_GET | op::LONG_BIN_GET => self.recall(op),
            op::GLOBAL | op::INST | op::STACK_GLOBAL | op::EXT1..=op::EXT4 => self.global(op),
            op::REDUCE | op::NEW_OBJ => self.call(),
            op::BUILD => self.build(),
            op::BIN_PERSID => self.storage(),
            op::EMPTY_TUPLE
            | op::TUPLE
            | op::TUPLE1..=op::TUPLE3
            | op::EMPTY_LIST
            | op::LIST
            | op::EMPTY_DICT
            | op::DICT => self.container(op),
            op::APPEND | op::APPENDS | op::SET_ITEM | op::SET_ITEMS => self.fill(op),
            _ => {
                let node = self.scalar(op)?;
                self.push(node)
            }
        }
    }

    fn scalar(&mut self, op: u8) -> Result<Node<'a>, Fault> {
        let node = match op {
            op::NONE => Node::None,
            op::TRUE => Node::Bool(true),
            op::FALSE => Node::Bool(false),
            op::BIN_INT => Node::Int(i32::from_le_bytes(self.input.array()?).into()),
            op::BIN_INT1 => Node::Int(self.input.byte()?.into()),
            op::BIN_INT2 => Node::Int(u16::from_le_bytes(self.input.array()?).into()),
            op::LONG1 => long(self.input.counted::<1>()?),
            op::LONG4 => long(self.input.counted::<4>()?),
            op::BIN_FLOAT => self.input.take(8).map(|_| Node::Other("a float"))?,
            op::SHORT_BIN_UNICODE => Node::Text(text(self.input.counted::<1>()?)?),
            op::BIN_UNICODE => Node::Text(text(self.input.counted::<4>()?)?),
            op::BIN_UNICODE8 => Node::Text(text(self.input.counted::<8>()?)?),
            op::SHORT_BIN_STRING => text_or_bytes(self.input.counted::<1>()?),
            op::BIN_STRING => text_or_bytes(self.input.counted::<4>()?),
            op::SHORT_BIN_BYTES => self.input.counted::<1>().map(|_| Node::Other("bytes"))?,
            op::BIN_BYTES => self.input.counted::<4>().map(|_| Node::Other("bytes"))?,
            op::BIN_BYTES8 => self.input.counted::<8>().map(|_| Node::Other("bytes"))?,
            _ => return Err(Fault::Instruction(op)),
        };
        Ok(node)
    }

    /// The only place where a pickle gets hold of a Python name, and where unknown ones are refused.
    fn global(&mut self, op: u8) -> Result<(), Fault> {
        let (module, name) = match op {
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.node(module), self.node(name)) {
                    (Node::Text(module), Node::Text(name)) => (*module, *name),
                    (module, _) => return Err(Fault::Misplaced { what: "a name", found: module.kind() }),
                }
            }
            op::GLOBAL | op::INST => (self.input.line()?, self.input.line()?),
            _ => return Err(Fault::Global("one of copyreg's extensions".to_owned())),
        };
        let known = if op == op::INST { None } else { Global::named(module, name) };
        let Some(known) = known else { return Err(Fault::Global(spelled(module, name))) };
        self.push(Node::Global(known))
    }

    fn remember(&mut self, op: u8) -> Result<(), Fault> {
        let key = match op {
            op::BIN_PUT => self.input.byte()?.into(),
            op::LONG_BIN_PUT => u32::from_le_bytes(self.input.array()?),
            _ => u32::try_from(self.memo.len()).expect("fewer than instructions, which are fewer than 2^32"),
        };
        self.memo.insert(key, self.top()?);
        Ok(())
    }

    fn recall(&mut self, op: u8) -> Result<(), Fault> {
        let key = match op {
            op::BIN_GET => self.input.byte()?.into(),
            _ => u32::from_le_bytes(self.input.array()?),
        };
        self.stack.push(*self.memo.get(&key).ok_or(Fault::Memo(key))?);
        Ok(())
    }

    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn push(&mut self, node: Node<'a>) -> Result<(), Fault> {
        let id = u32::try_from(self.nodes.len()).expect("fewer than instructions, which are fewer than 2^32");
        self.nodes.push(node);
        self.push_again(Id(id));
        Ok(())
    }

    pub(super) fn push_again(&mut self, id: Id) {
        self.stack.push(id);
    }

    pub(super) fn pop(&mut self) -> Result<Id, Fault> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    pub(super) fn top(&self) -> Result<Id, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or(Fault::Stack)
    }

    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or(Fault::Stack)?;
        Ok(self.stack.drain(mark..).collect())
    }

    /// A value, or the mark if nothing is above it.
    fn drop_one(&mut self) -> Result<(), Fault> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }
}

/// An integer of any length, two's complement. Only those of up to 64 bits are of use.
fn long<'a>(bytes: &[u8]) -> Node<'a> {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    let Some(low) = wide.get_mut(..bytes.len()) else { return Node::Other("a long integer") };
    low.copy_from_slice(bytes);
    Node::Int(i64::from_le_bytes(wide))
}

fn text_or_bytes(bytes: &[u8]) -> Node<'_> {
    text(bytes).map_or(Node::Other("bytes"), Node::Text)
}

/// For messages: at most 200 characters.
fn spelled(module: &str, name: &str) -> String {
    module.chars().take(100).chain(['.']).chain(name.chars().take(100)).collect()
}
