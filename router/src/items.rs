//! What an answer's headers say of its items (C3). Pure.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use wire::{Feature, header};

/// Items of an answer of which one is drawn: the first ones.
const MOST: usize = 1_024;

/// The headers that are counted, kept until the answer is complete.
#[derive(Debug, Clone, Default)]
pub(crate) struct AnswerHeaders(Vec<Line>);

#[derive(Debug, Clone)]
struct Line {
    list: List,
    value: HeaderValue,
    /// How many items it lists, at least 1: most say one thing, and are not searched for commas again.
    items: usize,
}

/// What a header lists, one of each item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Classes,
    Confidences,
    Inputs,
    Outputs,
}

impl List {
    fn of(name: &HeaderName) -> Option<Self> {
        match name.as_str() {
            header::PREDICTION => Some(Self::Classes),
            header::CONFIDENCE => Some(Self::Confidences),
            header::INPUT_STATS => Some(Self::Inputs),
            header::OUTPUT_STATS => Some(Self::Outputs),
            _ => None,
        }
    }
}

/// One item of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Item<'a> {
    /// Predicted class; absent for a null output.
    pub(crate) class: Option<Cow<'a, str>>,
    /// Confidence within 0..=1; absent for a null output.
    pub(crate) confidence: Option<f64>,
    /// Whether the answer was withheld, or its confidence is NaN or not within 0..=1.
    pub(crate) null: bool,
    /// Features in the order of [`Feature::ALL`], finite; those of the answer are absent for a null output.
    pub(crate) stats: [Option<f64>; Feature::ALL.len()],
}

impl Item<'_> {
    /// The same without the headers.
    pub(crate) fn into_owned(self) -> Item<'static> {
        Item { class: self.class.map(|class| Cow::Owned(class.into_owned())), ..self }
    }
}

impl AnswerHeaders {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let listed = |(name, value): (&HeaderName, &HeaderValue)| {
            // What cannot be read is left out.
            let list = List::of(name).filter(|_| value.as_bytes().is_ascii())?;
            let items = 1 + value.as_bytes().iter().filter(|byte| **byte == b',').count();
            Some(Line { list, value: value.clone(), items })
        };
        Self(headers.iter().filter_map(listed).collect())
    }

    /// One of the items, each as likely as any other for an even `draw`; there are as many as the longest of the
    /// lists has, at most [`MOST`]. What cannot be read is not counted.
    ///
    /// Items of one request are seldom independent, and no test would know how many stand for one: a request says one
    /// thing, whatever its size (C3).
    pub(crate) fn draw(&self, draw: u32) -> Option<Item<'_>> {
        let mut lengths = [0; 4];
        for Line { list, items, .. } in &self.0 {
            lengths[*list as usize] += items;
        }
        let most = lengths.into_iter().max().unwrap_or(0).min(MOST);
        (most > 0).then(|| self.item(draw as usize % most))
    }

    /// How many items have a class, at most [`MOST`].
    pub(crate) fn predictions(&self) -> usize {
        self.lines(List::Classes).map(|line| line.items).sum::<usize>().min(MOST)
    }

    /// One of the items; empty beyond the last.
    pub(crate) fn item(&self, at: usize) -> Item<'_> {
        let text = |list| self.text(list, at);
        item(text(List::Classes), text(List::Confidences), [text(List::Inputs), text(List::Outputs)])
    }

    fn text(&self, list: List, at: usize) -> Option<&[u8]> {
        let mut at = at;
        for Line { value, items, .. } in self.lines(list) {
            let line = value.as_bytes();
            match at.checked_sub(*items) {
                Some(left) => at = left,
                None if *items == 1 => return Some(line.trim_ascii()),
                None => return line.split(|byte| *byte == b',').nth(at).map(<[u8]>::trim_ascii),
            }
        }
        None
    }

    fn lines(&self, list: List) -> impl Iterator<Item = &Line> {
        self.0.iter().filter(move |line| line.list == list)
    }
}

fn item<'a>(class: Option<&'a [u8]>, confidence: Option<&[u8]>, stats: [Option<&[u8]>; 2]) -> Item<'a> {
    let value = confidence.and_then(header::decode_number);
    // A confidence that is none, NaN or beyond 0..=1, is no answer either.
    let null = class == Some(b"-") || value.is_some_and(|v| !(0.0..=1.0).contains(&v));
    let class = class.filter(|c| !null && !c.is_empty());
    let text = |c| std::str::from_utf8(c).expect("what is not ASCII was left out");
    let mut features = [None; Feature::ALL.len()];
    for (feature, value) in stats.into_iter().flatten().flat_map(header::decode_stats) {
        // The first value of each: an item has one brightness.
        if value.is_finite() && (!null || feature.is_input()) {
            features[feature.index()].get_or_insert(value);
        }
    }
    Item {
        class: class.map(|class| header::decode_class(text(class))),
        confidence: value.filter(|_| !null),
        null,
        stats: features,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &'static str)]) -> Vec<Item<'static>> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let headers = AnswerHeaders::of(&headers);
        (0..4).filter_map(|draw| Some(headers.draw(draw)?.into_owned())).collect()
    }

    // rule: C3
    #[test]
    fn each_item_of_a_batch_may_be_drawn() {
        let items = read(&[
            ("x-prediction", "cat,a%2Cb, -,dog"),
            ("x-confidence", "0.9, 0.8,0.1"),
            ("x-confidence", "NaN"),
            ("x-input-stats", "brightness=0.5 contrast=0.1,brightness=0.25"),
            ("x-output-stats", "entropy=0.2 energy=-7.5,,entropy=0.9 hue=1"),
        ]);
        let classes: Vec<_> = items.iter().map(|i| i.class.as_deref()).collect();
        assert_eq!(classes, [Some("cat"), Some("a,b"), None, None]);
        let confidences: Vec<_> = items.iter().map(|i| i.confidence).collect();
        assert_eq!(confidences, [Some(0.9), Some(0.8), None, None]);
        assert_eq!(items.iter().map(|i| i.null).collect::<Vec<_>>(), [false, false, true, true]);
        let none = [None; 4];
        assert_eq!(items[0].stats[..3], [Some(0.5), Some(0.1), None]);
        assert_eq!(items[0].stats[3..], [None, None, Some(0.2), Some(-7.5)]);
        assert_eq!((&items[1].stats[..3], &items[1].stats[3..]), (&[Some(0.25), None, None][..], &none[..]));
        // Withheld: what would have been said of it is no evidence either.
        assert_eq!(items[2].stats, [None; 7]);
    }

    #[test]
    fn nonsense_is_not_counted() {
        assert_eq!(read(&[]), []);
        let items = read(&[("x-confidence", "1.5,high,inf,-0.1"), ("x-prediction", "cat,,cat,cat")]);
        assert!(items.iter().all(|i| i.confidence.is_none() && i.class.is_none()), "{items:?}");
        assert_eq!(items.iter().map(|i| i.null).collect::<Vec<_>>(), [true, false, true, true]);
        let items = read(&[("x-input-stats", "brightness=NaN brightness=0.5 brightness=0.9 contrast=7")]);
        assert_eq!(items[0].stats[..3], [Some(0.5), Some(7.0), None]);
        let items = read(&[("x-output-stats", "energy=-inf entropy=NaN energy=1e400 =,entropy")]);
        assert!(items.iter().all(|item| item.stats == [None; 7]), "{items:?}");
    }

    #[test]
    fn an_answer_has_a_bounded_number_of_items() {
        let mut headers = HeaderMap::new();
        headers
            .insert(header::PREDICTION, HeaderValue::try_from("a,".repeat(MOST - 1) + "last,b,b").unwrap());
        let headers = AnswerHeaders::of(&headers);
        let drawn = |draw| headers.draw(draw).unwrap().class;
        assert_eq!((drawn(MOST as u32 - 1), drawn(MOST as u32)), (Some("last".into()), Some("a".into())));
    }
}
