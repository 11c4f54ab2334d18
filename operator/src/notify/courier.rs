//! Delivers letters: a bounded number waits, a task per receiver sends them in their order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use kube::Client;
use prometheus::Registry;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::letter::Letter;
use super::metrics::Metrics;
use super::post::{Post, PostError};
use crate::index::Key;
use crate::world::Trigger;

/// Attempts that run at the same time, of all receivers.
const AT_ONCE: usize = 16;

/// How long a letter is tried.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Longest time of one attempt.
    pub attempt: Duration,
    /// Pauses before the second attempt and those after it.
    pub pauses: Vec<Duration>,
    /// Letters that wait, at most, in the whole process.
    pub waiting: usize,
}

impl Default for Timing {
    /// Five attempts in about two minutes.
    fn default() -> Self {
        let pauses = [2, 8, 30, 80].map(Duration::from_secs).to_vec();
        Self { attempt: Duration::from_secs(5), pauses, waiting: 1000 }
    }
}

/// Delivers letters. Clones share everything.
#[derive(Clone)]
pub struct Courier(Arc<Inner>);

struct Inner {
    post: Post,
    metrics: Metrics,
    timing: Timing,
    wake: UnboundedSender<Trigger>,
    slots: Semaphore,
    desk: Mutex<Desk>,
}

/// A receiver: a deployment, and the name of its notification.
type Receiver = (Key, String);

#[derive(Default)]
struct Desk {
    /// Letters by receiver, the one that is being delivered in front. A receiver in here has a task.
    lanes: HashMap<Receiver, VecDeque<(Letter, Option<u64>)>>,
    /// By rollout.
    progress: HashMap<(Key, u64), Progress>,
    /// Tasks of an earlier term end.
    term: u64,
}

/// How far the untold entries of one rollout are.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Of the untold entries, how many were handed over.
    handed: u32,
    /// Letters of them that are not delivered yet.
    outstanding: usize,
}

impl Courier {
    /// Nothing is sent yet. A deployment is woken when the letters of one of its rollouts are done.
    ///
    /// # Errors
    /// When a metric's name is taken, or TLS cannot be set up.
    pub fn new(
        client: Client,
        registry: &Registry,
        wake: UnboundedSender<Trigger>,
        timing: Timing,
    ) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Inner {
            post: Post::new(client)?,
            metrics: Metrics::register(registry)?,
            timing,
            wake,
            slots: Semaphore::new(AT_ONCE),
            desk: Mutex::default(),
        })))
    }

    /// Hands letters over, each with the name of its notification; `false` when there is no room for all of them.
    /// They are of one entry of the record of rollout `of`, or of none. Never waits.
    pub fn hand_over(&self, key: &Key, of: Option<u64>, letters: Vec<(String, Letter)>) -> bool {
        let mut desk = self.desk();
        let waiting: usize = desk.lanes.values().map(VecDeque::len).sum();
        if waiting + letters.len() > self.0.timing.waiting {
            self.0.metrics.refused(letters.len());
            tracing::warn!(deployment = %key, waiting, "too many notifications wait, no more are taken");
            return false;
        }
        if let Some(sequence) = of {
            let progress = desk.progress.entry((key.clone(), sequence)).or_default();
            progress.handed += 1;
            progress.outstanding += letters.len();
        }
        let term = desk.term;
        for (name, letter) in letters {
            let receiver = (key.clone(), name);
            if !desk.lanes.contains_key(&receiver) {
                tokio::spawn(self.clone().serve(receiver.clone(), term));
            }
            desk.lanes.entry(receiver).or_default().push_back((letter, of));
        }
        true
    }

    /// Of the untold entries of a rollout, how many were handed over, and whether all their letters are done.
    #[must_use]
    pub fn handed(&self, key: &Key, sequence: u64) -> (u32, bool) {
        let progress = self.desk().progress.get(&(key.clone(), sequence)).copied().unwrap_or_default();
        (progress.handed, progress.outstanding == 0)
    }

    /// The record says that they are told.
    pub fn settled(&self, key: &Key, sequence: u64) {
        self.desk().progress.remove(&(key.clone(), sequence));
    }

    /// Forgets how far a deployment is that is gone; what waits is delivered still.
    pub fn forget(&self, key: &Key) {
        self.desk().progress.retain(|(of, _), _| of != key);
    }

    /// Forgets everything that waits: whoever leads now reads it from the records.
    pub fn stand_by(&self) {
        let mut desk = self.desk();
        *desk = Desk { term: desk.term + 1, ..Desk::default() };
    }

    /// Causes a look at a deployment.
    pub fn wake(&self, key: &Key) {
        // The other end is gone only when the program stops.
        let _ = self.0.wake.unbounded_send(Trigger::One(key.clone()));
    }

    async fn serve(self, receiver: Receiver, term: u64) {
        while let Some(letter) = self.next(&receiver, term) {
            self.deliver(&receiver, &letter, term).await;
            self.done(&receiver, term);
        }
    }

    fn next(&self, receiver: &Receiver, term: u64) -> Option<Letter> {
        let mut desk = self.desk();
        if desk.term != term {
            return None;
        }
        let first = desk.lanes.get(receiver).and_then(|lane| lane.front()).map(|(letter, _)| letter.clone());
        if first.is_none() {
            desk.lanes.remove(receiver);
        }
        first
    }

    /// The letter in front is delivered or given up.
    fn done(&self, receiver: &Receiver, term: u64) {
        let mut desk = self.desk();
        if desk.term != term {
            return;
        }
        let of = desk.lanes.get_mut(receiver).and_then(VecDeque::pop_front).and_then(|(_, of)| of);
        let progress = of.and_then(|sequence| desk.progress.get_mut(&(receiver.0.clone(), sequence)));
        if let Some(progress) = progress {
            progress.outstanding = progress.outstanding.saturating_sub(1);
            if progress.outstanding == 0 {
                self.wake(&receiver.0);
            }
        }
    }

    async fn deliver(&self, (key, notification): &Receiver, letter: &Letter, term: u64) {
        let mut attempts = 0;
        let mut pauses = self.0.timing.pauses.iter();
        let error = loop {
            attempts += 1;
            match self.attempt(letter).await {
                Ok(()) => {
                    self.0.metrics.delivered();
                    return;
                }
                Err(error) if !error.is_passing() => break error,
                Err(error) => match pauses.next() {
                    Some(pause) => sleep(*pause).await,
                    None => break error,
                },
            }
            if self.desk().term != term {
                return;
            }
        };
        self.0.metrics.lost();
        let (id, reason) = (&letter.id, &letter.reason);
        tracing::warn!(deployment = %key, notification, id, reason, attempts, %error, "a notification is given up");
    }

    async fn attempt(&self, letter: &Letter) -> Result<(), PostError> {
        let _slot = self.0.slots.acquire().await.expect("the semaphore is never closed");
        timeout(self.0.timing.attempt, self.0.post.post(letter)).await.unwrap_or(Err(PostError::Slow))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn count(&self, result: &str) -> u64 {
        self.0.metrics.count(result)
    }
}
