//! How many requests this router has at each revision at the same time, and the limit on that.
//!
//! A revision that is full refuses, and what it refuses is its own overload (C2), as if its server had said 503: in a
//! candidate it is evidence that it is slower than its share allows. It does not go to stable: stable would become the slower,
//! the worse the candidate does, and the comparison with it the milder.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::Table;

/// The places of one revision.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: Arc<AtomicUsize>,
    most: Option<usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

/// There is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The places that are taken, by revision. They live on over table changes, as the requests do that have them.
pub(crate) type Taken = HashMap<Arc<str>, Arc<AtomicUsize>>;

impl Places {
    /// Those of a table's revisions, in its order.
    pub(crate) fn of(table: &Table, taken: &mut Taken) -> Vec<Self> {
        let before = std::mem::take(taken);
        let of = |revision: &crate::Revision| {
            let known = before.get(&revision.name).cloned().unwrap_or_default();
            taken.insert(revision.name.clone(), known.clone());
            Self { taken: known, most: table.max_in_flight }
        };
        table.revisions.iter().map(of).collect()
    }

    /// Takes one; nothing is counted where nothing is limited.
    pub(crate) fn take(&self) -> Result<Option<Place>, Full> {
        let Some(most) = self.most else { return Ok(None) };
        let next = |taken: usize| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, next).map_err(|_| Full)?;
        Ok(Some(Place(self.taken.clone())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = Places { most: Some(2), ..Places::default() };
        let (one, two) = (places.take().unwrap(), places.take().unwrap());
        assert_eq!(places.take().unwrap_err(), Full);
        drop(one);
        let three = places.take().unwrap();
        assert!(three.is_some() && places.take().is_err());
        drop((two, three));
        assert_eq!(places.taken.load(Relaxed), 0);
        assert!(Places::default().take().unwrap().is_none());
    }
}
