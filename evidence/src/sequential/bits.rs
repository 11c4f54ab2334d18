//! f64 as base64 of their bits in serialised state: small, and what is resumed is bit for bit what was stored.
//! JSON numbers are only that if every reader and writer in between takes care (serde_json does not by default).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

fn encode(values: &[f64]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    BASE64.encode(bytes)
}

fn decode<const N: usize>(text: &str) -> Result<[f64; N], String> {
    let wrong = || format!("expected base64 of {N} finite numbers of 8 bytes, found {text:?}");
    let bytes = BASE64.decode(text).map_err(|_| wrong())?;
    let (chunks, rest) = bytes.as_chunks::<8>();
    if chunks.len() != N || !rest.is_empty() {
        return Err(wrong());
    }
    let values = std::array::from_fn(|i| f64::from_le_bytes(chunks[i]));
    if values.iter().all(|value: &f64| value.is_finite()) { Ok(values) } else { Err(wrong()) }
}

pub(crate) fn serialize<S: Serializer, const N: usize>(values: &[f64; N], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&encode(values))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[f64; N], D::Error> {
    decode(&String::deserialize(from)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::num::f64::{NORMAL, SUBNORMAL, ZERO};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_finite_number_comes_back(a in NORMAL | SUBNORMAL | ZERO) {
            let [back, one] = decode::<2>(&encode(&[a, 1.0])).unwrap();
            prop_assert_eq!(back.to_bits(), a.to_bits());
            prop_assert_eq!(one, 1.0);
        }
    }

    #[test]
    fn other_text_is_refused() {
        let (nan, two) = (encode(&[f64::NAN]), encode(&[1.0, 2.0]));
        for text in ["", "AA", "not base64!", "\u{e4}", &nan, &two] {
            assert!(decode::<1>(text).unwrap_err().contains("of 1 finite numbers"), "{text}");
        }
    }
}
