//! The JSON of a request, read without holding more texts than a request may have images: 8 MiB of
//! `{"images": ["","",...]}` are millions of them.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

const FIELDS: &[&str] = &["image", "images", "top_k"];

/// `{"image": base64}` or `{"images": [base64, ...]}`, and how many classes to list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) image: Option<String>,
    pub(super) images: Option<Texts>,
    pub(super) top_k: Option<usize>,
}

/// The first texts of a list, and how many there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) first: Vec<String>,
    pub(super) count: usize,
}

/// Reads a body; of a list at most `max` texts are kept.
pub(super) fn read(body: &[u8], max: usize) -> serde_json::Result<Ask> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let ask = json.deserialize_map(AskVisitor { max })?;
    json.end()?;
    Ok(ask)
}

struct AskVisitor {
    max: usize,
}

impl<'de> Visitor<'de> for AskVisitor {
    type Value = Ask;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with image or images")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ask, A::Error> {
        let mut ask = Ask::default();
        let mut seen = [false; FIELDS.len()];
        while let Some(field) = map.next_key::<String>()? {
            let Some(i) = FIELDS.iter().position(|known| *known == field) else {
                return Err(A::Error::unknown_field(&field, FIELDS));
            };
            if std::mem::replace(&mut seen[i], true) {
                return Err(A::Error::duplicate_field(FIELDS[i]));
            }
            match FIELDS[i] {
                "image" => ask.image = map.next_value()?,
                "images" => ask.images = map.next_value_seed(TextsSeed { max: self.max })?,
                _ => ask.top_k = map.next_value()?,
            }
        }
        Ok(ask)
    }
}

/// A list of texts, or `null`.
struct TextsSeed {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for TextsSeed {
    type Value = Option<Texts>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for TextsSeed {
    type Value = Option<Texts>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of base64 texts")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Texts::default();
        while texts.first.len() < self.max {
            let Some(text) = list.next_element()? else { break };
            texts.first.push(text);
        }
        texts.count = texts.first.len();
        // The others are only counted: the request is refused, and told by how many.
        while texts.count >= self.max && list.next_element::<IgnoredAny>()?.is_some() {
            texts.count += 1;
        }
        Ok(Some(texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_counted_to_its_end_and_kept_to_the_limit() {
        let list =
            |count: usize| format!(r#"{{"images": [{}], "top_k": 2}}"#, vec![r#""ab""#; count].join(","));
        for (count, kept) in [(0, 0), (2, 2), (3, 3), (4, 3), (1_000_000, 3)] {
            let images = Some(Texts { first: vec!["ab".into(); kept], count });
            let ask = read(list(count).as_bytes(), 3).unwrap();
            assert_eq!(ask, Ask { image: None, images, top_k: Some(2) });
            assert!(ask.images.unwrap().first.capacity() <= 4);
        }
    }

    #[test]
    fn what_is_not_asked_for_is_refused() {
        let nothing = Ask::default();
        assert_eq!(read(br#"{"image": null, "images": null, "top_k": null}"#, 3).unwrap(), nothing);
        for (body, message) in [
            (r#"{"imge": ""}"#, "unknown field `imge`, expected one of `image`, `images`, `top_k`"),
            (r#"{"image": "", "image": ""}"#, "duplicate field `image`"),
            (r#"{"images": ""}"#, "expected a list of base64 texts"),
            (r#"{"images": [1]}"#, "expected a string"),
            (r#"{"images": {}}"#, "expected a list of base64 texts"),
            ("[]", "expected an object with image or images"),
            ("{} {}", "trailing characters"),
        ] {
            let error = read(body.as_bytes(), 3).unwrap_err().to_string();
            assert!(error.contains(message), "{body}: {error}");
        }
    }
}
