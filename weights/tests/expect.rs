//! What is said when the file is of another architecture.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use common::{archive, call, dict, fixture, global, int, ints, program, read, storage, text};
use weights::{Mismatch, Weights};

type Shapes = Vec<(&'static str, Vec<usize>)>;

fn net(classes: usize) -> Shapes {
    vec![
        ("conv.weight", vec![4, 2, 3, 3]),
        ("conv.bias", vec![4]),
        ("bn.weight", vec![4]),
        ("bn.bias", vec![4]),
        ("bn.running_mean", vec![4]),
        ("bn.running_var", vec![4]),
        ("bn.num_batches_tracked", vec![]),
        ("fc.weight", vec![classes, 4]),
        ("fc.bias", vec![classes]),
    ]
}

fn file() -> Weights {
    read(&fixture("ordered.pth")).unwrap()
}

/// Zeros of these shapes, all views of one value.
fn zeros(shapes: &Shapes, class: &str) -> Weights {
    let tensor = |shape: &[usize]| {
        let shape: Vec<i128> = shape.iter().map(|n| *n as i128).collect();
        let none = vec![0; shape.len()];
        let arguments =
            [storage(class, "0", 1), int(0), ints(&shape), ints(&none), b"\x89".to_vec(), b"N".to_vec()];
        call(&global("torch._utils", "_rebuild_tensor_v2"), &arguments)
    };
    let entries: Vec<_> = shapes.iter().map(|(name, shape)| (text(name), tensor(shape))).collect();
    let size = if class == "LongStorage" { 8 } else { 4 };
    read(&archive(&program(&dict(&entries)), &[("0", &vec![0; size])])).unwrap()
}

fn without(shapes: Shapes, part: &str) -> Shapes {
    shapes.into_iter().filter(|(name, _)| !name.contains(part)).collect()
}

#[track_caller]
fn said(file: &Weights, expected: &Shapes, message: &str) -> Mismatch {
    let mismatch = file.expect(expected).unwrap_err();
    assert_eq!(mismatch.to_string(), message);
    mismatch
}

#[test]
fn the_right_architecture_fits() {
    file().expect(&net(3)).unwrap();
    // The counter may be in either, or in none.
    file().expect(&without(net(3), "num_batches_tracked")).unwrap();
    let old = zeros(&without(net(3), "num_batches_tracked"), "FloatStorage");
    old.expect(&net(3)).unwrap();
    old.expect(&without(net(3), "num_batches_tracked")).unwrap();
}

#[test]
fn the_first_tensor_that_differs_is_named() {
    let mut wide = net(5);
    wide[0].1 = vec![4, 1, 3, 3];
    said(&file(), &wide, "\"conv.weight\" is [4, 2, 3, 3] in the file, the architecture needs [4, 1, 3, 3]");
    let mut deep = net(3);
    deep.insert(2, ("conv2.weight", vec![8, 4, 3, 3]));
    deep.insert(3, ("conv2.bias", vec![8]));
    said(
        &file(),
        &deep,
        "the architecture needs \"conv2.weight\" [8, 4, 3, 3], which the file does not have, nor 1 more",
    );
    let missing = said(
        &zeros(&vec![("features.0.weight", vec![2]), ("features.0.bias", vec![2])], "FloatStorage"),
        &net(3),
        "the architecture needs \"conv.weight\" [4, 2, 3, 3], which the file does not have, nor 7 more; it has \"features.0.bias\" instead",
    );
    assert!(matches!(missing, Mismatch::Missing { missing: 8, .. }), "{missing:?}");
    // A scalar, where the last layer is expected.
    let scalar = zeros(&vec![("fc.weight", vec![])], "FloatStorage");
    let fc = vec![("fc.weight", vec![3, 4])];
    said(&scalar, &fc, "\"fc.weight\" is [] in the file, the architecture needs [3, 4]");
}

#[test]
fn another_number_of_classes_is_called_that() {
    let message = "\"fc.weight\" is [3, 4] in the file: a model of 3 classes, where 10 are expected";
    assert!(matches!(said(&file(), &net(10), message), Mismatch::Classes { .. }));
    // Of more inputs, it is another layer.
    let mut other = net(10);
    other[7].1 = vec![10, 128];
    said(&file(), &other, "\"fc.weight\" is [3, 4] in the file, the architecture needs [10, 128]");
    // The bias alone.
    let mut bias = net(3);
    bias[8].1 = vec![10];
    said(&file(), &bias, "\"fc.bias\" is [3] in the file: a model of 3 classes, where 10 are expected");
}

#[test]
fn what_is_too_much_is_named() {
    let expected = without(net(3), "bn.");
    let message = "the file has \"bn.bias\" [4], for which the architecture has no place, nor for 3 more";
    assert!(matches!(said(&file(), &expected, message), Mismatch::Extra { extra: 4, .. }));
    let none = Shapes::new();
    said(
        &zeros(&vec![("w", vec![1])], "FloatStorage"),
        &none,
        "the file has \"w\" [1], for which the architecture has no place",
    );
}

#[test]
fn weights_are_fractions() {
    let integers = zeros(&net(3), "LongStorage");
    said(
        &integers,
        &net(3),
        "\"conv.weight\" holds I64 values in the file, the architecture needs fractions",
    );
}
