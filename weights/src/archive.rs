//! The zip archive of `torch.save` since 1.6: `data.pkl` describes the tensors, `data/<key>` are the storages, all
//! stored without compression.

use std::collections::HashMap;
use std::io::{self, Cursor};

use memchr::memmem;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::pickle::Storage;
use crate::{Limits, ReadError};

/// How an archive begins.
pub(crate) const START: &[u8] = b"PK\x03\x04";
/// How each entry of the directory begins.
const ENTRY: &[u8] = b"PK\x01\x02";

pub(crate) struct Archive<'a> {
    bytes: &'a [u8],
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// The one directory that everything is in, by `torch.save` the name of the file.
    prefix: String,
    /// Entries that were checked, by index: many tensors can be views of one.
    checked: HashMap<usize, &'a [u8]>,
}

impl<'a> Archive<'a> {
    pub(crate) fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, ReadError> {
        // Before the library makes an object of each: values that happen to look like an entry are counted too.
        let entries = memmem::find_iter(bytes, ENTRY).take(limits.entries.saturating_add(1)).count();
        Limits::check("entries of the archive", entries, limits.entries)?;
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let mut zip = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(broken)?;
        if zip.has_duplicate_names() || zip.has_overlapping_entries().map_err(broken)? {
            return Err(ReadError::Archive("entries overlap, or a name comes twice".to_owned()));
        }
        let prefix = prefix(&zip)?;
        let mut archive = Self { bytes, zip, prefix, checked: HashMap::new() };
        if archive.has("byteorder") && archive.entry("byteorder")?.trim_ascii() != b"little" {
            return Err(ReadError::BigEndian);
        }
        Ok(archive)
    }

    /// The description.
    pub(crate) fn pickle(&mut self) -> Result<&'a [u8], ReadError> {
        self.entry("data.pkl")
    }

    /// The bytes of a storage.
    pub(crate) fn storage(&mut self, storage: &Storage<'_>) -> Result<&'a [u8], ReadError> {
        let name = format!("data/{}", storage.key);
        let bytes = self.entry(&name)?;
        if storage.bytes() != Some(bytes.len()) {
            let Storage { elements, dtype, .. } = storage;
            let reason = format!("{name:?} has {} bytes, not {elements} values of {dtype}", bytes.len());
            return Err(ReadError::Archive(reason));
        }
        Ok(bytes)
    }

    fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(&format!("{}/{name}", self.prefix)).is_some()
    }

    /// A part of the file, whose checksum is right.
    fn entry(&mut self, name: &str) -> Result<&'a [u8], ReadError> {
        let missing = || ReadError::Archive(format!("it has no {name:?}"));
        let index = self.zip.index_for_name(&format!("{}/{name}", self.prefix)).ok_or_else(missing)?;
        if let Some(bytes) = self.checked.get(&index) {
            return Ok(bytes);
        }
        let bytes = self.place(index, name)?;
        let mut values = self.zip.by_index(index).map_err(broken)?;
        io::copy(&mut values, &mut io::sink()).map_err(|e| ReadError::Archive(format!("{name:?}: {e}")))?;
        self.checked.insert(index, bytes);
        Ok(bytes)
    }

    /// Where an entry is, without looking at it.
    fn place(&mut self, index: usize, name: &str) -> Result<&'a [u8], ReadError> {
        let entry = self.zip.by_index_raw(index).map_err(broken)?;
        let stored =
            entry.compression() == CompressionMethod::Stored && entry.size() == entry.compressed_size();
        if !stored || entry.encrypted() {
            let reason = "is compressed or encrypted, torch.save writes neither: unpack it and save again";
            return Err(ReadError::Archive(format!("{name:?} {reason}")));
        }
        let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
        let length = usize::try_from(entry.size()).ok();
        let bytes = start.zip(length).and_then(|(start, length)| self.bytes.get(start..)?.get(..length));
        bytes.ok_or_else(|| ReadError::Archive(format!("{name:?} is beyond the end")))
    }
}

/// The directory that `data.pkl` is in, unless a program is there too.
fn prefix(zip: &ZipArchive<Cursor<&[u8]>>) -> Result<String, ReadError> {
    let names: Vec<_> = zip.file_names().filter_map(Result::ok).collect();
    let mut pickles = names.iter().filter_map(|name| name.strip_suffix("/data.pkl"));
    let Some(prefix) = pickles.find(|prefix| !prefix.contains('/')) else {
        return Err(ReadError::Archive("it has no data.pkl".to_owned()));
    };
    let program = |name: &str| {
        let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| rest == "constants.pkl" || rest.starts_with("code/"))
    };
    if names.iter().any(|name| program(name)) { Err(ReadError::TorchScript) } else { Ok(prefix.to_owned()) }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: ZipError) -> ReadError {
    ReadError::Archive(error.to_string())
}
