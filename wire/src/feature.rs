//! Statistics of images and answers that are counted on grids.

use serde::{Deserialize, Serialize};

use crate::Grid;

/// A statistic of the image, in the size of the model's input as RGB with values in 0..=1, of the image as it came, or
/// of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// Mean of all pixel values, 0..=1.
    Brightness,
    /// Standard deviation of all pixel values, 0..=0.5.
    Contrast,
    /// Root mean square of the discrete Laplacian (the four neighbours of a pixel, less four times the pixel), 0..=0.5
    /// (above is clamped). Edges that blur lose it, blocks and ringing add to it; the mean difference of neighbours,
    /// which a blurred edge keeps, sees neither.
    Sharpness,
    /// Mean saturation of the pixels as in HSV, (largest - smallest) / largest of red, green and blue, 0..=1; 0 of black
    /// and of grey.
    Saturation,
    /// Pixels of the image as it came, before it was resized: width times height, at least 1.
    Size,
    /// Entropy of the probabilities over the logarithm of the number of classes, 0..=1: so that models of more or fewer
    /// classes are on the same grid. 0 for a model of one class.
    Entropy,
    /// Energy, -logsumexp of the logits (Liu et al., *Energy-based out-of-distribution detection*, 2020), in nats: the
    /// lower, the more of what it knows the model sees. Only of models that give logits: probabilities have lost it.
    Energy,
}

/// The features that every profile and every page holds, in the order in which they are written.
pub const FEATURES: [Feature; 3] = [Feature::Brightness, Feature::Contrast, Feature::Sharpness];

/// The features that servers, profiles and pages of earlier releases lack, and that some models have not. What is not
/// there is not counted, and nothing is judged by it.
pub const LATER_FEATURES: [Feature; 4] =
    [Feature::Saturation, Feature::Size, Feature::Entropy, Feature::Energy];

impl Feature {
    /// All of them, in the order of [`Feature::index`]: [`FEATURES`], then [`LATER_FEATURES`].
    pub const ALL: [Self; FEATURES.len() + LATER_FEATURES.len()] = [
        Self::Brightness,
        Self::Contrast,
        Self::Sharpness,
        Self::Saturation,
        Self::Size,
        Self::Entropy,
        Self::Energy,
    ];

    /// The name used in headers, labels and specs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::Sharpness => "sharpness",
            Self::Saturation => "saturation",
            Self::Size => "size",
            Self::Entropy => "entropy",
            Self::Energy => "energy",
        }
    }

    /// Reads [`Feature::as_str`], as text or as bytes.
    #[must_use]
    pub fn parse(name: impl AsRef<[u8]>) -> Option<Self> {
        // Routers do this seven times for each answer: a match looks at the length first.
        Some(match name.as_ref() {
            b"brightness" => Self::Brightness,
            b"contrast" => Self::Contrast,
            b"sharpness" => Self::Sharpness,
            b"saturation" => Self::Saturation,
            b"size" => Self::Size,
            b"entropy" => Self::Entropy,
            b"energy" => Self::Energy,
            _ => return None,
        })
    }

    /// Position in [`Feature::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it is of the image; else it is of the answer, and each model has a reference of its own.
    #[must_use]
    pub const fn is_input(self) -> bool {
        !matches!(self, Self::Entropy | Self::Energy)
    }

    /// The grid that this feature is counted on.
    #[must_use]
    pub const fn grid(self) -> Grid {
        match self {
            Self::Brightness | Self::Saturation => Grid::Unit,
            Self::Contrast => Grid::Half,
            Self::Sharpness => Grid::Sharp,
            Self::Size => Grid::Pixels,
            Self::Entropy => Grid::Doubt,
            Self::Energy => Grid::Energy,
        }
    }

    /// Decimals that headers spell.
    pub(crate) const fn decimals(self) -> usize {
        match self {
            Self::Size => 0,
            Self::Energy => 3,
            Self::Brightness | Self::Contrast | Self::Sharpness | Self::Saturation => 5,
            // One more than the finest cell of its grid.
            Self::Entropy => 7,
        }
    }

    /// The value as headers spell it, so that live traffic and profiles fall into the same cells; `None` for what is no
    /// number. Values beyond a thousand million are that.
    #[must_use]
    pub fn rounded(self, value: f64) -> Option<f64> {
        const MOST: f64 = 1e9;
        let units = 10f64.powi(self.decimals() as i32);
        // The sum makes 0 of -0, which would be spelt otherwise.
        (!value.is_nan()).then(|| (value.clamp(-MOST, MOST) * units).round() / units + 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_positions_are_those_of_the_list() {
        for (i, feature) in Feature::ALL.into_iter().enumerate() {
            assert_eq!((feature.index(), Feature::parse(feature.as_str())), (i, Some(feature)));
        }
        assert_eq!(Feature::ALL[..3], FEATURES);
        assert_eq!(Feature::ALL[3..], LATER_FEATURES);
        assert_eq!((Feature::parse("bright"), Feature::parse("")), (None, None));
    }
}
