//! Writes the artefact of a finished training: complete under its final name, or not at all.

use std::path::Path;

use super::{Epoch, Fitted, History, Settings, TrainError, Trained};
use crate::artefact::{Artefact, METADATA, PROGRESS, REFERENCE};
use crate::dataset::Dataset;
use crate::metadata::Training;
use crate::model::GRAPH;
use crate::profile;
use crate::{Metadata, Output, Plan, Preprocessing, Torch, evaluate, net, plot};

pub(super) fn artefact(
    settings: &Settings,
    data: &Dataset,
    test: &Dataset,
    contract: Preprocessing,
    fitted: Vec<Fitted>,
) -> Result<Trained, TrainError> {
    let failed = |path: &Path, reason: String| TrainError::Write { path: path.to_owned(), reason };
    let out = &settings.out;
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| failed(parent, e.to_string()))?;
    // Beside its final place, so that a rename is enough; a dot keeps it out of listings of versions.
    let unfinished = parent.join(format!(".unfinished-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&unfinished);
    std::fs::create_dir(&unfinished).map_err(|e| failed(&unfinished, e.to_string()))?;
    let written = fill(&unfinished, settings, data, test, contract, fitted);
    let renamed = written.and_then(|history| {
        std::fs::rename(&unfinished, out).map_err(|e| failed(out, e.to_string()))?;
        Ok(history)
    });
    if renamed.is_err() {
        let _ = std::fs::remove_dir_all(&unfinished);
    }
    let history = renamed?;
    let artefact = Artefact::read(out)?;
    Ok(Trained { digest: artefact.digest, metadata: artefact.metadata, history })
}

fn fill(
    directory: &Path,
    settings: &Settings,
    data: &Dataset,
    test: &Dataset,
    contract: Preprocessing,
    mut fitted: Vec<Fitted>,
) -> Result<History, TrainError> {
    let folds = fitted.split_off(1);
    let model = fitted.pop().expect("the first fit is the shipped model");
    let (training_loss, net) = (model.epochs.iter().map(|e| e.training_loss).collect(), model.net);
    let path = directory.join(GRAPH);
    net.trace()?.save(&path)?;

    let (held_out_loss, held_out_accuracy) = across(&folds, data.samples.len());
    let mut training = Training {
        data_digest: data.digest(),
        images: data.samples.len() as u64,
        seed: settings.seed,
        epochs: settings.epochs,
        batch_size: settings.batch_size,
        learning_rate: settings.learning_rate,
        shift: settings.shift,
        folds: settings.folds,
        held_out_accuracy: held_out_accuracy.last().copied().unwrap_or_default(),
        test_accuracy: 0.0,
    };
    let mut metadata = Metadata {
        version: settings.version.clone(),
        architecture: net::NAME.to_owned(),
        classes: data.classes.clone(),
        output: Output::Logits,
        preprocessing: contract,
        training: None,
    };
    // The test goes through the graph as it was written, by the same engine that serves it.
    let bytes = std::fs::read(&path).map_err(|e| TrainError::Write { path, reason: e.to_string() })?;
    let answers = evaluate::answers(&mut Torch::load(&bytes, &metadata, Plan::default())?, &metadata, test)?;
    let test_accuracy = evaluate::accuracy(test, &answers);
    training.test_accuracy = test_accuracy;
    metadata.training = Some(training);

    let images = folds.iter().flat_map(|fold| &fold.answers);
    let images = images.map(|(index, answer)| (&data.samples[*index].image, answer));
    let reference = profile::of_answers(&metadata, images);
    let history = History { training_loss, held_out_loss, held_out_accuracy, test_accuracy };
    json(&directory.join(METADATA), &metadata)?;
    json(&directory.join(REFERENCE), &reference)?;
    let path = directory.join(PROGRESS);
    plot::training(&path, &format!("{} {}", net::NAME, settings.version), &history)
        .map_err(|reason| TrainError::Write { path, reason })?;
    Ok(history)
}

/// Loss and accuracy over the held-out images of all folds, epoch by epoch: each image counts once.
fn across(folds: &[Fitted], images: usize) -> (Vec<f64>, Vec<f64>) {
    let epochs = folds.first().map_or(0, |fold| fold.epochs.len());
    let sum = |epoch: usize, value: fn((f64, f64)) -> f64| {
        let of = |fold: &Fitted| {
            let Epoch { held_out, .. } = fold.epochs[epoch];
            held_out.map_or(0.0, value) * fold.answers.len() as f64
        };
        folds.iter().map(of).sum::<f64>() / images as f64
    };
    (0..epochs).map(|epoch| (sum(epoch, |(loss, _)| loss), sum(epoch, |(_, accuracy)| accuracy))).unzip()
}

fn json(path: &Path, value: &impl serde::Serialize) -> Result<(), TrainError> {
    let failed = |reason: String| TrainError::Write { path: path.to_owned(), reason };
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| failed(e.to_string()))?;
    bytes.push(b'\n');
    std::fs::write(path, bytes).map_err(|e| failed(e.to_string()))
}
