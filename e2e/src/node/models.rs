//! The three versions of the demo, and what each of them answers offline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::cluster::capture;
use crate::repository;

/// A trained version.
#[derive(Debug, Clone)]
pub struct Version {
    /// Semantic version.
    pub version: String,
    /// Accuracy on the images that the client sends, offline, 0..=1.
    pub accuracy: f64,
    /// Digest of its artefact.
    pub digest: String,
    /// File of what it answers to each image offline, as `evaluate --predictions` writes it.
    pub predictions: PathBuf,
}

/// What `hack/models` made.
#[derive(Debug, Clone)]
pub struct Models {
    /// The folder that pods mount.
    pub folder: PathBuf,
    /// Folder of the images that the client sends; in no training set and no profile.
    pub images: PathBuf,
    /// 1.0.0, 1.1.0 and 1.2.0.
    pub versions: Vec<Version>,
}

impl Models {
    /// Trains what is missing and asks every version for its answers offline, through the program that serves.
    ///
    /// # Errors
    /// When a program fails, with its words.
    pub fn prepare() -> Result<Self> {
        let folder = PathBuf::from(capture(&mut Command::new(repository().join("hack/models")))?.trim());
        let table =
            std::fs::read_to_string(folder.join("digits.tsv")).context("hack/models wrote no table")?;
        let versions = table.lines().map(|line| Version::read(&folder, line)).collect::<Result<Vec<_>>>()?;
        ensure!(versions.len() == 3, "hack/models made {} versions, the demo needs 3", versions.len());
        Ok(Self { images: folder.join("digits-images"), folder, versions })
    }

    /// 1.0.0.
    #[must_use]
    pub fn first(&self) -> &Version {
        &self.versions[0]
    }

    /// 1.1.0.
    #[must_use]
    pub fn better(&self) -> &Version {
        &self.versions[1]
    }

    /// 1.2.0, whose preprocessing does not fit its training.
    #[must_use]
    pub fn bad(&self) -> &Version {
        &self.versions[2]
    }

    /// Offline answers per version, for the client to check every answer against.
    #[must_use]
    pub fn predictions(&self) -> BTreeMap<String, PathBuf> {
        self.versions.iter().map(|v| (v.version.clone(), v.predictions.clone())).collect()
    }

    /// The volume of the examples, at the folder of this machine.
    #[must_use]
    pub fn volume(&self) -> String {
        let example = include_str!("../../../examples/models-volume.yaml");
        example.replace("/root/.cache/sluice/models", &self.folder.to_string_lossy())
    }
}

impl Version {
    fn read(folder: &Path, line: &str) -> Result<Self> {
        let columns: Vec<&str> = line.split('\t').collect();
        let [version, accuracy, digest, ..] = columns[..] else { bail!("digits.tsv: {line:?}") };
        let target =
            std::env::var("CARGO_TARGET_DIR").map_or_else(|_| repository().join("target"), PathBuf::from);
        // Beside the models, not among them: pods mount the folder.
        let predictions = folder.with_file_name(format!("answers-{version}.json"));
        capture(
            Command::new(target.join("release/model-server"))
                .args(["evaluate", "--json", "--model"])
                .arg(folder.join("digits").join(version))
                .arg("--data")
                .arg(folder.join("digits-data/test.bin"))
                .arg("--predictions")
                .arg(&predictions),
        )?;
        Ok(Self {
            version: version.into(),
            accuracy: accuracy.parse().with_context(|| format!("digits.tsv: accuracy {accuracy:?}"))?,
            digest: digest.into(),
            predictions,
        })
    }
}
