//! The digest of an artefact directory (rule I5).
//!
//! For each regular file, sorted by the bytes of its path: path NUL decimal length NUL hex sha256 LF; these
//! lines hashed with sha256. Paths are relative to the directory, with `/`. Links and special files are
//! refused: what they lead to is not part of the artefact. The digest itself is in no file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Most files that an artefact may have: a wrong directory shows quickly.
pub const MAX_FILES: usize = 10_000;

/// Why a directory has no digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// A file or directory cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something that is neither a regular file nor a directory.
    #[error("{} is a {kind}; an artefact holds regular files only", path.display())]
    NotRegular {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Not an artefact at all.
    #[error("{} holds {}: is this the directory of an artefact?", path.display(),
        if *.many { "more than 10000 files" } else { "no file" })]
    Count {
        /// The directory.
        path: PathBuf,
        /// Too many, or none.
        many: bool,
    },
}

/// Computes the digest of a directory: 64 lower-case hex digits.
///
/// # Errors
/// If the directory holds links, special files, no file, or something that cannot be read.
pub fn of_directory(directory: &Path) -> Result<String, DigestError> {
    read(directory, &[]).map(|(digest, _)| digest)
}

/// Computes the digest, and returns the bytes of the files named in `keep` exactly as they were hashed:
/// what is loaded cannot differ from what was verified.
///
/// # Errors
/// As [`of_directory`].
pub fn read(directory: &Path, keep: &[&str]) -> Result<(String, BTreeMap<String, Vec<u8>>), DigestError> {
    let mut digest = Sha256::new();
    let mut kept = BTreeMap::new();
    for relative in files(directory)? {
        let path = directory.join(&relative);
        let relative = relative.as_os_str().as_bytes();
        let name = keep.iter().find(|name| name.as_bytes() == relative);
        let mut bytes = name.map(|_| Vec::new());
        let (length, sum) =
            hash(&path, bytes.as_mut()).map_err(|source| DigestError::Read { path, source })?;
        digest.update(line(relative, length, &sum));
        if let (Some(name), Some(bytes)) = (name, bytes) {
            kept.insert((*name).to_owned(), bytes);
        }
    }
    Ok((hex(&digest.finalize()), kept))
}

/// The paths of all files, relative to the directory, sorted by their bytes.
///
/// # Errors
/// As [`of_directory`], but for files that cannot be read.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>, DigestError> {
    let mut files = Vec::new();
    list(directory, &mut Vec::new(), &mut files)?;
    if files.is_empty() || files.len() > MAX_FILES {
        return Err(DigestError::Count { path: directory.to_owned(), many: !files.is_empty() });
    }
    files.sort();
    Ok(files.into_iter().map(|path| PathBuf::from(OsString::from_vec(path))).collect())
}

/// The line of one file.
fn line(path: &[u8], length: u64, sum: &str) -> Vec<u8> {
    let mut line = path.to_vec();
    line.extend_from_slice(format!("\0{length}\0{sum}\n").as_bytes());
    line
}

/// Collects the paths of regular files below `directory`, relative to where the walk began.
fn list(directory: &Path, prefix: &mut Vec<u8>, files: &mut Vec<Vec<u8>>) -> Result<(), DigestError> {
    let failed = |source| DigestError::Read { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let before = prefix.len();
        prefix.extend_from_slice(entry.file_name().as_bytes());
        if kind.is_dir() {
            prefix.push(b'/');
            list(&entry.path(), prefix, files)?;
        } else if kind.is_file() {
            files.push(prefix.clone());
        } else {
            let kind = if kind.is_symlink() { "link" } else { "special file" };
            return Err(DigestError::NotRegular { path: entry.path(), kind });
        }
        prefix.truncate(before);
        if files.len() > MAX_FILES {
            // Enough to refuse it; the rest need not be listed.
            return Ok(());
        }
    }
    Ok(())
}

fn hash(path: &Path, mut keep: Option<&mut Vec<u8>>) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((length, hex(&sum.finalize())));
        }
        length += n as u64;
        sum.update(&buffer[..n]);
        if let Some(kept) = keep.as_deref_mut() {
            kept.extend_from_slice(&buffer[..n]);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn directory(files: &BTreeMap<String, Vec<u8>>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        directory
    }

    fn digest(files: &BTreeMap<String, Vec<u8>>) -> String {
        of_directory(directory(files).path()).unwrap()
    }

    // rule: I5
    #[test]
    fn the_digest_is_that_of_the_rule() {
        let files = BTreeMap::from([
            ("model.pt".to_owned(), b"weights".to_vec()),
            ("a/b".to_owned(), Vec::new()),
            // Sorts before "a/b" by bytes ('-' < '/'), though a walk by folders would meet it later.
            ("a-z".to_owned(), b"x".to_vec()),
        ]);
        // printf '%s\0%d\0%s\n' a-z 1 … a/b 0 … model.pt 7 … | sha256sum, with sha256sum of each file.
        assert_eq!(digest(&files), "ef6f4c3bf7afc90ebca2c9ce674feb54ec231cddcbdaca211af31df9fc088f25");
    }

    // rule: I5
    #[test]
    fn links_are_refused() {
        let directory = directory(&BTreeMap::from([("model.pt".to_owned(), vec![1])]));
        std::os::unix::fs::symlink("model.pt", directory.path().join("other")).unwrap();
        let message = of_directory(directory.path()).unwrap_err().to_string();
        assert!(message.ends_with("other is a link; an artefact holds regular files only"), "{message}");
    }

    #[test]
    fn a_directory_that_is_no_artefact_has_no_digest() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(of_directory(directory.path()), Err(DigestError::Count { many: false, .. })));
        let missing = of_directory(&directory.path().join("missing"));
        assert!(matches!(missing, Err(DigestError::Read { .. })));
    }

    #[test]
    fn kept_bytes_are_those_that_were_hashed() {
        let files = BTreeMap::from([("model.pt".to_owned(), vec![7; 200_000]), ("x".to_owned(), vec![1])]);
        let directory = directory(&files);
        let (sum, kept) = read(directory.path(), &["model.pt", "absent"]).unwrap();
        assert_eq!(sum, of_directory(directory.path()).unwrap());
        assert_eq!(kept, BTreeMap::from([("model.pt".to_owned(), vec![7; 200_000])]));
    }

    fn files() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
        // Folders and files have names of their own, so that no file is where a folder must be.
        let path = "(d[a-c]/){0,2}[x-z]{1,2}";
        proptest::collection::btree_map(path, proptest::collection::vec(any::<u8>(), 0..9), 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        // rule: I5
        #[test]
        fn different_files_have_different_digests(a in files(), b in files()) {
            prop_assert_eq!(a == b, digest(&a) == digest(&b));
        }
    }
}
