//! From routers' pages to exact deltas: a request may be lost, it is never counted twice (C4).

use std::collections::BTreeMap;

use jiff::Timestamp;
use wire::{Counts, Feedback, Key, Page, Pairs, RouteState, Trip};

use crate::draw::Side;
use crate::labelled::shares;
use crate::packed::{Classes, pack, unpack};
use crate::slots::{Shown, SlotRound};
use crate::{Draw, Interval, Labelled};

/// Whose counts are evidence of the present stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Arms {
    /// How requests come to the candidate.
    pub draw: Draw,
    /// The states of the route table that belong to the stage, usually one; requests are attributed to the
    /// state under which they were assigned (C2, T1). All of them give the candidate the same share.
    pub states: Vec<RouteState>,
    /// That share, of what is drawn for one of both arms at random; absent under sticky routing. Of [`Draw::Split`]
    /// alone.
    pub split: Option<f64>,
    /// Name of the stable revision; absent where there is none, as in a shadow of a first deployment.
    pub stable: Option<String>,
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
    /// [`Arms::draw`].
    pub draw: Draw,
    /// [`Interval::split`].
    pub split: Option<f64>,
    /// Counts of the candidate since the round before, summed over the pods that were counted.
    pub candidate: Counts,
    /// Counts of stable from the same pods.
    pub stable: Counts,
    /// What became of the copies beside stable's answers, in a shadow stage with a stable.
    pub pairs: Option<Box<Pairs>>,
    /// The labels that arrived for answers under [`Arms::states`]; in a shadow stage for pairs alone, whose label tells of
    /// both answers.
    pub labelled: Labelled,
    /// Those that arrived for answers under earlier states. Shares were others then: for a bandit alone.
    pub labelled_late: Labelled,
    /// Number of pods that were counted.
    pub counted: usize,
    /// What a router saw that has stopped sending to the candidate by itself (R7).
    pub tripped: Option<Trip>,
    /// The pods that were not, by name.
    pub dropped: BTreeMap<String, Dropped>,
    /// The slots, where routing is sticky (C5); none of a preview, whose requests have no part in them.
    pub slots: Option<Box<SlotRound>>,
}

impl Round {
    fn of(arms: &Arms) -> Self {
        let paired = arms.draw == Draw::Shadow && arms.stable.is_some();
        let split = arms.split.filter(|_| arms.draw == Draw::Split);
        Self { draw: arms.draw, split, pairs: paired.then(Box::default), ..Self::default() }
    }

    fn add(&mut self, delta: &Delta) {
        self.candidate.add(&delta.candidate);
        self.stable.add(&delta.stable);
        if let Some(pairs) = &mut self.pairs {
            pairs.add(&delta.pairs);
        }
        self.labelled.add(&delta.labelled);
        self.labelled_late.add(&delta.labelled_late);
        self.counted += 1;
    }

    fn show(&mut self, slots: Option<Box<SlotRound>>) {
        match self.draw {
            Draw::Split => self.slots = slots,
            Draw::Shadow => {
                // A route that is not sticky shows no slots: requests are drawn one by one, none for the candidate.
                self.split = slots.is_none().then_some(0.0);
                self.slots = slots;
            }
            Draw::Preview => {}
        }
    }

    /// The interval between two rounds; `None` when no pod was counted, which is not the same as an interval
    /// without requests.
    #[must_use]
    pub fn interval(self, from: Timestamp, to: Timestamp) -> Option<Interval> {
        let Self { draw, split, candidate, stable, pairs, labelled, counted, slots, .. } = self;
        (counted > 0).then_some(Interval { from, to, draw, split, candidate, stable, pairs, labelled, slots })
    }
}

/// The last reading of every router's counters. In memory only: after a start or a conflict begin with an
/// empty one, and the first pages are baselines.
#[derive(Debug, Clone, Default)]
pub struct Baselines {
    pods: BTreeMap<String, Baseline>,
    slots: Shown,
}

type ByState<K, C> = BTreeMap<RouteState, BTreeMap<K, C>>;

#[derive(Debug, Clone)]
struct Baseline {
    instance: String,
    /// False once a page is missing: the next one bridges a gap.
    current: bool,
    /// Highest reading per state of the table, packed. Kept while pages are missing, so that not even an old page
    /// delivered late can be counted again.
    marks: ByState<Key, Box<[u8]>>,
    /// Their classes.
    classes: Classes,
    /// The same of the pairs.
    pairs: ByState<String, Pairs>,
    /// The same of the labels.
    feedback: ByState<Key, Feedback>,
}

/// What one page adds to a round.
#[derive(Default)]
struct Delta {
    candidate: Counts,
    stable: Counts,
    pairs: Pairs,
    labelled: Labelled,
    labelled_late: Labelled,
}

impl Baselines {
    /// Takes one page per router pod that exists, by pod name or uid; `None` where it could not be read.
    /// Pods that are no longer named are forgotten.
    pub fn round(&mut self, pages: BTreeMap<String, Option<Page>>, arms: &Arms) -> Round {
        self.rounds(pages, std::slice::from_ref(arms)).pop().expect("one round for one pair of arms")
    }

    /// [`Baselines::round`] for several candidates of one stage that are compared with the same stable, in order.
    pub fn rounds(&mut self, pages: BTreeMap<String, Option<Page>>, all: &[Arms]) -> Vec<Round> {
        // rule: C4
        self.pods.retain(|pod, _| pages.contains_key(pod));
        let mut rounds: Vec<Round> = all.iter().map(Round::of).collect();
        let (mut counted, mut baselines) = (Vec::new(), Vec::new());
        for (pod, mut page) in pages {
            for (round, arms) in rounds.iter_mut().zip(all) {
                let tripped = page.as_ref().and_then(|page| page.tripped.get(&arms.candidate));
                round.tripped = round.tripped.or(tripped.copied());
            }
            let slots = page.as_mut().map(|page| std::mem::take(&mut page.slots));
            match self.take(&pod, page, all) {
                Ok(deltas) => {
                    rounds.iter_mut().zip(&deltas).for_each(|(round, delta)| round.add(delta));
                    counted.extend(slots);
                }
                Err(why) => {
                    for round in &mut rounds {
                        round.dropped.insert(pod.clone(), why);
                    }
                    // An older page shows nothing that was not shown before.
                    baselines.extend(slots.filter(|_| why == Dropped::Baseline));
                }
            }
        }
        let shown = self.slots.rounds(counted, baselines, all);
        rounds.iter_mut().zip(shown).for_each(|(round, slots)| round.show(slots));
        rounds
    }

    fn take(&mut self, pod: &str, page: Option<Page>, all: &[Arms]) -> Result<Vec<Delta>, Dropped> {
        let known = self.pods.get_mut(pod);
        let Some(page) = page else {
            if let Some(baseline) = known {
                baseline.current = false;
            }
            return Err(Dropped::Missing);
        };
        match known {
            Some(baseline) if baseline.instance == page.instance => baseline.advance(page, all),
            _ => {
                let Page { instance, states, pairs, feedback, .. } = page;
                let (marks, classes) = Default::default();
                let mut baseline = Baseline { instance, current: true, marks, classes, pairs, feedback };
                baseline.mark(states);
                self.pods.insert(pod.to_owned(), baseline);
                Err(Dropped::Baseline)
            }
        }
    }
}

impl Baseline {
    /// Moves the marks up to this page and says what was counted since, for each pair of arms.
    fn advance(&mut self, page: Page, all: &[Arms]) -> Result<Vec<Delta>, Dropped> {
        let was_current = std::mem::replace(&mut self.current, true);
        if is_ahead(&self.marks, &page.states, |now, mark| self.since(now, mark))
            || is_ahead(&self.pairs, &page.pairs, Pairs::since)
            || is_ahead(&self.feedback, &page.feedback, Feedback::since)
        {
            // One process never counts backwards (`Page::instance`), so the page is older than the marks.
            // They stay: what lies between is not counted again.
            return Err(Dropped::Backwards);
        }
        let deltas = all.iter().map(|arms| self.delta(&page, arms)).collect();
        // A router keeps the last states only; marks of those it dropped are kept for as long as the stage lasts.
        let is_of_stage = |state: &RouteState| all.iter().any(|arms| arms.states.contains(state));
        self.marks.retain(|state, _| page.states.contains_key(state) || is_of_stage(state));
        self.pairs.retain(|state, _| page.pairs.contains_key(state) || is_of_stage(state));
        self.feedback.retain(|state, _| page.feedback.contains_key(state) || is_of_stage(state));
        self.mark(page.states);
        self.pairs.extend(page.pairs);
        self.feedback.extend(page.feedback);
        if was_current { Ok(deltas) } else { Err(Dropped::Baseline) }
    }

    fn mark(&mut self, states: ByState<Key, Counts>) {
        for (state, counts) in states {
            let packed = counts.into_iter().map(|(key, counts)| (key, pack(&counts, &mut self.classes)));
            self.marks.insert(state, packed.collect());
        }
    }

    fn since(&self, now: &Counts, mark: &[u8]) -> Option<Counts> {
        now.since(&unpack(mark, &self.classes))
    }

    fn delta(&self, page: &Page, arms: &Arms) -> Delta {
        let mut delta = Delta::default();
        for state in &arms.states {
            for (key, now) in page.states.get(state).into_iter().flatten() {
                let side = match arms.side(key) {
                    Some(Side::Candidate) => &mut delta.candidate,
                    Some(Side::Stable) => &mut delta.stable,
                    None => continue,
                };
                side.add(&since(now, mark(&self.marks, state, key), |now, mark| self.since(now, mark)));
            }
            for (key, now) in page.feedback.get(state).into_iter().flatten() {
                let [own, late] = shares(&since(now, mark(&self.feedback, state, key), Feedback::since));
                match arms.side(key) {
                    Some(Side::Candidate) => {
                        delta.labelled.candidate.add(own);
                        delta.labelled_late.candidate.add(late);
                    }
                    Some(Side::Stable) => {
                        delta.labelled.stable.add(own);
                        delta.labelled_late.stable.add(late);
                    }
                    None => {}
                }
            }
            if let Some(now) = mark(&page.pairs, state, &arms.candidate) {
                delta.pairs.add(&since(now, mark(&self.pairs, state, &arms.candidate), Pairs::since));
            }
        }
        if arms.draw == Draw::Shadow {
            delta.labelled = Labelled::of_pairs(&delta.pairs);
        }
        delta
    }
}

fn mark<'m, K: Ord, C>(marks: &'m ByState<K, C>, state: &RouteState, key: &K) -> Option<&'m C> {
    marks.get(state)?.get(key)
}

/// A state or revision that was not on the page before has counted from zero since.
fn since<C: Clone, M>(now: &C, before: Option<&M>, since: impl Fn(&C, &M) -> Option<C>) -> C {
    let delta = before.map_or_else(|| Some(now.clone()), |before| since(now, before));
    delta.expect("is_ahead compared every key that both hold")
}

fn is_ahead<K: Ord, C, M>(
    marks: &ByState<K, M>,
    page: &ByState<K, C>,
    since: impl Fn(&C, &M) -> Option<C>,
) -> bool {
    marks.iter().any(|(state, marks)| {
        page.get(state).is_some_and(|now| {
            marks.iter().any(|(key, mark)| now.get(key).is_none_or(|now| since(now, mark).is_none()))
        })
    })
}
