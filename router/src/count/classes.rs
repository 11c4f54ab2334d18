//! Names of predicted classes, bounded, and the same cell for the same name in all counters.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Where names beyond the bound are counted. A class of this name is counted here too.
pub(crate) const OTHER: &str = "(other)";
/// Longest class name that is kept, in bytes.
const MAX_NAME: usize = 128;

/// Gives each class name a cell, in order of appearance. Shared by all states and revisions, so that two arms
/// never disagree on which classes are `(other)`.
#[derive(Default)]
pub(crate) struct Classes(RwLock<Known>);

#[derive(Default)]
struct Known {
    cells: HashMap<String, usize>,
    names: Vec<String>,
}

impl Classes {
    /// Most names: as many as ImageNet has classes.
    pub(crate) const MAX: usize = 1_000;
    /// Cells that counters need: one for each name, and the one for others.
    pub(crate) const CELLS: usize = Self::MAX + 1;

    /// The cell of a name.
    pub(crate) fn index(&self, name: &str) -> usize {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = known.cells.get(name) {
            return *cell;
        }
        if known.names.len() == Self::MAX || name.len() > MAX_NAME || name == OTHER {
            return Self::MAX;
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Known { cells, names } = &mut *known;
        if let Some(cell) = cells.get(name) {
            return *cell;
        }
        if names.len() == Self::MAX {
            return Self::MAX;
        }
        names.push(name.to_owned());
        cells.insert(name.to_owned(), names.len() - 1);
        names.len() - 1
    }

    /// The name of a cell.
    pub(crate) fn name(&self, cell: usize) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.names.get(cell).cloned().unwrap_or_else(|| OTHER.to_owned())
    }
}
