//! Unpacks an archive that anyone may have written.
//!
//! Entries are read one by one, extensions of names too: a library that gathers those by itself would hold whatever
//! size they claim in memory. Only files and folders are taken, everything else is refused, not left out: an artefact
//! without a part of it is another one. Permissions, owners and times are not taken over.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{EntryType, PaxExtensions};

use crate::Limits;
use crate::names::{self, NameError};
use crate::uri::Archive;

/// Bytes of one extension of a name or of attributes, and of all of them.
const EXTENSION: u64 = 64 << 10;
const EXTENSIONS: u64 = 4 << 20;
/// Bytes behind the end of the archive: programs fill their last block.
const BEHIND: u64 = 1 << 20;

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is broken, or none.
    #[error("the archive cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It cannot be unpacked here.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file has a name that none may have.
    #[error("the archive: {0}")]
    Name(#[from] NameError),
    /// A name that is no text.
    #[error("the archive: a name is not UTF-8")]
    NotText,
    /// Something that an artefact does not hold.
    #[error("the archive holds {name:?}, {kind}; allowed: files and folders")]
    Kind {
        /// Its name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// The same name again.
    #[error("the archive holds {0:?} twice")]
    Twice(String),
    /// A file that ends too early.
    #[error("the archive ends within {0:?}")]
    Cut(String),
    /// More than is allowed.
    #[error("the archive holds more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A way to describe files that is not known here.
    #[error("the archive describes {name:?} by {key:?}, which is not taken")]
    Attribute {
        /// Of what.
        name: String,
        /// The attribute.
        key: String,
    },
}

/// What the entries before one said of it.
#[derive(Default)]
struct Said {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Unpacks an archive into an empty folder.
///
/// # Errors
/// If it is broken, holds anything but files and folders within it, or more than the limits allow. What was unpacked
/// until then stays there.
pub fn unpack(archive: &Path, kind: Archive, into: &Path, limits: &Limits) -> Result<(), ArchiveError> {
    let file = File::open(archive).map_err(ArchiveError::Read)?;
    match kind {
        Archive::Tar => read(file, into, limits),
        Archive::TarGz => read(MultiGzDecoder::new(io::BufReader::new(file)), into, limits),
    }
}

fn read(from: impl Read, into: &Path, limits: &Limits) -> Result<(), ArchiveError> {
    let mut archive = tar::Archive::new(from);
    let (mut said, mut extensions) = (Said::default(), 0);
    let (mut files, mut folders, mut bytes) = (0, 0, 0_u64);
    for entry in archive.entries().map_err(ArchiveError::Read)?.raw(true) {
        let mut entry = entry.map_err(ArchiveError::Read)?;
        let size = entry.header().entry_size().map_err(ArchiveError::Read)?;
        match entry.header().entry_type() {
            kind @ (EntryType::GNULongName | EntryType::XHeader | EntryType::XGlobalHeader) => {
                extensions += size;
                if size > EXTENSION || extensions > EXTENSIONS {
                    return Err(ArchiveError::TooMuch { what: "bytes of names", limit: EXTENSIONS });
                }
                extend(&mut said, kind, &mut entry)?;
            }
            EntryType::Regular => {
                let name = name(&entry, std::mem::take(&mut said), size)?.ok_or(ArchiveError::NotText)?;
                files += 1;
                bytes = bytes.saturating_add(size);
                limits_of(files, bytes, limits)?;
                write(&mut entry, size, &into.join(&name), &name)?;
            }
            EntryType::Directory => {
                folders += 1;
                limits_of(folders, bytes.saturating_add(size), limits)?;
                if let Some(name) = name(&entry, std::mem::take(&mut said), size)? {
                    let path = into.join(name);
                    std::fs::create_dir_all(&path).map_err(|source| ArchiveError::Write { path, source })?;
                }
            }
            other => {
                let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                return Err(ArchiveError::Kind { name, kind: called(other) });
            }
        }
    }
    rest(archive.into_inner())
}

fn limits_of(count: usize, bytes: u64, limits: &Limits) -> Result<(), ArchiveError> {
    if count > limits.files {
        return Err(ArchiveError::TooMuch { what: "files or folders", limit: limits.files as u64 });
    }
    if bytes > limits.bytes {
        return Err(ArchiveError::TooMuch { what: "bytes", limit: limits.bytes });
    }
    Ok(())
}

/// What comes behind the end: reading it lets a decompressor find out whether all of it was right.
fn rest(mut from: impl Read) -> Result<(), ArchiveError> {
    let behind =
        io::copy(&mut from.by_ref().take(BEHIND + 1), &mut io::sink()).map_err(ArchiveError::Read)?;
    if behind > BEHIND {
        return Err(ArchiveError::TooMuch { what: "bytes behind its end", limit: BEHIND });
    }
    Ok(())
}

/// Reads an entry that describes the next one.
fn extend(said: &mut Said, kind: EntryType, entry: &mut impl Read) -> Result<(), ArchiveError> {
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
    if kind == EntryType::GNULongName {
        bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        said.name = Some(bytes);
        return Ok(());
    }
    for attribute in PaxExtensions::new(&bytes) {
        let attribute = attribute.map_err(ArchiveError::Read)?;
        let key = String::from_utf8_lossy(attribute.key_bytes()).into_owned();
        let value = attribute.value_bytes();
        match key.as_str() {
            "path" if kind == EntryType::XHeader => said.name = Some(value.to_vec()),
            "size" if kind == EntryType::XHeader => {
                let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                said.size = Some(size.ok_or_else(|| attribute_of(said, &key))?);
            }
            "path" | "size" => return Err(attribute_of(said, &key)),
            // A file with holes: its bytes here are not its content.
            _ if key.starts_with("GNU.sparse.") => return Err(attribute_of(said, &key)),
            // Times, owners, comments.
            _ => {}
        }
    }
    Ok(())
}

fn attribute_of(said: &Said, key: &str) -> ArchiveError {
    let name = said.name.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
    ArchiveError::Attribute { name, key: key.to_owned() }
}

/// The checked name of an entry; none for the folder that all is in.
fn name<R: Read>(entry: &tar::Entry<'_, R>, said: Said, size: u64) -> Result<Option<String>, ArchiveError> {
    // Only files of 8 GiB and more need it; where both differ, programs disagree on where the next entry begins.
    if said.size.is_some_and(|said| said != size) {
        return Err(attribute_of(&said, "size"));
    }
    let bytes = said.name.unwrap_or_else(|| entry.path_bytes().into_owned());
    let text = String::from_utf8(bytes).map_err(|_| ArchiveError::NotText)?;
    let mut name = text.as_str();
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    let is_folder = entry.header().entry_type() == EntryType::Directory;
    let name = if is_folder { name.trim_end_matches('/') } else { name };
    if is_folder && (name.is_empty() || name == ".") && !text.starts_with('/') {
        return Ok(None);
    }
    names::check(name)?;
    Ok(Some(name.to_owned()))
}

fn write(entry: &mut impl Read, size: u64, path: &Path, name: &str) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(ArchiveError::Twice(name.to_owned()));
        }
        made => made.map_err(failed)?,
    };
    let mut buffer = vec![0; 64 << 10];
    let mut written = 0;
    loop {
        let n = entry.read(&mut buffer).map_err(ArchiveError::Read)?;
        if n == 0 {
            break;
        }
        file.write_all(&buffer[..n]).map_err(failed)?;
        written += n as u64;
    }
    if written != size {
        return Err(ArchiveError::Cut(name.to_owned()));
    }
    file.sync_all().map_err(failed)
}

fn called(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "a hard link",
        EntryType::Symlink | EntryType::GNULongLink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        EntryType::GNUSparse => "a file with holes",
        _ => "an entry of another kind",
    }
}

#[cfg(test)]
mod tests;
