//! The reference profile: what inputs and answers looked like on held-out data at training.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{CELLS, FEATURES, Feature, GRID_VERSION, LATER_FEATURES};

/// How often a class was predicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// Class name.
    pub class: String,
    /// Number of images that it was predicted for.
    pub count: u64,
}

/// Counts on the same grids as live traffic; served by the model server on its admin port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// [`GRID_VERSION`] of the counts.
    pub grid_version: u32,
    /// Semantic version of the model.
    pub version: String,
    /// Digest of the artefact that was loaded (I5), 64 hex digits. Empty in `reference.json` itself: the
    /// digest is in no file.
    #[serde(default)]
    pub digest: String,
    /// Number of images.
    pub images: u64,
    /// Counts per cell for each of [`FEATURES`].
    pub features: Vec<Vec<u64>>,
    /// Counts per cell of [`LATER_FEATURES`], by name: a profile of an earlier release has none of them, that of a model without
    /// logits no energy. Names that this release does not know are not for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub more_features: BTreeMap<String, Vec<u64>>,
    /// Counts per cell of 1 - confidence on [`crate::Grid::Doubt`].
    pub confidence: Vec<u64>,
    /// Predicted classes, in the order of the model's outputs.
    pub classes: Vec<ClassCount>,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProfileError {
    /// Counted on other grids.
    #[error("gridVersion is {found}, this release reads {GRID_VERSION}: profile the model again")]
    Version {
        /// Version found.
        found: u32,
    },
    /// A histogram has the wrong number of cells or does not add up.
    #[error("{field} holds {found}, expected {expected}")]
    Shape {
        /// Field name.
        field: &'static str,
        /// Found.
        found: u64,
        /// Expected.
        expected: u64,
    },
}

impl Profile {
    /// An empty profile of a version.
    #[must_use]
    pub fn new(version: &str, classes: &[String]) -> Self {
        Self {
            grid_version: GRID_VERSION,
            version: version.to_owned(),
            digest: String::new(),
            images: 0,
            features: vec![vec![0; CELLS]; FEATURES.len()],
            more_features: BTreeMap::new(),
            confidence: vec![0; CELLS],
            classes: classes.iter().map(|c| ClassCount { class: c.clone(), count: 0 }).collect(),
        }
    }

    /// Counts of one feature, if the profile holds it.
    #[must_use]
    pub fn feature(&self, feature: Feature) -> Option<&[u64]> {
        let first = self.features.get(feature.index());
        first.or_else(|| self.more_features.get(feature.as_str())).map(Vec::as_slice)
    }

    /// Counts a value of a feature, unless it is no number. Of [`LATER_FEATURES`] all images have it, or none.
    pub fn count(&mut self, feature: Feature, value: f64) {
        let Some(cell) = feature.grid().cell(value) else { return };
        let first = self.features.get_mut(feature.index());
        let cells = match first {
            Some(cells) => cells,
            None => self.more_features.entry(feature.as_str().to_owned()).or_insert_with(|| vec![0; CELLS]),
        };
        cells[cell] += 1;
    }

    /// Checks version, shapes and sums.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn check(&self) -> Result<(), ProfileError> {
        if self.grid_version != GRID_VERSION {
            return Err(ProfileError::Version { found: self.grid_version });
        }
        let shape = |field, found: usize, expected: usize| {
            let (found, expected) = (found as u64, expected as u64);
            if found == expected { Ok(()) } else { Err(ProfileError::Shape { field, found, expected }) }
        };
        let sum = |field, counts: &[u64]| {
            let found = counts.iter().fold(0u64, |a, b| a.saturating_add(*b));
            let expected = self.images;
            if found == expected { Ok(()) } else { Err(ProfileError::Shape { field, found, expected }) }
        };
        shape("features", self.features.len(), FEATURES.len())?;
        for (feature, counts) in FEATURES.iter().zip(&self.features) {
            shape(feature.as_str(), counts.len(), CELLS)?;
            sum(feature.as_str(), counts)?;
        }
        for feature in LATER_FEATURES {
            let Some(counts) = self.more_features.get(feature.as_str()) else { continue };
            shape(feature.as_str(), counts.len(), CELLS)?;
            sum(feature.as_str(), counts)?;
        }
        shape("confidence", self.confidence.len(), CELLS)?;
        sum("confidence", &self.confidence)?;
        let classes: Vec<u64> = self.classes.iter().map(|c| c.count).collect();
        sum("classes", &classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_does_not_add_up_is_refused_by_name() {
        let mut profile = Profile::new("1.0.0", &["a".into()]);
        assert_eq!(profile.check(), Ok(()));
        profile.features[1][3] = 1;
        assert_eq!(profile.check(), Err(ProfileError::Shape { field: "contrast", found: 1, expected: 0 }));
        profile.grid_version = 9;
        assert_eq!(profile.check(), Err(ProfileError::Version { found: 9 }));
    }

    #[test]
    fn a_profile_may_hold_fewer_or_other_features_and_what_it_holds_must_add_up() {
        let mut profile = Profile::new("1.0.0", &["a".into()]);
        let old = serde_json::to_value(&profile).unwrap();
        assert!(old.get("moreFeatures").is_none(), "{old}");
        let read: Profile = serde_json::from_value(old).unwrap();
        assert_eq!((read.check(), read.feature(Feature::Saturation)), (Ok(()), None));
        assert_eq!(read.feature(Feature::Contrast), Some(&[0; CELLS][..]));

        (profile.images, profile.confidence[0], profile.classes[0].count) = (1, 1, 1);
        Feature::ALL.into_iter().for_each(|feature| profile.count(feature, 0.5));
        profile.count(Feature::Energy, f64::NAN);
        // Of a later release.
        profile.more_features.insert("hue".into(), vec![7]);
        let text = serde_json::to_string(&profile).unwrap();
        let read: Profile = serde_json::from_str(&text).unwrap();
        assert_eq!((read.check(), &read), (Ok(()), &profile));
        assert_eq!(read.feature(Feature::Saturation).unwrap()[31], 1);

        profile.count(Feature::Entropy, 0.5);
        assert_eq!(profile.check(), Err(ProfileError::Shape { field: "entropy", found: 2, expected: 1 }));
        profile.more_features.insert("entropy".into(), vec![1]);
        assert_eq!(profile.check(), Err(ProfileError::Shape { field: "entropy", found: 1, expected: 64 }));
    }
}
