use std::fmt::{self, Display};

use half::{bf16, f16};

/// Type of the values of an [`Array`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// Integer of 2 bytes.
    I16,
    /// Integer of 4 bytes.
    I32,
    /// Integer of 8 bytes.
    I64,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an [`F32`](Self::F32).
    Bf16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
}

impl Dtype {
    /// Bytes of one value.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether it holds fractions, as every trained parameter does.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// As safetensors spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::I16 => "I16",
            Self::I32 => "I32",
            Self::I64 => "I64",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
        }
    }
}

impl Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A tensor: values in row-major order, without gaps, little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Array {
    /// `data` has as many bytes as `shape` and `dtype` say.
    pub(crate) fn new(dtype: Dtype, shape: Vec<usize>, data: Vec<u8>) -> Self {
        debug_assert_eq!(elements(&shape).and_then(|n| n.checked_mul(dtype.size())), Some(data.len()));
        Self { dtype, shape, data }
    }

    /// Type of the values.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Length of each dimension, the outermost first; empty for a single value.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values as bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The values as `f32`: rounded to the nearest if they have more digits, infinite if they are too large. A bool
    /// is 0 or 1.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "that is the rounding"
        )]
        match self.dtype {
            Dtype::Bool => self.values(|[b]: [u8; 1]| f32::from(u8::from(b != 0))),
            Dtype::U8 => self.values(|[b]: [u8; 1]| f32::from(b)),
            Dtype::I8 => self.values(|b| f32::from(i8::from_le_bytes(b))),
            Dtype::I16 => self.values(|b| f32::from(i16::from_le_bytes(b))),
            Dtype::I32 => self.values(|b| i32::from_le_bytes(b) as f32),
            Dtype::I64 => self.values(|b| i64::from_le_bytes(b) as f32),
            Dtype::F16 => self.values(|b| f16::from_le_bytes(b).to_f32()),
            Dtype::Bf16 => self.values(|b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F32 => self.values(f32::from_le_bytes),
            Dtype::F64 => self.values(|b| f64::from_le_bytes(b) as f32),
        }
    }

    fn values<const N: usize>(&self, value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        self.data.as_chunks().0.iter().map(|bytes| value(*bytes)).collect()
    }
}

/// Values of a tensor of this shape; `None` if nothing could count them.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |n, length| n.checked_mul(*length))
}
