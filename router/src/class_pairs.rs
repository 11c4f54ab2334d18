//! How often which class was beside which, by revision: bounded, for people. Nothing is judged by it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Revisions that are told apart; the one that came first goes for a new one.
const REVISIONS: usize = 4;
/// Pairs of classes of one revision: what comes first has a place, all others share one. Those of eleven classes all fit,
/// and of a thousand the usual ones come first.
const PAIRS: usize = 128;
/// Longest class name that has a place, in bytes.
const LONGEST: usize = 64;
/// Where the others are counted.
pub(crate) const OTHER: &str = "(other)";

/// Something of each of the last revisions.
#[derive(Debug, Default)]
pub(crate) struct ByRevision<T>(Mutex<Vec<(String, T)>>);

impl<T: Clone + Default> ByRevision<T> {
    /// Changes that of a revision.
    pub(crate) fn with(&self, revision: &str, change: impl FnOnce(&mut T)) {
        let mut all = self.all();
        let at = all.iter().position(|(name, _)| name == revision).unwrap_or_else(|| {
            if all.len() == REVISIONS {
                all.remove(0);
            }
            all.push((revision.to_owned(), T::default()));
            all.len() - 1
        });
        change(&mut all[at].1);
    }

    /// All of them, as they are now.
    pub(crate) fn read(&self) -> Vec<(String, T)> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, Vec<(String, T)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts of pairs of classes.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClassPairs {
    pairs: BTreeMap<[String; 2], u64>,
    other: u64,
}

impl ClassPairs {
    pub(crate) fn count(&mut self, pair: [&str; 2]) {
        let named = pair.map(str::to_owned);
        let fits = self.pairs.len() < PAIRS && pair.iter().all(|class| class.len() <= LONGEST);
        match self.pairs.get_mut(&named) {
            Some(count) => *count += 1,
            None if fits => _ = self.pairs.insert(named, 1),
            None => self.other += 1,
        }
    }

    /// Each pair that has a place with its count, and [`OTHER`] with that of all others, if there are any.
    pub(crate) fn read(&self) -> impl Iterator<Item = ([&str; 2], u64)> {
        let named = self.pairs.iter().map(|(pair, count)| (pair.each_ref().map(String::as_str), *count));
        named.chain((self.other > 0).then_some(([OTHER; 2], self.other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pairs_and_the_last_revisions_have_a_place() {
        let mut pairs = ClassPairs::default();
        let long = "x".repeat(LONGEST + 1);
        pairs.count(["a", &long]);
        (0..2 * PAIRS).for_each(|i| pairs.count(["a", &format!("{i:03}")]));
        pairs.count(["a", "000"]);
        pairs.count(["a", "200"]);
        let read: Vec<_> = pairs.read().collect();
        assert_eq!((read[0], read[1]), ((["a", "000"], 2), (["a", "001"], 1)));
        assert_eq!((read.len(), read[PAIRS]), (PAIRS + 1, ([OTHER; 2], PAIRS as u64 + 2)));
        let all = ByRevision::<u64>::default();
        ["a", "b", "a", "c", "d", "e"].iter().for_each(|revision| all.with(revision, |count| *count += 1));
        let expected = [("b", 1), ("c", 1), ("d", 1), ("e", 1)];
        assert_eq!(all.read(), expected.map(|(name, count)| (name.to_owned(), count)));
    }
}
