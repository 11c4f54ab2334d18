//! WebP: one picture, lossy or lossless. Chunks are walked here, and the decoder gets the picture's alone: it would
//! believe sizes before it compares them, and alpha of its own chunk is dropped anyway.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::webp::WebPDecoder;

use super::{ASKED_FOR, Decoded, Head, Kind, Wrong, rgb, vp8, vp8l};

/// What a walk over the chunks found.
#[derive(Debug)]
pub(super) struct Chunks<'a> {
    /// The picture with the head of its chunk.
    picture: &'a [u8],
    lossless: bool,
    exif: Option<&'a [u8]>,
}

/// Length of a chunk's head: its name and its size.
const HEAD: usize = 8;

pub(super) fn head(bytes: &[u8]) -> Result<Head<'_>, Wrong> {
    let length = little(&bytes[4..8]);
    // Bytes behind the file's end are not of it.
    let mut rest = bytes.get(12..HEAD + length).ok_or_else(Wrong::truncated)?;
    let (mut canvas, mut picture, mut exif) = (None, None, None);
    while !rest.is_empty() {
        let chunk = rest.split_at_checked(HEAD).ok_or_else(Wrong::truncated)?;
        let (name, size) = (&chunk.0[..4], little(&chunk.0[4..]));
        let content = chunk.1.get(..size).ok_or_else(Wrong::truncated)?;
        match name {
            b"VP8X" if canvas.is_none() && picture.is_none() => canvas = Some(extended(content)?),
            b"ANMF" | b"ANIM" => return Err(Wrong::Animation),
            b"VP8 " | b"VP8L" if picture.is_none() => {
                let lossless = name == b"VP8L";
                let size = if lossless { lossless_size(content) } else { lossy_size(content) };
                let size = size.ok_or_else(|| Wrong::Broken("its picture's header is wrong".into()))?;
                picture = Some((size, lossless, &rest[..HEAD + content.len()]));
            }
            b"EXIF" if exif.is_none() => exif = Some(content),
            _ => {}
        }
        // Chunks have even lengths; the last one's fill byte may be missing.
        rest = chunk.1.get(size + size % 2..).unwrap_or_default();
    }
    let (size, lossless, picture) = picture.ok_or_else(|| Wrong::Broken("it has no picture".into()))?;
    if let Some(canvas) = canvas
        && canvas != size
    {
        let (canvas, size) = (format!("{}x{}", canvas.0, canvas.1), format!("{}x{}", size.0, size.1));
        return Err(Wrong::Broken(format!("its canvas has {canvas} pixels, its picture {size}")));
    }
    let kind = Kind::WebP(Chunks { picture, lossless, exif });
    Ok(Head { width: size.0, height: size.1, kind })
}

/// A number of up to four bytes, the least first.
fn little(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Width and height of a canvas.
fn extended(content: &[u8]) -> Result<(u32, u32), Wrong> {
    let [flags, _, _, _, size @ ..] = content else { return Err(Wrong::truncated()) };
    if flags & 0b10 != 0 {
        return Err(Wrong::Animation);
    }
    let (width, height) = size.split_at_checked(3).ok_or_else(Wrong::truncated)?;
    let height = height.get(..3).ok_or_else(Wrong::truncated)?;
    Ok((little(width) as u32 + 1, little(height) as u32 + 1))
}

/// Behind a tag of three bytes and a start code.
fn lossy_size(content: &[u8]) -> Option<(u32, u32)> {
    let size = content.get(3..10)?.strip_prefix(&[0x9d, 0x01, 0x2a])?;
    let side = |bytes: &[u8]| little(bytes) as u32 & 0x3fff;
    Some((side(&size[..2]), side(&size[2..]))).filter(|(width, height)| *width > 0 && *height > 0)
}

/// Behind a signature: 14 bits each, less one.
fn lossless_size(content: &[u8]) -> Option<(u32, u32)> {
    let bits = little(content.strip_prefix(&[vp8l::SIGNATURE])?.get(..4)?) as u32;
    Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
}

pub(super) fn decode(chunks: &Chunks<'_>, width: u32, height: u32) -> Decoded {
    let Chunks { picture, lossless, exif } = *chunks;
    let count = width as usize * height as usize;
    if lossless {
        // Tables of codes may take five hundred times the bytes that describe them.
        let max = ASKED_FOR + 8 * count;
        let needs = vp8l::tables(&picture[HEAD..], max).map_err(|error| match error {
            vp8l::Error::Broken => Wrong::Broken("its codes are wrong".into()),
            vp8l::Error::TooLarge => Wrong::Broken(format!("its codes need more than {max} bytes")),
        })?;
        debug_assert!(needs <= max);
    } else if !vp8::is_whole(&picture[HEAD..]) {
        return Err(Wrong::truncated());
    }
    let mut file = Vec::with_capacity(12 + picture.len() + 1);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&((4 + picture.len() + picture.len() % 2) as u32).to_le_bytes());
    file.extend_from_slice(b"WEBP");
    file.extend_from_slice(picture);
    file.resize(file.len() + picture.len() % 2, 0);
    let decoder = WebPDecoder::new(Cursor::new(file)).map_err(Wrong::said)?;
    if decoder.dimensions() != (width, height) {
        return Err(Wrong::Broken("it has more than one size".into()));
    }
    let values = usize::from(decoder.color_type().channel_count());
    let mut pixels = vec![0; count * values];
    decoder.read_image(&mut pixels).map_err(Wrong::said)?;
    Ok((rgb(pixels, values), exif.map(<[u8]>::to_vec)))
}
