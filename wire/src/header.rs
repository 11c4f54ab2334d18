//! Headers by which any image joins the evidence: a server answers with them, the router counts them.
//!
//! A batch gives one value per item, separated by commas, in the order of the items.

use std::borrow::Cow;
use std::fmt::Write;

use crate::Feature;

/// Model version that answered, for example `1.1.0`.
pub const MODEL_VERSION: &str = "x-model-version";
/// Revision that answered, set by the router on every answer.
pub const REVISION: &str = "x-sluice-revision";
/// Asks for one revision, where the route allows it: `stable`, `candidate` or the name of one of both. Never passed
/// on.
pub const TARGET: &str = "x-sluice-target";
/// `1` on every copy of a request, set by the router, so that a server can tell. A client's own is not passed on. On an
/// answer 202 of the router: the revision that gets copies, while nobody answers.
pub const SHADOW: &str = "x-sluice-shadow";
/// Names one answer, so that its true label can be sent later ([`crate::endpoint::FEEDBACK`]): set by the router where
/// it takes labels. Of a batch one item has an id, drawn at random; the others have `-` (C3). Opaque to clients.
pub const PREDICTION_ID: &str = "x-sluice-prediction-id";
/// On a request whose answer a person may have to decide about: names the answer before there is one, so that whoever keeps it
/// can send the true label later ([`crate::endpoint::FEEDBACK`]), together with what the model said. Set by the router
/// where it takes labels; a client's own is not passed on. Opaque to servers, at most [`TICKET_LENGTH`] characters.
pub const TICKET: &str = "x-sluice-ticket";
/// Longest [`TICKET`], in characters.
pub const TICKET_LENGTH: usize = 640;
/// Predicted class name; `-` for an answer that was withheld (a null output). Percent-encoded outside
/// of visible ASCII, and for `%` and `,`.
pub const PREDICTION: &str = "x-prediction";
/// Confidence of the predicted class in 0..=1; `NaN` for a null output.
pub const CONFIDENCE: &str = "x-confidence";
/// Features of the image, as `brightness=0.41 contrast=0.22 sharpness=0.07 saturation=0.3 size=50176` per item. Any of them may
/// be missing; names that a router does not know are none of its business.
pub const INPUT_STATS: &str = "x-input-stats";
/// Features of the answer, as `entropy=0.12 energy=-7.1` per item, in the same way; empty for a null output. Without logits there
/// is no energy.
pub const OUTPUT_STATS: &str = "x-output-stats";

/// On an answer that is no prediction, though its request was posted, such as an explanation: [`NO_EVIDENCE`]. Routers leave
/// the request out of all counts, if it went well.
pub const EVIDENCE: &str = "x-sluice-evidence";
/// The only value of [`EVIDENCE`].
pub const NO_EVIDENCE: &str = "none";

/// Spells a class name for [`PREDICTION`]: visible ASCII stays, the rest is percent-encoded.
#[must_use]
pub fn encode_class(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for &byte in name.as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && byte != b',' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Reads what [`encode_class`] wrote; broken escapes are kept as they are.
#[must_use]
pub fn decode_class(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'%') {
        return text.into();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        let byte = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.unwrap_or(bytes[i]));
        i += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned().into()
}

/// Spells one item of [`INPUT_STATS`] or [`OUTPUT_STATS`]; what is no number is left out.
#[must_use]
pub fn encode_stats(values: impl IntoIterator<Item = (Feature, f64)>) -> String {
    let mut out = String::with_capacity(96);
    for (feature, value) in values {
        let Some(value) = feature.rounded(value) else { continue };
        let space = if out.is_empty() { "" } else { " " };
        let (name, decimals) = (feature.as_str(), feature.decimals());
        write!(out, "{space}{name}={value:.decimals$}").expect("writing to a String does not fail");
    }
    out
}

/// Reads one item of [`INPUT_STATS`] or [`OUTPUT_STATS`]; unknown names and unreadable numbers are skipped.
pub fn decode_stats(item: &[u8]) -> impl Iterator<Item = (Feature, f64)> + '_ {
    item.split(|byte| *byte == b' ').filter_map(|part| {
        let (name, value) = part.split_at(part.iter().position(|byte| *byte == b'=')?);
        Some((Feature::parse(name)?, decode_number(&value[1..])?))
    })
}

/// Reads a number, the same that `str::parse` reads; what most are, up to fifteen digits and a point, in fewer steps: routers
/// read eight of each answer.
#[must_use]
pub fn decode_number(text: &[u8]) -> Option<f64> {
    let found = match text {
        // Energies are negative.
        [b'-', digits @ ..] => plain(digits).map(|number| -number),
        digits => plain(digits),
    };
    found.or_else(|| std::str::from_utf8(text).ok()?.parse().ok())
}

/// Both the digits and the power of ten are exact in 64 bits, and one division rounds as it should (Clinger, *How to read
/// floating point numbers accurately*, 1990).
fn plain(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    if !(1..=15).contains(&text.len()) {
        return None;
    }
    let (mut digits, mut point) = (0u64, None);
    for (i, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits = digits * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() && text.len() > 1 => point = Some(text.len() - 1 - i),
            _ => return None,
        }
    }
    Some(digits as f64 / POWERS[point.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_class_name_survives_the_header(name in "\\PC{0,20}") {
            let spelt = encode_class(&name);
            prop_assert!(spelt.bytes().all(|b| b.is_ascii_graphic() && b != b','));
            prop_assert_eq!(decode_class(&spelt), name);
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_anywhere(text in "[0-9]{0,9}\\.?[0-9]{0,9}|-?[0-9.e+-]{0,6}", value: f64) {
            for text in [text, format!("{value}"), format!("{:.9}", value.abs().min(1.0))] {
                prop_assert_eq!(decode_number(text.as_bytes()), text.parse().ok(), "{}", text);
            }
        }
    }

    proptest! {
        #[test]
        fn stats_survive_the_header(values: [f64; 7]) {
            let all = || Feature::ALL.into_iter().zip(values);
            let text = encode_stats(all());
            let read: Vec<_> = decode_stats(text.as_bytes()).collect();
            let rounded: Vec<_> = all().filter_map(|(f, value)| Some((f, f.rounded(value)?))).collect();
            prop_assert_eq!(&read, &rounded, "{}", text);
            // What was rounded stays, in the same cell.
            prop_assert!(read.iter().all(|(feature, value)| feature.rounded(*value) == Some(*value)));
        }

        #[test]
        fn no_header_makes_the_reader_panic(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_stats(&text).count();
        }
    }

    // What one release writes another one reads: the text is fixed.
    #[test]
    fn golden_stats() {
        let values = [0.5, 0.25, 0.125, 0.333_333_3, 50_176.0, 0.000_001_26, -7.123_45];
        let text = encode_stats(Feature::ALL.into_iter().zip(values));
        let input = "brightness=0.50000 contrast=0.25000 sharpness=0.12500 saturation=0.33333 size=50176";
        assert_eq!(text, format!("{input} entropy=0.0000013 energy=-7.123"));
        let odd = [(Feature::Energy, f64::NAN), (Feature::Energy, -1e-9), (Feature::Size, f64::INFINITY)];
        assert_eq!(encode_stats(odd), "energy=0.000 size=1000000000");
        // Those of a later release, and nonsense, are skipped.
        let read: Vec<_> = decode_stats(b"hue=0.5 brightness=x energy=-7.123 other=1 =3 size").collect();
        assert_eq!(read, [(Feature::Energy, -7.123)]);
    }
}
