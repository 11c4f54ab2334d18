//! Models that are shipped as weights or as ONNX: what PyTorch says of them, this server says.
#![allow(clippy::unwrap_used, reason = "a test program")]

#[path = "../common/mod.rs"]
mod common;
mod formula;
mod refused;
mod served;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use model_server::{Artefact, Engine, Metadata};
use rstest::rstest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// What PyTorch says of an architecture.
#[derive(Deserialize)]
struct Network {
    height: u32,
    width: u32,
    tensors: Vec<(String, Vec<usize>)>,
    logits: Vec<Vec<f32>>,
}

/// What it says of an artefact that it wrote.
#[derive(Deserialize)]
struct Written {
    digest: String,
    logits: Vec<Vec<f32>>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn expected<T: DeserializeOwned>(file: &str, name: &str) -> T {
    let mut all: BTreeMap<String, T> = serde_json::from_slice(&fs::read(fixture(file)).unwrap()).unwrap();
    all.remove(name).unwrap()
}

fn network(name: &str) -> Network {
    expected("architectures.json", name)
}

fn written(name: &str) -> Written {
    expected("artefacts.json", name)
}

/// An artefact without a model, described as the fixtures are.
fn described(architecture: &str, height: u32, width: u32, classes: usize) -> (TempDir, Metadata) {
    let example = fs::read(fixture("artefacts/zip/metadata.json")).unwrap();
    let mut metadata = Metadata::parse(&example).unwrap();
    metadata.architecture = architecture.to_owned();
    metadata.classes = (0..classes).map(|class| format!("class-{class}")).collect();
    (metadata.preprocessing.height, metadata.preprocessing.width) = (height, width);
    let directory = tempfile::tempdir().unwrap();
    describe(directory.path(), &metadata);
    (directory, metadata)
}

fn describe(directory: &Path, metadata: &Metadata) {
    let profile = wire::Profile::new(&metadata.version, &metadata.classes);
    fs::write(directory.join("metadata.json"), serde_json::to_vec(metadata).unwrap()).unwrap();
    fs::write(directory.join("reference.json"), serde_json::to_vec(&profile).unwrap()).unwrap();
}

/// As `serve` loads it.
fn load(directory: &Path) -> (Artefact, Box<dyn Engine>) {
    let artefact = Artefact::read(directory).unwrap();
    let engine = model_server::load::engine(&artefact.model, &artefact.metadata, 1).unwrap();
    (artefact, engine)
}

/// The outputs for some images are PyTorch's (in 64 bits), within 1e-5 of the largest, or of 1 if that is larger.
#[track_caller]
#[allow(clippy::print_stdout, reason = "how far off, for whoever asks")]
fn agrees(engine: &mut dyn Engine, metadata: &Metadata, images: &[RgbImage], logits: &[Vec<f32>]) {
    let inputs: Vec<f32> = images.iter().flat_map(|image| metadata.preprocessing.normalise(image)).collect();
    let found = engine.run(&inputs, images.len()).unwrap();
    let expected = logits.concat();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1.0f32, |most, logit| most.max(logit.abs()));
    let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{} of {} images: {off:e} off, the largest is {largest}", metadata.architecture, images.len());
    assert!(off <= 1e-5 * largest, "{off:e} off, of {largest}: {found:?}, expected: {expected:?}");
}

#[rstest]
#[case("cnn-3conv-2fc")]
#[case("mobilenet-v2")]
#[case("resnet18")]
#[case("resnet18-cifar")]
fn every_architecture_gives_the_logits_of_pytorch_in_every_batch(#[case] name: &str) {
    let network = network(name);
    let (directory, _) = described(name, network.height, network.width, network.logits[0].len());
    fs::write(directory.path().join("model.safetensors"), formula::weights(&network.tensors)).unwrap();
    let (artefact, mut engine) = load(directory.path());
    let metadata = artefact.metadata.clone();
    let images = formula::images(network.logits.len(), network.height, network.width);
    agrees(engine.as_mut(), &metadata, &images, &network.logits);
    for (image, logits) in images.iter().zip(&network.logits) {
        agrees(engine.as_mut(), &metadata, std::slice::from_ref(image), std::slice::from_ref(logits));
    }
    // As most are served in fp32.
    let translated = artefact.model.program(&metadata).unwrap().translate(&metadata).unwrap();
    agrees(translated.engine(&metadata, 1).unwrap().as_mut(), &metadata, &images, &network.logits);
    let others = (1..6).map(|i| i % images.len());
    let (more, logits): (Vec<_>, Vec<_>) =
        others.map(|i| (images[i].clone(), network.logits[i].clone())).unzip();
    agrees(engine.as_mut(), &metadata, &more, &logits);
}

// rule: I5
#[rstest]
#[case::torch_save("zip")]
#[case::before_torch_1_6_and_named_as_a_graph("legacy")]
#[case::within_a_checkpoint_of_a_wrapped_model_in_half("checkpoint")]
#[case::safetensors_in_half("safetensors")]
#[case::onnx("onnx")]
fn every_file_format_gives_the_logits_of_pytorch(#[case] name: &str) {
    let directory = fixture("artefacts").join(name);
    let written = written(name);
    let (artefact, mut engine) = load(&directory);
    assert_eq!(artefact.digest, written.digest, "as Python computes it");
    assert_eq!(artefact.digest, sources::digest::of_directory(&directory).unwrap());
    for images in 1..=8 {
        let (some, logits): (Vec<_>, Vec<_>) =
            formula::images(2, 8, 8).into_iter().zip(written.logits.clone()).cycle().take(images).unzip();
        agrees(engine.as_mut(), &artefact.metadata, &some, &logits);
    }
}
