//! PNG: the picture, and EXIF data before or behind it.

use std::io::Cursor;

use ::png::{Decoder, DecodingError, Limits, Transformations};

use super::{ASKED_FOR, Decoded, Head, Kind, Wrong, rgb};

/// A decoder that unpacks no texts and no colour profiles, which may unpack to a thousand times their size and are not
/// used.
fn decoder(bytes: &[u8]) -> Decoder<Cursor<&[u8]>> {
    let limits = Limits { bytes: ASKED_FOR };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder
}

pub(super) fn head(bytes: &[u8]) -> Result<Head<'_>, Wrong> {
    let mut decoder = decoder(bytes);
    let info = decoder.read_header_info().map_err(|e| wrong(&e))?;
    Ok(Head { width: info.width, height: info.height, kind: Kind::Png(bytes) })
}

pub(super) fn decode(bytes: &[u8], width: u32, height: u32) -> Decoded {
    let mut decoder = decoder(bytes);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|e| wrong(&e))?;
    // The decoder panics where the last colour is not whole.
    if reader.info().palette.as_ref().is_some_and(|palette| palette.len() % 3 != 0) {
        return Err(Wrong::Broken("its palette has a part of a colour".into()));
    }
    let count = width as usize * height as usize;
    let size = reader.output_buffer_size().filter(|size| *size <= 4 * count);
    let size = size.ok_or_else(|| Wrong::Broken("it has more values than four of 8 bits a pixel".into()))?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(|e| wrong(&e))?;
    if (frame.width, frame.height) != (width, height) {
        return Err(Wrong::Broken("its first frame has another size than the image".into()));
    }
    reader.finish().map_err(|e| wrong(&e))?;
    let exif = reader.info().exif_metadata.as_ref().map(|exif| exif.to_vec());
    Ok((rgb(pixels, frame.color_type.samples()), exif))
}

fn wrong(error: &DecodingError) -> Wrong {
    match error {
        DecodingError::LimitsExceeded => {
            Wrong::Broken(format!("it needs more than {ASKED_FOR} bytes beside its pixels"))
        }
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Wrong::truncated()
        }
        _ => Wrong::said(error),
    }
}
