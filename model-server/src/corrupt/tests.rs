use rstest::rstest;

use super::*;

const SEVERITY: [u8; 5] = [1, 2, 3, 4, 5];

/// Coloured, with edges and slopes, neither black nor white.
fn image(index: usize) -> RgbImage {
    let step = index as u32 % 7;
    RgbImage::from_fn(32, 32, |x, y| {
        let edge = if ((x + step) / 5).is_multiple_of(2) { 40 } else { 0 };
        Rgb([(60 + 4 * x + edge) as u8, (50 + 3 * y + edge) as u8, (150 - 2 * x - y + edge) as u8])
    })
}

/// Mean square distance of the values, over 200 images.
fn distance(corruption: Corruption, severity: u8) -> f64 {
    let of = |index: usize| {
        let before = image(index);
        let after = corruption.apply(&before, severity, 7, index).unwrap();
        let squares = before.as_raw().iter().zip(after.as_raw());
        squares.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>() / before.as_raw().len() as f64
    };
    (0..200).map(of).sum::<f64>() / 200.0
}

#[test]
fn every_severity_changes_more_than_the_one_before() {
    for corruption in Corruption::ALL.into_iter().skip(1) {
        let distances = SEVERITY.map(|severity| distance(corruption, severity));
        assert!(distances[0] > 0.0, "{corruption}: {distances:?}");
        assert!(distances.windows(2).all(|pair| pair[0] < pair[1]), "{corruption}: {distances:?}");
    }
    assert_eq!(distance(Corruption::None, 5), 0.0);
}

/// Mean brightness, contrast and sharpness of 50 images, without corruption and at each severity.
fn features(corruption: Corruption) -> [[f64; 6]; 3] {
    let mean = |severity: u8, feature: usize| {
        let corruption = if severity == 0 { Corruption::None } else { corruption };
        let of =
            |i| crate::stats::of_image(&corruption.apply(&image(i), severity, 7, i).unwrap(), 0)[feature].1;
        (0..50).map(of).sum::<f64>() / 50.0
    };
    [0, 1, 2].map(|feature| [0, 1, 2, 3, 4, 5].map(|severity| mean(severity, feature)))
}

#[rstest]
#[case(Corruption::GaussianNoise, 2, true)]
#[case(Corruption::ShotNoise, 2, true)]
#[case(Corruption::ImpulseNoise, 2, true)]
#[case(Corruption::GaussianBlur, 2, false)]
#[case(Corruption::Brightness, 0, true)]
#[case(Corruption::Contrast, 1, false)]
#[case(Corruption::Contrast, 2, false)]
fn each_severity_moves_the_feature_that_it_should(
    #[case] corruption: Corruption,
    #[case] feature: usize,
    #[case] rises: bool,
) {
    let found = features(corruption)[feature];
    assert!(found.windows(2).all(|pair| (pair[1] > pair[0]) == rises && pair[1] != pair[0]), "{found:?}");
}

#[test]
fn a_turned_image_has_the_features_it_had() {
    for feature in features(Corruption::Rotation) {
        assert!(feature.iter().all(|value| (value - feature[0]).abs() < 1e-5), "{feature:?}");
    }
}

#[test]
fn the_seed_and_the_number_of_the_image_decide_and_the_size_stays() {
    let before = image(0);
    for corruption in Corruption::ALL {
        for severity in SEVERITY {
            let after = |seed, index| corruption.apply(&before, severity, seed, index).unwrap();
            assert_eq!(after(1, 4).dimensions(), (32, 32));
            assert_eq!(after(1, 4), after(1, 4), "{corruption}");
        }
    }
    for random in
        [Corruption::GaussianNoise, Corruption::ShotNoise, Corruption::ImpulseNoise, Corruption::Texture]
    {
        let after = |seed, index| random.apply(&before, 5, seed, index).unwrap();
        assert_ne!(after(1, 4), after(2, 4), "{random}");
        assert_ne!(after(1, 4), after(1, 5), "{random}");
    }
}

#[test]
fn other_sizes_are_kept_and_an_empty_image_is_no_panic() {
    for corruption in Corruption::ALL {
        for (width, height) in [(1, 1), (7, 3), (3, 40)] {
            let grey = RgbImage::from_pixel(width, height, Rgb([90; 3]));
            let after = corruption.apply(&grey, 5, 1, 0).unwrap();
            assert_eq!(after.dimensions(), (width, height), "{corruption}");
        }
        let _ = corruption.apply(&RgbImage::new(0, 0), 5, 1, 0);
    }
}

#[rstest]
// max 100/255 + 0.3 = 176.5/255: all channels times 1.765; black becomes grey; white stays.
#[case(Corruption::Brightness, &[100, 50, 0, 0, 0, 0, 255, 255, 255], &[177, 88, 0, 77, 77, 77, 255, 255, 255])]
// Means 20, 40, 60: 15 % of the distance is left.
#[case(Corruption::Contrast, &[0, 40, 90, 20, 40, 60, 40, 40, 30], &[17, 40, 65, 20, 40, 60, 23, 40, 56])]
#[case(Corruption::ChannelSwap, &[1, 2, 3, 4, 5, 6, 7, 8, 9], &[3, 2, 1, 6, 5, 4, 9, 8, 7])]
fn known_pixels_become_known_pixels(
    #[case] corruption: Corruption,
    #[case] before: &[u8],
    #[case] after: &[u8],
) {
    let before = RgbImage::from_raw(3, 1, before.to_vec()).unwrap();
    assert_eq!(corruption.apply(&before, 5, 1, 0).unwrap().as_raw(), after);
}

#[test]
fn a_blurred_point_is_the_gauss_curve() {
    let mut point = RgbImage::new(15, 15);
    point.put_pixel(7, 7, Rgb([255; 3]));
    let blurred = Corruption::GaussianBlur.apply(&point, 5, 1, 0).unwrap();
    // Weights of sigma 1, cut at 4: 0.39894 in the middle, 0.24197 beside it.
    let at = |x, y| blurred.get_pixel(x, y).0[0];
    assert_eq!([at(7, 7), at(8, 7), at(7, 6), at(8, 8), at(12, 7)], [41, 25, 25, 15, 0]);
    let even = RgbImage::from_pixel(9, 9, Rgb([77, 5, 200]));
    assert_eq!(Corruption::GaussianBlur.apply(&even, 5, 1, 0).unwrap(), even);
}

#[test]
fn a_turn_goes_to_the_right() {
    let numbers = RgbImage::from_raw(2, 2, [1, 2, 3, 4].iter().flat_map(|v| [*v; 3]).collect()).unwrap();
    let turned = Corruption::Rotation.apply(&numbers, 5, 1, 0).unwrap();
    let seen: Vec<u8> = turned.pixels().map(|p| p.0[0]).collect();
    assert_eq!(seen, [3, 1, 4, 2]);
}

#[test]
fn a_mix_changes_its_share_and_keeps_those_of_lower_severities() {
    for mix in [Corruption::Rotation, Corruption::ChannelSwap, Corruption::Texture] {
        let changed = |severity| -> Vec<usize> {
            let small = RgbImage::from_fn(3, 3, |x, y| Rgb([x as u8, y as u8, 9]));
            let after = |index: &usize| mix.apply(&small, severity, 11, *index).unwrap() != small;
            (0..4000).filter(after).collect()
        };
        let sets = SEVERITY.map(changed);
        for (set, share) in sets.iter().zip(MIXED) {
            let error = 5.0 * (4000.0 * share * (1.0 - share)).sqrt();
            assert!((set.len() as f64 - 4000.0 * share).abs() <= error, "{mix} {share}: {}", set.len());
        }
        assert!(sets.windows(2).all(|pair| pair[0].iter().all(|index| pair[1].contains(index))), "{mix}");
    }
}

#[test]
fn names_read_back_and_others_are_refused() {
    for corruption in Corruption::ALL {
        assert_eq!(corruption.to_string().parse(), Ok(corruption));
    }
    let error = "fog".parse::<Corruption>().unwrap_err().to_string();
    assert!(error.starts_with("corruption is \"fog\", allowed: none, gaussian_noise, "), "{error}");
}
