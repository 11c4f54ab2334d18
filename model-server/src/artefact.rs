//! An artefact directory: a [`Model`], `metadata.json`, `reference.json` and whatever else was shipped.

use std::path::Path;

use sources::digest::{self, DigestError};
use wire::{Profile, ProfileError};

use crate::model;
use crate::{Metadata, MetadataError, Model};

pub(crate) use sources::names::{METADATA, PICTURE as PROGRESS, REFERENCE};

/// An artefact, read once: what was hashed is what is used.
#[derive(Debug)]
pub struct Artefact {
    /// Digest of the directory (I5).
    pub digest: String,
    /// What the model is.
    pub metadata: Metadata,
    /// Its reference profile, with the digest filled in.
    pub profile: Profile,
    /// What is served.
    pub model: Model,
}

/// Why a directory is not the artefact that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// It has no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A file is missing.
    #[error("{directory} has no {file}; an artefact holds a model, {METADATA} and {REFERENCE}")]
    Missing {
        /// The directory.
        directory: String,
        /// The file, or those of which one is needed.
        file: String,
    },
    /// Nobody can say which of them is the model.
    #[error("{directory} holds {}: keep the one that is to be served", files.join(" and "))]
    Several {
        /// The directory.
        directory: String,
        /// Those that could be it.
        files: Vec<&'static str>,
    },
    /// The description is wrong.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The profile is no JSON of this shape.
    #[error("{REFERENCE}: {0}")]
    ProfileJson(serde_json::Error),
    /// The profile does not add up.
    #[error("{REFERENCE}: {0}")]
    Profile(#[from] ProfileError),
    /// The profile is of another model.
    #[error("{REFERENCE}: {field} is {found}, {METADATA} says {expected}")]
    OtherModel {
        /// Name of the field.
        field: &'static str,
        /// What the profile says.
        found: String,
        /// What the description says.
        expected: String,
    },
    /// Not what was asked for.
    #[error("the artefact's {what} is {found}, asked for: {asked}")]
    Mismatch {
        /// Version or sha256.
        what: &'static str,
        /// What the artefact is.
        found: String,
        /// What was asked for.
        asked: String,
    },
}

impl Artefact {
    /// Reads a directory.
    ///
    /// # Errors
    /// If a file is missing, broken, or does not fit the others.
    pub fn read(directory: &Path) -> Result<Self, ArtefactError> {
        let wanted = [&model::FILES[..], &[METADATA, REFERENCE]].concat();
        let (digest, mut files) = digest::read(directory, &wanted)?;
        let place = || directory.display().to_string();
        let missing = |file: &str| ArtefactError::Missing { directory: place(), file: file.to_owned() };
        let mut take = |file| files.remove(file).ok_or_else(|| missing(file));
        let metadata = Metadata::parse(&take(METADATA)?)?;
        let mut profile: Profile =
            serde_json::from_slice(&take(REFERENCE)?).map_err(ArtefactError::ProfileJson)?;
        profile.check()?;
        same("version", &profile.version, &metadata.version)?;
        let classes: Vec<&str> = profile.classes.iter().map(|c| c.class.as_str()).collect();
        same("classes", &format!("{classes:?}"), &format!("{:?}", metadata.classes))?;
        profile.digest.clone_from(&digest);
        let mut models: Vec<Model> =
            model::FILES.iter().filter_map(|file| Some(Model::new(file, files.remove(*file)?))).collect();
        let model =
            models.pop().ok_or_else(|| missing("model.pt, model.safetensors, model.pth or model.onnx"))?;
        if models.is_empty() {
            return Ok(Self { digest, metadata, profile, model });
        }
        let files = models.iter().chain([&model]).map(Model::file).collect();
        Err(ArtefactError::Several { directory: place(), files })
    }

    /// Checks that it is the one that was asked for.
    ///
    /// # Errors
    /// Names both digests, or both versions.
    pub fn expect(&self, version: Option<&str>, sha256: Option<&str>) -> Result<(), ArtefactError> {
        let check = |what, found: &str, asked: Option<&str>| match asked {
            Some(asked) if asked != found => {
                let (found, asked) = (found.to_owned(), asked.to_owned());
                Err(ArtefactError::Mismatch { what, found, asked })
            }
            _ => Ok(()),
        };
        check("sha256", &self.digest, sha256)?;
        check("version", &self.metadata.version, version)
    }
}

fn same(field: &'static str, found: &str, expected: &str) -> Result<(), ArtefactError> {
    if found == expected {
        return Ok(());
    }
    Err(ArtefactError::OtherModel { field, found: found.to_owned(), expected: expected.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::model;

    #[test]
    fn what_can_be_served_can_be_fetched() {
        assert!(model::FILES.iter().all(|file| sources::names::MODELS.contains(file)));
    }
}
