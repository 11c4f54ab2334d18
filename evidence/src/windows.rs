//! The intervals of the present stage, in memory and bounded.

use std::collections::VecDeque;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use wire::{Counts, Pairs};

use crate::packed::{Classes, Packed, Sum};
use crate::state::own;
use crate::{Draw, Labelled, SlotRound};

/// Intervals kept at most; older ones are merged in pairs, the newest half never is: 5 minutes of 15 s, the default
/// window. A window that is longer than that may reach back a little further than asked. More of them would take a
/// busy model beyond 64 KiB.
pub const MAX_INTERVALS: usize = 40;

/// What both arms did between two samplings, summed over routers. Of those requests only that are evidence of the
/// stage (C1, [`Draw`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// The earlier sampling.
    pub from: Timestamp,
    /// The later one.
    pub to: Timestamp,
    /// How requests came to the candidate.
    pub draw: Draw,
    /// The candidate's share of the requests that are drawn for one of both arms, between 0 and 1; absent when
    /// they are not drawn at random one by one (sticky routing, a preview), or the interval sums over several shares. 0
    /// in a shadow stage without sticky routing.
    pub split: Option<f64>,
    /// Counts of the candidate.
    pub candidate: Counts,
    /// Counts of stable.
    pub stable: Counts,
    /// What became of the copies beside stable's answers; present in a shadow stage with a stable. Sums, and all but
    /// the newest, have the outcomes and labels and not the histograms.
    pub pairs: Option<Box<Pairs>>,
    /// The labels that arrived meanwhile, for answers under the states of the stage; in a shadow stage those of pairs.
    pub labelled: Labelled,
    /// The slots, where routing is sticky (C5). Sums have none.
    pub slots: Option<Box<SlotRound>>,
}

impl Interval {
    /// Whether stable's counts can be compared with the candidate's.
    #[must_use]
    pub fn compares_stable(&self) -> bool {
        self.draw == Draw::Split || self.pairs.is_some()
    }
}

/// The intervals of one stage, oldest first, without overlap. They live in memory only: after a restart
/// they refill, and metrics are without data until then (C6). All but the newest are kept packed, so that a
/// judged model takes tens of KiB.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    since: Option<Timestamp>,
    classes: Classes,
    intervals: VecDeque<Packed>,
    newest: Option<Interval>,
}

impl Windows {
    /// Windows of a stage that was acknowledged at `since` (whole microseconds count, as in status).
    #[must_use]
    pub fn new(since: Timestamp) -> Self {
        Self { since: Some(micros(since)), ..Self::default() }
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
            *self = Self::new(since);
        }
        let taken = self.newest().map_or(since, |newest| newest.to);
        interval.from = interval.from.max(since);
        if interval.to <= interval.from || interval.from < taken {
            return false;
        }
        self.intervals.push_back(Packed::new(&interval, &mut self.classes));
        self.newest = Some(interval);
        if self.intervals.len() > MAX_INTERVALS {
            self.merge_older_half();
        }
        true
    }

    fn merge_older_half(&mut self) {
        let newer = self.intervals.split_off(self.intervals.len() / 2);
        let mut older = std::mem::take(&mut self.intervals);
        while let Some(first) = older.pop_front() {
            let merged = match older.pop_front() {
                None => first,
                Some(second) => {
                    let mut sum = Sum::default();
                    sum.add(&first);
                    sum.add(&second);
                    Packed::new(&sum.interval(&self.classes), &mut self.classes)
                }
            };
            self.intervals.push_back(merged);
        }
        self.intervals.extend(newer);
    }

    /// When the stage began.
    #[must_use]
    pub const fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// The intervals that began at or after an instant (all, without one), oldest first.
    pub fn from(&self, from: Option<Timestamp>) -> impl Iterator<Item = Interval> {
        let newest = self.newest.as_ref();
        let wanted = self.intervals.iter().filter(move |packed| from.is_none_or(|from| packed.from >= from));
        wanted.map(move |packed| match newest {
            Some(newest) if newest.to == packed.to => newest.clone(),
            _ => packed.unpack(&self.classes),
        })
    }

    /// Number of intervals that are told apart.
    #[must_use]
    pub fn len(&self) -> usize {
        self.intervals.len()
    }

    /// Whether nothing was taken yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// The newest interval.
    #[must_use]
    pub const fn newest(&self) -> Option<&Interval> {
        self.newest.as_ref()
    }

    /// Bytes that the intervals take on the heap.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let cells = |i: &Interval| {
            2 * i.candidate.cells().count() + i.pairs.iter().flat_map(|pairs| pairs.cells()).count()
        };
        let newest: usize = self.newest.iter().map(|i| 8 * cells(i)).sum();
        newest + self.intervals.iter().map(|packed| size_of::<Packed>() + packed.bytes()).sum::<usize>()
    }

    /// The sum of the intervals that `reach` asks for, and of older ones, back to the stage's start, for as long as
    /// `enough` says no (J5).
    #[must_use]
    pub fn select(&self, reach: Reach, enough: impl Fn(&Interval) -> bool) -> Option<Interval> {
        let mut selected = self.select_all(&[Want { reach, from: None, enough: &enough }]);
        selected.pop().flatten().map(Rc::unwrap_or_clone)
    }

    /// One sum per want, in order; wants that end at the same interval share theirs. None where there is no interval.
    pub(crate) fn select_all(&self, wants: &[Want<'_>]) -> Vec<Option<Rc<Interval>>> {
        // rule: J5
        let mut chosen: Vec<Option<Rc<Interval>>> = vec![None; wants.len()];
        let Some(newest) = &self.newest else { return chosen };
        let mut open: Vec<usize> = (0..wants.len()).filter(|i| wants[*i].reaches(newest.from)).collect();
        let mut sum = Sum::default();
        let mut intervals = self.intervals.iter().rev().peekable();
        while let Some(packed) = intervals.next().filter(|_| !open.is_empty()) {
            sum.add(packed);
            let older = intervals.peek();
            // The oldest interval that a want reaches ends it, whatever it holds.
            let is_last = |want: &Want<'_>| older.is_none_or(|older| !want.reaches(older.from));
            let may_end = |want: &Want<'_>| {
                is_last(want) || older.is_some_and(|older| want.reach.ends(older.to, newest.to))
            };
            if !open.iter().any(|i| may_end(&wants[*i])) {
                continue;
            }
            let here = Rc::new(sum.interval(&self.classes));
            open.retain(|i| {
                let want = &wants[*i];
                let suffices = || want.reach.holds(&here) && (want.enough)(&here);
                let ends = may_end(want) && (is_last(want) || suffices());
                if ends {
                    chosen[*i] = Some(here.clone());
                }
                !ends
            });
        }
        chosen
    }
}

/// How far back a metric looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the intervals that reach into so long before the newest one ended.
    Time(SignedDuration),
    /// To as many of the newest as the candidate itself answered or failed so many requests in (C2).
    Requests(u64),
}

impl Reach {
    /// Whether intervals that end at `older` and before are not asked for any more, behind this sum.
    fn ends(self, older: Timestamp, newest: Timestamp) -> bool {
        match self {
            Self::Time(window) => older <= newest.checked_sub(window).unwrap_or(Timestamp::MIN),
            Self::Requests(_) => true,
        }
    }

    fn holds(self, sum: &Interval) -> bool {
        match self {
            Self::Time(_) => true,
            Self::Requests(requests) => own(&sum.candidate) >= requests,
        }
    }
}

/// What a metric asks of its window.
pub(crate) struct Want<'a> {
    pub(crate) reach: Reach,
    /// Intervals that began before are not looked at.
    pub(crate) from: Option<Timestamp>,
    pub(crate) enough: &'a dyn Fn(&Interval) -> bool,
}

impl Want<'_> {
    fn reaches(&self, began: Timestamp) -> bool {
        self.from.is_none_or(|from| began >= from)
    }
}

/// An instant as it comes back from a MicroTime in status: the same stage must be recognised after a restart.
fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).expect("a timestamp without its nanoseconds is in range")
}
