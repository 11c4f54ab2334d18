//! A folder of this machine, as a source like the others: copied within the same limits.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::digest;
use crate::names;
use crate::{FetchError, Limits, Tally};

/// Copies an artefact; returns its bytes.
pub(crate) fn copy(
    from: &Path,
    into: &Path,
    uri: &str,
    limits: &Limits,
    tell: &(dyn Fn(Tally) + Sync),
) -> Result<u64, FetchError> {
    if !from.join(names::METADATA).is_file() {
        return Err(FetchError::Missing { at: format!("{uri}/{}", names::METADATA) });
    }
    let files = digest::files(from)?;
    if files.len() > limits.files {
        return Err(FetchError::Files { uri: uri.to_owned(), limit: limits.files });
    }
    let mut bytes = 0;
    for (n, file) in files.iter().enumerate() {
        names::check(&file.to_string_lossy())?;
        let (from, to) = (from.join(file), into.join(file));
        let room = limits.bytes - bytes;
        let copied = one(&from, &to, room).map_err(FetchError::disk(&from))?;
        bytes += copied;
        if copied > room {
            return Err(FetchError::Bytes { uri: uri.to_owned(), found: bytes, limit: limits.bytes });
        }
        tell(Tally { files: n + 1, of_files: files.len(), bytes, of_bytes: bytes });
    }
    Ok(bytes)
}

/// Copies a file, and not more than one byte beyond `room`.
fn one(from: &Path, to: &Path, room: u64) -> io::Result<u64> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create(to)?;
    let copied = io::copy(&mut File::open(from)?.take(room.saturating_add(1)), &mut file)?;
    file.sync_all()?;
    Ok(copied)
}
