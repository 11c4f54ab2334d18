//! The folder beside the one that is to be made: what came so far, and what is known of it.
//!
//! ```text
//! models/                 a volume
//!   digits/               what is to be made: it appears complete, by one rename
//!   .digits.fetch/        removed once it is there
//!     lock                held while a fetch is at work; the kernel gives it back
//!     source              the address that all of this is of
//!     notes/<hash>        of each file: size and ETag of the state that its bytes are of
//!     archive             bytes of an archive
//!     tree/…              bytes of the files, in their places
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::FetchError;
use crate::source::Item;

/// What is at work on one folder. While it lives, no other is.
#[derive(Debug)]
pub(crate) struct Work {
    folder: PathBuf,
    _lock: File,
}

/// What the bytes of a file are of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    path: String,
    size: Option<u64>,
    etag: String,
}

/// A file that grows.
#[derive(Debug)]
pub(crate) struct Part {
    path: PathBuf,
    file: File,
    /// Bytes that are there.
    pub(crate) length: u64,
}

impl Work {
    /// Takes up the work for the folder `to`, or begins it. What was left by a fetch from another address is removed.
    pub(crate) fn open(to: &Path, source: &str) -> Result<Self, FetchError> {
        let folder = beside(to);
        fs::create_dir_all(&folder).map_err(FetchError::disk(&folder))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(FetchError::disk(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FetchError::Busy { path: to.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(FetchError::disk(path)(error)),
        }
        let work = Self { folder, _lock: lock };
        let of = work.folder.join("source");
        if fs::read(&of).ok().as_deref() != Some(source.as_bytes()) {
            work.clear()?;
            fs::write(&of, source).map_err(FetchError::disk(&of))?;
        }
        for made in [work.tree(), work.folder.join("notes")] {
            fs::create_dir_all(&made).map_err(FetchError::disk(&made))?;
        }
        Ok(work)
    }

    /// Where the files are put together.
    pub(crate) fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Where the bytes of an archive are.
    pub(crate) fn archive(&self) -> PathBuf {
        self.folder.join("archive")
    }

    /// Empties the tree.
    pub(crate) fn uproot(&self) -> Result<(), FetchError> {
        let tree = self.tree();
        gone(&tree).and_then(|()| fs::create_dir_all(&tree)).map_err(FetchError::disk(&tree))
    }

    /// Forgets all bytes: they are not what was asked for.
    pub(crate) fn clear(&self) -> Result<(), FetchError> {
        for path in [self.tree(), self.folder.join("notes"), self.archive(), self.folder.join("source")] {
            gone(&path).map_err(FetchError::disk(path))?;
        }
        Ok(())
    }

    /// Removes the folder.
    pub(crate) fn end(self) -> Result<(), FetchError> {
        gone(&self.folder).map_err(FetchError::disk(&self.folder))
    }

    /// Removes from the tree what is not among these: files of an earlier state of the source.
    pub(crate) fn keep(&self, items: &[Item]) -> Result<(), FetchError> {
        let paths: BTreeSet<PathBuf> = items.iter().map(|item| self.place(&item.path)).collect();
        let tree = self.tree();
        prune(&tree, &paths).map_err(FetchError::disk(&tree))
    }

    /// The bytes of a file that are there already, if they are of this state of it; else none.
    pub(crate) fn part(&self, item: &Item) -> Result<Part, FetchError> {
        let path = self.place(&item.path);
        let note_path = self.folder.join("notes").join(hash(&item.path));
        let note = item.etag.as_ref().map(|etag| Note {
            path: item.path.clone(),
            size: item.size,
            etag: etag.clone(),
        });
        let stored = fs::read(&note_path).ok().and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
        let goes_on = note.is_some() && stored == note;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(FetchError::disk(folder))?;
        }
        let open = OpenOptions::new().append(true).create(true).open(&path);
        let file = open.map_err(FetchError::disk(&path))?;
        let mut part = Part { path, file, length: 0 };
        if goes_on {
            part.length = part.file.metadata().map_err(FetchError::disk(&part.path))?.len();
            if item.size.is_none_or(|size| part.length <= size) {
                return Ok(part);
            }
        }
        // The bytes go first: a note without them is right, the other way round is not.
        part.restart()?;
        match note {
            Some(note) => {
                let json = serde_json::to_vec(&note).expect("strings and numbers are JSON");
                fs::write(&note_path, json).map_err(FetchError::disk(&note_path))?;
            }
            None => gone(&note_path).map_err(FetchError::disk(&note_path))?,
        }
        Ok(part)
    }

    fn place(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.archive() } else { self.tree().join(path) }
    }
}

impl Part {
    /// Adds bytes. Written here and now: they go to the page cache.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(bytes).map_err(FetchError::disk(&self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Begins anew.
    pub(crate) fn restart(&mut self) -> Result<(), FetchError> {
        self.length = 0;
        self.file.set_len(0).map_err(FetchError::disk(&self.path))
    }

    /// Waits until it is on the disk.
    pub(crate) async fn finish(self) -> Result<(), FetchError> {
        let Self { path, file, .. } = self;
        let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
        synced.map_err(io::Error::other).flatten().map_err(FetchError::disk(path))
    }
}

/// The folder in which the work for another is done: on the same file system, and with a name that no artefact has.
pub(crate) fn beside(to: &Path) -> PathBuf {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    to.with_file_name(format!(".{name}.fetch"))
}

/// Removes whatever it is.
pub(crate) fn gone(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn prune(folder: &Path, keep: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            prune(&path, keep)?;
            if fs::read_dir(&path)?.next().is_none() {
                fs::remove_dir(&path)?;
            }
        } else if !keep.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn hash(path: &str) -> String {
    Sha256::digest(path.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
