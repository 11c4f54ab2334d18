//! From the bytes of a PNG or JPEG to pixels, with the limits checked before anything is allocated.
//!
//! Alpha is dropped, 16-bit values are reduced to 8, grey becomes three equal channels; an orientation in
//! EXIF data is not applied (training did not either).

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

/// Largest width or height of an image, in pixels, whatever its area.
pub const MAX_SIDE: u32 = 16_384;
/// Bytes of a decoded pixel at most: four channels of 16 bits.
const WIDEST_PIXEL: u64 = 8;
/// Bytes that a decoder may take beside the pixels: for a row (128 KiB at most) and for metadata, which may
/// unpack to a thousand times its size. A colour profile that does not fit is left out: it is not used.
const BESIDE_PIXELS: u64 = 1 << 20;

/// Why bytes are not an image that can be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Nothing there.
    #[error("the image is empty (0 bytes)")]
    Empty,
    /// Another format, or no image.
    #[error("not an image of an accepted format; accepted: PNG, JPEG")]
    Format,
    /// The header names more pixels than are accepted.
    #[error("the image has {width}x{height} pixels, allowed: {max_pixels} in all and {MAX_SIDE} a side")]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Largest number of pixels.
        max_pixels: u64,
    },
    /// The format is right, the content is not.
    #[error("the {format} image is broken: {reason}")]
    Broken {
        /// `PNG` or `JPEG`.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
}

/// An image whose header was read and accepted.
#[derive(Debug)]
pub struct Header<'a> {
    bytes: &'a [u8],
    format: ImageFormat,
    /// Width times height.
    pub pixels: u64,
}

/// Reads the header of an image; allocates nothing of the size of the image.
///
/// # Errors
/// If the bytes are no PNG or JPEG, or the header asks for more than `max_pixels`.
pub fn header(bytes: &[u8], max_pixels: u64) -> Result<Header<'_>, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) = image::guess_format(bytes) else {
        return Err(DecodeError::Format);
    };
    guarded(format, || header_unguarded(bytes, format, max_pixels))
}

fn header_unguarded(bytes: &[u8], format: ImageFormat, max_pixels: u64) -> Result<Header<'_>, DecodeError> {
    // The sides have no limit here: they are checked below, where the message can name them.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(BESIDE_PIXELS);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let (width, height) = reader.into_dimensions().map_err(|error| broken(format, &error))?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > max_pixels || width > MAX_SIDE || height > MAX_SIDE {
        return Err(DecodeError::TooLarge { width, height, max_pixels });
    }
    Ok(Header { bytes, format, pixels })
}

impl Header<'_> {
    /// Decodes the image.
    ///
    /// # Errors
    /// If its content is broken.
    pub fn decode(&self) -> Result<RgbImage, DecodeError> {
        guarded(self.format, || self.decode_unguarded())
    }

    fn decode_unguarded(&self) -> Result<RgbImage, DecodeError> {
        let broken = |error| broken(self.format, &error);
        let budget = self.pixels * WIDEST_PIXEL;
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_SIDE);
        limits.max_image_height = Some(MAX_SIDE);
        limits.max_alloc = Some(BESIDE_PIXELS);
        let mut reader = ImageReader::with_format(Cursor::new(self.bytes), self.format);
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(broken)?;
        // Not every decoder honours the limits: what it says it will fill is checked here too.
        if decoder.total_bytes() > budget {
            let reason = format!("it unpacks to {} bytes, its header allows {budget}", decoder.total_bytes());
            return Err(DecodeError::Broken { format: name(self.format), reason });
        }
        Ok(image::DynamicImage::from_decoder(decoder).map_err(broken)?.into_rgb8())
    }
}

/// Decoders read what strangers send: if one panics, that is an answer and not the server's end.
fn guarded<T>(format: ImageFormat, read: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let reason = "its decoder gave up".to_owned();
        Err(DecodeError::Broken { format: name(format), reason })
    })
}

fn broken(format: ImageFormat, error: &ImageError) -> DecodeError {
    if matches!(error, ImageError::Limits(_)) {
        let reason = format!("it needs more than {BESIDE_PIXELS} bytes beside its pixels");
        return DecodeError::Broken { format: name(format), reason };
    }
    // One line, and not the decoder's whole story.
    let reason = error.to_string();
    let reason = reason.lines().next().unwrap_or_default().chars().take(160).collect();
    DecodeError::Broken { format: name(format), reason }
}

fn name(format: ImageFormat) -> &'static str {
    if format == ImageFormat::Png { "PNG" } else { "JPEG" }
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;
    use proptest::prelude::*;

    use super::*;

    fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
        header(bytes, 10_000)?.decode()
    }

    #[test]
    fn every_kind_of_png_becomes_rgb() {
        let grey = DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(3, 2, image::Luma([257 * 9])));
        assert_eq!(decode(&encode(&grey, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [9; 3]);
        let alpha = DynamicImage::ImageRgba8(image::ImageBuffer::from_pixel(3, 2, image::Rgba([1, 2, 3, 0])));
        assert_eq!(decode(&encode(&alpha, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [1, 2, 3]);
        let jpeg = encode(&DynamicImage::new_rgb8(20, 10), ImageFormat::Jpeg);
        assert_eq!(decode(&jpeg).unwrap().dimensions(), (20, 10));
    }

    #[test]
    fn the_size_is_refused_from_the_header_alone() {
        let png = encode(&DynamicImage::new_luma8(101, 100), ImageFormat::Png);
        // Only the first bytes are there: the pixels were never looked at.
        let expected = DecodeError::TooLarge { width: 101, height: 100, max_pixels: 10_000 };
        assert_eq!(header(&png[..60], 10_000).unwrap_err(), expected);
        let long = encode(&DynamicImage::new_luma8(MAX_SIDE + 1, 1), ImageFormat::Png);
        assert!(matches!(header(&long, 1 << 40), Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn what_is_no_image_is_named() {
        assert_eq!(decode(b""), Err(DecodeError::Empty));
        assert_eq!(decode(b"GIF89a.............."), Err(DecodeError::Format));
        assert_eq!(decode(b"hello"), Err(DecodeError::Format));
        let png = encode(&DynamicImage::new_rgb8(30, 30), ImageFormat::Png);
        assert!(matches!(decode(&png[..png.len() / 2]), Err(DecodeError::Broken { format: "PNG", .. })));
    }

    #[test]
    fn a_decoder_that_panics_is_a_broken_image() {
        let error = guarded::<()>(ImageFormat::Jpeg, || panic!("the decoder's invariant")).unwrap_err();
        assert_eq!(error.to_string(), "the JPEG image is broken: its decoder gave up");
    }

    #[test]
    fn the_widest_row_fits_beside_the_pixels() {
        let image =
            DynamicImage::ImageRgba16(image::ImageBuffer::from_pixel(MAX_SIDE, 1, image::Rgba([257; 4])));
        let png = encode(&image, ImageFormat::Png);
        let decoded = header(&png, u64::from(MAX_SIDE)).unwrap().decode().unwrap();
        assert_eq!((decoded.width(), decoded.get_pixel(MAX_SIDE - 1, 0).0), (MAX_SIDE, [1; 3]));
    }

    proptest! {
        #[test]
        fn damaged_images_never_panic(at in 0usize..2000, to: u8, cut in 1usize..2000, png: bool) {
            let format = if png { ImageFormat::Png } else { ImageFormat::Jpeg };
            let image = DynamicImage::ImageRgb8(RgbImage::from_fn(24, 24, |x, y| image::Rgb([x as u8, y as u8, 7])));
            let mut bytes = encode(&image, format);
            let at = at % bytes.len();
            bytes[at] = to;
            bytes.truncate(cut);
            // Without the guard: a panic of the decoder fails the test.
            let read = header_unguarded(&bytes, format, 10_000).and_then(|header| header.decode_unguarded());
            if let Ok(image) = read {
                prop_assert!(u64::from(image.width()) * u64::from(image.height()) <= 10_000);
            }
        }
    }
}
