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

/// Root mean square of the discrete Laplacian of each channel, over the pixels that have four neighbours; 0 without
/// any. Blur lowers it, noise, blocks and ringing raise it (Pech-Pacheco et al., *Diatom autofocusing*, 2000, take its
/// variance as a measure of focus).
fn sharpness(image: &RgbImage) -> f64 {
    let (values, row) = (image.as_raw(), image.width() as usize * 3);
    if image.width() < 3 || image.height() < 3 {
        return 0.0;
    }
    let mut sum = 0u64;
    for y in 1..image.height() as usize - 1 {
        for i in y * row + 3..(y + 1) * row - 3 {
            let at = |i: usize| i32::from(values[i]);
            let laplacian = at(i - row) + at(i - 3) + at(i + 3) + at(i + row) - 4 * at(i);
            sum += u64::from(laplacian.unsigned_abs().pow(2));
        }
    }
    let pixels = (image.width() as u64 - 2) * (image.height() as u64 - 2) * 3;
    (sum as f64 / pixels as f64).sqrt() / 255.0
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
        // All four neighbours differ by 1, which is clamped to 0.5.
        assert_eq!(of_image(&image(4, 4, |x, y| if (x + y) % 2 == 0 { 255 } else { 0 })), [0.5, 0.5, 0.5]);
        // A grey square of 51/255 in black: at its pixel the Laplacian is -4/5, beside it 1/5, of 25 inner pixels.
        let dot = of_image(&image(7, 7, |x, y| if (x, y) == (3, 3) { 51 } else { 0 }));
        assert_eq!(dot[2], ((0.64f64 + 4.0 * 0.04) / 25.0 * 1e10).sqrt().round() / 1e5);
        // Too small to have neighbours on all sides.
        assert_eq!(of_image(&image(2, 9, |x, _| if x < 1 { 0 } else { 255 })), [0.5, 0.5, 0.0]);
    }
}
