//! A look into the folder of a repository.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::shelf::{Found, Listing};
use super::{Needed, is_name, version_of};

/// Most versions of all models together: a folder of more is a mistake.
const MOST: usize = 10_000;

/// All folders of the form `<name>/<version>` that hold a model. Others are left out; a folder that is being written has a
/// name that is none (`.…`), or comes by a rename when it is whole.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn scan(folder: &Path, memory: &Needed) -> io::Result<Listing> {
    let mut listing = Listing::new();
    let mut count = 0;
    for name in names(folder)?.into_iter().filter(|name| is_name(name)) {
        let path = folder.join(&name);
        // It may be gone by now, or be a file.
        let Ok(versions) = names(&path) else { continue };
        let mut found = BTreeMap::new();
        for text in versions {
            let Some(version) = version_of(&text) else { continue };
            let folder = path.join(&text);
            let bytes = memory(&folder);
            let Ok(stamp) = fs::metadata(&folder) else { continue };
            count += 1;
            if bytes == 0 || count > MOST {
                continue;
            }
            found.insert(version, Found { bytes, stamp: changed(&stamp), folder });
        }
        if !found.is_empty() {
            listing.insert(name, found);
        }
    }
    Ok(listing)
}

/// Of a folder: another one, or one that was changed, has another.
fn changed(of: &fs::Metadata) -> u64 {
    of.ino() ^ (of.mtime() as u64).rotate_left(20) ^ (of.mtime_nsec() as u64).rotate_left(40)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.filter_map(Result::ok);
    Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
}
