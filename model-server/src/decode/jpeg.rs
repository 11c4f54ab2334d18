//! JPEG: the first picture of the file. Segments are walked here, for the size, the EXIF data and the end marker; the
//! decoder does not miss the latter, and fills with grey what is not there.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{Decoded, Head, Kind, MAX_SIDE, Wrong, rgb};

const END: u8 = 0xd9;
const APP1: u8 = 0xe1;

/// What a walk over the segments found.
#[derive(Debug)]
pub(super) struct Segments<'a> {
    /// From the start of the image to its end marker.
    image: &'a [u8],
    exif: Option<&'a [u8]>,
    whole: bool,
}

pub(super) fn head(bytes: &[u8]) -> Result<Head<'_>, Wrong> {
    let (mut size, mut exif) = (None, None);
    let mut whole = false;
    let mut at = 2;
    // Behind a scan's head come its bytes, in which 0xff is followed by 0 or is a marker without a length.
    while let Some(found) = memchr::memchr(0xff, bytes.get(at..).unwrap_or_default()) {
        at += found + 1;
        let Some(marker) = bytes.get(at) else { break };
        match marker {
            // A fill byte: the next one may be the marker.
            0xff => continue,
            0 | 1 | 0xd0..=0xd8 => {
                at += 1;
                continue;
            }
            &END => {
                at += 1;
                whole = true;
                break;
            }
            _ => {}
        }
        let Some(segment) = segment(&bytes[at + 1..]) else { break };
        match marker {
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) && size.is_none() => size = frame(segment),
            &APP1 if exif.is_none() && segment.starts_with(b"Exif\0\0") => exif = Some(segment),
            _ => {}
        }
        at += 3 + segment.len();
    }
    let (width, height) = size.ok_or_else(|| Wrong::Broken("it has no size".into()))?;
    if width == 0 || height == 0 {
        return Err(Wrong::Broken(format!("its size is {width}x{height}")));
    }
    let image = &bytes[..at.min(bytes.len())];
    Ok(Head { width, height, kind: Kind::Jpeg(Segments { image, exif, whole }) })
}

/// The content of a segment that begins with its length.
fn segment(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)).checked_sub(2)?)
}

/// Width and height in a frame's header: behind a byte of precision, height first.
fn frame(segment: &[u8]) -> Option<(u32, u32)> {
    let [_, h1, h0, w1, w0, ..] = *segment else { return None };
    Some((u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into()))
}

pub(super) fn decode(segments: &Segments<'_>, width: u32, height: u32) -> Decoded {
    let Segments { image, exif, whole } = *segments;
    if !whole {
        return Err(Wrong::truncated());
    }
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(MAX_SIDE as usize)
        .set_max_height(MAX_SIDE as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(image), options);
    decoder.decode_headers().map_err(Wrong::said)?;
    if decoder.dimensions() != Some((width as usize, height as usize)) {
        return Err(Wrong::Broken("it has more than one size".into()));
    }
    let values = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => 1,
        Some(ColorSpace::RGB | ColorSpace::YCbCr | ColorSpace::CMYK | ColorSpace::YCCK) => 3,
        _ => return Err(Wrong::Broken("it has two colours, allowed: 1, 3, 4".into())),
    };
    if values == 1 {
        decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
    }
    let mut pixels = vec![0; width as usize * height as usize * values];
    if decoder.output_buffer_size() != Some(pixels.len()) {
        return Err(Wrong::Broken("it unpacks to another size than its header says".into()));
    }
    decoder.decode_into(&mut pixels).map_err(Wrong::said)?;
    Ok((rgb(pixels, values), exif.map(<[u8]>::to_vec)))
}
