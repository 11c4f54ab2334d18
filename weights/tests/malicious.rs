//! Files by hand, that ask for what nobody should get.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::slice::from_ref;

use common::{
    archive, call, dict, global, int, ints, legacy, legacy_of, one_tensor, program, read, refusal, storage,
    tensor, text, tuple,
};
use weights::{Fault, ReadError};

/// What reading says of a pickle, in each of the two formats.
fn both(pickle: &[u8]) -> [ReadError; 2] {
    let keys = program(b"]");
    [archive(pickle, &[]), legacy(pickle, &keys, &[])].map(|file| read(&file).unwrap_err())
}

#[track_caller]
fn refused(value: &[u8], global: &str) {
    let pickle = program(&dict(&[(text("state_dict"), b"}".to_vec()), (text("x"), value.to_vec())]));
    for error in both(&pickle) {
        assert!(matches!(&error, ReadError::Global { name } if name == global), "{error}");
    }
}

#[track_caller]
fn broken(value: &[u8], fault: &Fault) {
    for error in both(&program(value)) {
        assert!(matches!(&error, ReadError::Pickle { fault: found, .. } if found == fault), "{error}");
    }
}

#[test]
fn no_name_but_the_known_ones_is_ever_called() {
    let command = text("touch /tmp/sluice-weights-was-executed");
    refused(&call(&global("os", "system"), from_ref(&command)), "os.system");
    refused(&call(&global("builtins", "eval"), from_ref(&command)), "builtins.eval");
    let by_stack = [text("posix"), text("system"), b"\x93".to_vec()].concat();
    refused(&call(&by_stack, from_ref(&command)), "posix.system");
    // An instance, of a class and arguments: by name, and of what is on the stack.
    refused(&[b"(".as_slice(), &command, b"isubprocess\nPopen\n"].concat(), "subprocess.Popen");
    refused(&[b"(".as_slice(), &global("subprocess", "Popen"), &command, b"o"].concat(), "subprocess.Popen");
    refused(&[&global("os", "system"), b")\x81".as_slice()].concat(), "os.system");
    // No instance of a known class either.
    refused(b"(itorch\nTensor\n", "torch.Tensor");
    // `__setstate__` of whatever class.
    refused(&[&global("__main__", "Evil"), b")\x81}b".as_slice()].concat(), "__main__.Evil");
    refused(b"\x82\x01", "one of copyreg's extensions");
    // Names that begin as known ones do, or reach through them.
    for (module, name) in [
        ("torch", "load"),
        ("torch", "FloatStorage.from_file"),
        ("torch", "_utils._rebuild_tensor_v2"),
        ("torch", "Storage"),
        ("torch.cuda", "init"),
        ("torch._utils", "os.system"),
        ("collections", "OrderedDict.__class__"),
        ("collections", "defaultdict"),
        ("torch._utils", "_rebuild_device_tensor_from_numpy"),
        ("", ""),
    ] {
        refused(&global(module, name), &format!("{module}.{name}"));
    }
    assert!(!std::path::Path::new("/tmp/sluice-weights-was-executed").exists());
}

#[test]
fn a_long_name_is_cut_in_the_message() {
    let name = "n".repeat(200);
    refused(&global("m", &name), &format!("m.{}", &name[..100]));
    broken(&global("m", &"n".repeat(300)), &Fault::Truncated);
    let long = [text(&"m".repeat(1 << 20)), text("n"), b"\x93".to_vec()].concat();
    refused(&long, &format!("{}.n", "m".repeat(100)));
}

#[test]
fn known_names_do_nothing_but_what_torch_save_uses_them_for() {
    let arguments = |name: &'static str| Fault::Arguments(name);
    let rebuild = global("torch._utils", "_rebuild_tensor_v2");
    broken(&call(&global("torch", "FloatStorage"), &[text("/etc/passwd")]), &arguments("a storage"));
    broken(&call(&global("torch", "Tensor"), &[int(1 << 40)]), &arguments("torch.Tensor"));
    broken(&call(&global("torch", "float32"), &[]), &arguments("torch.dtype"));
    broken(&call(&global("collections", "OrderedDict"), &[int(3)]), &arguments("OrderedDict"));
    broken(&call(&rebuild, &[]), &arguments("_rebuild_tensor_v2"));
    let parameter = global("torch._utils", "_rebuild_parameter");
    broken(
        &call(&parameter, &[text("x"), b"\x88".to_vec(), b"N".to_vec()]),
        &arguments("_rebuild_parameter"),
    );
    // The function to call is an argument, too.
    let from_type = global("torch._tensor", "_rebuild_from_type_v2");
    for (function, class) in [(&from_type, global("torch", "Tensor")), (&rebuild, from_type.clone())] {
        let nested = [function.clone(), class, tuple(&[]), b"N".to_vec()];
        broken(&call(&from_type, &nested), &arguments("_rebuild_from_type_v2"));
    }
    broken(&[&tuple(&[]), b"Q".as_slice()].concat(), &arguments("a storage"));
    // A part of another storage, before torch 0.4.
    let float = [text("storage"), global("torch", "FloatStorage"), text("0"), text("cpu"), int(4)];
    let part = [float.as_slice(), &[tuple(&[text("1"), int(0), int(2)])]].concat();
    broken(&[&tuple(&part), b"Q".as_slice()].concat(), &arguments("a storage"));
    let module = [text("module"), global("torch", "Tensor"), text("m.py"), text("import os")];
    broken(&[&tuple(&module), b"Q".as_slice()].concat(), &arguments("a storage"));
    // Calls of, and attributes for, what is not a class.
    broken(&call(&text("os.system"), &[]), &Fault::Misplaced { what: "a call", found: "text" });
    broken(b"]}b", &Fault::Misplaced { what: "attributes", found: "a list" });
    let attributes = [tensor(4, 0, &[4], &[1]), b"}b".to_vec()].concat();
    broken(&attributes, &Fault::Misplaced { what: "attributes", found: "a tensor" });
}

#[test]
fn lengths_are_not_believed() {
    for long in [
        b"\x8b\xff\xff\xff\x7f".as_slice(),
        b"\x8b\xff\xff\xff\xff",
        b"\x8d\x00\x00\x00\x00\x00\x00\x00\x80",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\x00\x00\x00\x00\x00\x00\x00\x80",
        b"X\xff\xff\xff\xff",
        b"B\xff\xff\xff\xff",
        b"T\xff\xff\xff\xff",
        b"\x8c\xff",
        b"\x95\x00",
        b"cos\nsystem",
    ] {
        let file = archive(&[b"\x80\x02", long].concat(), &[]);
        assert!(matches!(read(&file).unwrap_err(), ReadError::Pickle { fault: Fault::Truncated, .. }));
    }
}

#[test]
fn instructions_that_do_not_fit_are_refused() {
    broken(b"", &Fault::Stack);
    for nothing in ["0", "1", "2", "t", "e", "u", "R", "b", "Q", "q\0", "\u{5}", "(0R", "](t}1u", "}(Nu"] {
        let error = read(&archive(&program(nothing.as_bytes()), &[])).unwrap_err();
        let known = matches!(error, ReadError::Pickle { fault: Fault::Stack | Fault::Instruction(5), .. });
        assert!(known, "{nothing}: {error}");
    }
    broken(b"h\x07", &Fault::Memo(7));
    broken(b"j\xff\xff\xff\xff", &Fault::Memo(u32::MAX));
    broken(b"X\x01\0\0\0\xff", &Fault::Text);
    broken(b"}NNa", &Fault::Misplaced { what: "an item", found: "None" });
    broken(b"\x80\x06", &Fault::Protocol(6));
    broken(b"I1\n", &Fault::Instruction(b'I'));
    // A mark protects what is below it.
    broken(b"N(\x850", &Fault::Stack);
}

#[test]
fn a_value_that_holds_itself_ends() {
    let dict = b"}q\0X\x0a\0\0\0state_dicth\0sX\x05\0\0\0modelh\0s";
    let deep = [b"}q\0".as_slice(), &b"}q\x01X\x03\0\0\0neth\0sh\x01q\x00".repeat(10_000)].concat();
    for value in [dict.as_slice(), b"]q\0h\0a", &deep] {
        for error in both(&program(value)) {
            assert!(matches!(error, ReadError::NoState(_)), "{error}");
        }
    }
}

#[test]
fn a_state_dict_is_found_where_there_are_tensors() {
    let state = || dict(&[(text("w"), tensor(4, 0, &[4], &[1]))]);
    let file = |entries: &[_]| archive(&program(&dict(entries)), &[("0", &[0; 16])]);
    // A configuration beside it, and the same dict twice.
    let settings = dict(&[(text("net"), dict(&[(text("depth"), int(3))]))]);
    assert!(read(&file(&[(text("model"), settings.clone()), (text("state_dict"), state())])).is_ok());
    let again = [state(), b"q\0".to_vec()].concat();
    assert!(read(&file(&[(text("model"), again), (text("state_dict"), b"h\0".to_vec())])).is_ok());
    // A loss beside it.
    assert!(read(&file(&[(text("loss"), tensor(4, 0, &[], &[])), (text("net"), state())])).is_ok());
    let deeper = |inner| dict(&[(text("model"), inner)]);
    assert!(read(&file(&[(text("model"), deeper(deeper(deeper(state()))))])).is_ok());
    let too_deep = read(&file(&[(text("model"), deeper(deeper(deeper(deeper(state())))))]));
    assert!(matches!(too_deep, Err(ReadError::NoState(_))), "{too_deep:?}");
}

#[test]
fn dicts_of_python_2_are_read() {
    let ordered = global("collections", "OrderedDict");
    let list = |pairs: &[u8]| [b"](".as_slice(), pairs, b"e"].concat();
    let pair = [b"](".as_slice(), b"U\x01w", &tensor(4, 1, &[2], &[2]), b"e"].concat();
    let file = archive(&program(&call(&ordered, &[list(&pair)])), &[("0", &[0; 16])]);
    assert_eq!(read(&file).unwrap().get("w").unwrap().shape(), [2]);
    for wrong in [list(b"N"), list(b"]"), list(b"(NNNt"), b"N".to_vec()] {
        broken(&call(&ordered, &[wrong]), &Fault::Arguments("OrderedDict"));
    }
    // The same list, over and over.
    let long = [list(&b"NN\x86".repeat(20_000)), b"q\0".to_vec(), ordered, b"q\x01".to_vec()].concat();
    let copies = b"h\x01h\0\x85R".repeat(100);
    broken(&[long, copies].concat(), &Fault::Instructions(1_000_000));
}

#[test]
fn a_tensor_is_within_its_storage() {
    let values = |bytes: Vec<u8>| Some(read(&one_tensor(&bytes)).ok()?.get("w")?.to_f32());
    assert_eq!(values(tensor(4, 0, &[2, 2], &[1, 2])), Some(vec![0.0, 2.0, 1.0, 3.0]));
    assert_eq!(values(tensor(4, 3, &[2], &[0])), Some(vec![3.0, 3.0]));
    let old = [storage("FloatStorage", "0", 4), int(1), ints(&[2]), ints(&[2])];
    assert_eq!(values(call(&global("torch._utils", "_rebuild_tensor"), &old)), Some(vec![1.0, 3.0]));
    let (most, huge) = (i128::from(i64::MAX), 1 << 62);
    for (offset, shape, stride) in [
        (0, vec![5], vec![1]),
        (1, vec![4], vec![1]),
        (4, vec![1], vec![1]),
        (0, vec![2, 2], vec![3, 1]),
        (most, vec![1], vec![1]),
        (1, vec![2], vec![most]),
        (0, vec![3, 3], vec![huge, huge]),
        (0, vec![2; 8], vec![huge; 8]),
    ] {
        let error = refusal(&one_tensor(&tensor(4, offset, &shape, &stride)));
        let expected = format!("\"w\", {shape:?} F32, does not fit its storage of 16 bytes");
        assert_eq!(error, expected);
    }
    for shape in [vec![most], vec![most, most], vec![1 << 32, 1 << 32], vec![1 << 29], vec![1 << 28, 1, 2]] {
        let error = refusal(&one_tensor(&tensor(4, 0, &shape, &vec![0; shape.len()])));
        assert!(error.starts_with("bytes of the tensors: "), "{error}");
    }
    assert_eq!(values(tensor(4, most, &[0, most, most], &[most, most, most])), Some(vec![]));
    for (offset, shape, stride) in [
        (-1, vec![1], vec![1]),
        (0, vec![-1], vec![1]),
        (0, vec![2], vec![-1]),
        (0, vec![1], vec![]),
        (0, vec![1 << 64], vec![0]),
        (0, vec![1; 9], vec![1; 9]),
    ] {
        broken(&tensor(4, offset, &shape, &stride), &Fault::Arguments("_rebuild_tensor_v2"));
    }
}

#[test]
fn a_storage_is_as_long_as_it_says() {
    for elements in [0, 3, 5, 1 << 61, 1 << 62, i128::from(i64::MAX)] {
        let error = refusal(&one_tensor(&tensor(elements, 0, &[1], &[1])));
        assert!(error.contains(&format!("16 bytes, not {elements} values of F32")), "{error}");
    }
    broken(&storage("FloatStorage", "0", -1), &Fault::Arguments("a storage"));
    broken(&storage("FloatStorage", "0", 1 << 63), &Fault::Arguments("a storage"));
    // In the older format the length is said twice.
    let one = |elements: i128| program(&dict(&[(text("w"), tensor(elements, 0, &[1], &[1]))]));
    let keys = |keys: &[&str]| {
        program(&[b"](".to_vec(), keys.iter().flat_map(|k| text(k)).collect(), b"e".to_vec()].concat())
    };
    let of =
        |elements: u64, values: usize| [elements.to_le_bytes().as_slice(), &vec![0; 4 * values]].concat();
    assert!(read(&legacy(&one(2), &keys(&["0"]), &of(2, 2))).is_ok());
    let said = "the file is broken or not from torch.save: ";
    for (file, reason) in [
        (legacy(&one(2), &keys(&["0"]), &of(2, 1)), "storage \"0\" is cut off, or not as described"),
        (legacy(&one(2), &keys(&["0"]), &of(3, 3)), "storage \"0\" is cut off, or not as described"),
        (
            legacy(&one(1 << 62), &keys(&["0"]), &of(1 << 62, 3)),
            "storage \"0\" is cut off, or not as described",
        ),
        (legacy(&one(2), &keys(&["1"]), &of(2, 2)), "it names an unknown storage"),
        (legacy(&one(2), &keys(&[]), &of(2, 2)), "it has no storage \"0\""),
        (legacy(&one(2), &program(b"}"), &of(2, 2)), "it does not name its storages"),
    ] {
        assert_eq!(refusal(&file), format!("{said}{reason}"));
    }
    assert!(refusal(&legacy_of(b"K\x01", b"\x88", b"")).ends_with("it is not of version 1001"));
    for little in [b"\x89", b"N"] {
        let error = read(&legacy_of(b"M\xe9\x03", little, b"")).unwrap_err();
        assert!(matches!(error, ReadError::BigEndian), "{error}");
    }
    let two = dict(&[(text("a"), tensor(2, 0, &[1], &[1])), (text("b"), tensor(3, 0, &[1], &[1]))]);
    let error = refusal(&legacy(&program(&two), &keys(&["0"]), &of(2, 2)));
    assert_eq!(error, format!("{said}storage \"0\" is described in two ways"));
}

#[test]
fn a_name_comes_once() {
    let one = |name| (text(name), tensor(4, 0, &[4], &[1]));
    let file = |entries: &[_]| archive(&program(&dict(entries)), &[("0", &[0; 16])]);
    assert_eq!(refusal(&file(&[one("w"), one("w")])), "\"w\" comes twice");
    let names = |file: &[u8]| read(file).unwrap().iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&file(&[one("module.a"), one("module.b")])), ["a", "b"]);
    assert_eq!(names(&file(&[one("module._orig_mod.module.a")])), ["a"]);
    // One name without it, or nothing after it: then it is part of the names.
    assert_eq!(names(&file(&[one("module.a"), one("b")])), ["b", "module.a"]);
    assert_eq!(names(&file(&[one("module.")])), ["module."]);
}

#[test]
fn other_files_are_told_by_their_first_bytes() {
    for (file, start) in [
        (b"".as_slice(), "\"\""),
        (b"cos\nsystem\n(S'id'\ntR.", r#""cos\nsyst""#),
        (b"\x80\x02}.", r#""\x80\x02}.""#),
        (b"\x89HDF\r\n\x1a\n", r#""\x89HDF\r\n\x1a\n""#),
        (b"PK\x05\x06", r#""PK\x05\x06""#),
    ] {
        assert_eq!(
            refusal(file),
            format!("neither safetensors nor written by torch.save: it begins with {start}")
        );
    }
}
