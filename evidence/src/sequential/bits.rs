//! f64 as hexadecimal bits in serialised state. What is resumed must be bit for bit what was stored, and JSON
//! numbers are only that if every reader and writer in between takes care (serde_json does not by default).

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Digits of one f64.
const DIGITS: usize = 16;

fn encode(values: &[f64]) -> String {
    values.iter().map(|value| format!("{:016x}", value.to_bits())).collect()
}

fn decode<const N: usize>(text: &str) -> Result<[f64; N], String> {
    let wrong =
        || format!("expected {} hexadecimal digits for {N} finite numbers, found {text:?}", N * DIGITS);
    if text.len() != N * DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut values = [0.0; N];
    for (i, value) in values.iter_mut().enumerate() {
        let bits = u64::from_str_radix(&text[i * DIGITS..(i + 1) * DIGITS], 16).map_err(|_| wrong())?;
        *value = f64::from_bits(bits);
        if !value.is_finite() {
            return Err(wrong());
        }
    }
    Ok(values)
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_finite_number_comes_back(a in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO) {
            let [back, one] = decode::<2>(&encode(&[a, 1.0])).unwrap();
            prop_assert_eq!(back.to_bits(), a.to_bits());
            prop_assert_eq!(one, 1.0);
        }
    }

    #[test]
    fn other_text_is_refused() {
        let nan = encode(&[f64::NAN]);
        for text in
            ["", "0", "zzzzzzzzzzzzzzzz", "+000000000000000", "ä000000000000ä", &nan, &encode(&[1.0, 2.0])]
        {
            assert!(decode::<1>(text).unwrap_err().contains("16 hexadecimal digits"), "{text}");
        }
    }
}
