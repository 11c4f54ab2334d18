use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use rstest::rstest;
use tar::{EntryType, Header};

use super::*;

const LIMITS: Limits = Limits { bytes: 1 << 20, files: 100 };

/// An entry with any name, which the tar library would not write.
fn entry(name: &[u8], kind: EntryType, claims: u64, bytes: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(claims);
    header.set_mode(0o644);
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut all = header.as_bytes().to_vec();
    all.extend_from_slice(bytes);
    all.resize(all.len().next_multiple_of(512), 0);
    all
}

fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    entry(name.as_bytes(), EntryType::Regular, bytes.len() as u64, bytes)
}

fn pax(kind: EntryType, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (key, value) in fields {
        let rest = format!(" {key}={value}\n");
        let length = (1..).find(|n: &usize| n.to_string().len() + rest.len() == *n).unwrap();
        all.extend_from_slice(format!("{length}{rest}").as_bytes());
    }
    entry(b"pax", kind, all.len() as u64, &all)
}

fn long_name(name: &str) -> Vec<u8> {
    let bytes = [name.as_bytes(), b"\0"].concat();
    entry(b"././@LongLink", EntryType::GNULongName, bytes.len() as u64, &bytes)
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [&entries.concat()[..], &[0; 1024]].concat()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// Unpacks into a folder of its own within another, which must have nothing else in it afterwards.
fn unpacked(bytes: &[u8], kind: Archive) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let outside = tempfile::tempdir().unwrap();
    let (archive, into) = (outside.path().join("archive"), outside.path().join("a/into"));
    fs::create_dir_all(&into).unwrap();
    fs::write(&archive, bytes).unwrap();
    let done = unpack(&archive, kind, &into, &LIMITS);
    let mut around: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    around.sort();
    assert_eq!(around, ["a", "archive"]);
    assert_eq!(fs::read_dir(outside.path().join("a")).unwrap().count(), 1);
    done.map_err(|error| error.to_string())?;
    let read = |path: PathBuf| (path.to_str().unwrap().to_owned(), fs::read(into.join(&path)).unwrap());
    Ok(crate::digest::files(&into).map(|all| all.into_iter().map(read).collect()).unwrap_or_default())
}

fn refused(entries: &[Vec<u8>]) -> String {
    unpacked(&tar(entries), Archive::Tar).unwrap_err()
}

#[test]
fn files_and_folders_are_taken_however_they_are_named() {
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
    let entries = [
        entry(b"./", EntryType::Directory, 0, b""),
        entry(b"./a/", EntryType::Directory, 0, b""),
        file("./a/x", b"1"),
        file("model.pt", b"weights"),
        pax(EntryType::XGlobalHeader, &[("comment", "a commit")]),
        pax(EntryType::XHeader, &[("mtime", "1.5"), ("path", "ü/y"), ("size", "2")]),
        file("short", b"12"),
        long_name(&long),
        file("cut", b"3"),
    ];
    let expected: BTreeMap<String, Vec<u8>> = [
        ("a/x".to_owned(), b"1".to_vec()),
        ("model.pt".to_owned(), b"weights".to_vec()),
        ("ü/y".to_owned(), b"12".to_vec()),
        (long, b"3".to_vec()),
    ]
    .into();
    assert_eq!(unpacked(&tar(&entries), Archive::Tar), Ok(expected.clone()));
    assert_eq!(unpacked(&gz(&tar(&entries)), Archive::TarGz), Ok(expected));
}

#[rstest]
#[case("../x", "no . or ..")]
#[case("a/../../x", "no . or ..")]
#[case("/etc/x", "paths within the artefact")]
#[case(".//x", "paths within the artefact")]
#[case("a//x", "no empty names")]
#[case(".hidden", "no hidden files")]
#[case("a/._model.pt", "no hidden files")]
#[case("a\\..\\x", "no backslashes")]
fn names_lead_nowhere_else(#[case] name: &str, #[case] message: &str) {
    for entries in [
        vec![file(name, b"1")],
        vec![long_name(name), file("good", b"1")],
        vec![pax(EntryType::XHeader, &[("path", name)]), file("good", b"1")],
        vec![entry(name.as_bytes(), EntryType::Directory, 0, b"")],
    ] {
        let said = refused(&entries);
        assert!(said.contains(message), "{said}");
    }
}

#[rstest]
#[case(EntryType::Symlink, "a symbolic link")]
#[case(EntryType::Link, "a hard link")]
#[case(EntryType::Char, "a device")]
#[case(EntryType::Block, "a device")]
#[case(EntryType::Fifo, "a pipe")]
#[case(EntryType::GNUSparse, "a file with holes")]
#[case(EntryType::new(b'Z'), "an entry of another kind")]
fn only_files_and_folders_are_taken(#[case] kind: EntryType, #[case] message: &str) {
    let said = refused(&[file("model.pt", b"1"), entry(b"x", kind, 0, b"")]);
    assert!(said.contains(message) && said.contains("\"x\""), "{said}");
}

#[test]
fn a_link_is_no_way_out() {
    // What a naive reader would do: follow `out`, and write beyond the folder.
    let said = refused(&[entry(b"out", EntryType::Symlink, 0, b""), file("out/x", b"1")]);
    assert!(said.contains("a symbolic link"), "{said}");
}

#[test]
fn limits_hold_before_bytes_are_written() {
    let many: Vec<_> = (0..101).map(|n| file(&format!("f{n}"), b"")).collect();
    assert_eq!(refused(&many), "the archive holds more than 100 files or folders");
    let folders: Vec<_> =
        (0..101).map(|n| entry(format!("d{n}/").as_bytes(), EntryType::Directory, 0, b"")).collect();
    assert_eq!(refused(&folders), "the archive holds more than 100 files or folders");
    // 1 TiB that nobody has to send.
    let said = refused(&[entry(b"x", EntryType::Regular, 1 << 40, b"1")]);
    assert_eq!(said, "the archive holds more than 1048576 bytes");
    let said = refused(&[file("a", &[1; 1 << 19]), file("b", &[1; 1 << 19]), file("c", b"1")]);
    assert_eq!(said, "the archive holds more than 1048576 bytes");
    // A name of 1 GiB, and many small ones of nothing.
    let said = refused(&[entry(b"x", EntryType::GNULongName, 1 << 30, b"1")]);
    assert!(said.contains("bytes of names"), "{said}");
    let names: Vec<_> = (0..100).map(|_| long_name(&"n".repeat(60 << 10))).collect();
    assert!(refused(&names).contains("bytes of names"));
}

#[test]
fn a_bomb_is_not_unpacked() {
    // 64 MiB of zeros in 64 KiB, as a file, and behind the end.
    let zeros = vec![0; 64 << 20];
    let said = unpacked(&gz(&tar(&[file("x", &zeros)])), Archive::TarGz).unwrap_err();
    assert_eq!(said, "the archive holds more than 1048576 bytes");
    let behind = [tar(&[file("x", b"1")]), zeros].concat();
    let said = unpacked(&gz(&behind), Archive::TarGz).unwrap_err();
    assert_eq!(said, "the archive holds more than 1048576 bytes behind its end");
}

#[test]
fn what_describes_a_file_in_two_ways_is_refused() {
    assert_eq!(refused(&[file("x", b"1"), file("./x", b"2")]), "the archive holds \"x\" twice");
    let said = refused(&[pax(EntryType::XHeader, &[("size", "600")]), file("x", b"1")]);
    assert!(said.contains("by \"size\""), "{said}");
    let said = refused(&[pax(EntryType::XGlobalHeader, &[("path", "y")]), file("x", b"1")]);
    assert!(said.contains("by \"path\""), "{said}");
    let said = refused(&[pax(EntryType::XHeader, &[("GNU.sparse.major", "1")]), file("x", b"1")]);
    assert!(said.contains("GNU.sparse"), "{said}");
    let said = refused(&[file("x", b"1"), file("x/y", b"1")]);
    assert!(said.contains("x/y"), "{said}");
}

#[test]
fn what_is_cut_or_changed_is_noticed() {
    let whole = tar(&[file("x", &[7; 5000])]);
    let said = unpacked(&whole[..3000], Archive::Tar).unwrap_err();
    assert!(said.contains("ends within \"x\"") || said.contains("cannot be read"), "{said}");
    let mut packed = gz(&whole);
    let crc = packed.len() - 6;
    packed[crc] ^= 1;
    let said = unpacked(&packed, Archive::TarGz).unwrap_err();
    assert!(said.contains("cannot be read"), "{said}");
    assert!(unpacked(b"<html>", Archive::Tar).is_err() && unpacked(b"<html>", Archive::TarGz).is_err());
}

/// Entries that mean something to a reader, right or wrong.
fn any_entry() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof!["[a-c./]{1,6}", "\\.\\./[a-c]", "/[a-c]{1,3}", "[a-c]/[a-c]"];
    let kind = prop_oneof![
        6 => Just(EntryType::Regular), 2 => Just(EntryType::Directory), 1 => Just(EntryType::Symlink),
        1 => Just(EntryType::Link), 1 => Just(EntryType::GNULongName), 1 => Just(EntryType::XHeader),
        1 => any::<u8>().prop_map(EntryType::new),
    ];
    (name, kind, proptest::collection::vec(any::<u8>(), 0..40), 0..3_u64).prop_map(
        |(name, kind, bytes, more)| entry(name.as_bytes(), kind, bytes.len() as u64 + more * 100, &bytes),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn hostile_archives_stay_in_their_folder(entries in proptest::collection::vec(any_entry(), 1..6), cut in 0..600_usize) {
        let mut bytes = tar(&entries);
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        // `unpacked` looks around.
        if let Ok(files) = unpacked(&bytes, Archive::Tar) {
            prop_assert!(files.keys().all(|path| names::check(path).is_ok()));
        }
    }

    #[test]
    fn what_is_packed_is_unpacked(files in proptest::collection::btree_map("(d[a-c]/){0,2}[x-z]{1,2}", proptest::collection::vec(any::<u8>(), 0..2000), 1..6)) {
        let entries: Vec<_> = files.iter().map(|(path, bytes)| file(path, bytes)).collect();
        prop_assert_eq!(unpacked(&gz(&tar(&entries)), Archive::TarGz), Ok(files));
    }
}
