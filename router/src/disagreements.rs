//! Copies whose answer was another one than the user's, for people who want to look at some: the last ones, and which
//! class was beside which. Never what was asked or answered itself.

use std::collections::VecDeque;

use http::HeaderValue;
use jiff::Timestamp;
use serde::Serialize;

use crate::class_pairs::{ByRevision, ClassPairs};
use crate::compare::{Answered, Remembered, Said, said};
use crate::text::cut;

/// The last ones that are kept of each candidate, of some 500 bytes at most.
const KEPT: usize = 100;
/// Longest class name that is kept, in bytes; longer ones are cut.
const LONGEST: usize = 128;
/// A class that is none, as headers spell it.
const NULL: &str = "-";

/// One copy that disagreed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Disagreement {
    time: Timestamp,
    /// `x-request-id`, which the servers of both revisions saw.
    request_id: String,
    /// Of the route table.
    generation: i64,
    /// The user's answer.
    stable: Side,
    /// The copy's.
    shadow: Side,
}

/// What one of both said.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Side {
    class: Option<String>,
    confidence: Option<f64>,
}

/// Those of the last candidates.
#[derive(Debug, Default)]
pub(crate) struct Disagreements(ByRevision<Kept>);

#[derive(Debug, Clone, Default)]
struct Kept {
    total: u64,
    classes: ClassPairs,
    recent: VecDeque<Disagreement>,
}

/// The page.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    candidates: Vec<Candidate>,
}

/// What is known of one candidate.
#[derive(Debug, Serialize)]
struct Candidate {
    revision: String,
    total: u64,
    /// Most often first; `(other)` counts those that have no place.
    classes: Vec<Classes>,
    /// Newest first.
    recent: Vec<Disagreement>,
}

/// How often stable named one class where the shadow named another.
#[derive(Debug, Serialize)]
struct Classes {
    stable: String,
    shadow: String,
    count: u64,
}

impl Disagreement {
    /// What both said of the item that was compared.
    pub(crate) fn new(request_id: Option<&HeaderValue>, user: &Remembered, copy: &Answered) -> Self {
        let side = |Said { class, confidence }| Side {
            class: class.map(|class| cut(&class, LONGEST).to_owned()),
            confidence,
        };
        let [stable, shadow] = said(user, copy).map(side);
        let request_id = request_id.map_or(b"".as_slice(), HeaderValue::as_bytes);
        let request_id = String::from_utf8_lossy(request_id).into_owned();
        Self { time: Timestamp::now(), request_id, generation: 0, stable, shadow }
    }
}

impl Disagreements {
    /// Takes one of a candidate under a generation of the route table.
    pub(crate) fn push(&self, candidate: &str, generation: i64, disagreement: Disagreement) {
        self.0.with(candidate, |kept| {
            kept.total += 1;
            let class = |side: &Side| side.class.clone().unwrap_or_else(|| NULL.to_owned());
            let [stable, shadow] = [&disagreement.stable, &disagreement.shadow].map(class);
            kept.classes.count([&stable, &shadow]);
            if kept.recent.len() == KEPT {
                kept.recent.pop_back();
            }
            kept.recent.push_front(Disagreement { generation, ..disagreement });
        });
    }

    /// Which class of stable's was beside which of the shadow's, by candidate.
    pub(crate) fn classes(&self) -> Vec<(String, ClassPairs)> {
        self.0.read().into_iter().map(|(revision, kept)| (revision, kept.classes)).collect()
    }

    /// All of it.
    pub(crate) fn report(&self) -> Report {
        let candidates = self.0.read().into_iter().map(|(revision, kept)| {
            let named = kept.classes.read().map(|([stable, shadow], count)| {
                let [stable, shadow] = [stable, shadow].map(str::to_owned);
                Classes { stable, shadow, count }
            });
            let mut classes: Vec<Classes> = named.collect();
            classes.sort_by_key(|classes| std::cmp::Reverse(classes.count));
            Candidate { revision, total: kept.total, classes, recent: kept.recent.into() }
        });
        Report { candidates: candidates.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_all_are_counted() {
        let all = Disagreements::default();
        for i in 0..150 {
            let side = |class: &str| Side { class: Some(class.to_owned()), confidence: Some(0.5) };
            let shadow = Side { class: (i % 3 > 0).then(|| "eight".to_owned()), confidence: None };
            let request_id = i.to_string();
            let one = Disagreement {
                time: Timestamp::now(),
                request_id,
                generation: 0,
                stable: side("seven"),
                shadow,
            };
            all.push("b", 7, one);
        }
        let report = serde_json::to_value(all.report()).unwrap();
        let b = &report["candidates"][0];
        assert_eq!((&b["revision"], &b["total"]), (&"b".into(), &150.into()));
        let expected = serde_json::json!([
            {"stable": "seven", "shadow": "eight", "count": 100}, {"stable": "seven", "shadow": "-", "count": 50},
        ]);
        assert_eq!(b["classes"], expected);
        let recent = b["recent"].as_array().unwrap();
        let ids: Vec<_> = recent.iter().map(|one| one["requestId"].as_str().unwrap()).collect();
        assert_eq!((ids.len(), ids[0], ids[99]), (100, "149", "50"));
        assert_eq!((&recent[0]["generation"], &recent[0]["shadow"]["class"]), (&7.into(), &"eight".into()));
    }

    #[test]
    fn a_class_is_cut_between_characters() {
        assert_eq!(cut(&"ä".repeat(100), LONGEST).len(), LONGEST);
        assert_eq!(cut(&format!("x{}", "ä".repeat(100)), LONGEST).len(), LONGEST - 1);
    }
}
