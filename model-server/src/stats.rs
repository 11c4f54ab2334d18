//! What an image looks like, in three numbers ([`wire::Feature`]).
//!
//! Computed on the resized RGB image with values in 0..=1, *before* scale and normalisation, so that two
//! versions with different preprocessing see the same input features.

use image::RgbImage;

/// Brightness, contrast and sharpness in the order of [`wire::FEATURES`], as the header spells them: five
/// decimals, so that live traffic and the profile fall into the same cells.
#[must_use]
pub fn of_image(image: &RgbImage) -> [f64; 3] {
    let values = image.as_raw();
    let n = values.len().max(1) as f64;
    let sum: f64 = values.iter().map(|v| unit(*v)).sum();
    let squares: f64 = values.iter().map(|v| unit(*v).powi(2)).sum();
    let mean = sum / n;
    let deviation = (squares / n - mean * mean).max(0.0).sqrt();
    [mean, deviation, sharpness(image).min(0.5)].map(|value| (value * 1e5).round() / 1e5)
}

/// Mean absolute difference of vertically and horizontally neighbouring values of the same channel.
fn sharpness(image: &RgbImage) -> f64 {
    let (values, row) = (image.as_raw(), image.width() as usize * 3);
    let mut sum = 0u64;
    let mut pairs = 0u64;
    for (i, value) in values.iter().enumerate() {
        let right = (i % row + 3 < row).then_some(i + 3);
        let below = (i + row < values.len()).then_some(i + row);
        for neighbour in [right, below].into_iter().flatten() {
            sum += u64::from(value.abs_diff(values[neighbour]));
            pairs += 1;
        }
    }
    sum as f64 / 255.0 / pairs.max(1) as f64
}

fn unit(value: u8) -> f64 {
    f64::from(value) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([value(x, y); 3]))
    }

    #[test]
    fn known_images_have_known_features() {
        assert_eq!(of_image(&image(4, 4, |_, _| 255)), [1.0, 0.0, 0.0]);
        assert_eq!(of_image(&image(1, 1, |_, _| 0)), [0.0, 0.0, 0.0]);
        // Every neighbour differs by 1, which is clamped to 0.5.
        assert_eq!(of_image(&image(4, 4, |x, y| if (x + y) % 2 == 0 { 255 } else { 0 })), [0.5, 0.5, 0.5]);
        // Left half black, right half white: 4 of 24 neighbouring pairs differ.
        assert_eq!(of_image(&image(4, 4, |x, _| if x < 2 { 0 } else { 255 })), [0.5, 0.5, 0.16667]);
    }
}
