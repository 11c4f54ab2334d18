//! Intervals in little memory: most cells of most intervals are empty.

use std::collections::BTreeMap;

use jiff::Timestamp;
use wire::{Counts, PAIR_LABELS, PairOutcome, Pairs};

use crate::{Draw, Interval, Labelled};

/// An interval whose cells are written in eights: a byte that says which of them are not empty, and the counts of
/// those in LEB128. A class is the cell behind the fixed ones that [`Classes`] gave it. A bit per cell, and little more
/// than a byte per cell that is not empty.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    draw: Draw,
    split: Option<f64>,
    candidate: Box<[u8]>,
    stable: Box<[u8]>,
    /// Boxed, because most stages have none.
    pairs: Option<Box<Outcomes>>,
    /// So too.
    labelled: Option<Box<Labelled>>,
}

/// Those of the pairs and what their labels say. Their histograms are not kept: nothing that is judged by windows needs
/// them.
#[derive(Debug, Clone, Copy, Default)]
struct Outcomes {
    outcomes: [u64; PairOutcome::ALL.len()],
    labels: [u64; PAIR_LABELS.len()],
}

impl Outcomes {
    fn of(pairs: &Pairs) -> Self {
        Self { outcomes: pairs.outcomes, labels: pairs.labels }
    }

    fn pairs(self) -> Pairs {
        Pairs { outcomes: self.outcomes, labels: self.labels, ..Pairs::default() }
    }
}

/// Numbers of class names, in the order in which they were first seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Classes {
    names: Vec<String>,
    numbers: BTreeMap<String, usize>,
}

impl Classes {
    fn number(&mut self, name: &str) -> usize {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }
}

impl Packed {
    pub(crate) fn new(interval: &Interval, classes: &mut Classes) -> Self {
        Self {
            from: interval.from,
            to: interval.to,
            draw: interval.draw,
            split: interval.split,
            candidate: pack(&interval.candidate, classes),
            stable: pack(&interval.stable, classes),
            pairs: interval.pairs.as_ref().map(|pairs| Box::new(Outcomes::of(pairs))),
            labelled: (!interval.labelled.is_empty()).then(|| Box::new(interval.labelled)),
        }
    }

    pub(crate) fn unpack(&self, classes: &Classes) -> Interval {
        let mut sum = Sum::default();
        sum.add(self);
        sum.interval(classes)
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let pairs = if self.pairs.is_some() { size_of::<Outcomes>() } else { 0 };
        let labelled = if self.labelled.is_some() { size_of::<Labelled>() } else { 0 };
        self.candidate.len() + self.stable.len() + pairs + labelled
    }
}

/// The cells of counts, in little memory.
pub(crate) fn pack(counts: &Counts, classes: &mut Classes) -> Box<[u8]> {
    let mut row: Vec<u64> = counts.cells().copied().collect();
    let fixed = row.len();
    for (name, &count) in &counts.classes {
        let cell = fixed + classes.number(name);
        if row.len() <= cell {
            row.resize(cell + 1, 0);
        }
        row[cell] = count;
    }
    let used = row.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    let mut bytes = Vec::new();
    for cells in row[..used].chunks(EIGHT) {
        let mask = cells.iter().enumerate().fold(0, |mask, (i, count)| mask | u8::from(*count > 0) << i);
        bytes.push(mask);
        cells.iter().filter(|count| **count > 0).for_each(|count| write(&mut bytes, *count));
    }
    bytes.into_boxed_slice()
}

/// Cells that share a mask.
const EIGHT: usize = u8::BITS as usize;

/// A sum of packed intervals, whose cells are in one row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    span: Option<(Timestamp, Timestamp, Option<f64>)>,
    /// Of all of them alike: windows are of one stage.
    draw: Draw,
    candidate: Vec<u64>,
    stable: Vec<u64>,
    pairs: Option<Outcomes>,
    labelled: Labelled,
}

impl Sum {
    /// Adds an interval: the span widens, and a split that is not the same in all of them is lost.
    pub(crate) fn add(&mut self, other: &Packed) {
        let (from, to, split) = self.span.unwrap_or((other.from, other.to, other.split));
        self.span = Some((from.min(other.from), to.max(other.to), split.filter(|_| split == other.split)));
        self.draw = other.draw;
        add(&other.candidate, &mut self.candidate);
        add(&other.stable, &mut self.stable);
        if let Some(theirs) = &other.pairs {
            let mine = self.pairs.get_or_insert_default();
            let sums = mine.outcomes.iter_mut().chain(&mut mine.labels);
            sums.zip(theirs.outcomes.iter().chain(&theirs.labels)).for_each(|(mine, theirs)| *mine += theirs);
        }
        if let Some(theirs) = &other.labelled {
            self.labelled.add(theirs);
        }
    }

    /// The sum as an interval. Something was added.
    pub(crate) fn interval(&self, classes: &Classes) -> Interval {
        let (from, to, split) = self.span.expect("a sum is asked for after something was added");
        Interval {
            from,
            to,
            draw: self.draw,
            split,
            candidate: counts(&self.candidate, classes),
            stable: counts(&self.stable, classes),
            pairs: self.pairs.map(|outcomes| Box::new(outcomes.pairs())),
            labelled: self.labelled,
            slots: None,
        }
    }
}

fn counts(row: &[u64], classes: &Classes) -> Counts {
    let mut counts = Counts::default();
    let mut fixed = 0;
    for (cell, count) in counts.cells_mut().zip(row) {
        *cell = *count;
        fixed += 1;
    }
    let named = classes.names.iter().zip(row.iter().skip(fixed));
    counts.classes = named.filter(|(_, n)| **n > 0).map(|(name, n)| (name.clone(), *n)).collect();
    counts
}

/// What [`pack`] packed with the same classes.
pub(crate) fn unpack(bytes: &[u8], classes: &Classes) -> Counts {
    let mut row = Vec::new();
    add(bytes, &mut row);
    counts(&row, classes)
}

fn add(bytes: &[u8], row: &mut Vec<u64>) {
    let mut bytes = bytes.iter().copied();
    let mut first = 0;
    while let Some(mut mask) = bytes.next() {
        if row.len() < first + EIGHT {
            row.resize(first + EIGHT, 0);
        }
        while mask > 0 {
            row[first + mask.trailing_zeros() as usize] += read(&mut bytes);
            mask &= mask - 1;
        }
        first += EIGHT;
    }
}

/// Unsigned LEB128.
fn write(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read(bytes: &mut impl Iterator<Item = u8>) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes.next().expect("a mask says how many counts follow");
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            cells in prop::collection::vec((0usize..10_000, 1u64..u64::MAX / 4), 0..40),
            names in prop::collection::vec(("[a-e]", 1u64..1_000_000), 0..8),
            outcomes in prop::option::of(prop::array::uniform5(0u64..1_000_000)),
            (right, labels) in (0u64..3, 3u64..5),
            any_label: bool,
        ) {
            let mut counts = Counts::default();
            let size = counts.cells().count();
            for (cell, count) in cells {
                *counts.cells_mut().nth(cell % size).unwrap() = count;
            }
            counts.classes.extend(names);
            let stable = Counts { null_outputs: 7, ..Counts::default() };
            let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
            let told = [right, labels, 0, 7];
            let pairs = outcomes.map(|outcomes| Box::new(Pairs { outcomes, labels: told, ..Pairs::default() }));
            let (draw, split) = (Draw::Shadow, Some(0.25));
            let mut labelled = Labelled::default();
            if any_label {
                labelled.candidate = crate::Share::new(right, labels);
            }
            let interval =
                Interval { from, to, draw, split, candidate: counts, stable, pairs, labelled, slots: None };
            // Numbers of classes differ from the order of their names.
            let mut classes = Classes::default();
            classes.number("e");
            classes.number("b");
            prop_assert_eq!(Packed::new(&interval, &mut classes).unpack(&classes), interval);
        }
    }
}
