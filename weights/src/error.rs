use crate::Dtype;

/// Why a file is not read. Nothing of it was executed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// By its first bytes.
    #[error("neither safetensors nor written by torch.save: it begins with \"{start}\"")]
    Unknown {
        /// The first bytes, escaped.
        start: String,
    },
    /// A graph, not a state dict.
    #[error(
        "this is a TorchScript program (torch.jit.save): name it model.pt to serve it as it is, or save model.state_dict()"
    )]
    TorchScript,
    /// A Python object that is no part of a dict of tensors.
    #[error(
        "refused the Python object {name:?}; nothing was executed. Only dicts of tensors are read: save model.state_dict()"
    )]
    Global {
        /// Module and name, as the file spells them.
        name: String,
    },
    /// `torch.save(model)`: code by reference, which only the program that wrote it has.
    #[error(
        "this is a whole model, saved with torch.save(model): it needs the Python class {class:?}, and nothing was executed. Save model.state_dict() instead"
    )]
    WholeModel {
        /// The first class that it needs.
        class: String,
    },
    /// A pickle that is broken, or that `torch.save` does not write for tensors of a CNN.
    #[error("the pickle is broken, or holds what is not read, at byte {at}: {fault}")]
    Pickle {
        /// Where its instruction begins.
        at: usize,
        /// What is wrong.
        fault: Fault,
    },
    /// More than [`Limits`](crate::Limits) allow.
    #[error("{what}: {value}, which is over the limit of {limit}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How many there are, or at least.
        value: usize,
        /// The limit.
        limit: usize,
    },
    /// A zip archive that `torch.save` does not write.
    #[error("the zip archive is broken or not from torch.save: {0}")]
    Archive(String),
    /// A safetensors file that is broken.
    #[error("the safetensors file is broken: {0}")]
    Safetensors(String),
    /// The older format, broken after its first pickle.
    #[error("the file is broken or not from torch.save: {0}")]
    Legacy(String),
    /// Written on a machine with another byte order.
    #[error("the values are big-endian: save the file on a little-endian machine")]
    BigEndian,
    /// No dict of tensors where one is looked for.
    #[error("no state dict: {0}")]
    NoState(String),
    /// Several dicts of tensors.
    #[error("{0:?} and {1:?} both hold tensors: save one of them alone")]
    Ambiguous(String, String),
    /// A state dict with something else in it.
    #[error("{name:?} is {found}, not a tensor")]
    NotATensor {
        /// The key.
        name: String,
        /// What it is.
        found: &'static str,
    },
    /// A key that comes twice.
    #[error("{name:?} comes twice")]
    Twice {
        /// The key.
        name: String,
    },
    /// A tensor of a type that no CNN has.
    #[error("{name:?} has values of type {dtype}, which is not read")]
    Type {
        /// The tensor.
        name: String,
        /// As the file spells it.
        dtype: String,
    },
    /// A tensor that does not fit what it is a view of.
    #[error("{name:?}, {shape:?} {dtype}, does not fit its storage of {bytes} bytes")]
    Bounds {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its type.
        dtype: Dtype,
        /// Size of the storage.
        bytes: usize,
    },
}

/// What is wrong with an instruction of a pickle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end within it.
    #[error("it ends too early")]
    Truncated,
    /// Not one that `torch.save` writes.
    #[error("instruction 0x{0:02x} is not known")]
    Instruction(u8),
    /// A later protocol than 5.
    #[error("protocol {0} is not known")]
    Protocol(u8),
    /// It takes more than there is.
    #[error("nothing is there to take")]
    Stack,
    /// It repeats something that never was.
    #[error("nothing was remembered as {0}")]
    Memo(u32),
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// It cannot be done with this.
    #[error("{what} of {found}")]
    Misplaced {
        /// What it does.
        what: &'static str,
        /// To what.
        found: &'static str,
    },
    /// A known name, called with what it has for no tensor of a CNN.
    #[error("{0} with arguments that are not read")]
    Arguments(&'static str),
    /// An unknown name ([`ReadError::Global`]).
    #[error("the Python object {0:?}")]
    Global(String),
    /// Too many instructions, the number is the limit.
    #[error("more than {0} instructions")]
    Instructions(usize),
}
