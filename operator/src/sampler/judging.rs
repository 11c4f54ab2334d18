//! From a round of pages to what the numbers say: one [`Candidate`] for each revision that is judged, and what they
//! compete by.

use std::collections::BTreeMap;

use evidence::{Arms, Baselines, Draw, Dropped, Measure, Rewards, Round, Share, Trial};
use jiff::Timestamp;
use rollout::{Sampling, StageEvidence, Until};
use wire::{Page, RouteState};

use super::bandit::Bandit;
use super::candidate::Candidate;
use super::profiles::Profiles;
use super::{Contest, Memory, Order};

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
    baselines: Baselines,
    /// Boxed: a map of one has room for eleven.
    candidates: BTreeMap<String, Box<Candidate>>,
    contest: Option<Contest>,
    bandit: Option<Bandit>,
    /// When the pages of the round before were asked for.
    last: Option<Timestamp>,
}

impl Judging {
    pub(super) fn new(sampling: Sampling, order: &Order) -> Self {
        let fresh = |name: &String| (name.clone(), Box::new(Candidate::new(name, &sampling, order)));
        let mut judging = Self {
            states: order.route.iter().cloned().collect(),
            splits: order.splits.clone(),
            baselines: Baselines::default(),
            candidates: sampling.candidates.iter().map(fresh).collect(),
            contest: None,
            bandit: None,
            last: None,
            sampling,
        };
        judging.enter_rollout(order);
        judging
    }

    /// Follows an order: a new stage clears what belongs to the one before it, another rollout everything but
    /// the baselines.
    pub(super) fn follow(&mut self, sampling: &Sampling, order: &Order) {
        let (before, now) = (self.sampling.key, sampling.key);
        self.sampling = sampling.clone();
        self.candidates.retain(|name, _| sampling.candidates.contains(name));
        for name in &sampling.candidates {
            let fresh = || Box::new(Candidate::new(name, sampling, order));
            self.candidates.entry(name.clone()).or_insert_with(fresh);
        }
        if before.sequence != now.sequence {
            // rule: J3. The levels of the checks belong to the rollout.
            self.candidates.values_mut().for_each(|candidate| candidate.enter_rollout(order));
            self.enter_rollout(order);
        }
        if before != now {
            // rule: T1
            self.states.clear();
            self.candidates.values_mut().for_each(|candidate| candidate.enter_stage());
        }
        self.candidates.values_mut().for_each(|candidate| candidate.since(sampling.since));
        if self.splits != order.splits {
            // An interval has one split: what was drawn by another one is lost.
            self.states.clear();
            for (name, candidate) in &mut self.candidates {
                let (before, now) = (self.splits.get(name), order.splits.get(name));
                if before.is_some() && now.is_some() && before != now {
                    candidate.restart_trial();
                }
            }
            self.splits.clone_from(&order.splits);
        }
        if let Some(route) = order.route.as_ref().filter(|route| !self.states.contains(route)) {
            self.states.push(route.clone());
            let surplus = self.states.len().saturating_sub(STATES);
            self.states.drain(..surplus);
        }
        self.bandit.iter_mut().for_each(|bandit| bandit.follow(order.route.as_ref()));
    }

    /// What the candidates compete by is frozen when the rollout begins (I3).
    fn enter_rollout(&mut self, order: &Order) {
        let known = order.resume.as_ref();
        self.contest = known.and_then(|memory| memory.contest).or(order.contest);
        // Without a stable there are no arms to share between.
        let contested = self.rewards().zip(self.sampling.stable.as_deref());
        self.bandit = contested.map(|(rewards, stable)| {
            let mut bandit =
                Bandit::new(&rewards, stable, &self.sampling, known.and_then(|memory| memory.bandit.clone()));
            bandit.follow(order.route.as_ref());
            bandit
        });
    }

    /// The hypothesis, in a stage that ends by one.
    fn trial(&self) -> Option<Trial> {
        match (self.sampling.until, self.contest) {
            (Until::Shown { .. }, Some(Contest::Trial(trial))) => Some(trial),
            _ => None,
        }
    }

    /// What arms are rewarded for, in a stage that ends by the best of them.
    fn rewards(&self) -> Option<Rewards> {
        match (self.sampling.until, self.contest) {
            (Until::Best, Some(Contest::Rewards(rewards))) => Some(rewards),
            _ => None,
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
        let (trial, rewards) = (self.trial(), self.rewards());
        let mut rounds = self.baselines.rounds(pages, &self.arms()).into_iter();
        let mut dropped = BTreeMap::new();
        for (candidate, mut round) in self.candidates.values_mut().zip(rounds.by_ref()) {
            // All of them read the same pages.
            dropped = std::mem::take(&mut round.dropped);
            candidate.round(round, span, &self.sampling, trial.as_ref(), (order, profiles));
        }
        if let (Some(rewards), Some(bandit)) = (rewards, &mut self.bandit) {
            let earned = by_arm(rewards.measure, &self.sampling, self.candidates.keys(), rounds);
            bandit.round(&rewards, &self.sampling, &earned, at);
        }
        dropped
    }

    /// Whose counts a round is to find: of each candidate, and once more of each for a bandit, over all of its shares.
    fn arms(&self) -> Vec<Arms> {
        let judged = self.candidates.iter().map(|(name, candidate)| {
            candidate.arms(&self.sampling, &self.states, self.splits.get(name).copied())
        });
        let rewarded = self.bandit.iter().flat_map(|bandit| {
            let arms = |candidate: &Candidate| candidate.arms(&self.sampling, bandit.states(), None);
            self.candidates.values().map(move |candidate| Arms { draw: Draw::Split, ..arms(candidate) })
        });
        judged.chain(rewarded).collect()
    }

    /// What a decision needs, with the judge's memory.
    pub(super) fn evidence(&self) -> (BTreeMap<String, StageEvidence>, Option<Memory>) {
        let (mut evidence, mut memory) = (BTreeMap::new(), Memory::default());
        let trial = self.trial();
        for (name, candidate) in &self.candidates {
            if let Some((said, remembered)) = candidate.evidence(&self.sampling, trial.as_ref()) {
                evidence.insert(name.clone(), said);
                memory.candidates.insert(name.clone(), Box::new(remembered));
            }
        }
        memory.contest = self.contest;
        memory.bandit = self.bandit.as_ref().map(|bandit| bandit.state().clone());
        let memory = (!memory.candidates.is_empty()).then_some(memory);
        (evidence, memory)
    }

    /// How a bandit would share now.
    pub(super) fn allotment(&self) -> Option<rollout::Allotment> {
        self.bandit.as_ref()?.allotment(&self.sampling)
    }
}

/// What each arm earned, stable too, from a round of each candidate. Labels count whenever their answers were given: the
/// shares of a bandit change faster than labels come.
fn by_arm<'a>(
    measure: Measure,
    sampling: &Sampling,
    candidates: impl Iterator<Item = &'a String>,
    rounds: impl Iterator<Item = Round>,
) -> BTreeMap<String, Share> {
    let mut earned = BTreeMap::new();
    for (name, round) in candidates.zip(rounds) {
        let (mut labels, late) = (round.labelled, round.labelled_late);
        labels.add(&late);
        earned.insert(name.clone(), measure.of(&round.candidate, labels.candidate));
        earned
            .extend(sampling.stable.clone().map(|stable| (stable, measure.of(&round.stable, labels.stable))));
    }
    earned
}
