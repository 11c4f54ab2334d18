//! What a model says of corrupted images, one row per image: drift with a known cause and size.

use std::io;

use serde::Serialize;

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
}

/// First line of the rows as CSV.
pub const CSV_HEADER: &str =
    "corruption,severity,index,label,prediction,confidence,brightness,contrast,sharpness";

impl Row<'_> {
    /// The row as a line of CSV (RFC 4180) without its end; a null output leaves two fields empty.
    #[must_use]
    pub fn csv(&self) -> String {
        let Row { corruption, severity, index, brightness, contrast, sharpness, .. } = self;
        let (label, prediction) = (quoted(self.label), quoted(self.prediction.unwrap_or_default()));
        let confidence = self.confidence.map_or(String::new(), |c| c.to_string());
        format!(
            "{corruption},{severity},{index},{label},{prediction},{confidence},{brightness},{contrast},{sharpness}"
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
        let [brightness, contrast, sharpness] = stats::of_image(&seen);
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
        })?;
    }
    let confidences: Vec<f64> = answers.iter().filter_map(|a| a.best).map(|(_, c)| c).collect();
    Ok(Summary {
        images: data.samples.len(),
        accuracy: evaluate::accuracy(&data, &answers),
        mean_confidence: (!confidences.is_empty())
            .then(|| confidences.iter().sum::<f64>() / confidences.len() as f64),
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
mod tests {
    use super::*;
    use crate::Reference;
    use crate::metadata::tests::example;

    fn world() -> (Reference, Metadata, Dataset) {
        let metadata = Metadata::parse(example().to_string().as_bytes()).unwrap();
        let engine = Reference { classes: metadata.classes.len(), sharp: 4.0 };
        let sample = |i: u32| Sample {
            label: (i % 2) as u8,
            image: image::RgbImage::from_fn(32, 32, |x, y| {
                image::Rgb([(x * 5 + i) as u8, y as u8, 9 * i as u8])
            }),
        };
        let data = Dataset { classes: metadata.classes.clone(), samples: (0..20).map(sample).collect() };
        (engine, metadata, data)
    }

    fn lines(condition: Condition, seed: u64) -> (Summary, Vec<String>) {
        let (mut engine, metadata, data) = world();
        let mut lines = Vec::new();
        let summary = simulate(&mut engine, &metadata, &data, condition, seed, |row| {
            lines.push(row.csv());
            Ok(())
        });
        (summary.unwrap(), lines)
    }

    #[test]
    fn without_corruption_the_answers_are_those_of_evaluate() {
        let (mut engine, metadata, data) = world();
        let answers = evaluate::answers(&mut engine, &metadata, &data).unwrap();
        let expected = evaluate::report(&metadata, "", &data, &answers);
        let (summary, lines) = lines((Corruption::None, 0), 1);
        assert_eq!((summary.images, summary.accuracy), (expected.images, expected.accuracy));
        assert_eq!(summary.mean_confidence, expected.mean_confidence);
        for (line, answer) in lines.iter().zip(evaluate::predictions(&metadata, &data, &answers)) {
            let start = format!(
                "none,0,{},{},{},{},",
                answer.index,
                answer.label,
                answer.prediction.unwrap(),
                answer.confidence.unwrap()
            );
            assert!(line.starts_with(&start), "{line} {start}");
        }
    }

    #[test]
    fn a_corruption_shows_in_the_features_and_a_seed_repeats_it() {
        let mean = |lines: &[String], column: usize| {
            let read = |line: &String| line.split(',').nth(column).unwrap().parse::<f64>().unwrap();
            lines.iter().map(read).sum::<f64>() / lines.len() as f64
        };
        let clean = lines((Corruption::None, 0), 1).1;
        let light = lines((Corruption::Brightness, 5), 1).1;
        assert!(mean(&light, 6) > mean(&clean, 6) + 0.1);
        let flat = lines((Corruption::Contrast, 5), 1).1;
        assert!(mean(&flat, 7) < mean(&clean, 7));
        let noisy = |seed| lines((Corruption::GaussianNoise, 3), seed);
        assert_eq!(noisy(1), noisy(1));
        assert_ne!(noisy(1).1, noisy(2).1);
        assert_eq!(CSV_HEADER.split(',').count(), clean[0].split(',').count());
    }

    #[test]
    fn none_comes_once_and_the_others_at_each_severity() {
        let found = conditions(&[Corruption::None, Corruption::Jpeg], &[1, 3]);
        assert_eq!(found, [(Corruption::None, 0), (Corruption::Jpeg, 1), (Corruption::Jpeg, 3)]);
    }

    #[test]
    fn a_null_output_and_a_strange_class_are_written_so_that_they_read_back() {
        let row = Row {
            corruption: "jpeg",
            severity: 2,
            index: 7,
            label: "bright, or \"white\"",
            prediction: None,
            confidence: None,
            brightness: 0.5,
            contrast: 0.25,
            sharpness: 0.0,
        };
        assert_eq!(row.csv(), "jpeg,2,7,\"bright, or \"\"white\"\"\",,,0.5,0.25,0");
    }
}
