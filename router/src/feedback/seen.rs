//! Labels that were taken not long ago.

use std::collections::{HashSet, VecDeque};

/// Labels that are remembered: 2 MiB. Beyond them an old one may be taken again, as it may by another router: this is
/// against retries, not against clients that mean harm, who have the token.
const MOST: usize = 1 << 16;

/// The nonces of the last labels.
#[derive(Debug, Default)]
pub(super) struct Seen {
    all: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    pub(super) fn has(&self, nonce: u64) -> bool {
        self.all.contains(&nonce)
    }

    /// Remembers one; the oldest is forgotten for it when there are too many.
    pub(super) fn insert(&mut self, nonce: u64) {
        if !self.all.insert(nonce) {
            return;
        }
        self.order.push_back(nonce);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_no_more() {
        let mut seen = Seen::default();
        let most = MOST as u64;
        (0..most).chain([5]).for_each(|nonce| seen.insert(nonce));
        assert!(seen.has(0) && seen.has(most - 1) && !seen.has(most));
        seen.insert(most);
        assert!(!seen.has(0) && seen.has(1) && seen.has(most));
        assert_eq!((seen.all.len(), seen.order.len()), (MOST, MOST));
    }
}
