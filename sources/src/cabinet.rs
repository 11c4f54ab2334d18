//! A folder that many programs write small files into at once: one of an object store, or of this machine.
//!
//! Whoever creates a file first has it, and everybody else is told so: that is all that programs need to agree by, and
//! each of these stores decides it (`If-None-Match`, a generation of 0, a hard link).

mod opened;

use bytes::Bytes;

pub use opened::open_cabinet;

/// A folder that can be written. Files are whole or not there, and small enough to be held.
#[async_trait::async_trait]
pub trait Cabinet: std::fmt::Debug + Send + Sync {
    /// Writes a file, over one that is there.
    ///
    /// # Errors
    /// [`CabinetError::Refused`] and [`CabinetError::Away`].
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), CabinetError>;

    /// Writes a file if there is none of that name. After a failure that hides whether it was written, it is tried
    /// again, so that [`CabinetError::Exists`] may mean one's own: who must know puts something of one's own into it.
    ///
    /// # Errors
    /// [`CabinetError::Exists`], [`CabinetError::Refused`] and [`CabinetError::Away`].
    async fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), CabinetError>;

    /// Reads a file of at most `most` bytes.
    ///
    /// # Errors
    /// [`CabinetError::Missing`], [`CabinetError::Large`], [`CabinetError::Refused`] and [`CabinetError::Away`].
    async fn get(&self, name: &str, most: usize) -> Result<Bytes, CabinetError>;

    /// Whether there is such a file.
    ///
    /// # Errors
    /// [`CabinetError::Refused`] and [`CabinetError::Away`].
    async fn has(&self, name: &str) -> Result<bool, CabinetError>;

    /// The first names below a folder that come behind `after`, at most `limit`, in the order of their bytes, without
    /// the folder.
    ///
    /// # Errors
    /// [`CabinetError::Refused`] and [`CabinetError::Away`].
    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<String>, CabinetError>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// [`CabinetError::Refused`] and [`CabinetError::Away`].
    async fn delete(&self, name: &str) -> Result<(), CabinetError>;
}

/// Why a file was not written or read. No text holds a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CabinetError {
    /// What people are to see would be readable on the way.
    #[error(
        "{0}: its endpoint is http://, on which everybody on the way can read the images; if that is meant, set {1}=true"
    )]
    Open(String, &'static str),
    /// The store cannot be asked: a variable is missing or wrong, or the address is none for this.
    #[error("{uri}: {reason}")]
    Settings {
        /// The address.
        uri: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// It is not there.
    #[error("{0} is not there")]
    Missing(String),
    /// It was there before.
    #[error("{0} is there already")]
    Exists(String),
    /// More bytes than whoever reads it wants.
    #[error("{at} has {found} bytes, allowed: {most}")]
    Large {
        /// The file.
        at: String,
        /// Its size.
        found: u64,
        /// The limit.
        most: usize,
    },
    /// The store does not allow it.
    #[error("{at} is refused: {reason}")]
    Refused {
        /// The file.
        at: String,
        /// Why.
        reason: String,
    },
    /// Not now.
    #[error("{at} cannot be had, after {tries} tries: {reason}")]
    Away {
        /// The file.
        at: String,
        /// How often it was tried.
        tries: u32,
        /// The last failure.
        reason: String,
    },
}

impl CabinetError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}
