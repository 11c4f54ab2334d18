//! Small files that would like to be large. A program of its own with one test: it measures the memory of its
//! processes, one for each file.
#![allow(clippy::unwrap_used, reason = "a test program")]
#![cfg(target_os = "linux")]

mod common;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{archive, call, dict, global, ints, legacy, program, read, tensor, text};

/// Names the file to read, in a process of its own.
const FILE: &str = "SLUICE_WEIGHTS_FILE";
const MIB: usize = 1 << 20;

/// The most memory that this process ever had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

fn pickled(parts: &[&[u8]]) -> Vec<u8> {
    archive(&program(&parts.concat()), &[])
}

/// Values within values, references to them, and much that is remembered.
fn pickles() -> Vec<(&'static str, Vec<u8>)> {
    let many = 999_000;
    let repeat = |part: &[u8], times: usize| part.repeat(times);
    let memo: Vec<u8> =
        (0..many as u32).flat_map(|key| [b"r".as_slice(), &key.to_le_bytes()].concat()).collect();
    let wide = [b"(".as_slice(), &repeat(b"N", 100_000), b"tq\0"].concat();
    let size = call(&global("torch", "Size"), &[b"h\0".to_vec()]);
    vec![
        ("tuples in tuples", pickled(&[b")", &repeat(b"\x85", many)])),
        ("lists in lists", pickled(&[&repeat(b"]", many / 2), &repeat(b"a", many / 2 - 1)])),
        ("a billion laughs", pickled(&[b")", &repeat(b"2\x86", many / 2)])),
        ("a tree of dicts", pickled(&[&repeat(b"}", many)])),
        ("a deep stack", pickled(&[&repeat(b"N", many)])),
        ("marks", pickled(&[&repeat(b"(", many)])),
        ("small tuples on a high stack", pickled(&[&repeat(b"N", many / 4), &repeat(b"(t", many / 3)])),
        ("a memo", pickled(&[b"N", &memo])),
        ("dicts that are remembered", pickled(&[&repeat(b"}\x94", many / 2)])),
        ("a wide shape", pickled(&[&wide, &repeat(&size, 100_000)])),
        ("forever", pickled(&[&repeat(b"N0", 8 * MIB - 4)])),
        ("text", pickled(&[&repeat(&text(&"x".repeat(50)), 16 * MIB / 60)])),
        ("the older format", {
            let full = program(&[b")", repeat(b"\x85", many / 2 - 100).as_slice()].concat());
            legacy(&full, &full, b"")
        }),
    ]
}

/// Ten thousand tensors of a MiB each, all of one value.
fn expanded() -> Vec<u8> {
    let one = tensor(1, 0, &[1 << 18], &[0]);
    let entries: Vec<_> = (0..10_000).map(|i| (text(&format!("{i}")), b"h\0".to_vec())).collect();
    let value = [one, b"q\x000".to_vec(), dict(&entries)].concat();
    archive(&program(&value), &[("0", &[0; 4])])
}

/// Ten thousand tensors of one value each, all of one large storage.
fn views() -> Vec<u8> {
    let one = tensor(4 * MIB as i128, 7, &[1], &[1]);
    let entries: Vec<_> = (0..10_000).map(|i| (text(&format!("{i}")), b"h\0".to_vec())).collect();
    let value = [one, b"q\x000".to_vec(), dict(&entries)].concat();
    archive(&program(&value), &[("0", &vec![0; 16 * MIB])])
}

/// Many calls that each describe a tensor.
fn described() -> Vec<u8> {
    let (shape, storage) = (ints(&[1; 8]), common::storage("FloatStorage", "0", 1));
    let rebuild = global("torch._utils", "_rebuild_tensor_v2");
    let begin = [rebuild, b"q\0".to_vec(), storage, b"q\x01".to_vec(), shape, b"q\x02".to_vec()].concat();
    let calls = b"h\0(h\x01K\0h\x02h\x02NNtR".repeat(90_000);
    archive(&program(&[begin, calls].concat()), &[("0", &[0; 4])])
}

fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let entries: Vec<(String, &[u8])> = (0..40_000).map(|i| (format!("a/{i}"), [].as_slice())).collect();
    let small = archive(&program(b"}"), &[]);
    let signatures = [&small, b"PK\x01\x02".repeat(4 * MIB).as_slice()].concat();
    let headers = [b"PK\x01\x02".as_slice(), &[0; 42]].concat().repeat(40_000);
    // Each says that the directory begins at another header, and has more of them than there are.
    let end = |i: u32| {
        let (size, start) = (46 * (40_000 - i % 40_000), 4 + 46 * (i % 40_000));
        let counts = [[0; 4], [0xff; 4]].concat();
        [b"PK\x05\x06".as_slice(), &counts, &size.to_le_bytes(), &start.to_le_bytes(), &[0; 2]].concat()
    };
    let ends: Vec<u8> = (0..12 * MIB as u32 / 22).flat_map(end).collect();
    let ends = [b"PK\x03\x04".as_slice(), &headers, &ends].concat();
    vec![
        ("entries", common::zip(&entries)),
        ("what looks like entries", signatures),
        ("ends of archives", ends),
        ("expanded tensors", expanded()),
        ("views of one storage", views()),
        ("described tensors", described()),
    ]
}

fn headers() -> Vec<(&'static str, Vec<u8>)> {
    let file = |header: String| [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes()].concat();
    let room = MIB - 100;
    let shape = "0,".repeat(room / 2);
    let named = (0..MIB / 60).map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#));
    let empty = (0..MIB / 12).map(|i| format!(r#""{i}":{{}}"#));
    vec![
        (
            "a long shape",
            file(format!(r#"{{"a":{{"dtype":"U8","shape":[{shape}0],"data_offsets":[0,0]}}}}"#)),
        ),
        ("many tensors", file(format!("{{{}}}", named.collect::<Vec<_>>().join(",")))),
        ("many names", file(format!("{{{}}}", empty.collect::<Vec<_>>().join(",")))),
        ("arrays in an array", file(format!(r#"{{"a":[{}0]}}"#, "[],".repeat(room / 3)))),
        ("metadata", file(format!(r#"{{"__metadata__":{{{}"a":""}}}}"#, r#""":"","#.repeat(room / 6)))),
    ]
}

#[allow(clippy::print_stdout, reason = "the figures, for who wants to see them")]
/// In a process that has done nothing but read the file.
fn measure(path: &OsStr) {
    let file = std::fs::read(path).unwrap();
    let (before, start) = (peak(), Instant::now());
    let error = read(&file).err();
    let (grown, took) = (peak() - before, start.elapsed());
    println!("{path:?}: {} KiB, {} MiB more, {took:?}: {error:?}", file.len() >> 10, grown >> 20);
    assert!(grown < 100 * MIB, "{path:?}: {grown} bytes");
    assert!(took < Duration::from_secs(5), "{path:?}: {took:?}");
}

#[test]
fn no_file_takes_much_memory_or_time() {
    if let Some(path) = std::env::var_os(FILE) {
        return measure(&path);
    }
    for (name, file) in pickles().into_iter().chain(archives()).chain(headers()) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, file).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.arg("--nocapture").env(FILE, &path).output().unwrap();
        std::fs::remove_file(&path).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{}", said.lines().find(|line| line.contains("MiB more")).unwrap_or_default());
        assert!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
}
