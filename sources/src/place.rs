//! Puts a finished folder in its place: at once, or not at all.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::FetchError;
use crate::work::gone;

/// Moves the folder `from` to `to`; one that is there, if `replace`, is exchanged with it in the same step and then
/// removed. Both lie on the same file system.
pub(crate) fn place(from: &Path, to: &Path, replace: bool) -> Result<(), FetchError> {
    sync(from).map_err(FetchError::disk(from))?;
    // Somebody may have made it empty; one that is not stays.
    let _ = fs::remove_dir(to);
    let flags = if replace && to.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    renameat_with(CWD, from, CWD, to, flags).map_err(|error| FetchError::disk(to)(error.into()))?;
    if let Some(parent) = to.parent() {
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(FetchError::disk(parent))?;
    }
    gone(from).map_err(FetchError::disk(from))
}

/// Waits until the names in it are on the disk; the files are.
fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}
