//! From a round of pages to what the numbers say: baselines, windows and the judge's state of the stage.

use std::collections::BTreeMap;

use evidence::{Arms, Baselines, Draw, Dropped, Reading, References, Rules, State, Windows};
use jiff::{SignedDuration, Timestamp};
use rollout::{Sampling, StageEvidence};
use wire::{Page, RouteState};

use super::Order;
use super::profiles::Profiles;
use crate::resources::REQUEST_TIMEOUT;

/// States of the route that may belong to one stage: a router's page keeps the last two of them anyway.
const STATES: usize = 8;

/// What is known of the stage that is judged.
#[derive(Debug)]
pub(super) struct Judging {
    sampling: Sampling,
    /// States of the route ordered since the stage began, as long as the split stays the same.
    states: Vec<RouteState>,
    /// The candidate's share in all of them.
    split: Option<f64>,
    baselines: Baselines,
    windows: Windows,
    state: State,
    /// When the pages of the round before were asked for.
    last: Option<Timestamp>,
    /// Of the newest round in this stage.
    readings: Option<Vec<Reading>>,
}

impl Judging {
    pub(super) fn new(sampling: Sampling, order: &Order) -> Self {
        let windows = Windows::new(sampling.since);
        Self {
            sampling,
            states: order.route.iter().cloned().collect(),
            split: order.split,
            baselines: Baselines::default(),
            windows,
            state: resumed(order),
            last: None,
            readings: None,
        }
    }

    /// Follows an order: a new stage clears what belongs to the one before it, another rollout everything but
    /// the baselines.
    pub(super) fn follow(&mut self, sampling: &Sampling, order: &Order) {
        let (before, now) = (self.sampling.key, sampling.key);
        if before.sequence != now.sequence {
            // rule: J3. The levels of the checks belong to the rollout.
            self.state = resumed(order);
        }
        if before != now {
            // rule: T1
            self.states.clear();
            self.windows.clear();
            self.readings = None;
        }
        self.windows.enter_stage(sampling.since);
        self.sampling = sampling.clone();
        if self.split != order.split {
            // An interval has one split: what was drawn by another one is lost.
            self.states.clear();
            self.split = order.split;
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
        // rule: C2, T1
        let arms = Arms {
            draw: Draw::Split,
            states: self.states.clone(),
            split: self.split,
            stable: Some(self.sampling.stable.clone()),
            candidate: self.sampling.candidate.clone(),
        };
        let mut round = self.baselines.round(pages, &arms);
        let dropped = std::mem::take(&mut round.dropped);
        if let Some(interval) = self.last.replace(at).and_then(|last| round.interval(last, at)) {
            self.windows.push(interval);
        }
        let rules = Rules {
            metrics: &order.metrics,
            tests: &order.tests,
            false_rollback: order.false_rollback,
            interval: SignedDuration::try_from(order.interval).unwrap_or(SignedDuration::MAX),
            timeout: SignedDuration::try_from(REQUEST_TIMEOUT).expect("it is short"),
            accept: false,
        };
        let references = References {
            candidate: profiles.profile(&self.sampling.candidate),
            stable: profiles.profile(&self.sampling.stable),
        };
        self.readings = Some(evidence::judge(&rules, &self.windows, references, &mut self.state, at));
        dropped
    }

    /// What a decision needs, with the judge's state, once there was a round in this stage: until then the
    /// totals are still those of the stage before.
    pub(super) fn evidence(&self) -> Option<(StageEvidence, State)> {
        let evidence = StageEvidence {
            key: self.sampling.key,
            at: self.windows.newest().map_or(self.sampling.since, |newest| newest.to),
            requests: self.state.candidate,
            readings: self.readings.clone()?,
        };
        Some((evidence, self.state.clone()))
    }
}

/// The state that a rollout goes on from.
fn resumed(order: &Order) -> State {
    let state = order.resume.clone().unwrap_or_default();
    if let (true, Some(sampling)) = (state.is_unreadable(), &order.sampling) {
        tracing::warn!(
            rollout = sampling.key.sequence, candidate = %sampling.candidate,
            "its evidence state cannot be read: it is judged by thresholds alone from here on"
        );
    }
    state
}
