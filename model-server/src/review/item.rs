//! What is kept beside an image, and what becomes of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::automation::Decision;

use super::{ItemId, Media};

/// A class and its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The class.
    pub class: String,
    /// 0..=1; absent for a number that is none.
    pub probability: Option<f64>,
}

/// What a model said of one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its name.
    pub id: ItemId,
    /// When it was answered.
    pub time: Timestamp,
    /// The model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// The revision that answered.
    pub revision: String,
    /// `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// With which a router takes the label; of requests of one image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Who decides, as answers spell it.
    pub decision: String,
    /// The kind of the image.
    pub media_type: Media,
    /// The class; absent for a null output.
    pub prediction: Option<String>,
    /// 0..=1; absent for a null output.
    pub confidence: Option<f64>,
    /// The most probable classes, best first.
    pub probabilities: Vec<Ranked>,
    /// Which image of its request.
    pub index: usize,
    /// What a label can be.
    pub classes: Vec<String>,
}

impl Item {
    /// Whether people decide without knowing what the model said.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.decision == Decision::Human.name()
    }

    /// What a reviewer may see of it before there is a label. The ticket is between programs.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut shown = json!({
            "id": self.id, "time": self.time, "model": self.model, "version": self.version,
            "revision": self.revision, "request_id": self.request_id, "decision": self.decision,
            "media_type": self.media_type, "index": self.index, "classes": self.classes,
        });
        if !self.is_blind() {
            shown["prediction"] = json!(self.prediction);
            shown["confidence"] = json!(self.confidence);
            shown["probabilities"] = json!(self.probabilities);
        }
        shown
    }
}

/// An image that a person has decided about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What it was.
    pub item: Item,
    /// The class that is right.
    pub label: String,
    /// Who says so, as they called themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    pub time: Timestamp,
    /// Tells this label from all others, so that a reviewer's process knows its own.
    pub nonce: String,
}

impl Done {
    /// The same for people, with all that the model said.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut shown = self.item.shown();
        for (name, value) in [
            ("prediction", json!(self.item.prediction)),
            ("confidence", json!(self.item.confidence)),
            ("probabilities", json!(self.item.probabilities)),
            ("label", json!(self.label)),
            ("by", json!(self.by)),
            ("labelled", json!(self.time)),
        ] {
            shown[name] = value;
        }
        shown
    }
}

/// What a router said of a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The image.
    pub id: ItemId,
    /// When.
    pub time: Timestamp,
    /// Why it was refused, as the router spells it; absent if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Told {
    /// `accepted` or `refused`.
    pub(super) const fn outcome(&self) -> &'static str {
        if self.code.is_some() { "refused" } else { "accepted" }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn item(decision: &str) -> Item {
        let time = Timestamp::now();
        Item {
            id: ItemId::new(time),
            time,
            model: "digits".into(),
            version: "1.0.0".into(),
            revision: "digits-1".into(),
            request_id: Some("r-1".into()),
            ticket: Some("ticket-1".into()),
            decision: decision.into(),
            media_type: Media::Png,
            prediction: Some("seven".into()),
            confidence: Some(0.41),
            probabilities: vec![Ranked { class: "seven".into(), probability: Some(0.41) }],
            index: 0,
            classes: vec!["one".into(), "seven".into()],
        }
    }

    #[test]
    fn an_item_comes_back_as_it_was_written() {
        let mut item = item("defer");
        let text = serde_json::to_string(&item).unwrap();
        assert_eq!(serde_json::from_str::<Item>(&text).unwrap(), item);
        item.confidence = None;
        item.probabilities[0].probability = None;
        let text = serde_json::to_string(&item).unwrap();
        assert_eq!(serde_json::from_str::<Item>(&text).unwrap(), item);
        let hostile = text.replace(item.id.as_str(), "../../../../../../../../etc/passwd");
        assert!(serde_json::from_str::<Item>(&hostile).unwrap_err().to_string().contains("32 lower-case"));
    }

    #[test]
    fn nobody_is_told_what_the_model_said_where_people_decide_without_it() {
        for (decision, is_shown) in [("human", false), ("defer", true), ("assist", true)] {
            let shown = item(decision).shown().to_string();
            assert_eq!(shown.contains("0.41"), is_shown, "{shown}");
            assert!(!shown.contains("ticket"), "{shown}");
        }
        let done = Done {
            item: item("human"),
            label: "one".into(),
            by: None,
            time: Timestamp::now(),
            nonce: "n".into(),
        };
        let shown = done.shown();
        assert!(
            shown["prediction"] == "seven"
                && shown["label"] == "one"
                && !shown.to_string().contains("ticket")
        );
    }
}
