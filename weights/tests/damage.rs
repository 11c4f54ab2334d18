//! Files that were cut off, or changed on the way: an error, or values, but no panic and no more memory than allowed.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::io::{Cursor, Read};
use std::sync::LazyLock;

use common::{all, archive, fixture};
use proptest::collection::vec;
use proptest::prelude::*;
use weights::{Limits, ReadError, Weights};
use zip::ZipArchive;

/// A claim of more than a MiB is refused, however the file came to it.
fn read(bytes: &[u8]) -> Result<Weights, ReadError> {
    let weights = Weights::read(bytes, &Limits { bytes: 1 << 20, ..Limits::default() })?;
    assert!(weights.iter().map(|(_, array)| array.data().len()).sum::<usize>() <= 1 << 20);
    Ok(weights)
}

static FILES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(all);

/// An archive taken apart, to be put together again with right checksums.
struct Parts {
    pickle: Vec<u8>,
    storages: Vec<(String, Vec<u8>)>,
}

impl Parts {
    fn of(file: &[u8]) -> Self {
        let mut zip = ZipArchive::new(Cursor::new(file)).unwrap();
        let (mut pickle, mut storages) = (Vec::new(), Vec::new());
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).unwrap();
            let name = entry.name().unwrap().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            if name.ends_with("/data.pkl") {
                pickle = bytes;
            } else if let Some((_, key)) = name.split_once("/data/") {
                storages.push((key.to_owned(), bytes));
            }
        }
        Self { pickle, storages }
    }

    fn with(&self, pickle: &[u8]) -> Vec<u8> {
        let storages: Vec<_> =
            self.storages.iter().map(|(key, bytes)| (key.as_str(), bytes.as_slice())).collect();
        archive(pickle, &storages)
    }
}

#[test]
fn a_file_that_was_cut_off_is_refused() {
    for (name, file) in FILES.iter() {
        for length in 0..file.len() {
            assert!(read(&file[..length]).is_err(), "{name}, {length} of {}", file.len());
        }
    }
}

#[test]
fn a_pickle_that_was_cut_off_is_refused() {
    for name in
        ["checkpoint.pth", "protocol4.pth", "views.pth", "attributes.pth", "whole_model.pth", "evil.pth"]
    {
        let parts = Parts::of(&fixture(name));
        let whole = read(&parts.with(&parts.pickle));
        assert!(
            matches!(whole, Ok(_) | Err(ReadError::Global { .. } | ReadError::WholeModel { .. })),
            "{name}"
        );
        for length in 0..parts.pickle.len() {
            assert!(read(&parts.with(&parts.pickle[..length])).is_err(), "{name}, {length}");
        }
    }
}

/// Bytes to write over others, instructions and great numbers among them.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Vec<u8>)>> {
    let instruction = prop::sample::select(b"(.012BCGJKMNQRTUX]abcdehijlqrstu})".to_vec());
    let bytes = prop_oneof![
        instruction.prop_map(|op| vec![op]),
        (0x80u8..=0x97).prop_map(|op| vec![op]),
        any::<u8>().prop_map(|b| vec![b]),
        vec(prop_oneof![Just(0u8), Just(0xff), Just(0x7f), Just(0x80)], 1..9),
    ];
    vec((any::<prop::sample::Index>(), bytes), 1..6)
}

fn change(bytes: &mut [u8], changes: &[(prop::sample::Index, Vec<u8>)]) {
    for (place, new) in changes {
        let start = place.index(bytes.len());
        let end = bytes.len().min(start + new.len());
        bytes[start..end].copy_from_slice(&new[..end - start]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn a_file_that_was_changed_is_read_or_refused(which in any::<prop::sample::Index>(), changes in changes()) {
        let mut file = FILES[which.index(FILES.len())].1.clone();
        change(&mut file, &changes);
        let _ = read(&file);
    }

    #[test]
    fn a_pickle_that_was_changed_is_read_or_refused(which in any::<prop::sample::Index>(), changes in changes()) {
        let names = ["checkpoint.pth", "protocol4.pth", "views.pth", "attributes.pth", "python2.pth", "dtypes.pth"];
        let mut parts = Parts::of(&fixture(names[which.index(names.len())]));
        change(&mut parts.pickle, &changes);
        let _ = read(&parts.with(&parts.pickle));
    }

    #[test]
    fn any_bytes_are_read_or_refused(start in prop::sample::select(vec![b"".as_slice(), b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02"]), rest in vec(any::<u8>(), 0..200)) {
        let _ = read(&[start, &rest].concat());
        let _ = read(&archive(&rest, &[("0", &[0; 16])]));
    }
}
