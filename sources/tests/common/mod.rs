//! A web server with faults, and artefacts to be served by it.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod emulator;
pub(crate) mod proxy;
pub(crate) mod site;
pub(crate) mod translate;
pub(crate) mod upload;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use sources::{FetchError, Fetched, Limits, Patience, Request, digest, fetch};

/// Files of an artefact by path; the model has bytes that do not repeat.
pub(crate) fn artefact(model: usize) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([
        ("metadata.json".to_owned(), br#"{"version": "1.0.0"}"#.to_vec()),
        ("reference.json".to_owned(), b"{}".to_vec()),
        ("model.pt".to_owned(), noise(model)),
    ])
}

/// Bytes that do not repeat soon, the same each time.
pub(crate) fn noise(n: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[0]
    };
    (0..n).map(|_| next()).collect()
}

/// The digest of these files (I5).
pub(crate) fn digest_of(files: &BTreeMap<String, Vec<u8>>) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    digest::of_directory(folder.path()).unwrap()
}

/// Writes files below a folder.
pub(crate) fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (path, bytes) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// The files below a folder.
pub(crate) fn read(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = digest::files(folder).unwrap();
    let read =
        |path: std::path::PathBuf| (path.to_str().unwrap().to_owned(), fs::read(folder.join(&path)).unwrap());
    files.into_iter().map(read).collect()
}

/// A request with little patience.
pub(crate) fn request(uri: &str, to: &Path) -> Request {
    Request {
        uri: uri.parse().unwrap(),
        to: to.to_owned(),
        sha256: None,
        replace: false,
        limits: Limits::default(),
        patience: Patience {
            connect: Duration::from_secs(2),
            stall: Duration::from_secs(1),
            retries: 3,
            pause: Duration::from_millis(5),
        },
        variables: Vec::new(),
    }
}

/// Fetches and says nothing.
pub(crate) async fn get(request: &Request) -> Result<Fetched, FetchError> {
    fetch(request, &|_| {}).await
}

/// What is in a folder by name, hidden ones too.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
