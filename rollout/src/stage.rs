//! What is wanted, validated.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decide::later;

/// One entry of a compiled strategy: a share and the conditions to leave it (T2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Share of the candidate in percent, 1..=99.
    pub weight: u8,
    /// Least time since it was acknowledged.
    pub hold: Duration,
    /// Fewest of the candidate's own split requests.
    pub min_requests: u64,
    /// Whether a person must agree.
    pub approval: bool,
}

/// A validated spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The revision that the spec asks for.
    pub revision: String,
    /// The stages of a rollout that starts now.
    pub stages: Vec<Stage>,
    /// Whether a candidate is to be judged: the spec names a metric, even if none of them is right.
    pub judged: bool,
    /// Time between two readings of the evidence.
    pub interval: Duration,
    /// Pods of the stable revision, >= 1.
    pub replicas: u32,
    /// How long the old revision keeps all its pods after a promotion, counted from then.
    pub keep_warm: Duration,
    /// Percent that it keeps meanwhile.
    pub holdback: u8,
    /// How long a candidate may lack capacity, readiness or acknowledgement (T3).
    pub progress_deadline: Duration,
    /// Why no stage is left and no rollout starts, if the spec says so (T4).
    pub paused: Option<Pause>,
}

impl Wanted {
    /// Until when an old revision is kept that was replaced at `since`.
    #[must_use]
    pub fn kept_until(&self, since: Timestamp) -> Timestamp {
        later(since, self.keep_warm)
    }
}

/// Why the spec lets nothing move. Its text is the same in conditions, events and refusals of verbs.
#[derive(Debug, Clone, PartialEq, Eq, strum::Display)]
pub enum Pause {
    /// A person's wish.
    #[strum(to_string = "spec.paused is true")]
    Asked,
    /// The spec cannot be carried out: each field, what was found and what is allowed.
    #[strum(to_string = "the spec is refused: {0}")]
    Refused(String),
}
