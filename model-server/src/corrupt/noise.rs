//! Noise on every value of an image.

use std::f64::consts::PI;

use image::RgbImage;
use rand::Rng;
use rand::rngs::StdRng;

use super::{pixel, unit};

/// Normal noise of this deviation, for values of 0..=1.
pub(super) fn gaussian(image: &RgbImage, deviation: f64, rng: &mut StdRng) -> RgbImage {
    each_value(image, |value| pixel(unit(value) + deviation * normal(rng)))
}

/// The light of a pixel as a count of photons, `photons` for white.
pub(super) fn shot(image: &RgbImage, photons: f64, rng: &mut StdRng) -> RgbImage {
    each_value(image, |value| pixel(poisson(unit(value) * photons, rng.random()) / photons))
}

/// This share of the values is black or white, half of it each.
pub(super) fn impulse(image: &RgbImage, share: f64, rng: &mut StdRng) -> RgbImage {
    each_value(image, |value| {
        let (hit, white): (f64, bool) = rng.random();
        match (hit < share, white) {
            (false, _) => value,
            (true, false) => 0,
            (true, true) => 255,
        }
    })
}

fn each_value(image: &RgbImage, change: impl FnMut(u8) -> u8) -> RgbImage {
    let values = image.as_raw().iter().copied().map(change).collect();
    RgbImage::from_raw(image.width(), image.height(), values).expect("as many values as before")
}

/// One draw of the standard normal distribution (Box & Muller; the second one is thrown away, so that every
/// value takes as many draws).
fn normal(rng: &mut StdRng) -> f64 {
    let (first, second): (f64, f64) = rng.random();
    (-2.0 * (1.0 - first).ln()).sqrt() * (2.0 * PI * second).cos()
}

/// The `level`-quantile of the Poisson distribution, 0 <= level < 1: summed from 0 on, which takes about `mean`
/// steps; for means up to 700 (then e^-mean is no number any more).
fn poisson(mean: f64, level: f64) -> f64 {
    let last = mean + 20.0 * (mean.sqrt() + 1.0);
    let (mut count, mut probability) = (0.0, (-mean).exp());
    let mut sum = probability;
    while sum <= level && count < last {
        count += 1.0;
        probability *= mean / count;
        sum += probability;
    }
    count
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Mean and variance of 100,000 draws.
    fn moments(mut draw: impl FnMut(&mut StdRng) -> f64) -> (f64, f64) {
        let mut rng = StdRng::seed_from_u64(3);
        let draws: Vec<f64> = (0..100_000).map(|_| draw(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        (mean, draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / draws.len() as f64)
    }

    #[test]
    fn draws_have_the_moments_of_their_distributions() {
        // Five standard errors: of a mean sqrt(v/n), of a variance about v sqrt(2/n) (normal) or
        // sqrt((2 v^2 + v)/n) (Poisson).
        let (mean, variance) = moments(normal);
        assert!(mean.abs() < 5.0 * 0.00317 && (variance - 1.0).abs() < 5.0 * 0.00447, "{mean} {variance}");
        for expected in [0.0, 0.2, 12.5, 500.0f64] {
            let (mean, variance) = moments(|rng| poisson(expected, rng.random()));
            let errors = [(expected / 1e5).sqrt(), ((2.0 * expected.powi(2) + expected) / 1e5).sqrt()];
            assert!((mean - expected).abs() <= 5.0 * errors[0], "{expected}: mean {mean}");
            assert!((variance - expected).abs() <= 5.0 * errors[1], "{expected}: variance {variance}");
        }
    }

    #[test]
    fn a_share_of_the_values_is_black_or_white() {
        let grey = RgbImage::from_pixel(100, 100, image::Rgb([128; 3]));
        let noisy = impulse(&grey, 0.07, &mut StdRng::seed_from_u64(1));
        let count = |value: u8| noisy.as_raw().iter().filter(|v| **v == value).count() as f64;
        // 30,000 values; five deviations of Bin(30000, 0.035) are 159.
        assert!((count(0) - 1050.0).abs() < 159.0 && (count(255) - 1050.0).abs() < 159.0);
        assert_eq!(count(0) + count(128) + count(255), 30_000.0);
    }
}
