//! From a round of pages to what the numbers say: one [`Candidate`] for each revision that is judged.

use std::collections::BTreeMap;

use evidence::Dropped;
use jiff::Timestamp;
use rollout::{Sampling, StageEvidence};
use wire::{Page, RouteState};

use super::candidate::{Candidate, Stage};
use super::profiles::Profiles;
use super::{Memory, Order};

/// States of the route that may belong to one stage: a router's page keeps the last two of them anyway.
const STATES: usize = 8;

/// What is known of the stage that is judged.
#[derive(Debug)]
pub(super) struct Judging {
    sampling: Sampling,
    /// States of the route ordered since the stage began, as long as the splits stay the same.
    states: Vec<RouteState>,
    /// Each candidate's share in all of them.
    splits: BTreeMap<String, f64>,
    candidates: BTreeMap<String, Candidate>,
    /// When the pages of the round before were asked for.
    last: Option<Timestamp>,
}

impl Judging {
    pub(super) fn new(sampling: Sampling, order: &Order) -> Self {
        let fresh = |name: &String| (name.clone(), Candidate::new(name, &sampling, order));
        Self {
            states: order.route.iter().cloned().collect(),
            splits: order.splits.clone(),
            candidates: sampling.candidates.iter().map(fresh).collect(),
            last: None,
            sampling,
        }
    }

    /// Follows an order: a new stage clears what belongs to the one before it, another rollout everything but
    /// the baselines.
    pub(super) fn follow(&mut self, sampling: &Sampling, order: &Order) {
        let (before, now) = (self.sampling.key, sampling.key);
        self.candidates.retain(|name, _| sampling.candidates.contains(name));
        for name in &sampling.candidates {
            self.candidates.entry(name.clone()).or_insert_with(|| Candidate::new(name, sampling, order));
        }
        if before.sequence != now.sequence {
            // rule: J3. The levels of the checks belong to the rollout.
            self.candidates.values_mut().for_each(|candidate| candidate.enter_rollout(order));
        }
        if before != now {
            // rule: T1
            self.states.clear();
            self.candidates.values_mut().for_each(Candidate::enter_stage);
        }
        self.candidates.values_mut().for_each(|candidate| candidate.since(sampling.since));
        self.sampling = sampling.clone();
        if self.splits != order.splits {
            // An interval has one split: what was drawn by another one is lost.
            self.states.clear();
            self.splits.clone_from(&order.splits);
        }
        if let Some(route) = order.route.as_ref().filter(|route| !self.states.contains(route)) {
            self.states.push(route.clone());
            let surplus = self.states.len().saturating_sub(STATES);
            self.states.drain(..surplus);
        }
    }

    /// Takes one page per router, read from `at` on, and judges. Returns what was dropped, by router.
    pub(super) fn round(
        &mut self,
        pages: BTreeMap<String, Option<Page>>,
        at: Timestamp,
        order: &Order,
        profiles: &Profiles,
    ) -> BTreeMap<String, Dropped> {
        let span = (self.last.replace(at), at);
        let mut dropped = BTreeMap::new();
        for (name, candidate) in &mut self.candidates {
            let split = self.splits.get(name).copied();
            let stage = Stage { sampling: &self.sampling, states: &self.states, split };
            // All of them read the same pages.
            dropped = candidate.round(pages.clone(), span, &stage, order, profiles);
        }
        dropped
    }

    /// What a decision needs, with the judge's memory.
    pub(super) fn evidence(&self) -> (BTreeMap<String, StageEvidence>, Option<Memory>) {
        let (mut evidence, mut memory) = (BTreeMap::new(), Memory::default());
        for (name, candidate) in &self.candidates {
            if let Some((said, state)) = candidate.evidence(&self.sampling) {
                evidence.insert(name.clone(), said);
                memory.candidates.insert(name.clone(), state);
            }
        }
        let memory = (!memory.candidates.is_empty()).then_some(memory);
        (evidence, memory)
    }
}
