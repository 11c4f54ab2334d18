//! Models that are shipped as ONNX, beyond what `architectures` asks of every format.
#![allow(clippy::unwrap_used, reason = "a test program")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../architectures/formula.rs"]
#[allow(dead_code, reason = "its images are used")]
mod formula;
mod measure;
mod refused;
mod served;
mod translated;
mod write;

use std::path::{Path, PathBuf};

use model_server::{Engine, EngineError, Metadata, Plan, Program};
use prost::Message;
use rstest::rstest;

use write::{FLOAT, changed, model, node, value, weights};

/// An artefact of `make.py`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/artefacts").join(name)
}

/// What `write::model` is.
fn metadata() -> Metadata {
    let mut metadata = Metadata::parse(&std::fs::read(fixture("onnx/metadata.json")).unwrap()).unwrap();
    (metadata.preprocessing.width, metadata.preprocessing.height) = (2, 2);
    metadata
}

/// As a server's worker would load it.
fn engine(bytes: &[u8]) -> Result<Box<dyn Engine>, EngineError> {
    Program::Onnx(bytes.into()).engine(&metadata(), 1, Plan::default())
}

/// Images whose numbers 0, 1 and 2 tell them apart.
fn inputs(images: usize) -> Vec<f32> {
    (0..images * 12).map(|i| i as f32).collect()
}

fn expected(images: usize) -> Vec<f32> {
    inputs(images).chunks(12).flat_map(|image| image[..3].to_vec()).collect()
}

#[rstest]
#[case::any_number_of_images(-1)]
#[case::one_image_at_a_time(1)]
fn images_come_back_in_their_order(#[case] together: i64) {
    let bytes = changed(|graph| {
        graph.inputs = vec![value("pixels", FLOAT, &[together, 3, 2, 2])];
        graph.outputs = vec![value("scores", FLOAT, &[together, 3])];
    });
    let mut engine = engine(&bytes).unwrap();
    for images in [1, 8, 3, 5] {
        assert_eq!(engine.run(&inputs(images), images).unwrap(), expected(images), "{images}");
    }
}

#[test]
fn lengths_that_a_graph_leaves_open_are_those_of_the_description() {
    let bytes = changed(|graph| {
        graph.inputs = vec![value("anything", FLOAT, &[-1, 3, -1, -1])];
        graph.nodes[0].inputs = vec!["anything".into()];
        graph.outputs = vec![value("scores", FLOAT, &[-1, -1])];
    });
    assert_eq!(engine(&bytes).unwrap().run(&inputs(2), 2).unwrap(), expected(2));
}

#[test]
fn every_version_of_the_operators_runs_that_the_page_names() {
    for version in 7..=26 {
        let mut model = model();
        model.opsets[0].version = version;
        let ran = engine(&model.encode_to_vec()).unwrap().run(&inputs(2), 2).unwrap();
        assert_eq!(ran, expected(2), "{version}");
    }
}

#[test]
fn numbers_that_are_none_come_through() {
    let mut some = inputs(1);
    some[..3].copy_from_slice(&[f32::NAN, f32::INFINITY, 1.0]);
    // 0 times what is none is none.
    assert!(engine(&model().encode_to_vec()).unwrap().run(&some, 1).unwrap()[0].is_nan());
}

/// 1e-20 squared is smaller than any normal number: made large again it would be 1e-10.
#[test]
fn numbers_too_small_to_be_normal_are_0() {
    let bytes = changed(|graph| {
        graph.weights.push(weights("large", &[1], &[1e30]));
        graph.nodes[1].outputs = vec!["picked".into()];
        graph.nodes.push(node("Mul", &["picked", "picked"], "tiny"));
        graph.nodes.push(node("Mul", &["tiny", "large"], "scores"));
    });
    let mut some = inputs(1);
    some[0] = 1e-20;
    let found = engine(&bytes).unwrap().run(&some, 1).unwrap();
    assert_eq!(found[0], 0.0);
    assert!((found[1] / 1e30 - 1.0).abs() < 1e-5, "{found:?}");
}

/// ONNX Runtime cannot tell how many there will be: the first run does, which a server makes before it is ready.
#[test]
fn other_outputs_than_the_graph_says_are_an_error_of_the_run() {
    let bytes = changed(|graph| {
        graph.nodes[1].outputs = vec!["picked".into()];
        // All answers twice.
        graph.nodes.push(node("Concat", &["picked", "picked"], "scores").with("axis", 0));
    });
    let said = engine(&bytes).unwrap().run(&inputs(2), 2).unwrap_err().to_string();
    assert!(said.starts_with("the model gives 12 numbers for 2 images of 3 classes"), "{said}");
}
