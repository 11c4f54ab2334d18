//! The body of a request, kept for its copy: whole, or as it passes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest body that is kept, in bytes.
const MOST: usize = 8 << 20;

/// A body that is being kept. Clones are of the same body: one is where it passes, one where it is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Keep(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    memory: Arc<Semaphore>,
    kept: Kept,
    length: usize,
    /// Whether all of it has passed.
    complete: bool,
    /// Whether there was no room for some of it.
    lost: bool,
}

/// A body with the memory that it was granted.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) frames: VecDeque<Bytes>,
    held: Option<OwnedSemaphorePermit>,
}

impl Keep {
    /// Nothing of a body yet. `memory` is counted in KiB.
    pub(crate) fn new(memory: Arc<Semaphore>) -> Self {
        let (kept, length) = (Kept::default(), 0);
        Self(Arc::new(Mutex::new(State { memory, kept, length, complete: false, lost: false })))
    }

    /// A part of it has passed.
    pub(crate) fn push(&self, bytes: &Bytes) {
        let mut state = self.state();
        state.length += bytes.len();
        if state.lost || bytes.is_empty() {
            return;
        }
        if state.length <= MOST && state.grow() {
            state.kept.frames.push_back(bytes.clone());
        } else {
            (state.lost, state.kept) = (true, Kept::default());
        }
    }

    /// The last part of it has passed.
    pub(crate) fn end(&self) {
        self.state().complete = true;
    }

    /// The whole body; `None` when some of it is missing.
    pub(super) fn take(&self) -> Option<Kept> {
        let mut state = self.state();
        (state.complete && !state.lost).then(|| std::mem::take(&mut state.kept))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes memory for what has passed. False when there is no more.
    fn grow(&mut self) -> bool {
        let has = self.kept.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = u32::try_from(self.length.div_ceil(1024).saturating_sub(has)).unwrap_or(u32::MAX);
        if missing == 0 {
            return true;
        }
        let Ok(more) = self.memory.clone().try_acquire_many_owned(missing) else { return false };
        match &mut self.kept.held {
            Some(held) => held.merge(more),
            None => self.kept.held = Some(more),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kib(n: usize) -> Bytes {
        Bytes::from(vec![b'x'; n * 1024])
    }

    #[test]
    fn memory_is_taken_as_a_body_passes_and_given_back_when_it_is_too_long() {
        let memory = Arc::new(Semaphore::new(10));
        let (one, two) = (Keep::new(memory.clone()), Keep::new(memory.clone()));
        one.push(&Bytes::from_static(b"a"));
        assert_eq!(memory.available_permits(), 9);
        one.push(&kib(5));
        assert_eq!(memory.available_permits(), 4);
        two.push(&kib(4));
        two.push(&kib(1));
        assert_eq!(memory.available_permits(), 4, "what cannot be kept whole is not kept");
        two.push(&Bytes::from_static(b"b"));
        assert_eq!(memory.available_permits(), 4);
        two.end();
        assert!(two.take().is_none());
        assert!(one.take().is_none(), "it has not passed whole yet");
        one.end();
        let kept = one.take().unwrap();
        assert_eq!(kept.frames.iter().map(Bytes::len).sum::<usize>(), 5 * 1024 + 1);
        drop((one, two));
        assert_eq!(memory.available_permits(), 4, "whoever has it pays for it");
        drop(kept);
        assert_eq!(memory.available_permits(), 10);
    }

    #[test]
    fn a_body_without_bytes_is_whole_and_one_of_more_than_eight_mebibytes_is_not_kept() {
        let memory = Arc::new(Semaphore::new(usize::MAX >> 4));
        let empty = Keep::new(memory.clone());
        empty.end();
        assert!(empty.take().unwrap().frames.is_empty());
        let (most, more) = (Keep::new(memory.clone()), Keep::new(memory.clone()));
        for keep in [&most, &more] {
            (0..8).for_each(|_| keep.push(&kib(1024)));
        }
        more.push(&Bytes::from_static(b"x"));
        most.end();
        more.end();
        assert!(most.take().is_some() && more.take().is_none());
    }
}
