//! What is known of one candidate in the stage that is judged.

use std::collections::BTreeMap;

use evidence::{Arms, Baselines, Draw, Dropped, Reading, References, Rules, State, Windows};
use jiff::{SignedDuration, Timestamp};
use rollout::Sampling;
use rollout::StageEvidence;
use wire::{Page, RouteState};

use super::Order;
use super::profiles::Profiles;
use crate::resources::REQUEST_TIMEOUT;

/// Counts, windows and the judge's state of one candidate.
#[derive(Debug)]
pub(super) struct Candidate {
    name: String,
    baselines: Baselines,
    windows: Windows,
    state: State,
    /// Of the newest round in this stage.
    readings: Option<Vec<Reading>>,
}

/// Whose numbers a round adds to.
pub(super) struct Stage<'a> {
    pub(super) sampling: &'a Sampling,
    pub(super) states: &'a [RouteState],
    /// The candidate's share in all of them.
    pub(super) split: Option<f64>,
}

impl Candidate {
    pub(super) fn new(name: &str, sampling: &Sampling, order: &Order) -> Self {
        Self {
            name: name.to_owned(),
            baselines: Baselines::default(),
            windows: Windows::new(sampling.since),
            state: resumed(name, order),
            readings: None,
        }
    }

    /// Another rollout: its budgets are its own (J3).
    pub(super) fn enter_rollout(&mut self, order: &Order) {
        self.state = resumed(&self.name, order);
    }

    /// Another stage (T1).
    pub(super) fn enter_stage(&mut self) {
        self.windows.clear();
        self.readings = None;
    }

    /// The stage began then.
    pub(super) fn since(&mut self, since: Timestamp) {
        self.windows.enter_stage(since);
    }

    /// Takes one page per router, read between `last` and `at`, and judges. Returns what was dropped, by router.
    pub(super) fn round(
        &mut self,
        pages: BTreeMap<String, Option<Page>>,
        (last, at): (Option<Timestamp>, Timestamp),
        stage: &Stage<'_>,
        order: &Order,
        profiles: &Profiles,
    ) -> BTreeMap<String, Dropped> {
        // rule: C2, T1
        let draw: Draw = stage.sampling.draw;
        let arms = Arms {
            draw,
            states: stage.states.to_vec(),
            split: stage.split,
            stable: Some(stage.sampling.stable.clone()),
            candidate: self.name.clone(),
        };
        let mut round = self.baselines.round(pages, &arms);
        let dropped = std::mem::take(&mut round.dropped);
        if let Some(interval) = last.and_then(|last| round.interval(last, at)) {
            self.windows.push(interval);
        }
        let rules = Rules {
            metrics: &order.metrics,
            tests: &order.tests,
            false_rollback: order.false_rollback,
            interval: SignedDuration::try_from(order.interval).unwrap_or(SignedDuration::MAX),
            timeout: SignedDuration::try_from(REQUEST_TIMEOUT).expect("it is short"),
            accept: stage.sampling.accept,
        };
        let references = References {
            candidate: profiles.profile(&self.name),
            stable: profiles.profile(&stage.sampling.stable),
        };
        self.readings = Some(evidence::judge(&rules, &self.windows, references, &mut self.state, at));
        dropped
    }

    /// What a decision needs, with the judge's state, once there was a round in this stage: until then the
    /// totals are still those of the stage before.
    pub(super) fn evidence(&self, sampling: &Sampling) -> Option<(StageEvidence, State)> {
        let evidence = StageEvidence {
            key: sampling.key,
            at: self.windows.newest().map_or(sampling.since, |newest| newest.to),
            requests: self.state.candidate,
            readings: self.readings.clone()?,
            trial: None,
        };
        Some((evidence, self.state.clone()))
    }
}

/// The state that a rollout goes on from.
fn resumed(candidate: &str, order: &Order) -> State {
    let state = order.resume.as_ref().and_then(|memory| memory.candidates.get(candidate).cloned());
    let state = state.unwrap_or_default();
    if let (true, Some(sampling)) = (state.is_unreadable(), &order.sampling) {
        tracing::warn!(
            rollout = sampling.key.sequence,
            candidate,
            "its evidence state cannot be read: it is judged by thresholds alone from here on"
        );
    }
    state
}
