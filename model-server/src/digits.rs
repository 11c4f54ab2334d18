//! The handwritten digits that scikit-learn carries: 1,797 grey images of 8x8 pixels with values 0..=16.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use image::RgbImage;

use crate::dataset::{Dataset, SIDE, Sample};
use crate::preprocess::{Resize, resize};

const SMALL: u32 = 8;
const DARKEST: u8 = 16;

/// Why the file is not the digits.
#[derive(Debug, thiserror::Error)]
pub enum DigitsError {
    /// It cannot be read.
    #[error("{path}: {source}; hack/digits fetches it")]
    Read {
        /// The file.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A line is not 64 values and a label.
    #[error("{path}, line {line}: expected 64 values of 0..=16 and a label of 0..=9")]
    Line {
        /// The file.
        path: String,
        /// Number of the line, from 1.
        line: usize,
    },
}

/// Reads `digits.csv.gz` (or the same unpacked) and enlarges each image to 32x32 by linear interpolation.
///
/// # Errors
/// If the file cannot be read or holds something else.
pub(crate) fn read(path: &Path) -> Result<Dataset, DigitsError> {
    let name = path.display().to_string();
    let failed = |source| DigitsError::Read { path: name.clone(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let unpacked: Box<dyn Read> = if path.extension().is_some_and(|e| e == "gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut samples = Vec::new();
    for (index, line) in BufReader::new(unpacked).lines().enumerate() {
        let line = line.map_err(failed)?;
        let sample =
            sample(&line).ok_or_else(|| DigitsError::Line { path: name.clone(), line: index + 1 })?;
        samples.push(sample);
    }
    Ok(Dataset { classes: (0..10).map(|digit| digit.to_string()).collect(), samples })
}

fn sample(line: &str) -> Option<Sample> {
    // The values are whole numbers, but written as floats in older files.
    let numbers: Vec<f32> = line.split(',').map(|v| v.trim().parse().ok()).collect::<Option<_>>()?;
    let (label, pixels) = numbers.split_last()?;
    let valid = |v: &f32, max: u8| v.fract() == 0.0 && (0.0..=f32::from(max)).contains(v);
    if pixels.len() != (SMALL * SMALL) as usize
        || !pixels.iter().all(|v| valid(v, DARKEST))
        || !valid(label, 9)
    {
        return None;
    }
    let grey = pixels.iter().flat_map(|v| [(v * 255.0 / f32::from(DARKEST)).round() as u8; 3]).collect();
    let image = RgbImage::from_raw(SMALL, SMALL, grey)?;
    Some(Sample { label: *label as u8, image: resize(image, SIDE, SIDE, Resize::Bilinear).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_an_image() {
        let line = format!("{}16.0,7", "0.0,".repeat(63));
        let sample = sample(&line).unwrap();
        assert_eq!(sample.label, 7);
        assert_eq!(sample.image.get_pixel(31, 31).0, [255; 3]);
        assert_eq!(sample.image.get_pixel(0, 0).0, [0; 3]);
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "1,2",
            &"0,".repeat(65),
            &format!("{}17,1", "0,".repeat(63)),
            &format!("{}1,10", "0,".repeat(63)),
        ] {
            assert_eq!(sample(line), None, "{line}");
        }
    }
}
