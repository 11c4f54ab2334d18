//! Offline accuracy, through the preprocessing and the engine of serving.

use serde::Serialize;

use crate::dataset::Dataset;
use crate::{Answer, Engine, EngineError, Metadata, PreprocessError};

/// Images per step.
const BATCH: usize = 64;

/// One answer beside what was right.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// Position in the data file, from 0.
    pub index: usize,
    /// The right class.
    pub label: String,
    /// The predicted class; `null` for a null output.
    pub prediction: Option<String>,
    /// Its probability; `null` for a null output.
    pub confidence: Option<f64>,
}

/// The result for a data file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of the model.
    pub version: String,
    /// Digest of the artefact.
    pub digest: String,
    /// Number of images.
    pub images: usize,
    /// Number of right answers.
    pub correct: usize,
    /// Share of right answers, 0..=1.
    pub accuracy: f64,
    /// Mean probability of the predicted classes; `null` without any answer.
    pub mean_confidence: Option<f64>,
    /// How often each class was predicted, in the order of the classes.
    pub predicted: Vec<wire::ClassCount>,
}

/// Answers every image of a data set, in order.
///
/// # Errors
/// If the engine fails.
pub fn answers(
    engine: &mut dyn Engine,
    metadata: &Metadata,
    data: &Dataset,
) -> Result<Vec<Answer>, EngineError> {
    let mut answers = Vec::with_capacity(data.samples.len());
    for batch in data.samples.chunks(BATCH) {
        let mut inputs = Vec::with_capacity(batch.len() * metadata.preprocessing.input_len());
        for sample in batch {
            let resized = metadata.preprocessing.resize(sample.image.clone());
            let resized = resized.map_err(|e: PreprocessError| EngineError::Run(e.to_string()))?;
            inputs.extend(metadata.preprocessing.normalise(&resized));
        }
        let outputs = engine.run(&inputs, batch.len())?;
        let classes = metadata.classes.len();
        answers.extend(outputs.chunks_exact(classes).map(|o| Answer::from_outputs(o, metadata.output)));
    }
    Ok(answers)
}

/// Share of right answers.
#[must_use]
pub fn accuracy(data: &Dataset, answers: &[Answer]) -> f64 {
    correct(data, answers) as f64 / data.samples.len().max(1) as f64
}

/// Sums up the answers.
#[must_use]
pub fn report(metadata: &Metadata, digest: &str, data: &Dataset, answers: &[Answer]) -> Report {
    let mut predicted: Vec<wire::ClassCount> =
        metadata.classes.iter().map(|class| wire::ClassCount { class: class.clone(), count: 0 }).collect();
    let best: Vec<(usize, f64)> = answers.iter().filter_map(|a| a.best).collect();
    for (class, _) in &best {
        predicted[*class].count += 1;
    }
    let sum: f64 = best.iter().map(|(_, confidence)| confidence).sum();
    Report {
        version: metadata.version.clone(),
        digest: digest.to_owned(),
        images: data.samples.len(),
        correct: correct(data, answers),
        accuracy: accuracy(data, answers),
        mean_confidence: (!best.is_empty()).then(|| sum / best.len() as f64),
        predicted,
    }
}

/// Lists every answer beside what was right.
#[must_use]
pub fn predictions(metadata: &Metadata, data: &Dataset, answers: &[Answer]) -> Vec<Prediction> {
    let pairs = data.samples.iter().zip(answers).enumerate();
    pairs
        .map(|(index, (sample, answer))| Prediction {
            index,
            label: data.classes[usize::from(sample.label)].clone(),
            prediction: answer.best.map(|(class, _)| metadata.classes[class].clone()),
            confidence: answer.best.map(|(_, confidence)| confidence),
        })
        .collect()
}

fn correct(data: &Dataset, answers: &[Answer]) -> usize {
    let right = |(sample, answer): (&crate::dataset::Sample, &Answer)| {
        answer.best.is_some_and(|(class, _)| class == usize::from(sample.label))
    };
    data.samples.iter().zip(answers).filter(|pair| right(*pair)).count()
}
