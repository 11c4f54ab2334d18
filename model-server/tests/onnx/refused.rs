//! What is said of an ONNX file that cannot be served. None of them ends the process.

use prost::Message;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rstest::rstest;

use crate::write::{FLOAT, FLOAT16, Graph, INT64, Model, Pair, Tensor, changed, model, node, value, weights};
use crate::{engine, inputs};

fn said(bytes: &[u8]) -> String {
    let said = engine(bytes).map(|_| ()).unwrap_err().to_string();
    assert!(said.len() < 600 && said.lines().count() == 1, "{said}");
    said
}

#[rstest]
#[case::two_inputs(
    |graph: &mut Graph| graph.inputs.push(value("mask", FLOAT, &[-1, 3])),
    "the graph has 2 inputs (\"pixels\", \"mask\"), allowed: one input, of 32-bit floats, [images, 3, 2, 2]"
)]
#[case::no_input(
    |graph: &mut Graph| {
        graph.inputs.clear();
        graph.weights.push(weights("pixels", &[1, 3, 2, 2], &[0.0; 12]));
    },
    "the graph has 0 inputs (), allowed: one input"
)]
#[case::two_outputs(
    |graph: &mut Graph| graph.outputs.push(value("flat", FLOAT, &[-1, 12])),
    "the graph has 2 outputs (\"scores\", \"flat\"), allowed: one output, of 32-bit floats, [images, 3]"
)]
#[case::another_size(
    |graph: &mut Graph| {
        graph.inputs[0] = value("pixels", FLOAT, &[-1, 3, 3, 2]);
        graph.weights = vec![weights("picks", &[18, 3], &[0.0; 54])];
    },
    "the graph has the input \"pixels\": f32 [any, 3, 3, 2], allowed: one input, of 32-bit floats, [images, 3, 2, 2]"
)]
#[case::flat(
    |graph: &mut Graph| graph.inputs[0] = value("pixels", FLOAT, &[-1, 12]),
    "the input \"pixels\": f32 [any, 12], allowed"
)]
#[case::four_images_at_a_time(
    |graph: &mut Graph| graph.inputs[0] = value("pixels", FLOAT, &[4, 3, 2, 2]),
    "the input \"pixels\": f32 [4, 3, 2, 2], allowed"
)]
#[case::huge(
    |graph: &mut Graph| {
        graph.inputs[0] = value("pixels", FLOAT, &[-1, 3, i64::MAX, i64::MAX]);
        graph.nodes = vec![node("GlobalAveragePool", &["pixels"], "mean"), node("Flatten", &["mean"], "scores")];
    },
    "f32 [any, 3, 9223372036854775807, 9223372036854775807], allowed"
)]
#[case::integers(
    |graph: &mut Graph| {
        graph.inputs[0] = value("pixels", INT64, &[-1, 3, 2, 2]);
        graph.nodes = vec![node("Flatten", &["pixels"], "scores")];
        graph.outputs[0] = value("scores", INT64, &[-1, 12]);
    },
    "the input \"pixels\": i64 [any, 3, 2, 2], allowed"
)]
#[case::half(
    |graph: &mut Graph| {
        graph.inputs[0] = value("pixels", FLOAT16, &[-1, 3, 2, 2]);
        graph.nodes = vec![node("Flatten", &["pixels"], "scores")];
        graph.outputs[0] = value("scores", FLOAT16, &[-1, 12]);
    },
    "the input \"pixels\": f16 [any, 3, 2, 2], allowed"
)]
#[case::other_classes(
    |graph: &mut Graph| {
        graph.weights = vec![weights("picks", &[12, 4], &[0.0; 48])];
        graph.outputs[0] = value("scores", FLOAT, &[-1, 4]);
    },
    "the output \"scores\": f32 [any, 4], allowed: one output, of 32-bit floats, [images, 3]"
)]
#[case::one_number(
    |graph: &mut Graph| {
        graph.nodes[1] = node("ReduceMean", &["flat"], "scores");
        graph.outputs[0] = value("scores", FLOAT, &[1, 1]);
    },
    "the output \"scores\": f32 [1, 1], allowed"
)]
fn inputs_and_outputs_of_something_else_are_named(#[case] change: fn(&mut Graph), #[case] message: &str) {
    let said = said(&changed(change));
    assert!(said.starts_with("the model cannot be loaded: model.onnx: ") && said.contains(message), "{said}");
}

fn elsewhere(place: &str) -> impl FnOnce(&mut Graph) {
    let pair = |key: &str, value: &str| Pair { key: key.into(), value: value.into() };
    let external = vec![pair("location", place), pair("offset", "0"), pair("length", "144")];
    move |graph| graph.weights[0] = Tensor { data: None, location: 1, external, ..graph.weights[0].clone() }
}

#[rstest]
#[case::of_the_artefact("model.onnx.data")]
#[case::outside("../../../../../../etc/passwd")]
#[case::absolute("/etc/passwd")]
#[case::memory_of_this_process("*/_ORT_MEM_ADDR_/*")]
fn numbers_from_elsewhere_are_not_read(#[case] place: &str) {
    let said = said(&changed(elsewhere(place)));
    let message =
        format!("the numbers of a tensor are in another file ({place:?}), allowed: all within this one");
    assert!(said.contains(&message), "{said}");
}

#[rstest]
#[case::unknown(node("Conjure", &["flat", "picks"], "scores"), "Conjure")]
#[case::of_somebody(
    crate::write::Node { domain: "evil.example".into(), ..node("Run", &["flat"], "scores") },
    "evil.example"
)]
#[case::without_its_input(node("MatMul", &["flat", "nothing"], "scores"), "nothing")]
fn operators_that_onnx_runtime_has_not_are_named(#[case] node: crate::write::Node, #[case] name: &str) {
    let mut model = model();
    model.opsets.push(crate::write::Opset { domain: "evil.example".into(), version: 1 });
    model.graph.as_mut().unwrap().nodes[1] = node;
    let said = said(&model.encode_to_vec());
    assert!(said.contains(name), "{said}");
}

#[rstest]
#[case::more_than_there_are(&[12, 3, 1 << 40])]
#[case::overflowing(&[1 << 62, 1 << 62, 1 << 62])]
#[case::negative(&[-12, -3])]
#[case::fewer(&[11, 3])]
fn weights_that_do_not_have_their_lengths_are_an_error(#[case] lengths: &[i64]) {
    said(&changed(|graph| graph.weights[0].lengths = lengths.to_vec()));
}

#[rstest]
#[case::empty(vec![])]
#[case::zeros(vec![0; 4096])]
#[case::text(b"not a graph, but a text of some length".to_vec())]
#[case::ort_format(b"\x18\0\0\0ORTM\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec())]
#[case::a_graph_of_torchscript(std::fs::read(crate::fixture("zip/model.pth")).unwrap())]
#[case::without_a_graph(Model { graph: None, ..model() }.encode_to_vec())]
#[case::a_later_version({
    let mut model = model();
    model.opsets[0].version = 999;
    model.encode_to_vec()
})]
#[case::a_later_format(Model { ir_version: 999, ..model() }.encode_to_vec())]
#[case::without_versions(Model { opsets: vec![], ..model() }.encode_to_vec())]
#[case::in_a_circle(changed(|graph| graph.nodes[0].inputs = vec!["scores".into()]))]
fn what_is_no_graph_is_an_error(#[case] bytes: Vec<u8>) {
    said(&bytes);
}

/// Nested graphs, so deep that a reader without a limit would run out of stack.
#[test]
fn messages_in_messages_are_an_error() {
    // Graph 7 of a model; then node 1, its attribute 5, its graph 6.
    let mut bytes = vec![];
    for _ in 0..100_000 {
        for tag in [6, 5, 1] {
            let mut outer = vec![tag << 3 | 2];
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.reverse();
            bytes.extend(outer);
        }
    }
    let mut outer = vec![7 << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
    outer.reverse();
    bytes.extend(outer);
    bytes.reverse();
    assert!(said(&bytes).contains("this is no ONNX file, or a part of one: "));
}

/// A file that breaks off anywhere, and one with any byte changed: an error, or a graph that runs or fails.
#[test]
fn damage_ends_no_process() {
    let whole = model().encode_to_vec();
    for length in 0..whole.len() {
        // Some of them are complete messages.
        let _ = tried(&whole[..length]);
    }
    let mut random = StdRng::seed_from_u64(1);
    let mut loaded = 0;
    for _ in 0..4000 {
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        loaded += usize::from(tried(&bytes));
    }
    // Weights may change.
    assert!((1..4000).contains(&loaded), "{loaded}");
}

#[test]
fn damage_of_an_exported_file_ends_no_process() {
    let whole = std::fs::read(crate::fixture("onnx/model.onnx")).unwrap();
    // What is not weights is at both ends.
    let ends = || (0..2500).chain(whole.len() - 400..whole.len());
    let mut random = StdRng::seed_from_u64(2);
    for at in ends().step_by(3) {
        tried(&whole[..at]);
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << random.random_range(0..8);
        tried(&bytes);
    }
}

/// Whether it loads. If so it is run.
fn tried(bytes: &[u8]) -> bool {
    let Ok(mut engine) = engine(bytes) else { return false };
    let _ = engine.run(&inputs(2), 2);
    true
}
