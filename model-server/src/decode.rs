//! From the bytes of a PNG, JPEG or WebP to RGB pixels, as Pillow's `ImageOps.exif_transpose(image).convert("RGB")`
//! makes them, with the limits checked before anything is allocated.
//!
//! - Alpha, and transparency of a palette or colour, is dropped: the colour below it counts.
//! - Grey becomes three equal channels; palettes and 1, 2 and 4 bits are expanded.
//! - Of 16 bits the upper eight are taken. (Pillow does so too, but for grey, where it makes white of all above 255.)
//! - CMYK and YCCK are read as Adobe writes them, inverted.
//! - The orientation of EXIF data is applied. XMP is not read.
//! - Colour profiles are not applied, and animations are refused: of an animated PNG the picture is taken that
//!   programs show which know no animations.
//! - A file that ends before its end marker is refused.
//!
//! However hostile the bytes: what a decoder takes beside them is at most [`PER_PIXEL`] bytes for each pixel that
//! the header names, [`COPIES`] of the bytes and [`BESIDE_PIXELS`] (`tests/memory.rs` counts it).

mod jpeg;
mod png;
mod vp8;
mod vp8l;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use crate::media::Media;

/// Largest width or height of an image, in pixels, whatever its area.
pub const MAX_SIDE: u32 = 16_384;
/// Bytes that decoding takes for each pixel at most: a progressive JPEG of four colours holds all its coefficients.
pub const PER_PIXEL: u64 = 16;
/// Copies of the file that decoding makes at most, in parts or as a whole.
pub const COPIES: u64 = 4;
/// Bytes that decoding may take beside the pixels and copies of the file: rows, which JPEG has up to 32 at a time, tables,
/// EXIF data.
pub const BESIDE_PIXELS: u64 = 16 << 20;
/// Of these, what may be asked for by numbers in the file: for EXIF data and tables of codes.
const ASKED_FOR: usize = 2 << 20;

/// Why bytes are not an image that can be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Nothing there.
    #[error("the image is empty (0 bytes)")]
    Empty,
    /// Another format, or no image.
    #[error("not an image of an accepted format; accepted: PNG, JPEG, WebP")]
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
        /// `PNG`, `JPEG` or `WebP`.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// More than one picture.
    #[error("the WebP image is an animation, allowed: a single picture")]
    Animation,
}

/// What is wrong with the content of an image.
enum Wrong {
    Broken(String),
    Animation,
}

/// What a format's header says.
#[derive(Debug)]
struct Head<'a> {
    width: u32,
    height: u32,
    kind: Kind<'a>,
}

#[derive(Debug)]
enum Kind<'a> {
    Png(&'a [u8]),
    Jpeg(jpeg::Segments<'a>),
    WebP(webp::Chunks<'a>),
}

/// An image whose header was read and accepted.
#[derive(Debug)]
pub struct Header<'a> {
    head: Head<'a>,
    format: &'static str,
    /// Width times height.
    pub pixels: u64,
}

/// Reads the header of an image; allocates nothing of the size of the image.
///
/// # Errors
/// If the bytes are no PNG, JPEG or WebP, or the header asks for more than `max_pixels`.
pub fn header(bytes: &[u8], max_pixels: u64) -> Result<Header<'_>, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let media = Media::of(bytes).ok_or(DecodeError::Format)?;
    guarded(media.name(), || header_unguarded(bytes, media, max_pixels))
}

fn header_unguarded(bytes: &[u8], media: Media, max_pixels: u64) -> Result<Header<'_>, DecodeError> {
    let format = media.name();
    let head = match media {
        Media::Png => png::head(bytes),
        Media::Jpeg => jpeg::head(bytes),
        Media::WebP => webp::head(bytes),
    };
    let head = head.map_err(|wrong| wrong.of(format))?;
    let Head { width, height, .. } = head;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > max_pixels || width > MAX_SIDE || height > MAX_SIDE {
        return Err(DecodeError::TooLarge { width, height, max_pixels });
    }
    Ok(Header { head, format, pixels })
}

impl Header<'_> {
    /// Decodes the image, and turns it as its EXIF data says.
    ///
    /// # Errors
    /// If its content is broken.
    pub fn decode(&self) -> Result<RgbImage, DecodeError> {
        guarded(self.format, || self.decode_unguarded())
    }

    fn decode_unguarded(&self) -> Result<RgbImage, DecodeError> {
        let Head { width, height, kind } = &self.head;
        let (pixels, exif) = match kind {
            Kind::Png(bytes) => png::decode(bytes, *width, *height),
            Kind::Jpeg(segments) => jpeg::decode(segments, *width, *height),
            Kind::WebP(chunks) => webp::decode(chunks, *width, *height),
        }
        .map_err(|wrong| wrong.of(self.format))?;
        let image = RgbImage::from_raw(*width, *height, pixels).ok_or_else(|| {
            Wrong::Broken("it has fewer pixels than its header says".into()).of(self.format)
        })?;
        let exif = exif.unwrap_or_default();
        let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif);
        let mut image = DynamicImage::ImageRgb8(image);
        if let Some(orientation) = Orientation::from_exif_chunk(exif) {
            image.apply_orientation(orientation);
        }
        Ok(image.into_rgb8())
    }
}

/// Pixels as RGB, and EXIF data.
type Decoded = Result<(Vec<u8>, Option<Vec<u8>>), Wrong>;

/// The RGB pixels among pixels of so many values, of which the first one is grey or the first three are red, green and
/// blue.
fn rgb(mut pixels: Vec<u8>, values: usize) -> Vec<u8> {
    if values < 3 {
        return pixels.iter().step_by(values).flat_map(|grey| [*grey; 3]).collect();
    }
    if values > 3 {
        let count = pixels.len() / values;
        for i in 0..count {
            pixels.copy_within(i * values..i * values + 3, i * 3);
        }
        pixels.truncate(count * 3);
    }
    pixels
}

/// Decoders read what strangers send: if one panics, that is an answer and not the server's end.
fn guarded<T>(format: &'static str, read: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let reason = "its decoder gave up".to_owned();
        Err(DecodeError::Broken { format, reason })
    })
}

impl Wrong {
    /// What a decoder says: one line, and not its whole story.
    fn said(error: impl std::fmt::Display) -> Self {
        let text = error.to_string();
        Self::Broken(text.lines().next().unwrap_or_default().chars().take(160).collect())
    }

    fn truncated() -> Self {
        Self::Broken("it ends before its end marker".to_owned())
    }

    fn of(self, format: &'static str) -> DecodeError {
        match self {
            Self::Broken(reason) => DecodeError::Broken { format, reason },
            Self::Animation => DecodeError::Animation,
        }
    }
}

#[cfg(test)]
mod tests;
