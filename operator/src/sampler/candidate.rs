//! What is known of one candidate in the stage that is judged.

use evidence::{
    Arms, Interval, Reading, References, Round, Rules, State, Trial, TrialState, TrialVerdict, Windows,
};
use jiff::{SignedDuration, Timestamp};
use rollout::{Sampling, StageEvidence, Standing};
use wire::RouteState;

use super::profiles::Profiles;
use super::{Order, Remembered};
use crate::resources::REQUEST_TIMEOUT;

/// Windows and the judge's state of one candidate.
#[derive(Debug)]
pub(super) struct Candidate {
    name: String,
    windows: Windows,
    state: State,
    /// Of an A/B test.
    trial: TrialState,
    /// Of the newest round in this stage.
    readings: Option<Vec<Reading>>,
}

impl Candidate {
    pub(super) fn new(name: &str, sampling: &Sampling, order: &Order) -> Self {
        let Remembered { state, trial } = resumed(name, order);
        Self {
            name: name.to_owned(),
            windows: Windows::new(sampling.since),
            state,
            trial: trial.unwrap_or_default(),
            readings: None,
        }
    }

    /// Another rollout: its budgets are its own (J3).
    pub(super) fn enter_rollout(&mut self, order: &Order) {
        let Remembered { state, trial } = resumed(&self.name, order);
        (self.state, self.trial) = (state, trial.unwrap_or_default());
    }

    /// Other shares: a trial has one split, so it begins anew.
    pub(super) fn restart_trial(&mut self) {
        self.trial = TrialState::default();
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

    /// Whose counts are its evidence.
    pub(super) fn arms(&self, sampling: &Sampling, states: &[RouteState], split: Option<f64>) -> Arms {
        // rule: C2, T1
        Arms {
            draw: sampling.draw,
            states: states.to_vec(),
            split,
            stable: sampling.stable.clone(),
            candidate: self.name.clone(),
        }
    }

    /// Takes what was counted between `last` and `at`, and judges.
    pub(super) fn round(
        &mut self,
        round: Round,
        (last, at): (Option<Timestamp>, Timestamp),
        sampling: &Sampling,
        trial: Option<&Trial>,
        (order, profiles): (&Order, &Profiles),
    ) {
        let tripped = round.tripped;
        if let Some(interval) = last.and_then(|last| round.interval(last, at)) {
            if let Some(trial) = trial {
                self.observe(trial, &interval, sampling.since);
            }
            self.windows.push(interval);
        }
        let rules = Rules {
            metrics: &order.metrics,
            tests: &order.tests,
            false_rollback: order.false_rollback,
            interval: SignedDuration::try_from(order.interval).unwrap_or(SignedDuration::MAX),
            timeout: timeout(),
            accept: sampling.accept,
            ends: sampling.ends,
        };
        let references = References {
            candidate: profiles.profile(&self.name),
            stable: sampling.stable.as_deref().and_then(|stable| profiles.profile(stable)),
        };
        let mut readings = evidence::judge(&rules, &self.windows, references, &mut self.state, at);
        // rule: R7
        readings.extend(tripped.map(|trip| Reading::tripped(&trip, at)));
        self.readings = Some(readings);
    }

    fn observe(&mut self, trial: &Trial, interval: &Interval, since: Timestamp) {
        let ripe = since.checked_add(timeout()).unwrap_or(Timestamp::MAX);
        self.trial.observe(trial, interval, ripe);
    }

    /// What a decision needs, with what must be remembered, once there was a round in this stage: until then the
    /// totals are still those of the stage before.
    pub(super) fn evidence(
        &self,
        sampling: &Sampling,
        trial: Option<&Trial>,
    ) -> Option<(StageEvidence, Remembered)> {
        let evidence = StageEvidence {
            key: sampling.key,
            at: self.windows.newest().map_or(sampling.since, |newest| newest.to),
            requests: self.state.candidate,
            readings: self.readings.clone()?,
            trial: trial.map(|trial| self.standing(trial)),
        };
        let trial = trial.map(|_| self.trial.clone());
        Some((evidence, Remembered { state: self.state.clone(), trial }))
    }

    /// Time is the decision's business, so a trial is open for as long as neither is shown.
    fn standing(&self, trial: &Trial) -> rollout::Trial {
        let reading = self.trial.reading(trial, false);
        let standing = match reading.verdict {
            TrialVerdict::Won => Standing::Shown,
            TrialVerdict::Lost => Standing::RuledOut,
            TrialVerdict::Undecided | TrialVerdict::Running | TrialVerdict::Frozen => Standing::Open,
        };
        rollout::Trial { standing, reason: format!("{}: {}", self.name, reading.reason) }
    }
}

fn timeout() -> SignedDuration {
    SignedDuration::try_from(REQUEST_TIMEOUT).expect("it is short")
}

/// What a rollout goes on from.
fn resumed(candidate: &str, order: &Order) -> Remembered {
    let known = order.resume.as_ref().and_then(|memory| memory.candidates.get(candidate));
    let known = known.map_or_else(Remembered::default, |known| Remembered::clone(known));
    if let (true, Some(sampling)) = (known.state.is_unreadable(), &order.sampling) {
        tracing::warn!(
            rollout = sampling.key.sequence,
            candidate,
            "its evidence state cannot be read: it is judged by thresholds alone from here on"
        );
    }
    known
}
