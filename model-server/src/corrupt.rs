//! Changes to images of the kinds that a camera, a codec or another sender makes, at five severities.
//!
//! The constants are those of CIFAR-10-C (Hendrycks & Dietterich, ICLR 2019;
//! github.com/hendrycks/robustness, `make_cifar_c.py`). Two things differ: values are rounded where that
//! script cuts them off, and JPEG keeps the full resolution of colours.
//!
//! [`Corruption::Rotation`], [`Corruption::ChannelSwap`] and [`Corruption::Texture`] are mixes instead: they
//! change some of the images wholly ([`MIXED`]), as if another domain had begun to send.
//!
//! The same seed, corruption and index draw the same numbers at every severity: what differs between two
//! severities is the severity.

mod noise;

use std::f64::consts::PI;
use std::fmt;
use std::io::Cursor;
use std::str::FromStr;

use fast_image_resize::{FilterType, ResizeAlg};
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, Rgb, RgbImage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::PreprocessError;
use crate::preprocess::resize_by;

/// Highest severity; the lowest is 1.
pub const SEVERITIES: u8 = 5;
/// Share of the images that a mix changes, by severity.
pub const MIXED: [f64; SEVERITIES as usize] = [0.02, 0.05, 0.10, 0.25, 1.0];

/// What happens to images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corruption {
    /// Nothing.
    None,
    /// Normal noise on every value.
    GaussianNoise,
    /// Poisson noise: what few photons leave.
    ShotNoise,
    /// Values that are black or white.
    ImpulseNoise,
    /// Out of focus.
    GaussianBlur,
    /// Lighter (value of HSV).
    Brightness,
    /// Less contrast.
    Contrast,
    /// Made smaller and larger again.
    Pixelate,
    /// JPEG of low quality.
    Jpeg,
    /// A mix: turned by 90 degrees, to the right.
    Rotation,
    /// A mix: red and blue exchanged. Changes nothing in a grey image.
    ChannelSwap,
    /// A mix: gratings of random direction, width and colour in place of the image.
    Texture,
}

/// Not a corruption.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("corruption is {found:?}, allowed: {}", Corruption::ALL.map(Corruption::name).join(", "))]
pub struct UnknownCorruption {
    /// What was found.
    pub found: String,
}

/// Why an image cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum CorruptError {
    /// The resizer refused it.
    #[error(transparent)]
    Resize(#[from] PreprocessError),
    /// The JPEG codec refused it.
    #[error("the image cannot be made a JPEG: {0}")]
    Jpeg(#[from] image::ImageError),
}

impl Corruption {
    /// All, `none` first.
    pub const ALL: [Self; 12] = [
        Self::None,
        Self::GaussianNoise,
        Self::ShotNoise,
        Self::ImpulseNoise,
        Self::GaussianBlur,
        Self::Brightness,
        Self::Contrast,
        Self::Pixelate,
        Self::Jpeg,
        Self::Rotation,
        Self::ChannelSwap,
        Self::Texture,
    ];

    /// Its name on the command line and in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::GaussianNoise => "gaussian_noise",
            Self::ShotNoise => "shot_noise",
            Self::ImpulseNoise => "impulse_noise",
            Self::GaussianBlur => "gaussian_blur",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::Pixelate => "pixelate",
            Self::Jpeg => "jpeg",
            Self::Rotation => "rotation",
            Self::ChannelSwap => "channel_swap",
            Self::Texture => "texture",
        }
    }

    /// The image numbered `index` of a data set after this. `severity` is 1..=5 (others count as the nearest
    /// one); `none` has none. The size stays.
    ///
    /// # Errors
    /// If a codec or the resizer refuses the image, as they do an empty one.
    pub fn apply(
        self,
        image: &RgbImage,
        severity: u8,
        seed: u64,
        index: usize,
    ) -> Result<RgbImage, CorruptError> {
        let mut rng = self.rng(seed, index);
        let level = usize::from(severity.clamp(1, SEVERITIES)) - 1;
        let mixed = |rng: &mut StdRng| rng.random::<f64>() < MIXED[level];
        Ok(match self {
            Self::GaussianNoise => noise::gaussian(image, [0.04, 0.06, 0.08, 0.09, 0.10][level], &mut rng),
            Self::ShotNoise => noise::shot(image, [500.0, 250.0, 100.0, 75.0, 50.0][level], &mut rng),
            Self::ImpulseNoise => noise::impulse(image, [0.01, 0.02, 0.03, 0.05, 0.07][level], &mut rng),
            Self::GaussianBlur => blur(image, [0.4, 0.6, 0.7, 0.8, 1.0][level]),
            Self::Brightness => brighten(image, [0.05, 0.1, 0.15, 0.2, 0.3][level]),
            Self::Contrast => flatten(image, [0.75, 0.5, 0.4, 0.3, 0.15][level]),
            Self::Pixelate => pixelate(image, [0.95, 0.9, 0.85, 0.75, 0.65][level])?,
            Self::Jpeg => jpeg(image, [80, 65, 58, 50, 40][level])?,
            Self::Rotation if mixed(&mut rng) => turn(image),
            Self::ChannelSwap if mixed(&mut rng) => each_pixel(image, |[r, g, b]| [b, g, r]),
            Self::Texture if mixed(&mut rng) => texture(image, &mut rng),
            // Nothing, or a mix that spares this image.
            Self::None | Self::Rotation | Self::ChannelSwap | Self::Texture => image.clone(),
        })
    }

    /// A generator for one image. The key is read as it stands: no two images share one.
    fn rng(self, seed: u64, index: usize) -> StdRng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(index as u64).to_le_bytes());
        key[16] = self as u8;
        StdRng::from_seed(key)
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Corruption {
    type Err = UnknownCorruption;

    fn from_str(text: &str) -> Result<Self, UnknownCorruption> {
        let known = Self::ALL.into_iter().find(|corruption| corruption.name() == text);
        known.ok_or_else(|| UnknownCorruption { found: text.to_owned() })
    }
}

/// A value of 0..=1 as a pixel holds it.
fn pixel(value: f64) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

fn unit(value: u8) -> f64 {
    f64::from(value) / 255.0
}

fn each_pixel(image: &RgbImage, change: impl Fn([u8; 3]) -> [u8; 3]) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| Rgb(change(image.get_pixel(x, y).0)))
}

/// Value of HSV raised, hue and saturation kept: all three channels grow by the same factor.
fn brighten(image: &RgbImage, by: f64) -> RgbImage {
    each_pixel(image, |channels| {
        let value = unit(channels.into_iter().max().unwrap_or(0));
        let raised = (value + by).min(1.0);
        channels.map(|c| if value == 0.0 { pixel(raised) } else { pixel(unit(c) / value * raised) })
    })
}

/// Values moved towards their channel's mean, to `part` of the distance.
fn flatten(image: &RgbImage, part: f64) -> RgbImage {
    let n = f64::from(image.width()) * f64::from(image.height());
    let sum = |channel: usize| image.pixels().map(|p| unit(p.0[channel])).sum::<f64>();
    let means = [0, 1, 2].map(|channel| sum(channel) / n);
    each_pixel(image, |channels| [0, 1, 2].map(|c| pixel((unit(channels[c]) - means[c]) * part + means[c])))
}

/// Gauss filter; beyond the edges the outermost pixels go on.
fn blur(image: &RgbImage, sigma: f64) -> RgbImage {
    // Cut at four deviations, as skimage does.
    let reach = (4.0 * sigma + 0.5) as i64;
    let weights: Vec<f64> = (-reach..=reach).map(|d| (-0.5 * (d as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    let pass = |from: &dyn Fn(i64, i64) -> [f64; 3], along: (i64, i64), x: i64, y: i64| {
        let mut mean = [0.0; 3];
        for (d, weight) in (-reach..=reach).zip(&weights) {
            let (x, y) = ((x + d * along.0).clamp(0, width - 1), (y + d * along.1).clamp(0, height - 1));
            for (mean, value) in mean.iter_mut().zip(from(x, y)) {
                *mean += weight / sum * value;
            }
        }
        mean
    };
    let original = |x: i64, y: i64| image.get_pixel(x as u32, y as u32).0.map(unit);
    let mut rows = Vec::with_capacity((width * height) as usize);
    for y in 0..height {
        rows.extend((0..width).map(|x| pass(&original, (1, 0), x, y)));
    }
    let blurred = |x: i64, y: i64| rows[(y * width + x) as usize];
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        Rgb(pass(&blurred, (0, 1), i64::from(x), i64::from(y)).map(pixel))
    })
}

fn pixelate(image: &RgbImage, part: f64) -> Result<RgbImage, PreprocessError> {
    let (width, height) = image.dimensions();
    let fewer = |side: u32| ((f64::from(side) * part) as u32).max(1);
    let mean = ResizeAlg::Convolution(FilterType::Box);
    let small = resize_by(image.clone(), fewer(width), fewer(height), mean)?;
    resize_by(small, width, height, mean)
}

fn jpeg(image: &RgbImage, quality: u8) -> Result<RgbImage, image::ImageError> {
    let mut bytes = Vec::new();
    image.write_with_encoder(JpegEncoder::new_with_quality(Cursor::new(&mut bytes), quality))?;
    Ok(image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg)?.into_rgb8())
}

/// Turned to the right; an image that is not square is turned and cut or repeated into its old size.
fn turn(image: &RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        *image.get_pixel(y % width, (height - 1).saturating_sub(x % height))
    })
}

fn texture(image: &RgbImage, rng: &mut StdRng) -> RgbImage {
    let (sin, cos) = (rng.random::<f64>() * PI).sin_cos();
    let wave = rng.random_range(3.0..12.0);
    let phase = rng.random::<f64>() * 2.0 * PI;
    let [dark, light]: [[f64; 3]; 2] = rng.random();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let along = f64::from(x) * cos + f64::from(y) * sin;
        let part = 0.5 + 0.5 * (2.0 * PI * along / wave + phase).sin();
        Rgb([0, 1, 2].map(|c| pixel(dark[c] + (light[c] - dark[c]) * part)))
    })
}

#[cfg(test)]
mod tests;
