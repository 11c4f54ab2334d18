/// What a file may ask for. What is over one of them is refused before memory is taken for it
/// ([`ReadError::Limit`](crate::ReadError::Limit)).
///
/// With all limits at their defaults a file of any content takes less than 100 MiB beside the tensors and its own
/// bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of all tensors of the model together, each laid out for itself (1 GiB): a view of one value can claim
    /// any shape, and two views of one storage are two tensors.
    pub bytes: usize,
    /// Tensors of the model (10,000).
    pub tensors: usize,
    /// Bytes of a tensor's name (512).
    pub name: usize,
    /// Dicts around that of the tensors (4): two in `{"model": {"state_dict": …}}`.
    pub nesting: usize,
    /// Bytes of the pickle that describes the tensors (16 MiB).
    pub pickle: usize,
    /// Instructions of that pickle, or of the five of the older format (1,000,000). Each makes at most one object, and
    /// puts at most one on the stack or into the memo.
    pub instructions: usize,
    /// Entries of a zip archive (50,000): a tensor each, those of the optimiser too.
    pub entries: usize,
    /// Bytes of the header of a safetensors file (1 MiB, of 100 bytes for each tensor). Parsed, it can take 40 times
    /// as much.
    pub header: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            tensors: 10_000,
            name: 512,
            nesting: 4,
            pickle: 16 << 20,
            instructions: 1_000_000,
            entries: 50_000,
            header: 1 << 20,
        }
    }
}

impl Limits {
    /// `value`, if it is within the limit.
    pub(crate) fn check(what: &'static str, value: usize, limit: usize) -> Result<usize, crate::ReadError> {
        if value <= limit { Ok(value) } else { Err(crate::ReadError::Limit { what, value, limit }) }
    }
}
