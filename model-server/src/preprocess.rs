//! How an image becomes a model's input: the one contract of training, evaluation, profile and serving.
//!
//! 1. turn the image as its EXIF data says, where it is a file ([`crate::decode`]: pixels as Pillow's);
//! 2. resize to `width` x `height` with the filter `resize`; an image of that size is left as it is;
//! 3. each pixel value 0..=255 becomes `(value * scale - mean[channel]) / std[channel]`;
//! 4. planar order: all of red, then green, then blue (`NCHW`).
//!
//! These numbers come from the artefact's `metadata.json` and are obeyed as they stand, also when they are
//! wrong: noticing that is what the rollout is for.

use fast_image_resize as fir;
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// Channels of every input: images are read as RGB.
pub(crate) const CHANNELS: usize = 3;
/// Largest width and height of a model's input, in pixels.
pub(crate) const MAX_SIDE: u32 = 1024;

/// The contract, as it stands in `metadata.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Width of the input in pixels, 1..=1024.
    pub width: u32,
    /// Height of the input in pixels, 1..=1024.
    pub height: u32,
    /// Number of channels; 3 (RGB) in this release.
    pub channels: u32,
    /// Factor of pixel values 0..=255, usually 1/255.
    pub scale: f64,
    /// Subtracted from each channel after scaling.
    pub mean: Vec<f64>,
    /// Divides each channel after that; above 0.
    pub std: Vec<f64>,
    /// Filter for images of another size.
    pub resize: Resize,
}

/// Filter of a resize, as Pillow's (and so torchvision's for images of Pillow) of that name: shrinking averages over all
/// pixels that are covered (no aliasing), except `nearest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Linear interpolation (triangle filter).
    Bilinear,
    /// The pixel in which the centre of the new one lies (`nearest-exact` of PyTorch).
    Nearest,
    /// Lanczos with three lobes.
    Lanczos3,
}

/// Why a contract cannot be obeyed, or an image not be resized.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum PreprocessError {
    /// A field is out of its range.
    #[error("preprocessing.{field} is {found}, allowed: {allowed}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it may hold.
        allowed: &'static str,
    },
    /// The resizer refused the image.
    #[error("the image of {width}x{height} pixels cannot be resized: {reason}")]
    Resize {
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
        /// What the resizer says.
        reason: String,
    },
}

impl Preprocessing {
    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is out of its range.
    pub fn check(&self) -> Result<(), PreprocessError> {
        let wrong = |field, found, allowed| Err(PreprocessError::Field { field, found, allowed });
        for (field, side) in [("width", self.width), ("height", self.height)] {
            if !(1..=MAX_SIDE).contains(&side) {
                return wrong(field, side.to_string(), "1..=1024");
            }
        }
        if self.channels as usize != CHANNELS {
            return wrong("channels", self.channels.to_string(), "3 (RGB)");
        }
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return wrong("scale", self.scale.to_string(), "a number above 0");
        }
        if self.mean.len() != CHANNELS || !self.mean.iter().all(|v| v.is_finite()) {
            return wrong("mean", format!("{:?}", self.mean), "three numbers");
        }
        if self.std.len() != CHANNELS || !self.std.iter().all(|v| v.is_finite() && *v > 0.0) {
            return wrong("std", format!("{:?}", self.std), "three numbers above 0");
        }
        Ok(())
    }

    /// Channels, height and width of one input.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width].map(|side| side as usize)
    }

    /// Numbers in one input.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.width as usize * self.height as usize * CHANNELS
    }

    /// Step 2: the image in the size of the input.
    ///
    /// # Errors
    /// If the image is empty.
    pub fn resize(&self, image: RgbImage) -> Result<RgbImage, PreprocessError> {
        if image.dimensions() == (self.width, self.height) {
            return Ok(image);
        }
        resize(image, self.width, self.height, self.resize)
    }

    /// Steps 3 and 4 for an image in the size of the input.
    #[must_use]
    pub fn normalise(&self, image: &RgbImage) -> Vec<f32> {
        let mut input = Vec::with_capacity(image.as_raw().len());
        for (channel, (mean, std)) in self.mean.iter().zip(&self.std).enumerate() {
            // A value has 256 possible results: computed once in f64, so every user of the contract gets
            // the same bits.
            let table: [f32; 256] =
                std::array::from_fn(|value| ((value as f64 * self.scale - mean) / std) as f32);
            let values = image.as_raw().iter().skip(channel).step_by(CHANNELS);
            input.extend(values.map(|value| table[usize::from(*value)]));
        }
        input
    }
}

/// Resizes an image, as Pillow's `Image.resize` does: first its rows, then its columns.
///
/// What a pass makes is rounded to 8 bits, and what overshoots is cut off: the order of both is part of the contract.
///
/// # Errors
/// If it or the result has no pixels.
pub(crate) fn resize(
    image: RgbImage,
    width: u32,
    height: u32,
    filter: Resize,
) -> Result<RgbImage, PreprocessError> {
    let filter = match filter {
        Resize::Nearest => return nearest(&image, width, height),
        Resize::Bilinear => fir::FilterType::Bilinear,
        Resize::Lanczos3 => fir::FilterType::Lanczos3,
    };
    let (rows, algorithm) = (image.height(), fir::ResizeAlg::Convolution(filter));
    resize_by(resize_by(image, width, rows, algorithm)?, width, height, algorithm)
}

/// The pixels in which the centres of the new ones lie. Summed up as Pillow does: where a centre lies on an edge, it is
/// the sum's rounding that decides.
fn nearest(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage, PreprocessError> {
    let (from_width, from_height) = image.dimensions();
    if [from_width, from_height, width, height].contains(&0) {
        let reason = "one of both has no pixels".to_owned();
        return Err(PreprocessError::Resize { width: from_width, height: from_height, reason });
    }
    let places = |from: u32, to: u32| -> Vec<u32> {
        let step = f64::from(from) / f64::from(to);
        let centres = std::iter::successors(Some(step * 0.5), |at| Some(at + step));
        centres.take(to as usize).map(|at| (at as u32).min(from - 1)).collect()
    };
    let (columns, rows) = (places(from_width, width), places(from_height, height));
    Ok(RgbImage::from_fn(width, height, |x, y| *image.get_pixel(columns[x as usize], rows[y as usize])))
}

/// Resizes an image by any algorithm of the resizer, in the order of passes that is quicker.
pub(crate) fn resize_by(
    image: RgbImage,
    width: u32,
    height: u32,
    algorithm: fir::ResizeAlg,
) -> Result<RgbImage, PreprocessError> {
    let (from_width, from_height) = image.dimensions();
    let failed = |reason: String| PreprocessError::Resize { width: from_width, height: from_height, reason };
    let source =
        fir::images::Image::from_vec_u8(from_width, from_height, image.into_raw(), fir::PixelType::U8x3)
            .map_err(|error| failed(error.to_string()))?;
    let mut target = fir::images::Image::new(width, height, fir::PixelType::U8x3);
    let options = fir::ResizeOptions::new().resize_alg(algorithm).use_alpha(false);
    fir::Resizer::new().resize(&source, &mut target, &options).map_err(|error| failed(error.to_string()))?;
    RgbImage::from_raw(width, height, target.into_vec())
        .ok_or_else(|| failed("the result has the wrong size".to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn contract(width: u32, height: u32) -> Preprocessing {
        Preprocessing {
            width,
            height,
            channels: 3,
            scale: 1.0 / 255.0,
            mean: vec![0.5, 0.25, 0.0],
            std: vec![0.5, 0.25, 2.0],
            resize: Resize::Bilinear,
        }
    }

    #[test]
    fn golden_values_are_planar_and_normalised() {
        let image = RgbImage::from_raw(2, 1, vec![0, 51, 255, 255, 102, 0]).unwrap();
        let input = contract(2, 1).normalise(&image);
        // red, green, blue of both pixels: (v / 255 - mean) / std
        assert_eq!(input, [-1.0, 1.0, -0.2, 0.6, 0.5, 0.0]);
        let scaled = Preprocessing { scale: 1.0, ..contract(2, 1) }.normalise(&image);
        assert_eq!(scaled, [-1.0, 509.0, 203.0, 407.0, 127.5, 0.0]);
    }

    // Worked out by hand from the filters (triangle of half-width 2 when halving: 60.7, 194.3).
    // These values are the contract: a change of the resizer that changes them changes what models see.
    #[rstest]
    #[case(Resize::Nearest, &[0, 85, 170, 255], 2, &[85, 255])]
    #[case(Resize::Bilinear, &[0, 85, 170, 255], 2, &[61, 194])]
    #[case(Resize::Bilinear, &[0, 255], 4, &[0, 64, 191, 255])]
    #[case(Resize::Lanczos3, &[0, 255], 4, &[0, 59, 196, 255])]
    fn golden_values_of_the_filters(
        #[case] filter: Resize,
        #[case] row: &[u8],
        #[case] width: u32,
        #[case] expected: &[u8],
    ) {
        let grey = row.iter().flat_map(|v| [*v; 3]).collect();
        let image = RgbImage::from_raw(row.len() as u32, 1, grey).unwrap();
        let resized = resize(image, width, 1, filter).unwrap();
        let red: Vec<u8> = resized.pixels().map(|p| p.0[0]).collect();
        assert_eq!(red, expected);
    }

    #[test]
    fn an_image_of_the_right_size_is_not_touched() {
        let image = RgbImage::from_fn(5, 7, |x, y| image::Rgb([x as u8, y as u8, 9]));
        assert_eq!(contract(5, 7).resize(image.clone()).unwrap(), image);
    }

    #[rstest]
    #[case(Preprocessing { width: 0, ..contract(1, 1) }, "preprocessing.width is 0, allowed: 1..=1024")]
    #[case(Preprocessing { channels: 1, ..contract(1, 1) }, "preprocessing.channels is 1, allowed: 3 (RGB)")]
    #[case(Preprocessing { scale: 0.0, ..contract(1, 1) }, "preprocessing.scale is 0, allowed: a number above 0")]
    #[case(Preprocessing { mean: vec![0.1], ..contract(1, 1) },
        "preprocessing.mean is [0.1], allowed: three numbers")]
    #[case(Preprocessing { std: vec![1.0, 0.0, 1.0], ..contract(1, 1) },
        "preprocessing.std is [1.0, 0.0, 1.0], allowed: three numbers above 0")]
    fn a_contract_that_cannot_be_obeyed_is_refused_by_field(
        #[case] contract: Preprocessing,
        #[case] message: &str,
    ) {
        assert_eq!(contract.check().unwrap_err().to_string(), message);
    }

    proptest! {
        #[test]
        fn every_image_becomes_a_finite_input_of_the_right_length(
            width in 1u32..40, height in 1u32..40, to in (1u32..40, 1u32..40), seed: u8,
        ) {
            let contract = contract(to.0, to.1);
            let image = RgbImage::from_fn(width, height, |x, y| {
                image::Rgb([seed.wrapping_mul(x as u8), y as u8, seed])
            });
            let input = contract.normalise(&contract.resize(image).unwrap());
            prop_assert_eq!(input.len(), contract.input_len());
            prop_assert!(input.iter().all(|v| v.is_finite()));
        }
    }
}
