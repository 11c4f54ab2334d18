//! Files of the fixtures, and files by hand.
#![allow(dead_code, reason = "each test program uses some")]

use std::io::{Cursor, Write};
use std::path::PathBuf;

use weights::{Limits, ReadError, Weights};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub(crate) fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Everything in the directory that is a model file.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let entries =
        std::fs::read_dir(fixtures()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter(|name| name != "expected.json").collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), fixture(&name))).collect()
}

pub(crate) fn read(bytes: &[u8]) -> Result<Weights, ReadError> {
    Weights::read(bytes, &Limits::default())
}

pub(crate) fn refusal(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

/// An archive as `torch.save` writes it.
pub(crate) fn archive(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let named = storages.iter().map(|(key, bytes)| (format!("m/data/{key}"), *bytes));
    let described = [("m/data.pkl".to_owned(), pickle), ("m/byteorder".to_owned(), b"little".as_slice())];
    zip(&described.into_iter().chain(named).collect::<Vec<_>>())
}

/// An archive of these entries, none compressed.
pub(crate) fn zip(entries: &[(String, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(name.as_str(), stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The older format, with these pickles as description and names of the storages, and what follows.
pub(crate) fn legacy(pickle: &[u8], keys: &[u8], storages: &[u8]) -> Vec<u8> {
    legacy_of(b"M\xe9\x03", b"\x88", &[pickle, keys, storages].concat())
}

/// The older format: its version, whether the machine was little-endian, and the rest.
pub(crate) fn legacy_of(version: &[u8], little: &[u8], rest: &[u8]) -> Vec<u8> {
    let magic = program(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
    let machine = dict(&[(text("little_endian"), little.to_vec())]);
    [magic, program(version), program(&machine), rest.to_vec()].concat()
}

/// A pickle that makes one value.
pub(crate) fn program(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02", value, b"."].concat()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [b"X", (text.len() as u32).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

pub(crate) fn int(value: i128) -> Vec<u8> {
    let bytes = value.to_le_bytes();
    let length = if i64::try_from(value).is_ok() { 8 } else { 16 };
    [&[0x8a, length as u8], &bytes[..length]].concat()
}

pub(crate) fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub(crate) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
}

pub(crate) fn ints(values: &[i128]) -> Vec<u8> {
    tuple(&values.iter().map(|v| int(*v)).collect::<Vec<_>>())
}

pub(crate) fn dict(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = entries.iter().flat_map(|(k, v)| [k.as_slice(), v].concat()).collect();
    [b"}(".to_vec(), items, b"u".to_vec()].concat()
}

pub(crate) fn call(callee: &[u8], arguments: &[Vec<u8>]) -> Vec<u8> {
    [callee, &tuple(arguments), b"R"].concat()
}

pub(crate) fn storage(class: &str, key: &str, elements: i128) -> Vec<u8> {
    [tuple(&[text("storage"), global("torch", class), text(key), text("cpu"), int(elements)]), b"Q".to_vec()]
        .concat()
}

/// A view of the float storage "0".
pub(crate) fn tensor(elements: i128, offset: i128, shape: &[i128], stride: &[i128]) -> Vec<u8> {
    let storage = storage("FloatStorage", "0", elements);
    let arguments = [storage, int(offset), ints(shape), ints(stride), b"\x89".to_vec(), b"N".to_vec()];
    call(&global("torch._utils", "_rebuild_tensor_v2"), &arguments)
}

/// A file with one tensor, of a storage with the values 0, 1, 2 and 3.
pub(crate) fn one_tensor(tensor: &[u8]) -> Vec<u8> {
    let values: Vec<u8> = [0f32, 1.0, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    archive(&program(&dict(&[(text("w"), tensor.to_vec())])), &[("0", &values)])
}
