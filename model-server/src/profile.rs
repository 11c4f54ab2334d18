//! The reference profile: what inputs and answers look like on images that the answering model did not see.

use image::RgbImage;
use wire::{FEATURES, Grid, Profile};

use crate::{Answer, Metadata, stats};

/// Counts images and answers on the grids of live traffic.
///
/// The images have the size of the model's input. An answer that is none (a null output) is left out as a
/// whole: a profile's counts must add up, and such a model shows in its accuracy.
pub fn of_answers<'a>(
    metadata: &Metadata,
    images: impl Iterator<Item = (&'a RgbImage, &'a Answer)>,
) -> Profile {
    let mut profile = Profile::new(&metadata.version, &metadata.classes);
    for (image, answer) in images {
        let Some((class, confidence)) = answer.best else { continue };
        profile.images += 1;
        profile.classes[class].count += 1;
        count(&mut profile.confidence, Grid::Doubt, 1.0 - confidence);
        for (feature, value) in FEATURES.iter().zip(stats::of_image(image)) {
            count(&mut profile.features[feature.index()], feature.grid(), value);
        }
    }
    profile
}

fn count(counts: &mut [u64], grid: Grid, value: f64) {
    counts[grid.cell(value).expect("statistics and confidence are numbers")] += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Output;
    use crate::metadata::tests::example;

    #[test]
    fn every_answer_is_counted_once_on_every_grid() {
        let metadata = Metadata::parse(example().to_string().as_bytes()).unwrap();
        let image = RgbImage::from_pixel(4, 4, image::Rgb([255; 3]));
        let sure = Answer::from_outputs(&[0.001, 0.999], Output::Probabilities);
        let none = Answer::from_outputs(&[f32::NAN, 1.0], Output::Probabilities);
        let profile = of_answers(&metadata, [(&image, &sure), (&image, &none), (&image, &sure)].into_iter());
        profile.check().unwrap();
        assert_eq!((profile.images, profile.classes[1].count), (2, 2));
        assert_eq!(profile.confidence[Grid::Doubt.cell(0.001).unwrap()], 2);
        assert_eq!(profile.features[0][63], 2);
    }
}
