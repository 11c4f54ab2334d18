//! The reference profile: what inputs and answers look like on images that the answering model did not see.

use image::RgbImage;
use wire::{Grid, Profile};

use crate::{Answer, Metadata, stats};

/// Counts images and answers on the grids of live traffic.
///
/// The images have the size of the model's input, and that is the size that is counted, as it lies in the data set. An answer that is none (a null output) is left out as a
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
        let doubt = Grid::Doubt.cell(1.0 - confidence);
        profile.confidence[doubt.expect("a confidence is a number")] += 1;
        let pixels = u64::from(image.width()) * u64::from(image.height());
        for (feature, value) in stats::of_image(image, pixels).into_iter().chain(stats::of_answer(answer)) {
            profile.count(feature, value);
        }
    }
    profile
}

#[cfg(test)]
mod tests {
    use wire::Feature;

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
        let in_cell =
            |feature: Feature, value| profile.feature(feature).unwrap()[feature.grid().cell(value).unwrap()];
        assert_eq!((in_cell(Feature::Saturation, 0.0), in_cell(Feature::Size, 16.0)), (2, 2));
        assert_eq!(profile.feature(Feature::Entropy).unwrap().iter().sum::<u64>(), 2);
        // Probabilities have no energy.
        assert_eq!(profile.feature(Feature::Energy), None);
        let logits = Answer::from_outputs(&[-7.0, 3.0], Output::Logits);
        let profile = of_answers(&metadata, std::iter::once((&image, &logits)));
        profile.check().unwrap();
        assert_eq!(profile.feature(Feature::Energy).unwrap()[Grid::Energy.cell(-3.0).unwrap()], 1);
    }
}
