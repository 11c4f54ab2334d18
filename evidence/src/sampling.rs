//! From routers' pages to exact deltas: a request may be lost, it is never counted twice (C4).

use std::collections::BTreeMap;

use jiff::Timestamp;
use wire::{Assignment, Counts, Key, Page, RouteState};

use crate::Interval;
use crate::slots::{Shown, SlotRound};

/// Whose counts are evidence of the present stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Arms {
    /// The states of the route table that belong to the stage, usually one; requests are attributed to the
    /// state under which they were assigned (C2, T1). All of them give the candidate the same share.
    pub states: Vec<RouteState>,
    /// That share, of what is drawn for one of both arms at random; absent under sticky routing.
    pub split: Option<f64>,
    /// Name of the stable revision.
    pub stable: String,
    /// Name of the candidate revision.
    pub candidate: String,
}

/// Why the delta of a pod is not in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Its page could not be read.
    Missing,
    /// The page is only a baseline: the first one of this process, or the first one after a missing page.
    Baseline,
    /// Counters of the same process went backwards: an older page was delivered again.
    Backwards,
}

/// What one round of sampling found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Round {
    /// [`Arms::split`].
    pub split: Option<f64>,
    /// Counts of the candidate since the round before, summed over the pods that were counted.
    pub candidate: Counts,
    /// Counts of stable from the same pods.
    pub stable: Counts,
    /// Number of pods that were counted.
    pub counted: usize,
    /// The pods that were not, by name.
    pub dropped: BTreeMap<String, Dropped>,
    /// The slots, where routing is sticky (C5).
    pub slots: Option<Box<SlotRound>>,
}

impl Round {
    /// The interval between two rounds; `None` when no pod was counted, which is not the same as an interval
    /// without requests.
    #[must_use]
    pub fn interval(self, from: Timestamp, to: Timestamp) -> Option<Interval> {
        let Self { split, candidate, stable, counted, slots, .. } = self;
        (counted > 0).then_some(Interval { from, to, split, candidate, stable, slots })
    }
}

/// The last reading of every router's counters. In memory only: after a start or a conflict begin with an
/// empty one, and the first pages are baselines.
#[derive(Debug, Clone, Default)]
pub struct Baselines {
    pods: BTreeMap<String, Baseline>,
    slots: Shown,
}

#[derive(Debug, Clone)]
struct Baseline {
    instance: String,
    /// False once a page is missing: the next one bridges a gap.
    current: bool,
    /// Highest reading per state of the table. Kept while pages are missing, so that not even an old page
    /// delivered late can be counted again.
    marks: BTreeMap<RouteState, BTreeMap<Key, Counts>>,
}

impl Baselines {
    /// Takes one page per router pod that exists, by pod name or uid; `None` where it could not be read.
    /// Pods that are no longer named are forgotten.
    pub fn round(&mut self, pages: BTreeMap<String, Option<Page>>, arms: &Arms) -> Round {
        // rule: C4
        self.pods.retain(|pod, _| pages.contains_key(pod));
        let mut round = Round { split: arms.split, ..Round::default() };
        let (mut counted, mut baselines) = (Vec::new(), Vec::new());
        for (pod, mut page) in pages {
            let slots = page.as_mut().map(|page| std::mem::take(&mut page.slots));
            match self.take(&pod, page, arms) {
                Ok((candidate, stable)) => {
                    round.candidate.add(&candidate);
                    round.stable.add(&stable);
                    round.counted += 1;
                    counted.extend(slots);
                }
                Err(why) => {
                    round.dropped.insert(pod, why);
                    // An older page shows nothing that was not shown before.
                    baselines.extend(slots.filter(|_| why == Dropped::Baseline));
                }
            }
        }
        round.slots = self.slots.round(counted, baselines, arms);
        round
    }

    fn take(&mut self, pod: &str, page: Option<Page>, arms: &Arms) -> Result<(Counts, Counts), Dropped> {
        let known = self.pods.get_mut(pod);
        let Some(page) = page else {
            if let Some(baseline) = known {
                baseline.current = false;
            }
            return Err(Dropped::Missing);
        };
        match known {
            Some(baseline) if baseline.instance == page.instance => baseline.advance(page, arms),
            _ => {
                let Page { instance, states, .. } = page;
                let baseline = Baseline { instance, current: true, marks: states };
                self.pods.insert(pod.to_owned(), baseline);
                Err(Dropped::Baseline)
            }
        }
    }
}

impl Baseline {
    /// Moves the marks up to this page and says what was counted since.
    fn advance(&mut self, page: Page, arms: &Arms) -> Result<(Counts, Counts), Dropped> {
        let was_current = std::mem::replace(&mut self.current, true);
        if self.is_ahead_of(&page) {
            // One process never counts backwards (`Page::instance`), so the page is older than the marks.
            // They stay: what lies between is not counted again.
            return Err(Dropped::Backwards);
        }
        let (mut candidate, mut stable) = (Counts::default(), Counts::default());
        for state in &arms.states {
            let Some(now) = page.states.get(state) else { continue };
            let before = self.marks.get(state);
            for (key, counts) in now {
                // rule: C1
                let arm = match key {
                    Key { assignment: Assignment::Split, revision } if *revision == arms.candidate => {
                        &mut candidate
                    }
                    Key { assignment: Assignment::Split, revision } if *revision == arms.stable => {
                        &mut stable
                    }
                    _ => continue,
                };
                // A state or revision that was not on the page before has counted from zero since.
                let before = before.and_then(|keys| keys.get(key));
                let delta = before.map_or_else(|| Some(counts.clone()), |before| counts.since(before));
                arm.add(&delta.expect("is_ahead_of compared every key that both hold"));
            }
        }
        // A router keeps the last states only; marks of those it dropped are kept for as long as the stage lasts.
        self.marks.retain(|state, _| page.states.contains_key(state) || arms.states.contains(state));
        self.marks.extend(page.states);
        if was_current { Ok((candidate, stable)) } else { Err(Dropped::Baseline) }
    }

    fn is_ahead_of(&self, page: &Page) -> bool {
        self.marks.iter().any(|(state, marks)| {
            page.states.get(state).is_some_and(|now| {
                marks.iter().any(|(key, mark)| now.get(key).is_none_or(|now| now.since(mark).is_none()))
            })
        })
    }
}
