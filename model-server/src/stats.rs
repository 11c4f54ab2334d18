//! What an image looks like, in five numbers, and how sure an answer is, in two ([`wire::Feature`]).
//!
//! Most are computed on the resized RGB image with values in 0..=1, *before* scale and normalisation, so that two
//! versions with different preprocessing see the same input features. In whole numbers: sums of floats may not be
//! reordered, so that no compiler makes vectors of them.

use image::RgbImage;
use wire::Feature;

use crate::Answer;

/// Brightness, contrast, sharpness and saturation, and the size of the image as it came, `pixels`. As the header spells
/// them, so that live traffic and the profile fall into the same cells.
#[must_use]
pub fn of_image(image: &RgbImage, pixels: u64) -> [(Feature, f64); 5] {
    let values = image.as_raw();
    let n = values.len().max(1) as f64;
    let (sum, squares) = sums(values);
    let mean = sum as f64 / n;
    let variance = (squares as f64 / n - mean * mean).max(0.0);
    [
        (Feature::Brightness, mean / 255.0),
        (Feature::Contrast, variance.sqrt() / 255.0),
        (Feature::Sharpness, sharpness(image).min(0.5)),
        (Feature::Saturation, saturation(values)),
        (Feature::Size, pixels as f64),
    ]
    .map(rounded)
}

/// Entropy and energy, as far as there are any ([`Answer`]); as the header spells them.
pub fn of_answer(answer: &Answer) -> impl Iterator<Item = (Feature, f64)> {
    let all = [(Feature::Entropy, answer.entropy), (Feature::Energy, answer.energy)];
    all.into_iter().filter_map(|(feature, value)| Some(rounded((feature, value?))))
}

fn rounded((feature, value): (Feature, f64)) -> (Feature, f64) {
    (
        feature,
        feature.rounded(value).expect("no quotient or root of sums of pixels is NaN, and no answer has one"),
    )
}

/// Sums of values and of their squares.
fn sums(values: &[u8]) -> (u64, u64) {
    // So long that squares add up within 32 bits, of which a vector holds more.
    const BLOCK: usize = 1 << 16;
    let block = |values: &[u8]| {
        let sum: u32 = values.iter().map(|v| u32::from(*v)).sum();
        let squares: u32 = values.iter().map(|v| u32::from(*v).pow(2)).sum();
        (u64::from(sum), u64::from(squares))
    };
    values.chunks(BLOCK).map(block).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
}

/// Mean of (largest - smallest) / largest of each pixel's values; 0 of black. Without hue, which needs no division of
/// each pixel either: quotients are products with [`RECIPROCALS`].
fn saturation(values: &[u8]) -> f64 {
    let (pixels, _) = values.as_chunks::<3>();
    let of = |&[red, green, blue]: &[u8; 3]| {
        let largest = red.max(green).max(blue);
        let range = largest - red.min(green).min(blue);
        u64::from(range) * RECIPROCALS[usize::from(largest)]
    };
    let sum: u64 = pixels.iter().map(of).sum();
    (sum as f64 / ONE as f64 / pixels.len().max(1) as f64).min(1.0)
}

/// What saturation counts as 1. Sums of 2^31 pixels fit, and rounding makes less than 255 / 2^33.
const ONE: u64 = 1 << 32;

/// 1/n in [`ONE`]ths, rounded; 0 for 0.
static RECIPROCALS: [u64; 256] = {
    let mut all = [0; 256];
    let mut n = 1;
    while n < all.len() {
        all[n] = (ONE + n as u64 / 2) / n as u64;
        n += 1;
    }
    all
};

/// Root mean square of the discrete Laplacian of each channel, over the pixels that have four neighbours; 0 without
/// any. Blur lowers it, noise, blocks and ringing raise it (Pech-Pacheco et al., *Diatom autofocusing*, 2000, take its
/// variance as a measure of focus).
fn sharpness(image: &RgbImage) -> f64 {
    let (values, row) = (image.as_raw(), image.width() as usize * 3);
    if image.width() < 3 || image.height() < 3 {
        return 0.0;
    }
    // So many squares of 4 * 255 add up within 32 bits.
    const BLOCK: usize = 4096;
    let mut sum = 0;
    for y in 1..image.height() as usize - 1 {
        let [above, own, below] = [y - 1, y, y + 1].map(|y| &values[y * row..(y + 1) * row]);
        let inner = row - 6;
        // Slices of one length, and numbers of 16 bits: of these a vector holds most.
        let [above, centre, below] = [above, own, below].map(|row| &row[3..][..inner]);
        let (left, right) = (&own[..inner], &own[6..][..inner]);
        for from in (0..inner).step_by(BLOCK) {
            let square = |i: usize| {
                let at = |values: &[u8]| i16::from(values[i]);
                let laplacian = i32::from(at(above) + at(left) + at(right) + at(below) - 4 * at(centre));
                (laplacian * laplacian).cast_unsigned()
            };
            sum += u64::from((from..inner.min(from + BLOCK)).map(square).sum::<u32>());
        }
    }
    let pixels = (image.width() as u64 - 2) * (image.height() as u64 - 2) * 3;
    (sum as f64 / pixels as f64).sqrt() / 255.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Output;

    fn image(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([value(x, y); 3]))
    }

    fn of(image: &RgbImage) -> [f64; 5] {
        of_image(image, 7).map(|(_, value)| value)
    }

    #[test]
    fn known_images_have_known_features() {
        assert_eq!(of(&image(4, 4, |_, _| 255)), [1.0, 0.0, 0.0, 0.0, 7.0]);
        assert_eq!(of(&image(1, 1, |_, _| 0)), [0.0, 0.0, 0.0, 0.0, 7.0]);
        // All four neighbours differ by 1, which is clamped to 0.5.
        let chess = image(4, 4, |x, y| if (x + y) % 2 == 0 { 255 } else { 0 });
        assert_eq!(of(&chess), [0.5, 0.5, 0.5, 0.0, 7.0]);
        // A grey square of 51/255 in black: at its pixel the Laplacian is -4/5, beside it 1/5, of 25 inner pixels.
        let dot = of(&image(7, 7, |x, y| if (x, y) == (3, 3) { 51 } else { 0 }));
        assert_eq!(dot[2], ((0.64f64 + 4.0 * 0.04) / 25.0 * 1e10).sqrt().round() / 1e5);
        // Too small to have neighbours on all sides.
        assert_eq!(of(&image(2, 9, |x, _| if x < 1 { 0 } else { 255 })), [0.5, 0.5, 0.0, 0.0, 7.0]);
        // Red, half of it grey: (1 + 0.5) / 2.
        let red =
            RgbImage::from_fn(2, 1, |x, _| image::Rgb(if x == 0 { [3, 0, 0] } else { [200, 100, 150] }));
        assert_eq!(of(&red)[3], 0.75);
    }

    proptest! {
        // What was computed in floats before, and saturation by its definition.
        #[test]
        fn whole_numbers_give_what_floats_give(width in 1u32..40, height in 1u32..40, seed: u64) {
            use rand::{Rng, SeedableRng};
            let mut random = rand::rngs::StdRng::seed_from_u64(seed);
            let image = RgbImage::from_fn(width, height, |_, _| image::Rgb(random.random()));
            let unit = |value: u8| f64::from(value) / 255.0;
            let values = image.as_raw();
            let n = values.len() as f64;
            let mean = values.iter().map(|v| unit(*v)).sum::<f64>() / n;
            let deviation = (values.iter().map(|v| (unit(*v) - mean).powi(2)).sum::<f64>() / n).sqrt();
            let one = |p: &image::Rgb<u8>| {
                let (largest, smallest) = (p.0.into_iter().max().unwrap(), p.0.into_iter().min().unwrap());
                if largest == 0 { 0.0 } else { f64::from(largest - smallest) / f64::from(largest) }
            };
            let saturation = image.pixels().map(one).sum::<f64>() / f64::from(width * height);
            let found = of(&image);
            for (found, expected) in [(found[0], mean), (found[1], deviation), (found[3], saturation)] {
                prop_assert!((found - expected).abs() < 6e-6, "{found} {expected}");
                prop_assert!((0.0..=1.0).contains(&found));
            }
        }

        #[test]
        fn any_logits_have_an_entropy_and_an_energy_or_no_answer(
            logits in proptest::collection::vec(prop_oneof![any::<f32>(), -50f32..50.0], 0..12), logit: bool
        ) {
            let kind = if logit { Output::Logits } else { Output::Probabilities };
            let answer = Answer::from_outputs(&logits, kind);
            let found: Vec<_> = of_answer(&answer).collect();
            prop_assert_eq!(answer.best.is_some() && logit, answer.energy.is_some());
            prop_assert!(answer.best.is_some() || found.is_empty());
            for (feature, value) in found {
                prop_assert!(value.is_finite() && feature.grid().cell(value).is_some());
                prop_assert!(feature != Feature::Entropy || (0.0..=1.0).contains(&value), "{}", value);
            }
        }
    }

    /// What it costs beside a decode of some 100 us.
    #[test]
    #[ignore = "measures: cargo test --release -p model-server --lib -- --ignored --nocapture what_statistics_cost"]
    #[allow(clippy::print_stdout, reason = "it is what this is for")]
    fn what_statistics_cost() {
        for side in [32, 224] {
            let image = RgbImage::from_fn(side, side, |x, y| {
                image::Rgb([(x * 7 + y) as u8, (x ^ y) as u8, (x * y) as u8])
            });
            let rounds = 100_000_000 / (side * side * 10);
            let each = |what: &str, of: &dyn Fn() -> f64| {
                let from = std::time::Instant::now();
                let sum: f64 = (0..rounds).map(|_| std::hint::black_box(of())).sum();
                let took = from.elapsed().as_nanos() as f64 / f64::from(rounds) / 1e3;
                println!("{side}x{side}: {what}: {took:.2} us ({sum:.0})");
            };
            let seen = std::hint::black_box(&image);
            each("all", &|| of_image(seen, 1)[0].1);
            each("saturation", &|| saturation(seen.as_raw()));
            each("sharpness", &|| sharpness(seen));
            each("brightness and contrast as before, in floats", &|| {
                let unit = |value: &u8| f64::from(*value) / 255.0;
                let values = std::hint::black_box(seen.as_raw());
                values.iter().map(unit).sum::<f64>() + values.iter().map(|v| unit(v).powi(2)).sum::<f64>()
            });
        }
    }
}
