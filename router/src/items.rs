//! What an answer's headers say of its items (C3). Pure.

use http::{HeaderMap, HeaderName, HeaderValue};
use wire::{Feature, header};

/// Items of an answer of which one is drawn: the first ones.
const MOST: usize = 1_024;

/// The headers that are counted, kept until the answer is complete.
#[derive(Debug, Clone, Default)]
pub(crate) struct AnswerHeaders(Vec<(List, HeaderValue)>);

/// What a header lists, one of each item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Classes,
    Confidences,
    Stats,
}

impl List {
    fn of(name: &HeaderName) -> Option<Self> {
        match name.as_str() {
            header::PREDICTION => Some(Self::Classes),
            header::CONFIDENCE => Some(Self::Confidences),
            header::INPUT_STATS => Some(Self::Stats),
            _ => None,
        }
    }
}

/// One item of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Item {
    /// Predicted class; absent for a null output.
    pub(crate) class: Option<String>,
    /// Confidence within 0..=1; absent for a null output.
    pub(crate) confidence: Option<f64>,
    /// Whether the answer was withheld, or its confidence is NaN or not within 0..=1.
    pub(crate) null: bool,
    /// Input features.
    pub(crate) stats: Vec<(Feature, f64)>,
}

impl AnswerHeaders {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let listed = |(name, value): (&HeaderName, &HeaderValue)| {
            // What cannot be read is left out.
            List::of(name).filter(|_| value.to_str().is_ok()).map(|list| (list, value.clone()))
        };
        Self(headers.iter().filter_map(listed).collect())
    }

    /// One of the items, each as likely as any other for an even `draw`; there are as many as the longest of the three
    /// lists has, at most [`MOST`]. What cannot be read is not counted.
    ///
    /// Items of one request are seldom independent, and no test would know how many stand for one: a request says one
    /// thing, whatever its size (C3).
    pub(crate) fn draw(&self, draw: u32) -> Option<Item> {
        let lists = [List::Classes, List::Confidences, List::Stats];
        let most = lists.map(|list| self.length(list)).into_iter().max().unwrap_or(0);
        (most > 0).then(|| self.item(draw as usize % most))
    }

    /// How many items have a class, at most [`MOST`].
    pub(crate) fn predictions(&self) -> usize {
        self.length(List::Classes)
    }

    /// One of the items; empty beyond the last.
    pub(crate) fn item(&self, at: usize) -> Item {
        item(self.text(List::Classes, at), self.text(List::Confidences, at), self.text(List::Stats, at))
    }

    fn length(&self, list: List) -> usize {
        let commas = |line: &[u8]| line.iter().filter(|byte| **byte == b',').count();
        self.lines(list).map(|line| 1 + commas(line)).sum::<usize>().min(MOST)
    }

    fn text(&self, list: List, at: usize) -> Option<&str> {
        let part = self.lines(list).flat_map(|line| line.split(|byte| *byte == b',')).nth(at)?;
        Some(std::str::from_utf8(part.trim_ascii()).expect("headers that can be read are ASCII"))
    }

    fn lines(&self, list: List) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(of, _)| *of == list).map(|(_, value)| value.as_bytes())
    }
}

fn item(class: Option<&str>, confidence: Option<&str>, stats: Option<&str>) -> Item {
    let value = confidence.and_then(|c| c.parse::<f64>().ok());
    // A confidence that is none, NaN or beyond 0..=1, is no answer either.
    let null = class == Some("-") || value.is_some_and(|v| !(0.0..=1.0).contains(&v));
    let mut features: Vec<(Feature, f64)> = vec![];
    for (feature, value) in stats.into_iter().flat_map(header::decode_stats) {
        // The first value of each: an item has one brightness.
        if value.is_finite() && features.iter().all(|(f, _)| *f != feature) {
            features.push((feature, value));
        }
    }
    Item {
        class: class.filter(|c| !null && !c.is_empty()).map(header::decode_class),
        confidence: value.filter(|_| !null),
        null,
        stats: features,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &'static str)]) -> Vec<Item> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let headers = AnswerHeaders::of(&headers);
        (0..4).filter_map(|draw| headers.draw(draw)).collect()
    }

    // rule: C3
    #[test]
    fn each_item_of_a_batch_may_be_drawn() {
        let items = read(&[
            ("x-prediction", "cat,a%2Cb, -,dog"),
            ("x-confidence", "0.9, 0.8,0.1"),
            ("x-confidence", "NaN"),
            ("x-input-stats", "brightness=0.5 contrast=0.1,brightness=0.25"),
        ]);
        let classes: Vec<_> = items.iter().map(|i| i.class.as_deref()).collect();
        assert_eq!(classes, [Some("cat"), Some("a,b"), None, None]);
        let confidences: Vec<_> = items.iter().map(|i| i.confidence).collect();
        assert_eq!(confidences, [Some(0.9), Some(0.8), None, None]);
        assert_eq!(items.iter().map(|i| i.null).collect::<Vec<_>>(), [false, false, true, true]);
        assert_eq!(items[0].stats, [(Feature::Brightness, 0.5), (Feature::Contrast, 0.1)]);
        assert_eq!(items[1].stats, [(Feature::Brightness, 0.25)]);
    }

    #[test]
    fn nonsense_is_not_counted() {
        assert_eq!(read(&[]), []);
        let items = read(&[("x-confidence", "1.5,high,inf,-0.1"), ("x-prediction", "cat,,cat,cat")]);
        assert!(items.iter().all(|i| i.confidence.is_none() && i.class.is_none()), "{items:?}");
        assert_eq!(items.iter().map(|i| i.null).collect::<Vec<_>>(), [true, false, true, true]);
        let items = read(&[("x-input-stats", "brightness=NaN brightness=0.5 brightness=0.9 contrast=7")]);
        assert_eq!(items[0].stats, [(Feature::Brightness, 0.5), (Feature::Contrast, 7.0)]);
    }

    #[test]
    fn an_answer_has_a_bounded_number_of_items() {
        let mut headers = HeaderMap::new();
        headers
            .insert(header::PREDICTION, HeaderValue::try_from("a,".repeat(MOST - 1) + "last,b,b").unwrap());
        let drawn = |draw| AnswerHeaders::of(&headers).draw(draw).unwrap().class;
        assert_eq!((drawn(MOST as u32 - 1), drawn(MOST as u32)), (Some("last".into()), Some("a".into())));
    }
}
