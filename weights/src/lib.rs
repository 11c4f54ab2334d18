//! Reads the weights of a model from a file that nobody vouches for, and never executes anything.
//!
//! [`Weights::read`] takes what PyTorch writes for a state dict (`torch.save`, as zip or as the older stream of
//! pickles) and safetensors, told apart by content. It knows the dozen Python names that a dict of tensors needs;
//! every other name is refused, by name ([`ReadError::Global`]). Sizes are checked before memory is taken
//! ([`Limits`]). [`Weights::expect`] then compares names and shapes with those of an architecture.
//! No I/O.

mod archive;
mod array;
mod checkpoint;
mod error;
mod expect;
mod legacy;
mod limits;
mod pickle;
mod strided;
mod tensors;
mod weights;

pub use array::{Array, Dtype};
pub use error::{Fault, ReadError};
pub use expect::Mismatch;
pub use limits::Limits;
pub use weights::Weights;
