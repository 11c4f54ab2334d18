//! The `data` commands: a data set from the digits, and images as clients send them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, DatasetError};
use crate::digits::{self, DigitsError};

/// Images that clients send: in neither training nor reference profile.
const TEST_IMAGES: usize = 360;

/// Why data cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The digits are wrong.
    #[error(transparent)]
    Digits(#[from] DigitsError),
    /// The data set is wrong.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Something cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// An image cannot be encoded.
    #[error("{}: {source}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: image::ImageError,
    },
}

/// Writes `train.bin`, `test.bin` and `classes.txt` from scikit-learn's digits; returns how many images
/// went into each.
///
/// # Errors
/// If the file is not the digits, or `out` cannot be written.
pub fn digits(csv: &Path, out: &Path, seed: u64) -> Result<(usize, usize), DataError> {
    let all = digits::read(csv)?;
    let (train, test) = all.split(TEST_IMAGES, seed);
    let classes: String = all.classes.iter().map(|class| format!("{class}\n")).collect();
    write(&out.join("classes.txt"), classes.as_bytes())?;
    write(&out.join("test.bin"), &test.to_bytes())?;
    write(&out.join("train.bin"), &train.to_bytes())?;
    Ok((train.samples.len(), test.samples.len()))
}

/// Writes each image of a data file as `00000-<class>.png`, and `labels.json`: file name to class name.
/// Returns how many.
///
/// # Errors
/// If the file cannot be read or `out` not be written.
pub fn images(data: &Path, out: &Path) -> Result<usize, DataError> {
    let dataset = Dataset::file(data)?;
    let mut labels = BTreeMap::new();
    std::fs::create_dir_all(out).map_err(|source| DataError::Write { path: out.to_owned(), source })?;
    for (index, sample) in dataset.samples.iter().enumerate() {
        let class = &dataset.classes[usize::from(sample.label)];
        // A class may be called anything; a file may not.
        let safe: String = class.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = format!("{index:05}-{safe}.png");
        let path = out.join(&name);
        sample.image.save(&path).map_err(|source| DataError::Encode { path, source })?;
        labels.insert(name, class);
    }
    let json = serde_json::to_vec_pretty(&labels).expect("strings are JSON");
    write(&out.join("labels.json"), &json)?;
    Ok(labels.len())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let failed = |source| DataError::Write { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::write(path, bytes).map_err(failed)
}
