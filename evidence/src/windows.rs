//! The intervals of the present stage, in memory and bounded.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use wire::Counts;

use crate::state::own;

/// Intervals kept at most; older ones are merged in pairs, the newest half never is.
pub const MAX_INTERVALS: usize = 512;

/// What both arms did between two samplings, summed over routers. Split requests only (C1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The earlier sampling.
    pub from: Timestamp,
    /// The later one.
    pub to: Timestamp,
    /// Counts of the candidate.
    pub candidate: Counts,
    /// Counts of stable.
    pub stable: Counts,
}

impl Interval {
    fn absorb(&mut self, other: &Self) {
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
        self.candidate.add(&other.candidate);
        self.stable.add(&other.stable);
    }
}

/// The intervals of one stage, oldest first, without overlap. They live in memory only: after a restart
/// they refill, and metrics are without data until then (C6).
#[derive(Debug, Clone, Default)]
pub struct Windows {
    since: Option<Timestamp>,
    intervals: VecDeque<Interval>,
}

impl Windows {
    /// Windows of a stage that was acknowledged at `since` (whole microseconds count, as in status).
    #[must_use]
    pub fn new(since: Timestamp) -> Self {
        Self { since: Some(micros(since)), intervals: VecDeque::new() }
    }

    /// Forgets everything unless the stage is still the one that began at `since` (T1).
    pub fn enter_stage(&mut self, since: Timestamp) {
        // rule: T1
        if self.since != Some(micros(since)) {
            *self = Self::new(since);
        }
    }

    /// Forgets everything; nothing is taken before [`Windows::enter_stage`].
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes an interval of this stage. False when it was refused: no stage, or it lies before the stage, or it
    /// overlaps one that was taken already. One that began before the stage was acknowledged is dated from
    /// there: its counts are those of the stage's states anyway.
    ///
    /// One that ends before the newest one did tells of a wall clock that was set back: the windows start anew,
    /// because what is dated in the future would hide everything until the clock has caught up.
    pub fn push(&mut self, mut interval: Interval) -> bool {
        // rule: T1, C4
        let Some(since) = self.since else { return false };
        if self.newest().is_some_and(|newest| interval.to < newest.to) {
            self.intervals.clear();
        }
        let taken = self.newest().map_or(since, |newest| newest.to);
        interval.from = interval.from.max(since);
        if interval.to <= interval.from || interval.from < taken {
            return false;
        }
        self.intervals.push_back(interval);
        if self.intervals.len() > MAX_INTERVALS {
            self.merge_older_half();
        }
        true
    }

    fn merge_older_half(&mut self) {
        let newer = self.intervals.split_off(self.intervals.len() / 2);
        let mut older = std::mem::replace(&mut self.intervals, VecDeque::with_capacity(MAX_INTERVALS + 1));
        while let Some(mut first) = older.pop_front() {
            if let Some(second) = older.pop_front() {
                first.absorb(&second);
            }
            self.intervals.push_back(first);
        }
        self.intervals.extend(newer);
    }

    /// When the stage began.
    #[must_use]
    pub const fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// All intervals, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Interval> {
        self.intervals.iter()
    }

    /// The newest interval.
    #[must_use]
    pub fn newest(&self) -> Option<&Interval> {
        self.intervals.back()
    }

    /// The sum of the intervals that reach into the last `window` before the newest one ended, and of older
    /// ones, back to the stage's start, for as long as `enough` says no (J5).
    #[must_use]
    pub fn select(&self, window: SignedDuration, enough: impl Fn(&Interval) -> bool) -> Option<Interval> {
        // rule: J5
        let mut newest_first = self.intervals.iter().rev();
        let mut sum = newest_first.next()?.clone();
        let start = sum.to.checked_sub(window).unwrap_or(Timestamp::MIN);
        for older in newest_first {
            if older.to <= start && enough(&sum) {
                break;
            }
            sum.absorb(older);
        }
        Some(sum)
    }

    /// The sum of the newest intervals in which the candidate itself answered or failed at least `requests` (C2),
    /// and of older ones, back to the stage's start, for as long as `enough` says no (J5).
    #[must_use]
    pub fn select_requests(&self, requests: u64, enough: impl Fn(&Interval) -> bool) -> Option<Interval> {
        self.select(SignedDuration::ZERO, |sum| own(&sum.candidate) >= requests && enough(sum))
    }
}

/// An instant as it comes back from a MicroTime in status: the same stage must be recognised after a restart.
fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).expect("a timestamp without its nanoseconds is in range")
}
