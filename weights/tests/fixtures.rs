//! Files that the real torch and safetensors wrote (tests/make_fixtures.py).
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::collections::BTreeMap;

use common::{all, fixture, read, refusal};
use serde::Deserialize;
use weights::{Array, Limits, ReadError, Weights};

/// What torch says is in the files.
#[derive(Deserialize)]
struct Expected {
    files: BTreeMap<String, String>,
    states: BTreeMap<String, BTreeMap<String, Tensor>>,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data: String,
    f32: String,
}

fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().map(|b| format!("{b:02x}")).collect()
}

fn expected() -> Expected {
    serde_json::from_slice(&fixture("expected.json")).unwrap()
}

fn check(file: &str, name: &str, array: &Array, expected: &Tensor) {
    assert_eq!(array.dtype().as_str(), expected.dtype, "{file} {name}");
    assert_eq!(array.shape(), expected.shape, "{file} {name}");
    assert_eq!(hex(array.data().iter().copied()), expected.data, "{file} {name}");
    assert_eq!(
        hex(array.to_f32().into_iter().flat_map(f32::to_le_bytes)),
        expected.f32,
        "{file} {name} as f32"
    );
}

#[test]
fn every_file_holds_what_torch_put_into_it() {
    let expected = expected();
    assert!(expected.files.len() >= 25, "{}", expected.files.len());
    for (file, state) in &expected.files {
        let weights = read(&fixture(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let state = &expected.states[state];
        let names: Vec<_> = weights.iter().map(|(name, _)| name).collect();
        assert_eq!(names, state.keys().collect::<Vec<_>>(), "{file}");
        for (name, array) in weights.iter() {
            check(file, name, array, &state[name]);
        }
    }
}

#[test]
fn every_other_file_is_refused_for_a_reason_of_its_own() {
    let save = "; nothing was executed. Only dicts of tensors are read: save model.state_dict()";
    let whole = |class: &str| {
        format!(
            "this is a whole model, saved with torch.save(model): it needs the Python class {class:?}, and nothing was executed. Save model.state_dict() instead"
        )
    };
    let object = |name: &str| format!("refused the Python object {name:?}{save}");
    let reasons = [
        ("whole_model.pth", whole("__main__.Net")),
        ("whole_model_legacy.pth", whole("__main__.Net")),
        ("whole_sequential.pth", whole("torch.nn.modules.container.Sequential")),
        ("torchscript.pt", "this is a TorchScript program (torch.jit.save): name it model.pt to serve it as it is, or save model.state_dict()".to_owned()),
        ("evil.pth", object("posix.system")),
        ("evil_legacy.pth", object("posix.system")),
        ("numpy.pth", object("numpy._core.multiarray.scalar")),
        ("namespace.pth", object("argparse.Namespace")),
        ("complex.pth", object("torch.ComplexFloatStorage")),
        ("sparse.pth", object("torch._utils._rebuild_sparse_tensor")),
        ("quantized.pth", object("torch._utils._rebuild_qtensor")),
        ("uint16.pth", object("torch._utils._rebuild_tensor_v3")),
        ("negated.pth", "the pickle is broken, or holds what is not read, at byte 172: _rebuild_tensor_v2 with arguments that are not read".to_owned()),
        ("two.pth", "\"model\" and \"net\" both hold tensors: save one of them alone".to_owned()),
        ("no_tensors.pth", "no state dict: looked for tensors, and for a dict of them under one of [\"state_dict\", \"model_state_dict\", \"model\", \"net\", \"weights\"]".to_owned()),
        ("tensor.pth", "no state dict: the file holds a tensor, save model.state_dict()".to_owned()),
        ("not_a_tensor.pth", "\"epoch\" is an integer, not a tensor".to_owned()),
        ("complex.safetensors", "\"w\" has values of type C64, which is not read".to_owned()),
    ];
    for (file, reason) in &reasons {
        assert_eq!(&refusal(&fixture(file)), reason, "{file}");
    }
    let read: Vec<_> = expected().files.into_keys().collect();
    let known = |name: &String| read.contains(name) || reasons.iter().any(|(file, _)| file == name);
    let unknown: Vec<_> = all().into_iter().map(|(name, _)| name).filter(|name| !known(name)).collect();
    assert_eq!(unknown, Vec::<String>::new(), "a fixture that no test reads");
    assert!(!std::path::Path::new("/tmp/sluice-weights-was-executed").exists());
}

#[test]
fn limits_are_those_of_the_caller() {
    let (zip, old, safe) = (fixture("ordered.pth"), fixture("legacy.pth"), fixture("net.safetensors"));
    // 72 + 4 + 4 * 4 + 12 + 3 values of 4 bytes, and a counter of 8.
    let bytes = 4 * (72 + 4 + 4 * 4 + 12 + 3) + 8;
    let limits = || Limits {
        bytes,
        tensors: 9,
        name: "bn.num_batches_tracked".len(),
        nesting: 0,
        ..Limits::default()
    };
    let limit = |file: &[u8], limits: &Limits| match Weights::read(file, limits) {
        Ok(_) => None,
        Err(ReadError::Limit { what, .. }) => Some(what),
        Err(e) => panic!("{e}"),
    };
    for file in [&zip, &old] {
        assert_eq!(limit(file, &limits()), None);
        let less = Limits { bytes: bytes - 1, ..limits() };
        assert_eq!(limit(file, &less), Some("bytes of the tensors"));
        assert_eq!(limit(file, &Limits { tensors: 8, ..limits() }), Some("tensors"));
        assert_eq!(limit(file, &Limits { name: 21, ..limits() }), Some("bytes of a tensor's name"));
    }
    assert_eq!(limit(&safe, &Limits { tensors: 8, ..Limits::default() }), Some("tensors"));
    assert_eq!(limit(&safe, &Limits { name: 21, ..Limits::default() }), Some("bytes of a tensor's name"));
    assert_eq!(limit(&safe, &Limits { header: 100, ..Limits::default() }), Some("bytes of the header"));
    assert_eq!(limit(&safe, &Limits { bytes: 100, ..Limits::default() }), Some("bytes of the tensors"));
    assert_eq!(limit(&zip, &Limits { entries: 14, ..limits() }), Some("entries of the archive"));
    assert_eq!(limit(&zip, &Limits { pickle: 500, ..limits() }), Some("bytes of the pickle"));
    let nested = |nesting| Weights::read(&fixture("nested.pth"), &Limits { nesting, ..Limits::default() });
    assert!(matches!(nested(1), Err(ReadError::NoState(_))) && nested(2).is_ok());
    let few = Limits { instructions: 100, ..limits() };
    let broken = Weights::read(&zip, &few).unwrap_err().to_string();
    assert!(broken.ends_with("more than 100 instructions"), "{broken}");
}
