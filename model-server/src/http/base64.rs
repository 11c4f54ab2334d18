//! Images in JSON, as clients send them: base64, with some freedom.
//!
//! Taken are both alphabets (`+/` and `-_`), padding or none, lines of any length that end with LF or CRLF, white space
//! around all of it, and a `data:…;base64,` in front. Refused are both alphabets in one text: one of them is then a
//! mistake, and nobody knows which; and white space within a line, which a `+` becomes in forms that were decoded once too
//! often.

use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine as _};
use bytes::Bytes;

/// Padding may be there or not: both are in use, and neither is ambiguous.
const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const COMMON: GeneralPurpose = GeneralPurpose::new(&STANDARD, CONFIG);
const OF_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, CONFIG);
/// Longest part of a `data:` URL before its comma, in bytes.
const MAX_HEAD: usize = 200;

/// The bytes that a text stands for.
///
/// # Errors
/// Says what is wrong, and at which character (from 0).
pub(super) fn decode(text: String) -> Result<Bytes, String> {
    let start = text.len() - text.trim_ascii_start().len();
    let start = start + data_url(&text[start..])?;
    let start = text.len() - text[start..].trim_ascii_start().len();
    // What most send is read at once. Only if that fails is the text looked at, once, and read again.
    if let Ok(bytes) = COMMON.decode(text[start..].trim_ascii_end()) {
        return Ok(bytes.into());
    }
    let mut text = text.into_bytes();
    text.truncate(text.trim_ascii_end().len());
    let engine = match alphabet(&text[start..], start)? {
        Alphabet::Common => COMMON,
        Alphabet::OfUrls => OF_URLS,
    };
    let last = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n' | b'='));
    // In place: there is no second copy.
    text.drain(..start);
    text.retain(|byte| !matches!(byte, b'\r' | b'\n'));
    let bytes = engine.decode(text).map_err(|error| ending(&error, last.map_or(start, |last| last + 1)))?;
    Ok(bytes.into())
}

/// Length of what is in front of the base64 text of a `data:` URL; 0 for other texts.
fn data_url(text: &str) -> Result<usize, String> {
    let head = &text.as_bytes()[..text.len().min(MAX_HEAD)];
    if !head.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:")) {
        return Ok(0);
    }
    let Some(comma) = head.iter().position(|byte| *byte == b',') else {
        return Err(format!("the image is a data: URL without a comma in its first {MAX_HEAD} characters"));
    };
    // Media type and parameters say nothing: the bytes tell their format themselves.
    let head = &head[..comma];
    if head.len() < 7 || !head[head.len() - 7..].eq_ignore_ascii_case(b";base64") {
        return Err("the image is a data: URL that is not base64, allowed: data:…;base64,…".into());
    }
    Ok(comma + 1)
}

enum Alphabet {
    Common,
    OfUrls,
}

/// The alphabet of a text that has nothing else but line ends, and padding as its end.
fn alphabet(text: &[u8], start: usize) -> Result<Alphabet, String> {
    let (mut common, mut of_urls, mut padding) = (None, None, None);
    for (i, byte) in text.iter().enumerate() {
        match byte {
            b'\r' | b'\n' => continue,
            b'=' => padding = padding.or(Some(i)),
            _ if padding.is_some() => {
                return Err(refused(&text[i..], start + i, "nothing behind the padding"));
            }
            b'+' | b'/' => common = common.or(Some(i)),
            b'-' | b'_' => of_urls = of_urls.or(Some(i)),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => {}
            _ => return Err(refused(&text[i..], start + i, "base64 in lines")),
        }
    }
    match (common, of_urls) {
        (Some(common), Some(of_urls)) => {
            let second = common.max(of_urls);
            Err(refused(&text[second..], start + second, "one alphabet, + and / or - and _"))
        }
        (None, Some(_)) => Ok(Alphabet::OfUrls),
        _ => Ok(Alphabet::Common),
    }
}

/// What is wrong with a text without a wrong character, whose last one but padding is before `end`.
fn ending(error: &DecodeError, end: usize) -> String {
    let last = end.saturating_sub(1);
    let wrong = match error {
        DecodeError::InvalidLastSymbol(..) => {
            format!("the last character, at {last}, has bits of no whole byte")
        }
        DecodeError::InvalidLength(_) => format!("the last character, at {last}, is one too many"),
        DecodeError::InvalidPadding | DecodeError::InvalidByte(..) => format!("wrong padding at {end}"),
    };
    format!("the image is not base64: {wrong}")
}

fn refused(rest: &[u8], at: usize, allowed: &str) -> String {
    let rest = String::from_utf8_lossy(&rest[..rest.len().min(4)]);
    let found = rest.chars().next().unwrap_or_default();
    format!("the image is not base64: {found:?} at {at}, allowed: {allowed}")
}

#[cfg(test)]
mod tests;
