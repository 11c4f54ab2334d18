//! safetensors: a header in JSON with names, types, shapes and places, then the values. The library checks that the
//! places are those of the shapes, and follow each other without overlap or gap to the end of the file.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as Theirs, TensorView};

use crate::strided::RANK;
use crate::{Array, Dtype, Limits, ReadError};

/// Bytes in front of the header, which say how long it is.
const LENGTH: usize = 8;

/// Whether a file begins as this format does: with a length, and JSON.
pub(crate) fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(LENGTH) == Some(&b'{')
}

/// Tensors by name, in any order.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Vec<(String, Array)>, ReadError> {
    let header = bytes.first_chunk::<LENGTH>().map_or(0, |length| u64::from_le_bytes(*length));
    let header = usize::try_from(header).unwrap_or(usize::MAX);
    Limits::check("bytes of the header", header, limits.header)?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| ReadError::Safetensors(e.to_string()))?;
    Limits::check("tensors", file.len(), limits.tensors)?;
    Limits::check("bytes of the tensors", bytes.len(), limits.bytes)?;
    file.tensors().into_iter().map(|(name, view)| array(name, &view, limits)).collect()
}

fn array(name: String, view: &TensorView<'_>, limits: &Limits) -> Result<(String, Array), ReadError> {
    Limits::check("bytes of a tensor's name", name.len(), limits.name)?;
    Limits::check("dimensions of a tensor", view.shape().len(), RANK)?;
    let Some(dtype) = dtype(view.dtype()) else {
        return Err(ReadError::Type { name, dtype: view.dtype().to_string() });
    };
    Ok((name, Array::new(dtype, view.shape().to_vec(), view.data().to_vec())))
}

fn dtype(theirs: Theirs) -> Option<Dtype> {
    Some(match theirs {
        Theirs::BOOL => Dtype::Bool,
        Theirs::U8 => Dtype::U8,
        Theirs::I8 => Dtype::I8,
        Theirs::I16 => Dtype::I16,
        Theirs::I32 => Dtype::I32,
        Theirs::I64 => Dtype::I64,
        Theirs::F16 => Dtype::F16,
        Theirs::BF16 => Dtype::Bf16,
        Theirs::F32 => Dtype::F32,
        Theirs::F64 => Dtype::F64,
        _ => return None,
    })
}
