//! Why an artefact is not fetched.

use std::io;
use std::path::PathBuf;

use crate::archive::ArchiveError;
use crate::digest::DigestError;
use crate::names::{self, NameError};

/// Why an artefact is not fetched. No text holds a credential: what servers and libraries say was cleaned of them.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Unencrypted, and nobody could tell whether it was changed on the way.
    #[error("{0}: what comes over plain http:// is only taken with a sha256")]
    Open(String),
    /// The store cannot be asked: a variable is missing or wrong.
    #[error("{uri}: {reason}")]
    Settings {
        /// The address.
        uri: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// It is not there.
    #[error(
        "{at} is not there; an artefact holds {} and {} and one of {}",
        names::METADATA,
        names::REFERENCE,
        names::MODELS.join(", ")
    )]
    Missing {
        /// What was looked for.
        at: String,
    },
    /// Whoever holds it does not give it.
    #[error("{at} is not given: {reason}")]
    Refused {
        /// What was asked for.
        at: String,
        /// Why.
        reason: String,
    },
    /// It could not be had in time, or not at all now.
    #[error("{at} could not be had, after {tries} tries: {reason}")]
    GaveUp {
        /// What was asked for.
        at: String,
        /// How often it was asked for.
        tries: u32,
        /// The last failure.
        reason: String,
    },
    /// A file is called what no file of an artefact may be called.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Too much.
    #[error("{uri} holds {found} bytes or more, allowed: {limit}")]
    Bytes {
        /// The address.
        uri: String,
        /// As far as it was looked at.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Too many.
    #[error("{uri} holds more than {limit} files: is this an artefact?")]
    Files {
        /// The address.
        uri: String,
        /// The limit.
        limit: usize,
    },
    /// The archive is not taken.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What came has no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// What came is something else.
    #[error("the artefact's sha256 is {found}, asked for: {asked}{}", if *.web {
        "; of a folder over http(s) only the known names are fetched, and an artefact with other files needs an archive"
    } else {
        ""
    })]
    Mismatch {
        /// Digest of what came (I5).
        found: String,
        /// The digest that was asked for.
        asked: String,
        /// Whether it is a folder that could not be listed.
        web: bool,
    },
    /// Something else is where the artefact is to be.
    #[error("{} is there already, {found}; --replace puts the artefact in its place", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// Another fetch is at work.
    #[error("{}: another fetch to it is at work", path.display())]
    Busy {
        /// The folder that it is to go to.
        path: PathBuf,
    },
    /// The folder cannot be written or read.
    #[error("{}: {source}", path.display())]
    Disk {
        /// What was written or read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl FetchError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::GaveUp { .. } | Self::Busy { .. } | Self::Disk { .. })
    }

    pub(crate) fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { path, source }
    }
}
