//! Whether a retraining is to be started. Pure; the Job is rendered in `job.rs` and made in `start.rs`.
//!
//! A trigger is level-triggered: it is there until the status says that it has been dealt with, and each one is dealt
//! with once. What was there before `spec.retraining` was is no trigger, so that neither an edit of the spec nor a new
//! operator starts a Job.

mod job;
mod start;

#[cfg(test)]
mod tests;

use std::time::Duration;

use api::{Retraining, RetrainingStatus, RetrainingTrigger};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

pub use job::{Job, Next, job, next};
pub use start::{Retrained, STARTED, retrain};

/// Time between two Jobs where the spec names none.
const COOLDOWN: Duration = Duration::from_secs(24 * 3600);

/// What it is decided from.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// What is wanted.
    pub settings: &'a Retraining,
    /// What was dealt with; absent at the first look.
    pub memory: Option<&'a RetrainingStatus>,
    /// The condition `Drifting` of now.
    pub drifting: Option<&'a Condition>,
    /// The newest rollout that a metric took back.
    pub taken_back: Option<TakenBack<'a>>,
    /// Number of the newest rollout.
    pub sequence: u64,
    /// When.
    pub now: Timestamp,
}

/// A rollout that a metric took back.
#[derive(Debug, Clone, Copy)]
pub struct TakenBack<'a> {
    /// Its number.
    pub sequence: u64,
    /// Why.
    pub reason: &'a str,
}

/// What follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// There was a trigger, too soon after the last Job: why none is started.
    Skipped(String),
    /// A Job.
    Start(Cause),
}

/// Why a Job is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The same for the same trigger: a Job that carries it was made for it.
    pub id: String,
    /// For people.
    pub reason: String,
    /// Number of the rollout in which it came up.
    pub sequence: u64,
}

/// What is to be remembered, and what follows. If the Job cannot be made now, what is remembered stays as it was.
#[must_use]
pub fn decide(moment: Moment<'_>) -> (RetrainingStatus, Effect) {
    let Moment { settings, memory, drifting, taken_back, sequence, now } = moment;
    let first = memory.is_none();
    let memory = memory.cloned().unwrap_or_default();
    let drifting = drifting.filter(|c| c.status == "True");
    let mut after = memory.clone();
    after.drift = drifting.map(|c| c.last_transition_time.clone()).or(after.drift);
    after.rollout = after.rollout.max(taken_back.map_or(0, |t| t.sequence));
    let wants = |trigger| !first && settings.triggers.contains(&trigger);
    let rollback = taken_back.filter(|t| wants(RetrainingTrigger::Rollback) && t.sequence > memory.rollout);
    let drift = drifting.filter(|_| wants(RetrainingTrigger::Drift) && after.drift != memory.drift);
    let cause = match (rollback, drift) {
        (Some(t), _) => {
            let (id, reason) = (format!("rollback {}", t.sequence), t.reason.to_owned());
            Cause { id, reason, sequence: t.sequence }
        }
        (None, Some(c)) => {
            let (id, reason) = (format!("drift {}", c.last_transition_time.0), c.message.clone());
            Cause { id, reason, sequence }
        }
        (None, None) => return (after, Effect::Nothing),
    };
    match memory.started.as_ref().map(|at| until(settings, at.0)).filter(|until| *until > now) {
        Some(until) => (after, Effect::Skipped(too_soon(until, &cause))),
        None => (after, Effect::Start(cause)),
    }
}

/// Until when none follows a Job that was started then.
fn until(settings: &Retraining, started: Timestamp) -> Timestamp {
    let cooldown = settings.cooldown.map_or(COOLDOWN, api::Duration::get);
    SignedDuration::try_from(cooldown)
        .ok()
        .and_then(|d| started.checked_add(d).ok())
        .unwrap_or(Timestamp::MAX)
}

fn too_soon(until: Timestamp, cause: &Cause) -> String {
    format!("no retraining before {until}, when its cooldown is over: {}", cause.reason)
}
