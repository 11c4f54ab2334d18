//! Labelled images in CIFAR-10's binary format: per image one label byte and 3,072 pixel bytes (32x32,
//! planar RGB). CIFAR-10's own files and the ones that `data digits` writes are read alike.

use std::io;
use std::path::{Path, PathBuf};

use image::RgbImage;
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use sha2::{Digest as _, Sha256};

/// Width and height of every image, in pixels.
pub const SIDE: u32 = 32;
const PLANE: usize = (SIDE * SIDE) as usize;
const RECORD: usize = 1 + 3 * PLANE;

/// One labelled image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Index of the class.
    pub label: u8,
    /// 32x32 pixels.
    pub image: RgbImage,
}

/// Labelled images and the names of their classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Class names by label.
    pub classes: Vec<String>,
    /// The images.
    pub samples: Vec<Sample>,
}

/// Why a data set cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// None of the names that a file may have is there.
    #[error("{} has no {names}; `model-server data digits` writes a data set, or unpack CIFAR-10's binary version",
        directory.display())]
    Missing {
        /// The directory.
        directory: PathBuf,
        /// Names that were looked for.
        names: &'static str,
    },
    /// Both data sets in one directory.
    #[error("{} has both train.bin and data_batch_*.bin: which one is meant?", directory.display())]
    Both {
        /// The directory.
        directory: PathBuf,
    },
    /// Not of this format.
    #[error("{}: {found} bytes are not a whole number of records of {RECORD} bytes (or none)", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its size.
        found: usize,
    },
    /// A label without a class.
    #[error("{}: image {index} has label {label}, but there are {classes} classes", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// Number of the image, from 0.
        index: usize,
        /// The label.
        label: u8,
        /// Number of classes.
        classes: usize,
    },
    /// The class names are wrong.
    #[error("{}: {found} class names, allowed: 2..=256", path.display())]
    Classes {
        /// The file.
        path: PathBuf,
        /// Number of names.
        found: usize,
    },
}

impl Dataset {
    /// Reads the training images of a directory: `train.bin`, or `data_batch_*.bin` in the order of names.
    ///
    /// # Errors
    /// If files are missing or not of the format.
    pub fn train(directory: &Path) -> Result<Self, DatasetError> {
        let own = directory.join("train.bin");
        let batches = batches(directory)?;
        match (own.exists(), batches.is_empty()) {
            (true, true) => Self::files(&[own]),
            (false, false) => Self::files(&batches),
            (true, false) => Err(DatasetError::Both { directory: directory.to_owned() }),
            (false, true) => {
                let names = "train.bin or data_batch_*.bin";
                Err(DatasetError::Missing { directory: directory.to_owned(), names })
            }
        }
    }

    /// Reads the test images of a directory: `test.bin` or `test_batch.bin`.
    ///
    /// # Errors
    /// As [`Dataset::train`].
    pub fn test(directory: &Path) -> Result<Self, DatasetError> {
        let files = ["test.bin", "test_batch.bin"].map(|name| directory.join(name));
        let Some(file) = files.into_iter().find(|file| file.exists()) else {
            let names = "test.bin or test_batch.bin";
            return Err(DatasetError::Missing { directory: directory.to_owned(), names });
        };
        Self::files(&[file])
    }

    /// Reads one file, with the class names that lie beside it.
    ///
    /// # Errors
    /// As [`Dataset::train`].
    pub fn file(path: &Path) -> Result<Self, DatasetError> {
        Self::files(&[path.to_owned()])
    }

    fn files(paths: &[PathBuf]) -> Result<Self, DatasetError> {
        let directory = paths[0].parent().unwrap_or(Path::new("."));
        let classes = class_names(directory)?;
        let mut samples = Vec::new();
        for path in paths {
            let bytes = read(path)?;
            if bytes.is_empty() || bytes.len() % RECORD != 0 {
                return Err(DatasetError::Length { path: path.clone(), found: bytes.len() });
            }
            for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
                let label = record[0];
                if usize::from(label) >= classes.len() {
                    let classes = classes.len();
                    return Err(DatasetError::Label { path: path.clone(), index, label, classes });
                }
                samples.push(Sample { label, image: interleave(&record[1..]) });
            }
        }
        Ok(Self { classes, samples })
    }

    /// The images in the binary format.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.samples.len() * RECORD);
        for sample in &self.samples {
            bytes.push(sample.label);
            for channel in 0..3 {
                bytes.extend(sample.image.as_raw().iter().skip(channel).step_by(3));
            }
        }
        bytes
    }

    /// sha256 of [`Dataset::to_bytes`], 64 hex digits.
    #[must_use]
    pub fn digest(&self) -> String {
        Sha256::digest(self.to_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Deals the images into `parts` groups of nearly equal size with nearly equal shares of each class.
    /// Returns the group of each image. The same seed deals the same way.
    #[must_use]
    pub fn deal(&self, parts: usize, seed: u64) -> Vec<usize> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut group = vec![0; self.samples.len()];
        // The next class goes on where the last one ended, so that no group collects all remainders.
        let mut next = 0;
        for indices in self.shuffled_by_class(&mut rng) {
            for index in indices {
                group[index] = next % parts;
                next += 1;
            }
        }
        group
    }

    /// Splits off `count` images with the classes in proportion; returns (the rest, those split off), both
    /// in random order. The same seed splits the same way.
    #[must_use]
    pub fn split(&self, count: usize, seed: u64) -> (Self, Self) {
        let mut rng = StdRng::seed_from_u64(seed);
        let by_class = self.shuffled_by_class(&mut rng);
        let quota = apportion(&by_class.iter().map(Vec::len).collect::<Vec<_>>(), count);
        let mut rest = Vec::new();
        let mut off = Vec::new();
        for (indices, quota) in by_class.iter().zip(quota) {
            let (taken, left) = indices.split_at(quota);
            off.extend_from_slice(taken);
            rest.extend_from_slice(left);
        }
        rest.shuffle(&mut rng);
        off.shuffle(&mut rng);
        let pick = |indices: &[usize]| Self {
            classes: self.classes.clone(),
            samples: indices.iter().map(|i| self.samples[*i].clone()).collect(),
        };
        (pick(&rest), pick(&off))
    }

    fn shuffled_by_class(&self, rng: &mut StdRng) -> Vec<Vec<usize>> {
        let mut by_class = vec![Vec::new(); self.classes.len()];
        for (index, sample) in self.samples.iter().enumerate() {
            by_class[usize::from(sample.label)].push(index);
        }
        for indices in &mut by_class {
            indices.shuffle(rng);
        }
        by_class
    }
}

/// Shares `count` out in proportion to `sizes` (largest remainders first, the smaller index of equals).
fn apportion(sizes: &[usize], count: usize) -> Vec<usize> {
    let total = sizes.iter().sum::<usize>().max(1);
    let mut quota: Vec<usize> = sizes.iter().map(|size| size * count / total).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(sizes[*i] * count % total));
    let missing = count.min(total) - quota.iter().sum::<usize>().min(count);
    for i in order.into_iter().take(missing) {
        quota[i] += 1;
    }
    quota
}

fn interleave(planar: &[u8]) -> RgbImage {
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let at = (y * SIDE + x) as usize;
        image::Rgb([planar[at], planar[PLANE + at], planar[2 * PLANE + at]])
    })
}

fn batches(directory: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let failed = |source| DatasetError::Read { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("data_batch_") && name.ends_with(".bin") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn class_names(directory: &Path) -> Result<Vec<String>, DatasetError> {
    let files = ["classes.txt", "batches.meta.txt"].map(|name| directory.join(name));
    let Some(path) = files.into_iter().find(|file| file.exists()) else {
        let names = "classes.txt or batches.meta.txt";
        return Err(DatasetError::Missing { directory: directory.to_owned(), names });
    };
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if !(2..=256).contains(&names.len()) {
        return Err(DatasetError::Classes { path, found: names.len() });
    }
    Ok(names)
}

fn read(path: &Path) -> Result<Vec<u8>, DatasetError> {
    std::fs::read(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
