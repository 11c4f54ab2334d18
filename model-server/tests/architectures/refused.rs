//! What is said of a model that cannot be served.

use std::fs;
use std::path::Path;

use model_server::{Artefact, Output, Program};
use rstest::rstest;

use crate::formula::{self, Tensors};
use crate::{describe, described, fixture, network};

/// The last words of `serve` on this artefact.
fn said(directory: &Path) -> String {
    match Artefact::read(directory) {
        Err(error) => error.to_string(),
        Ok(artefact) => artefact.model.program(&artefact.metadata).unwrap_err().to_string(),
    }
}

/// The same, of weights with these names and shapes under this description.
fn said_of(tensors: &Tensors, architecture: &str, side: u32, classes: usize) -> String {
    let (directory, _) = described(architecture, side, side, classes);
    fs::write(directory.path().join("model.safetensors"), formula::zeros(tensors)).unwrap();
    said(directory.path())
}

/// A file of the other crate's.
fn of_weights(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights/tests/fixtures").join(name)).unwrap()
}

#[test]
fn an_unknown_architecture_is_told_the_known_ones() {
    assert_eq!(
        said_of(&network("cnn-3conv-2fc").tensors, "resnet-18", 32, 10),
        "metadata.json: architecture is \"resnet-18\", and model.safetensors holds weights; those of cnn-3conv-2fc, \
        mobilenet-v2, resnet18, resnet18-cifar can be served, anything else as TorchScript (model.pt) or as ONNX (model.onnx)"
    );
}

#[rstest]
#[case::another_that_is_known(
    "resnet18-cifar",
    "resnet18",
    10,
    "model.safetensors does not hold resnet18 for 32x32 pixels and 10 classes, as metadata.json says: \"conv1.weight\" is \
    [64, 3, 3, 3] in the file, the architecture needs [64, 3, 7, 7]; its weights are those of resnet18-cifar"
)]
#[case::another_by_all_names(
    "mobilenet-v2",
    "cnn-3conv-2fc",
    10,
    "\"conv1.weight\" [16, 3, 3, 3], which the file does not have, nor 9 more; it has \
    \"classifier.1.bias\" instead; its weights are those of mobilenet-v2"
)]
#[case::other_classes(
    "resnet18",
    "resnet18",
    10,
    "\"fc.weight\" is [7, 512] in the file: a model of 7 classes, where 10 are expected"
)]
#[case::another_with_other_classes(
    "resnet18",
    "mobilenet-v2",
    10,
    "which the file does not have, nor 261 more; it has \"bn1.bias\" instead"
)]
#[case::another_size(
    "cnn-3conv-2fc",
    "cnn-3conv-2fc",
    10,
    "for 32x32 pixels and 10 classes, as metadata.json says: \"fc1.weight\" is [128, 768] in the file, the architecture \
    needs [128, 1024]"
)]
fn weights_of_another_network_are_told_apart(
    #[case] file: &str,
    #[case] described: &str,
    #[case] classes: usize,
    #[case] message: &str,
) {
    let said = said_of(&network(file).tensors, described, 32, classes);
    assert!(said.ends_with(message), "{said}");
}

#[test]
fn probabilities_are_not_what_an_architecture_ends_in() {
    let (directory, mut metadata) = described("cnn-3conv-2fc", 8, 8, 3);
    metadata.output = Output::Probabilities;
    describe(directory.path(), &metadata);
    fs::copy(fixture("artefacts/zip/model.pth"), directory.path().join("model.pth")).unwrap();
    let message = "metadata.json: output is \"probabilities\", but cnn-3conv-2fc ends in logits";
    assert_eq!(said(directory.path()), message);
}

#[test]
fn an_artefact_has_one_model() {
    let (directory, _) = described("cnn-3conv-2fc", 8, 8, 3);
    let place = directory.path().display();
    let none = "has no model.pt, model.safetensors, model.pth or model.onnx; an artefact holds a model, metadata.json and reference.json";
    assert_eq!(said(directory.path()), format!("{place} {none}"));
    fs::write(directory.path().join("model.pt"), of_weights("torchscript.pt")).unwrap();
    fs::copy(fixture("artefacts/zip/model.pth"), directory.path().join("model.pth")).unwrap();
    let both = "holds model.pt and model.pth: keep the one that is to be served";
    assert_eq!(said(directory.path()), format!("{place} {both}"));
}

#[test]
fn a_graph_is_served_as_it_is_under_its_own_name_alone() {
    let (directory, _) = described("anything", 8, 8, 3);
    let graph = of_weights("torchscript.pt");
    fs::write(directory.path().join("model.pth"), &graph).unwrap();
    let message = "the model cannot be loaded: model.pth: this is a TorchScript program (torch.jit.save): name it model.pt";
    assert!(said(directory.path()).starts_with(message), "{}", said(directory.path()));
    fs::rename(directory.path().join("model.pth"), directory.path().join("model.pt")).unwrap();
    let artefact = Artefact::read(directory.path()).unwrap();
    let Program::TorchScript(archive) = artefact.model.program(&artefact.metadata).unwrap() else { panic!() };
    assert_eq!(*archive, *graph);
}

#[test]
fn a_whole_model_is_not_executed() {
    let (directory, _) = described("cnn-3conv-2fc", 8, 8, 3);
    fs::write(directory.path().join("model.pt"), of_weights("whole_model.pth")).unwrap();
    let message = "the model cannot be loaded: model.pt: this is a whole model, saved with torch.save(model)";
    assert!(said(directory.path()).starts_with(message), "{}", said(directory.path()));
}

#[test]
fn images_that_a_network_cannot_take_are_told_on_one_line() {
    let mut tensors = network("cnn-3conv-2fc").tensors;
    // Four pixels are none after three pools; everything else fits.
    tensors.iter_mut().find(|(name, _)| name == "fc1.weight").unwrap().1 = vec![128, 0];
    let said_of_none = said_of(&tensors, "cnn-3conv-2fc", 4, 10);
    let message = "the model cannot be loaded: cnn-3conv-2fc with the weights of model.safetensors: ";
    assert!(said_of_none.starts_with(message) && said_of_none.lines().count() == 1, "{said_of_none}");
    // Nothing of the broken trace is left.
    crate::load(&fixture("artefacts/zip"));
}
