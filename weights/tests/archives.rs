//! Zip archives and safetensors files that are not what they say.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::slice::from_ref;

use common::{archive, one_tensor, program, read, refusal, tensor, zip};

const SAID: &str = "the zip archive is broken or not from torch.save: ";

fn file() -> Vec<u8> {
    one_tensor(&tensor(4, 0, &[4], &[1]))
}

/// Where the entries of the directory begin.
fn directory(file: &[u8]) -> Vec<usize> {
    (0..file.len()).filter(|at| file[*at..].starts_with(b"PK\x01\x02")).collect()
}

/// The archive with other bytes at this place of a directory entry (0 is the pickle, 1 the byte order, 2 the storage).
fn patched(entry: usize, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file();
    let start = directory(&file)[entry] + at;
    file[start..start + bytes.len()].copy_from_slice(bytes);
    file
}

/// Every occurrence replaced by bytes of the same length.
fn replaced(file: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    for at in 0..=file.len() - old.len() {
        if file[at..].starts_with(old) {
            file[at..at + new.len()].copy_from_slice(new);
        }
    }
    file
}

#[test]
fn entries_lie_apart_within_the_file_and_have_names_of_their_own() {
    assert!(read(&file()).is_ok());
    let overlap = format!("{SAID}entries overlap, or a name comes twice");
    // Offset of the local header: that of the entry before, and into its values.
    let offset = |at: u32| refusal(&patched(2, 42, &at.to_le_bytes()));
    assert_eq!(offset(0), overlap);
    assert_eq!(refusal(&patched(2, 20, &[17, 0, 0, 0, 17, 0, 0, 0])), overlap);
    // Lengths of almost 4 GiB.
    let long = refusal(&patched(2, 20, &[0xfe, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff]));
    assert_eq!(long, overlap);
    // The same name twice: which of the two would be read?
    let two = archive(&program(b"}"), &[("0", &[0; 4]), ("1", &[1; 4])]);
    assert_eq!(refusal(&replaced(&two, b"m/data/1", b"m/data/0")), overlap);
    let beyond = refusal(&patched(2, 42, &[0xff, 0xff, 0xff, 0x7f]));
    assert!(beyond.starts_with(SAID), "{beyond}");
    // Something in front, for a program that reads files from the front.
    let prefixed = [b"PK\x03\x04".as_slice(), &[0; 100], &file()].concat();
    assert!(refusal(&prefixed).starts_with(SAID), "{}", refusal(&prefixed));
}

#[test]
fn entries_are_stored_as_they_are() {
    let reason = " is compressed or encrypted, torch.save writes neither: unpack it and save again";
    assert_eq!(refusal(&patched(2, 10, &[8, 0])), format!("{SAID}\"data/0\"{reason}"));
    assert_eq!(refusal(&patched(2, 8, &[1, 0])), format!("{SAID}\"data/0\"{reason}"));
    assert_eq!(refusal(&patched(0, 10, &[8, 0])), format!("{SAID}\"data.pkl\"{reason}"));
    // A bomb would say that it becomes longer.
    assert_eq!(refusal(&patched(2, 24, &[0, 0, 0, 0x40])), format!("{SAID}\"data/0\"{reason}"));
    let damaged = replaced(&file(), &2f32.to_le_bytes(), &7f32.to_le_bytes());
    assert!(refusal(&damaged).starts_with(&format!("{SAID}\"data/0\": ")), "{}", refusal(&damaged));
}

#[test]
fn an_archive_says_what_it_is() {
    let entries = |entries: &[(&str, &[u8])]| {
        refusal(&zip(&entries.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect::<Vec<_>>()))
    };
    let pickle = program(b"}");
    let big = "the values are big-endian: save the file on a little-endian machine";
    assert_eq!(entries(&[("a/data.pkl", &pickle), ("a/byteorder", b"big")]), big);
    let script = entries(&[("a/data.pkl", &pickle), ("a/code/__torch__.py", b"")]);
    assert!(script.starts_with("this is a TorchScript program"), "{script}");
    for other in ["arr_0.npy", "data.pkl", "a/b/data.pkl"] {
        assert_eq!(entries(&[(other, b"")]), format!("{SAID}it has no data.pkl"));
    }
    // Of another directory: not of this model.
    let other = entries(&[("a/data.pkl", &pickle), ("b/code/x.py", b""), ("b/byteorder", b"big")]);
    assert!(other.starts_with("no state dict: "), "{other}");
}

/// A safetensors file.
fn safetensors(header: &str, values: usize) -> Vec<u8> {
    [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &vec![0; values]].concat()
}

fn entry(name: &str, dtype: &str, shape: &str, from: usize, to: usize) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
}

#[test]
fn a_safetensors_file_is_as_its_header_says() {
    let ok = |entries: &[String], values| safetensors(&format!("{{{}}}", entries.join(",")), values);
    let one = entry("module.w", "F32", "[2]", 0, 8);
    let names = |file: &[u8]| read(file).unwrap().iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&ok(from_ref(&one), 8)), ["w"]);
    assert!(read(&ok(&[], 0)).unwrap().is_empty());
    let said = |file: &[u8]| {
        let error = refusal(file);
        error.strip_prefix("the safetensors file is broken: ").unwrap_or_else(|| panic!("{error}")).to_owned()
    };
    let incomplete = "incomplete metadata, file not fully covered";
    assert_eq!(said(&ok(from_ref(&one), 7)), incomplete);
    assert_eq!(said(&ok(from_ref(&one), 9)), incomplete);
    let overlap = [one.clone(), entry("b", "F32", "[2]", 4, 12)];
    assert_eq!(said(&ok(&overlap, 12)), "invalid offset for tensor `b`");
    let gap = [one.clone(), entry("b", "F32", "[2]", 12, 20)];
    assert_eq!(said(&ok(&gap, 20)), "invalid offset for tensor `b`");
    let shape = "invalid shape, data type, or offset for tensor";
    assert_eq!(said(&ok(&[entry("b", "F32", "[3]", 0, 8)], 8)), shape);
    let overflow = "overflow computing buffer size from shape and/or element type";
    assert_eq!(said(&ok(&[entry("b", "F32", "[4611686018427387905]", 0, 8)], 8)), overflow);
    assert_eq!(said(&ok(&[entry("b", "F32", "[4294967296,4294967296]", 0, 8)], 8)), overflow);
    assert_eq!(
        refusal(&ok(&[entry("b", "F8_E4M3", "[2]", 0, 2)], 2)),
        "\"b\" has values of type F8_E4M3, which is not read"
    );
    let deep = refusal(&ok(&[entry("b", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1)], 1));
    assert_eq!(deep, "dimensions of a tensor: 9, which is over the limit of 8");
    assert!(said(&ok(&["[".repeat(1 << 16)], 1)).starts_with("invalid JSON"));
    for length in [9u64, 1 << 20] {
        let file = [length.to_le_bytes().as_slice(), b"{}"].concat();
        assert_eq!(said(&file), "invalid header length");
    }
    for length in [(1u64 << 20) + 1, 1 << 63, u64::MAX] {
        let file = [length.to_le_bytes().as_slice(), b"{}"].concat();
        assert_eq!(
            refusal(&file),
            format!("bytes of the header: {length}, which is over the limit of 1048576")
        );
    }
}
