//! Views of storages, made contiguous.

#[cfg(test)]
mod tests;

use crate::array::elements;
use crate::{Array, Dtype};

/// Dimensions of a tensor. Images of CNNs have 4, videos 5.
pub(crate) const RANK: usize = 8;

/// A tensor as `torch.save` describes it: value `(i, j, …)` is at `offset + i * stride[0] + j * stride[1] + …` of a
/// storage. All of it comes from the file, and nothing is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) dtype: Dtype,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    /// As many as in `shape`.
    pub(crate) stride: Vec<usize>,
}

impl View {
    /// Bytes of the values; `None` if nothing could hold them.
    pub(crate) fn bytes(&self) -> Option<usize> {
        elements(&self.shape)?.checked_mul(self.dtype.size())
    }

    /// The values in row-major order, or `None` if one of them is outside the storage. Takes [`bytes`](Self::bytes).
    pub(crate) fn contiguous(&self, storage: &[u8]) -> Option<Array> {
        let size = self.dtype.size();
        let bytes = self.bytes()?;
        let array = |data| Array::new(self.dtype, self.shape.clone(), data);
        if bytes == 0 {
            return Some(array(Vec::new()));
        }
        if self.last()? >= storage.len() / size {
            return None;
        }
        if self.is_contiguous() {
            let start = self.offset * size;
            return Some(array(storage[start..start + bytes].to_vec()));
        }
        Some(array(self.gather(storage, bytes)))
    }

    /// The index of the value that is furthest in. All strides are positive, so none is beyond.
    fn last(&self) -> Option<usize> {
        self.shape.iter().zip(&self.stride).try_fold(self.offset, |last, (length, stride)| {
            last.checked_add((length - 1).checked_mul(*stride)?)
        })
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.stride).rev().all(|(length, stride)| {
            let fits = *length == 1 || *stride == expected;
            expected *= length;
            fits
        })
    }

    /// Every index is within the storage, so that no sum overflows.
    fn gather(&self, storage: &[u8], bytes: usize) -> Vec<u8> {
        let size = self.dtype.size();
        let mut data = Vec::with_capacity(bytes);
        let mut index = vec![0; self.shape.len()];
        let mut at = self.offset;
        loop {
            data.extend_from_slice(&storage[at * size..(at + 1) * size]);
            // Counts up like an odometer, the last dimension first.
            let mut dimension = self.shape.len();
            loop {
                if dimension == 0 {
                    return data;
                }
                dimension -= 1;
                index[dimension] += 1;
                if index[dimension] < self.shape[dimension] {
                    at += self.stride[dimension];
                    break;
                }
                at -= (self.shape[dimension] - 1) * self.stride[dimension];
                index[dimension] = 0;
            }
        }
    }
}
