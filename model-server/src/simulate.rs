//! What a model says of corrupted images, one row per image: drift with a known cause and size.

use std::collections::BTreeSet;
use std::io;

use serde::Serialize;
use wire::Feature;

use crate::corrupt::{CorruptError, Corruption};
use crate::dataset::{Dataset, Sample};
use crate::{Engine, EngineError, Metadata, PreprocessError, evaluate, stats};

/// A corruption at a severity; 0 for [`Corruption::None`], which has none.
pub type Condition = (Corruption, u8);

/// The answer to one image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row<'a> {
    /// Name of the corruption.
    pub corruption: &'static str,
    /// 1..=5; 0 without corruption.
    pub severity: u8,
    /// Position in the data file, from 0.
    pub index: usize,
    /// The right class.
    pub label: &'a str,
    /// The predicted class; none for a null output.
    pub prediction: Option<&'a str>,
    /// Its probability; none for a null output.
    pub confidence: Option<f64>,
    /// Features of the image in the size of the input ([`wire::Feature`]), as routers see them.
    pub brightness: f64,
    /// As above.
    pub contrast: f64,
    /// As above.
    pub sharpness: f64,
    /// As above.
    pub saturation: f64,
    /// Of the answer; none for a null output.
    pub entropy: Option<f64>,
    /// Of the answer; none for a null output and without logits.
    pub energy: Option<f64>,
}

/// First line of the rows as CSV.
pub const CSV_HEADER: &str = "corruption,severity,index,label,prediction,confidence,brightness,contrast,sharpness,\
    saturation,entropy,energy";

impl Row<'_> {
    /// The row as a line of CSV (RFC 4180) without its end; what there is none of is empty.
    #[must_use]
    pub fn csv(&self) -> String {
        let Row { corruption, severity, index, brightness, contrast, sharpness, saturation, .. } = self;
        let (label, prediction) = (quoted(self.label), quoted(self.prediction.unwrap_or_default()));
        let number = |of: Option<f64>| of.map_or(String::new(), |number| number.to_string());
        let [confidence, entropy, energy] = [self.confidence, self.entropy, self.energy].map(number);
        format!(
            "{corruption},{severity},{index},{label},{prediction},{confidence},{brightness},{contrast},{sharpness},\
             {saturation},{entropy},{energy}"
        )
    }
}

/// A class may be called anything.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

/// What the answers under one condition came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Number of images.
    pub images: usize,
    /// Share of right answers, 0..=1.
    pub accuracy: f64,
    /// Mean probability of the predicted classes; none without any answer.
    pub mean_confidence: Option<f64>,
    /// How many classes were predicted at all. A model that is sure, yet has one answer to every image, shows
    /// here and not in its confidence.
    pub predicted_classes: usize,
}

/// Why a simulation ended.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// An image cannot be corrupted.
    #[error("image {index} with {corruption}: {source}")]
    Corrupt {
        /// Number of the image, from 0.
        index: usize,
        /// Name of the corruption.
        corruption: &'static str,
        /// Why.
        source: CorruptError,
    },
    /// An image has no size that the model takes.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The model failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A row cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Each corruption at each severity, in this order; `none` once.
#[must_use]
pub fn conditions(corruptions: &[Corruption], severities: &[u8]) -> Vec<Condition> {
    let of = |corruption: &Corruption| match *corruption {
        Corruption::None => vec![(Corruption::None, 0)],
        corruption => severities.iter().map(|severity| (corruption, *severity)).collect(),
    };
    corruptions.iter().flat_map(of).collect()
}

/// Answers every image of `data` under one condition, through the preprocessing and an engine of serving, and
/// hands the rows to `take` in order.
///
/// # Errors
/// If an image, the engine or `take` fails.
pub fn simulate(
    engine: &mut dyn Engine,
    metadata: &Metadata,
    data: &Dataset,
    condition: Condition,
    seed: u64,
    mut take: impl FnMut(&Row<'_>) -> io::Result<()>,
) -> Result<Summary, SimulateError> {
    let data = corrupted(data, condition, seed)?;
    let answers = evaluate::answers(engine, metadata, &data)?;
    for (index, (sample, answer)) in data.samples.iter().zip(&answers).enumerate() {
        let seen = metadata.preprocessing.resize(sample.image.clone())?;
        // No corruption changes the size.
        let [brightness, contrast, sharpness, saturation, _] =
            stats::of_image(&seen, 0).map(|(_, value)| value);
        let said =
            |wanted| stats::of_answer(answer).find(|(feature, _)| *feature == wanted).map(|(_, value)| value);
        take(&Row {
            corruption: condition.0.name(),
            severity: condition.1,
            index,
            label: &data.classes[usize::from(sample.label)],
            prediction: answer.best.map(|(class, _)| metadata.classes[class].as_str()),
            confidence: answer.best.map(|(_, confidence)| confidence),
            brightness,
            contrast,
            sharpness,
            saturation,
            entropy: said(Feature::Entropy),
            energy: said(Feature::Energy),
        })?;
    }
    let (predicted, confidences): (Vec<usize>, Vec<f64>) = answers.iter().filter_map(|a| a.best).unzip();
    Ok(Summary {
        images: data.samples.len(),
        accuracy: evaluate::accuracy(&data, &answers),
        mean_confidence: (!confidences.is_empty())
            .then(|| confidences.iter().sum::<f64>() / confidences.len() as f64),
        predicted_classes: predicted.into_iter().collect::<BTreeSet<_>>().len(),
    })
}

fn corrupted(data: &Dataset, (corruption, severity): Condition, seed: u64) -> Result<Dataset, SimulateError> {
    let change =
        |(index, sample): (usize, &Sample)| match corruption.apply(&sample.image, severity, seed, index) {
            Ok(image) => Ok(Sample { label: sample.label, image }),
            Err(source) => Err(SimulateError::Corrupt { index, corruption: corruption.name(), source }),
        };
    let samples = data.samples.iter().enumerate().map(change).collect::<Result<_, _>>()?;
    Ok(Dataset { classes: data.classes.clone(), samples })
}

#[cfg(test)]
mod tests;
