use std::io::Cursor;

use image::{ImageBuffer, ImageFormat, Luma, Rgb, Rgba};
use proptest::prelude::*;

use super::*;

const FORMATS: [ImageFormat; 3] = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    header(bytes, 10_000)?.decode()
}

#[test]
fn the_size_is_refused_from_the_header_alone() {
    let png = encode(&DynamicImage::new_luma8(101, 100), ImageFormat::Png);
    // Only the first bytes are there: the pixels were never looked at.
    let expected = DecodeError::TooLarge { width: 101, height: 100, max_pixels: 10_000 };
    assert_eq!(header(&png[..60], 10_000).unwrap_err(), expected);
    for format in FORMATS {
        let image = encode(&DynamicImage::new_rgb8(101, 100), format);
        assert_eq!(header(&image, 10_000).unwrap_err(), expected, "{format:?}");
    }
    let long = encode(&DynamicImage::new_luma8(MAX_SIDE + 1, 1), ImageFormat::Png);
    assert!(matches!(header(&long, 1 << 40), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn what_is_no_image_is_named() {
    assert_eq!(decode(b""), Err(DecodeError::Empty));
    for other in ["GIF89a..............", "hello", "RIFF\x04\0\0\0WAVE", "\u{89}PNG"] {
        assert_eq!(decode(other.as_bytes()), Err(DecodeError::Format));
    }
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let pixels = RgbImage::from_fn(60, 40, |x, y| Rgb([x as u8 * 4, y as u8 * 3, (x * y) as u8]));
    for format in FORMATS {
        let whole = encode(&pixels.clone().into(), format);
        assert!(decode(&whole).is_ok());
        for cut in (1..=20).chain([whole.len() / 3, whole.len() / 2]) {
            // Of a PNG, the last four bytes are a checksum, of a WebP the last one may be a fill byte.
            let error = decode(&whole[..whole.len() - cut]).unwrap_err();
            assert!(matches!(error, DecodeError::Broken { .. }), "{format:?} {cut} {error}");
        }
    }
}

#[test]
fn a_decoder_that_panics_is_a_broken_image() {
    let error = guarded::<()>("JPEG", || panic!("the decoder's invariant")).unwrap_err();
    assert_eq!(error.to_string(), "the JPEG image is broken: its decoder gave up");
}

#[test]
fn the_widest_row_fits_beside_the_pixels() {
    let image = DynamicImage::ImageRgba16(ImageBuffer::from_pixel(MAX_SIDE, 1, Rgba([257; 4])));
    let png = encode(&image, ImageFormat::Png);
    let decoded = header(&png, u64::from(MAX_SIDE)).unwrap().decode().unwrap();
    assert_eq!((decoded.width(), decoded.get_pixel(MAX_SIDE - 1, 0).0), (MAX_SIDE, [1; 3]));
}

#[test]
fn the_upper_bits_of_sixteen_are_taken() {
    for (value, byte) in [(0u16, 0), (255, 0), (256, 1), (0x80ff, 0x80), (0xffff, 255)] {
        let grey = DynamicImage::ImageLuma16(ImageBuffer::from_pixel(3, 2, Luma([value])));
        let colour = DynamicImage::ImageRgba16(ImageBuffer::from_pixel(3, 2, Rgba([value, value, value, 7])));
        for image in [grey, colour] {
            assert_eq!(decode(&encode(&image, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [byte; 3]);
        }
    }
}

proptest! {
    #[test]
    fn damaged_images_never_panic(at in 0usize..2000, to: u8, cut in 1usize..2000, format in 0usize..3) {
        let image = DynamicImage::ImageRgb8(RgbImage::from_fn(24, 24, |x, y| Rgb([x as u8, y as u8, 7])));
        let mut bytes = encode(&image, FORMATS[format]);
        let at = at % bytes.len();
        bytes[at] = to;
        bytes.truncate(cut);
        // Without the guard: a panic of the decoder fails the test.
        let format = [Media::Png, Media::Jpeg, Media::WebP][format];
        let signature = if format == Media::WebP { 12 } else { 8 };
        prop_assume!(bytes.len() > signature && at >= signature);
        let read = header_unguarded(&bytes, format, 10_000).and_then(|header| header.decode_unguarded());
        if let Ok(image) = read {
            prop_assert!(u64::from(image.width()) * u64::from(image.height()) <= 10_000);
        }
    }
}
