//! What is wanted, validated.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decide::later;

/// One entry of a compiled strategy: what the candidates get, and the conditions to leave it (T2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Share of each candidate in percent, 0..=99.
    pub weight: u8,
    /// Percent of stable's requests that the candidate gets a copy of, 0..=100.
    #[serde(default)]
    pub mirror: u8,
    /// Its evidence is what people sent to the candidate on purpose: matched and targeted requests.
    #[serde(default)]
    pub preview: bool,
    /// Pods of a candidate in percent of stable's, where that is more than its share or its copies need, 0..=100.
    #[serde(default)]
    pub capacity: u8,
    /// Least time since it was acknowledged.
    pub hold: Duration,
    /// Fewest of the candidate's own requests: split ones, compared pairs of copies, or previewed ones.
    pub min_requests: u64,
    /// Whether a person must agree.
    pub approval: bool,
    /// Whether a sequential test must prove that the candidate is good enough.
    #[serde(default)]
    pub accept: bool,
    /// Longest time since it was acknowledged, and what then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// By what it ends.
    #[serde(default)]
    pub until: Until,
}

/// By what a stage ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Until {
    /// Its conditions are met.
    #[default]
    Passed,
    /// A hypothesis is shown or ruled out (A/B).
    Shown {
        /// When it is shown.
        on_win: OnWin,
        /// When it is ruled out.
        on_lose: OnLose,
    },
    /// One arm is clearly the best; shares follow the rewards until then (bandit).
    Best,
}

/// What follows a hypothesis that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnWin {
    /// The winner gets everything.
    Promote,
    /// A person decides.
    Hold,
}

/// What follows a hypothesis that is ruled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnLose {
    /// The loser is taken back.
    Rollback,
    /// A person decides.
    Hold,
}

/// How long a stage may last. Time that it stands still is left out (T4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Since it was acknowledged.
    pub after: Duration,
    /// What then.
    pub then: OnLimit,
}

/// What becomes of a stage that could not be left in its longest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnLimit {
    /// It waits on, and says so.
    Hold,
    /// It is left, unless a metric fails or there are no data: those are never a pass.
    Promote,
    /// The candidate is taken back.
    Rollback,
}

/// What follows the last stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Then {
    /// The candidate gets everything.
    #[default]
    Promote,
    /// Stable goes on; the numbers are what was wanted.
    Report,
}

/// A validated spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The revision that the spec asks for.
    pub revision: String,
    /// Further candidates beside it.
    pub challengers: Vec<String>,
    /// The stages of a rollout that starts now.
    pub stages: Vec<Stage>,
    /// What follows them.
    pub then: Then,
    /// Whether a first deployment goes through them as well, by its copies alone: nobody is answered by it. Else it
    /// gets 100 % once it is ready.
    pub alone: bool,
    /// Whether a candidate is to be judged: the spec names a metric, even if none of them is right.
    pub judged: bool,
    /// Whether routers may stop sending to a plainly broken candidate by themselves (R7).
    pub trip_wire: bool,
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

/// Between the revisions of an intent.
const AND: char = '+';

/// Names a revision together with its challengers.
#[must_use]
pub fn intent(revision: &str, challengers: &[String]) -> String {
    let mut intent = revision.to_owned();
    for challenger in challengers {
        intent.push(AND);
        intent.push_str(challenger);
    }
    intent
}

impl Wanted {
    /// Names what the spec asks to serve, all of it (I2): the revision alone if it has no challengers.
    #[must_use]
    pub fn intent(&self) -> String {
        intent(&self.revision, &self.challengers)
    }

    /// The revision and the challengers of an intent.
    #[must_use]
    pub fn of_intent(intent: &str) -> (String, Vec<String>) {
        let mut revisions = intent.split(AND).map(str::to_owned);
        (revisions.next().unwrap_or_default(), revisions.collect())
    }

    /// Whether this revision is one that the spec asks for.
    #[must_use]
    pub fn names(&self, revision: &str) -> bool {
        self.candidates().any(|candidate| candidate == revision)
    }

    /// The revision, then the challengers.
    pub fn candidates(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.revision).chain(&self.challengers)
    }

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
    /// Whether it can be carried out is not known yet: what is waited for.
    #[strum(to_string = "the spec is being checked: {0}")]
    Unchecked(String),
}
