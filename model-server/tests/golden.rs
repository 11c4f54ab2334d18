//! Images of every kind, against what Pillow makes of them. `fixtures/inputs.py` wrote both.
#![allow(clippy::unwrap_used, reason = "a test program")]

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use flate2::read::ZlibDecoder;
use image::RgbImage;
use model_server::{Answer, Output, Preprocessing, Resize, decode, stats};
use serde_json::Value;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inputs").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

struct Expected {
    json: Value,
    pixels: Vec<u8>,
}

impl Expected {
    fn read() -> Self {
        let mut pixels = vec![];
        ZlibDecoder::new(&fixture("pixels.zz")[..]).read_to_end(&mut pixels).unwrap();
        Self { json: serde_json::from_slice(&fixture("expected.json")).unwrap(), pixels }
    }

    fn image(&self, about: &Value) -> RgbImage {
        let number = |field: &str| usize::try_from(about[field].as_u64().unwrap()).unwrap();
        let (width, height, at) = (number("width"), number("height"), number("at"));
        let pixels = self.pixels[at..at + width * height * 3].to_vec();
        RgbImage::from_raw(width as u32, height as u32, pixels).unwrap()
    }
}

/// Largest and mean difference of two images' values.
fn difference(a: &RgbImage, b: &RgbImage) -> (u8, f64) {
    assert_eq!(a.dimensions(), b.dimensions());
    let each = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = each.clone().map(f64::from).sum();
    (each.max().unwrap(), sum / a.as_raw().len() as f64)
}

/// The largest difference of a value of 8 bits, and of all on average, that was found: other inverse transforms and
/// other ways to enlarge chroma. PNG and WebP have none.
fn tolerance(name: &str) -> (u8, f64) {
    match name.strip_suffix(".jpg") {
        None => (0, 0.0),
        Some("444" | "progressive-444" | "rgb" | "grey" | "grey-progressive" | "cmyk" | "cmyk-plain") => {
            (1, 0.017)
        }
        Some("ycck") => (2, 0.026),
        Some("coarse" | "large-420" | "large-progressive") => (3, 0.38),
        Some(_) => (2, 0.311),
    }
}

#[test]
fn every_kind_of_image_has_the_pixels_that_pillow_gives_it() {
    let expected = Expected::read();
    let decoded = expected.json["decoded"].as_object().unwrap();
    assert!(decoded.len() > 60);
    for (name, about) in decoded {
        let bytes = fixture(name);
        let image = decode::header(&bytes, 1 << 20).and_then(|header| header.decode());
        let image = image.unwrap_or_else(|error| panic!("{name}: {error}"));
        let (most, mean) = difference(&image, &expected.image(about));
        let (allowed, on_average) = tolerance(name);
        assert!(most <= allowed && mean <= on_average, "{name}: {most} {mean}");
    }
}

#[test]
fn every_resize_has_the_pixels_that_pillow_gives_it() {
    let expected = Expected::read();
    let resized = expected.json["resized"].as_array().unwrap();
    let mut tensors = 0;
    for about in resized {
        let (from, to) = (expected.image(&about["from"]), expected.image(about));
        let resize: Resize = serde_json::from_value(about["filter"].clone()).unwrap();
        let contract = Preprocessing {
            width: to.width(),
            height: to.height(),
            channels: 3,
            scale: 1.0 / 255.0,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            resize,
        };
        let (allowed, on_average) = match resize {
            Resize::Nearest => (0, 0.0),
            Resize::Bilinear => (1, 0.02),
            Resize::Lanczos3 => (2, 0.007),
        };
        let what = format!("{resize:?} {:?} to {:?}", from.dimensions(), to.dimensions());
        let image = contract.resize(from).unwrap();
        let (most, mean) = difference(&image, &to);
        assert!(most <= allowed && mean <= on_average, "{what}: {most} {mean}");
        let Some(tensor) = about["tensor"].as_array() else { continue };
        tensors += 1;
        let numbers = contract.normalise(&image);
        assert_eq!(numbers.len(), tensor.len());
        for (number, expected) in numbers.iter().zip(tensor) {
            let difference = (f64::from(*number) - expected.as_f64().unwrap()).abs();
            // A level, where pixels may differ by one.
            let level = f64::from(allowed.min(1)) / 255.0 / 0.224;
            assert!(difference <= level + 1e-6, "{what}: {number} {expected}");
        }
    }
    assert_eq!((resized.len(), tensors), (33, 3));
}

/// `fixtures/stats.py` wrote what numpy, Pillow and PyTorch make of them.
#[test]
fn statistics_of_images_and_answers_are_those_of_others() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stats.json");
    let told: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let expected = Expected::read();
    let (images, answers) = (told["images"].as_object().unwrap(), told["answers"].as_array().unwrap());
    assert!(images.len() > 60 && answers.len() > 30);
    for (name, told) in images {
        let image = expected.image(&expected.json["decoded"][name]);
        let found = stats::of_image(&image, 1);
        let number = |what: &str| told[what].as_f64().unwrap();
        for (feature, value) in &found[..4] {
            let expected = number(feature.as_str());
            assert!((value - expected).abs() <= 5.1e-6, "{name}: {feature:?} {value} {expected}");
        }
        // Pillow cuts off what is less than a level.
        let above = found[3].1 - number("hsv");
        assert!((-1e-5..1.0 / 255.0).contains(&above), "{name}: {above} above Pillow's S");
    }
    for told in answers {
        let logits: Vec<f32> = serde_json::from_value(told["logits"].clone()).unwrap();
        let answer = Answer::from_outputs(&logits, Output::Logits);
        for (found, what) in [(answer.entropy, "entropy"), (answer.energy, "energy")] {
            let (found, expected) = (found.unwrap(), told[what].as_f64().unwrap());
            assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{what}: {found} {expected}");
        }
    }
}
