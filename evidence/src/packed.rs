//! Intervals in little memory: most cells of most intervals are empty.

use std::collections::BTreeMap;

use jiff::Timestamp;
use wire::Counts;

use crate::Interval;

/// An interval whose counts are written as pairs (cells skipped, count) in LEB128; a class is the cell behind
/// the fixed ones that [`Classes`] gave it. About two bytes per cell that is not empty.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) split: Option<f64>,
    candidate: Box<[u8]>,
    stable: Box<[u8]>,
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
            split: interval.split,
            candidate: pack(&interval.candidate, classes),
            stable: pack(&interval.stable, classes),
        }
    }

    /// Adds what was packed to a sum, and widens its span.
    pub(crate) fn add_to(&self, sum: &mut Interval, classes: &Classes) {
        sum.from = sum.from.min(self.from);
        sum.to = sum.to.max(self.to);
        add(&self.candidate, &mut sum.candidate, classes);
        add(&self.stable, &mut sum.stable, classes);
    }

    pub(crate) fn unpack(&self, classes: &Classes) -> Interval {
        let mut interval = Interval {
            from: self.from,
            to: self.to,
            split: self.split,
            candidate: Counts::default(),
            stable: Counts::default(),
        };
        self.add_to(&mut interval, classes);
        interval
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.candidate.len() + self.stable.len()
    }
}

fn pack(counts: &Counts, classes: &mut Classes) -> Box<[u8]> {
    let mut bytes = Vec::new();
    let mut fixed = 0;
    let mut next = 0;
    let mut put = |cell: usize, count: u64| {
        if count > 0 {
            write(&mut bytes, (cell - next) as u64);
            write(&mut bytes, count);
            next = cell + 1;
        }
    };
    for (cell, &count) in counts.cells().enumerate() {
        put(cell, count);
        fixed = cell + 1;
    }
    let mut numbered: Vec<(usize, u64)> =
        counts.classes.iter().map(|(name, &count)| (classes.number(name), count)).collect();
    numbered.sort_unstable();
    for (number, count) in numbered {
        put(fixed + number, count);
    }
    bytes.into_boxed_slice()
}

fn add(bytes: &[u8], counts: &mut Counts, classes: &Classes) {
    let mut bytes = bytes.iter().copied();
    let mut pairs = std::iter::from_fn(move || Some((read(&mut bytes)? as usize, read(&mut bytes)?)));
    let mut pair = pairs.next();
    let mut position = 0;
    for cell in counts.cells_mut() {
        // Skips count down to the cell that a pair speaks of.
        if let Some((0, count)) = pair {
            *cell += count;
            pair = pairs.next();
        } else if let Some((skip, _)) = &mut pair {
            *skip -= 1;
        }
    }
    while let Some((skip, count)) = pair {
        position += skip;
        *counts.classes.entry(classes.names[position].clone()).or_default() += count;
        position += 1;
        pair = pairs.next();
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

fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes.next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
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
        ) {
            let mut counts = Counts::default();
            let size = counts.cells().count();
            for (cell, count) in cells {
                *counts.cells_mut().nth(cell % size).unwrap() = count;
            }
            counts.classes.extend(names);
            let stable = Counts { null_outputs: 7, ..Counts::default() };
            let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
            let interval = Interval { from, to, split: Some(0.25), candidate: counts, stable };
            // Numbers of classes differ from the order of their names.
            let mut classes = Classes::default();
            classes.number("e");
            classes.number("b");
            prop_assert_eq!(Packed::new(&interval, &mut classes).unpack(&classes), interval);
        }
    }
}
