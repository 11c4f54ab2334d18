//! `metadata.json`: what a model is, and how it wants to be fed.

use serde::{Deserialize, Serialize};

use crate::{Output, PreprocessError, Preprocessing};

/// Most classes of a model.
pub(crate) const MAX_CLASSES: usize = 10_000;

/// The description of an artefact. Unknown fields are refused: a misspelt one must not be ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Semantic version of the model.
    pub version: String,
    /// What the network is: `cnn-3conv-2fc` from `train`. Beside weights it says how they are used, beside a graph it
    /// is for readers.
    pub architecture: String,
    /// Class names in the order of the graph's outputs.
    pub classes: Vec<String>,
    /// What the graph gives; the server makes probabilities of logits.
    pub output: Output,
    /// How an image becomes an input.
    pub preprocessing: Preprocessing,
    /// How the model came about, if `train` made it: who brings a model has no such record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
}

/// The record of a training. Nothing in it depends on the time or place, so the same command gives the same
/// artefact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Training {
    /// sha256 over the training images and labels, 64 hex digits.
    pub data_digest: String,
    /// Number of images trained on.
    pub images: u64,
    /// Seed of weights, order and shifts.
    pub seed: u64,
    /// Passes over the images.
    pub epochs: u32,
    /// Images per step.
    pub batch_size: u32,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Largest random shift of an image in training, in pixels.
    pub shift: u32,
    /// Number of folds of the reference profile.
    pub folds: u32,
    /// Share of training images classified right by the fold's model that did not see them.
    pub held_out_accuracy: f64,
    /// Share of test images classified right.
    pub test_accuracy: f64,
}

/// Why a description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// No JSON, or not of this shape.
    #[error("metadata.json: {0}")]
    Json(#[from] serde_json::Error),
    /// A field is out of its range.
    #[error("metadata.json: {field} is {found}, allowed: {allowed}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it may hold.
        allowed: &'static str,
    },
    /// The preprocessing cannot be obeyed.
    #[error("metadata.json: {0}")]
    Preprocessing(#[from] PreprocessError),
}

impl Metadata {
    /// Reads and checks a description.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, MetadataError> {
        let metadata: Self = serde_json::from_slice(json)?;
        metadata.check()?;
        Ok(metadata)
    }

    fn check(&self) -> Result<(), MetadataError> {
        let wrong = |field, found, allowed| Err(MetadataError::Field { field, found, allowed });
        if semver::Version::parse(&self.version).is_err() {
            return wrong("version", format!("{:?}", self.version), "a semantic version such as 1.2.0");
        }
        if !(2..=MAX_CLASSES).contains(&self.classes.len()) {
            return wrong("classes", format!("a list of {}", self.classes.len()), "2..=10000 names");
        }
        let mut names: Vec<&String> = self.classes.iter().collect();
        names.sort();
        names.dedup();
        if names.len() != self.classes.len() || names.iter().any(|name| name.is_empty() || *name == "-") {
            // "-" is how a header spells "no answer".
            let allowed = "unique names, none of them empty or \"-\"";
            return wrong("classes", format!("{:?}", self.classes), allowed);
        }
        Ok(self.preprocessing.check()?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn example() -> Value {
        json!({
            "version": "1.0.0", "architecture": "cnn-3conv-2fc", "classes": ["cat", "dog"], "output": "logits",
            "preprocessing": {
                "width": 4, "height": 4, "channels": 3, "scale": 1.0 / 255.0,
                "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize": "bilinear",
            },
            "training": {
                "dataDigest": "00", "images": 1, "seed": 1, "epochs": 1, "batchSize": 1, "learningRate": 0.001,
                "shift": 0, "folds": 5, "heldOutAccuracy": 0.9, "testAccuracy": 0.9,
            },
        })
    }

    #[test]
    fn it_reads_what_it_writes() {
        let metadata = Metadata::parse(example().to_string().as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&metadata).unwrap(), example());
    }

    #[test]
    fn who_brings_a_model_has_no_record_of_a_training() {
        let mut json = example();
        json.as_object_mut().unwrap().remove("training");
        let metadata = Metadata::parse(json.to_string().as_bytes()).unwrap();
        assert_eq!((&metadata.training, serde_json::to_value(&metadata).unwrap()), (&None, json));
    }

    #[rstest]
    #[case("/version", json!("1.0"), "metadata.json: version is \"1.0\", allowed: a semantic version such as 1.2.0")]
    #[case("/classes", json!(["cat"]), "metadata.json: classes is a list of 1, allowed: 2..=10000 names")]
    #[case("/classes", json!(["a", "a"]), "allowed: unique names")]
    #[case("/classes", json!(["a", "-"]), "allowed: unique names")]
    #[case("/output", json!("scores"), "unknown variant `scores`, expected `logits` or `probabilities`")]
    #[case("/preprocessing/std", json!([1, 1, 0]), "preprocessing.std is [1.0, 1.0, 0.0]")]
    #[case("/preprocessing/resize", json!("crop"), "unknown variant `crop`")]
    #[case("/preprocessing", json!({"scal": 1}), "unknown field `scal`")]
    fn a_wrong_field_is_named(#[case] at: &str, #[case] value: Value, #[case] message: &str) {
        let mut json = example();
        *json.pointer_mut(at).unwrap() = value;
        let found = Metadata::parse(json.to_string().as_bytes()).unwrap_err().to_string();
        assert!(found.contains(message), "{found}");
    }
}
