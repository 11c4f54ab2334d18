//! Compares what a file holds with what an architecture needs.

use crate::{Array, Dtype, Weights};

/// Batch normalisation counts batches under this name, which nothing that only answers needs.
const COUNTER: &str = "num_batches_tracked";

/// The first tensor that differs from what the architecture needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The file does not have it.
    #[error("the architecture needs {name:?} {shape:?}, which the file does not have{}{}", others(*missing, "nor"), instead(unexpected.as_deref()))]
    Missing {
        /// The tensor.
        name: String,
        /// The shape that it should have.
        shape: Vec<usize>,
        /// How many are missing with it.
        missing: usize,
        /// A tensor of the file that the architecture has no place for.
        unexpected: Option<String>,
    },
    /// The last layer tells another number of classes apart.
    #[error("{name:?} is {found:?} in the file: a model of {} classes, where {} are expected", found[0], expected[0])]
    Classes {
        /// The tensor.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that it should have.
        expected: Vec<usize>,
    },
    /// It has another shape.
    #[error("{name:?} is {found:?} in the file, the architecture needs {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that it should have.
        expected: Vec<usize>,
    },
    /// It holds integers.
    #[error("{name:?} holds {dtype} values in the file, the architecture needs fractions")]
    Integers {
        /// The tensor.
        name: String,
        /// The type in the file.
        dtype: Dtype,
    },
    /// The architecture has no place for it.
    #[error("the file has {name:?} {shape:?}, for which the architecture has no place{}", others(*extra, "nor for"))]
    Extra {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// How many are too many.
        extra: usize,
    },
}

fn others(count: usize, nor: &str) -> String {
    if count > 1 { format!(", {nor} {} more", count - 1) } else { String::new() }
}

fn instead(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("; it has {name:?} instead"))
}

impl Weights {
    /// Checks that these are the tensors of an architecture: names and shapes of all its parameters and buffers, in
    /// the order of its layers. `num_batches_tracked` may be in either, or in none.
    ///
    /// # Errors
    /// Names the first tensor that differs, in the order of `expected`; then those that are too many.
    pub fn expect<N: AsRef<str>, S: AsRef<[usize]>>(&self, expected: &[(N, S)]) -> Result<(), Mismatch> {
        let expected: Vec<(&str, &[usize])> =
            expected.iter().map(|(name, shape)| (name.as_ref(), shape.as_ref())).collect();
        let needed = || expected.iter().filter(|(name, _)| !is_counter(name));
        let last = needed().next_back().map_or("", |(name, _)| layer(name));
        for (name, shape) in needed() {
            match self.get(name) {
                Some(array) => same(name, array, shape, layer(name) == last)?,
                None => return Err(self.missing(&expected, name, shape)),
            }
        }
        let extra = self.extra(&expected);
        let Some((name, array)) = extra.first() else { return Ok(()) };
        let (name, shape) = ((*name).to_owned(), array.shape().to_vec());
        Err(Mismatch::Extra { name, shape, extra: extra.len() })
    }

    fn missing(&self, expected: &[(&str, &[usize])], name: &str, shape: &[usize]) -> Mismatch {
        let missing = expected.iter().filter(|(name, _)| !is_counter(name) && self.get(name).is_none());
        let unexpected = self.extra(expected).first().map(|(name, _)| (*name).to_owned());
        let (name, shape) = (name.to_owned(), shape.to_vec());
        Mismatch::Missing { name, shape, missing: missing.count(), unexpected }
    }

    /// Tensors that are not expected, by name.
    fn extra(&self, expected: &[(&str, &[usize])]) -> Vec<(&str, &Array)> {
        let known: std::collections::HashSet<&str> = expected.iter().map(|(name, _)| *name).collect();
        self.iter().filter(|(name, _)| !known.contains(name) && !is_counter(name)).collect()
    }
}

fn same(name: &str, array: &Array, shape: &[usize], last: bool) -> Result<(), Mismatch> {
    let name = name.to_owned();
    if array.shape() == shape {
        let dtype = array.dtype();
        return if dtype.is_float() { Ok(()) } else { Err(Mismatch::Integers { name, dtype }) };
    }
    let (found, expected) = (array.shape().to_vec(), shape.to_vec());
    let classes = last && found.len() == expected.len() && found.get(1..) == expected.get(1..);
    Err(if classes {
        Mismatch::Classes { name, found, expected }
    } else {
        Mismatch::Shape { name, found, expected }
    })
}

fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some(COUNTER)
}

/// The name without that of the parameter.
fn layer(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(layer, _)| layer)
}
