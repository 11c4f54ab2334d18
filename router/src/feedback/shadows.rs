//! What copies answered beside answers that have a name, until their labels come.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{IntCounter, Opts};
use xxhash_rust::xxh3::xxh3_64;

use crate::items::AnswerHeaders;

/// Copies that are remembered, 3 MiB with their index. Beyond them the oldest is forgotten: its label says something of
/// the user's answer alone.
const MOST: usize = 1 << 16;

/// A bounded ring of the classes that copies named, by the name of the user's answer. A class takes 8 bytes of it whatever
/// its length: its hash is all that a label is compared with.
pub(crate) struct Shadows {
    ring: Mutex<Ring>,
    forgotten: IntCounter,
}

#[derive(Default)]
struct Ring {
    classes: HashMap<u64, u64>,
    /// Names in the order in which they came, also of those that were taken since.
    order: VecDeque<u64>,
}

/// Which item of an answer has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) nonce: u64,
    /// Its place.
    pub(crate) at: usize,
    /// Of how many.
    pub(crate) of: usize,
}

/// A user's answer with a name, for the copy beside it.
pub(crate) struct Named {
    name: Name,
    shadows: Arc<Shadows>,
}

impl Shadows {
    pub(crate) fn new() -> Self {
        let name = "sluice_shadow_answers_forgotten_total";
        let forgotten = Opts::new(name, "Answers of copies that were forgotten before their label came.");
        let forgotten = IntCounter::with_opts(forgotten).expect("the names are constants");
        Self { ring: Mutex::default(), forgotten }
    }

    pub(crate) fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.forgotten.clone()))
    }

    /// The user's answer of this name.
    pub(crate) fn named(self: &Arc<Self>, name: Name) -> Named {
        Named { name, shadows: self.clone() }
    }

    fn insert(&self, nonce: u64, class: &str) {
        let mut ring = self.ring();
        let Ring { classes, order } = &mut *ring;
        if order.len() == MOST
            && let Some(oldest) = order.pop_front()
            && classes.remove(&oldest).is_some()
        {
            self.forgotten.inc();
        }
        if classes.insert(nonce, xxh3_64(class.as_bytes())).is_none() {
            order.push_back(nonce);
        }
    }

    /// Whether the copy beside this answer named this class, once; `None` where none did, or it was forgotten.
    pub(crate) fn take(&self, nonce: u64, class: &str) -> Option<bool> {
        Some(self.ring().classes.remove(&nonce)? == xxh3_64(class.as_bytes()))
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Named {
    /// The copy gave this good answer. One of another number of items, or without a class there, is not remembered: it is
    /// no answer that could be right or wrong.
    pub(crate) fn answered(self, copy: &AnswerHeaders) {
        let Name { nonce, at, of } = self.name;
        if copy.predictions() == of
            && let Some(class) = copy.item(at).class
        {
            self.shadows.insert(nonce, &class);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answer(classes: &str) -> AnswerHeaders {
        let mut headers = HeaderMap::new();
        headers.insert("x-prediction", classes.parse().unwrap());
        AnswerHeaders::of(&headers)
    }

    #[test]
    fn the_item_that_has_the_name_is_remembered_and_compared_once() {
        // rule: C3
        let shadows = Arc::new(Shadows::new());
        let says = |nonce, classes| shadows.named(Name { nonce, at: 1, of: 3 }).answered(&answer(classes));
        says(1, "a,b,c");
        assert_eq!((shadows.take(1, "b"), shadows.take(1, "b")), (Some(true), None));
        says(2, "b,a,b");
        assert_eq!(shadows.take(2, "b"), Some(false));
        for (nonce, classes) in [(3, "a,b"), (4, "a,-,c"), (5, "a,b,c,d")] {
            says(nonce, classes);
            assert_eq!(shadows.take(nonce, "b"), None, "{classes}");
        }
    }

    #[test]
    fn the_oldest_is_forgotten_for_the_newest_and_counted() {
        let shadows = Shadows::new();
        (0..MOST as u64).for_each(|nonce| shadows.insert(nonce, "a"));
        assert_eq!(shadows.take(1, "a"), Some(true));
        (0..3).for_each(|more| shadows.insert(MOST as u64 + more, "a"));
        assert_eq!(shadows.forgotten.get(), 2, "the second had its label");
        assert_eq!((shadows.take(2, "a"), shadows.take(3, "a")), (None, Some(true)));
        let ring = shadows.ring();
        assert!(ring.order.len() == MOST && ring.classes.len() < MOST && ring.order.capacity() == MOST);
    }
}
