//! What is seen of the world.

use std::collections::{BTreeMap, BTreeSet};

use evidence::Reading;
use jiff::Timestamp;

use crate::{Mirror, Shares, StageKey, Undo};

/// Everything that a decision may depend on, besides what is wanted and what is remembered.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Revisions that have a workload.
    pub workloads: BTreeMap<String, Pods>,
    /// Why pods of a revision are not ready, where it is known: for people.
    pub failing: BTreeMap<String, String>,
    /// Revisions in the history: those that one can go back to.
    pub known: BTreeSet<String>,
    /// The route table, once it exists.
    pub route: Option<RouteSeen>,
    /// What the numbers say of each candidate in the stage that is judged.
    pub evidence: BTreeMap<String, StageEvidence>,
    /// How a bandit would share now.
    pub allotment: Option<Allotment>,
    /// The on-call annotation.
    pub request: Option<Request>,
}

/// A workload of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pods {
    /// Asked for.
    pub replicas: u32,
    /// Ready pods that are not terminating.
    pub ready: u32,
    /// Pods that would be ready, but nobody has read yet what they loaded (I5).
    pub unheard: u32,
    /// All pods that exist, terminating ones too.
    pub existing: u32,
    /// Its pods report different digests (I5).
    pub conflict: bool,
}

/// The route table and what the routers say of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteSeen {
    /// Shares in percent; revisions without a share are left out.
    pub shares: Shares,
    /// Copies.
    pub mirror: Option<Mirror>,
    /// The revision that requests are matched and targeted to.
    pub candidate: Option<String>,
    /// Salt of the sticky hash.
    pub salt: String,
    /// The decision to go back that was written with it.
    pub undo: Option<Undo>,
    /// The pinned revision (R8).
    pub pin: Option<String>,
    /// Every running router serves this state (R2).
    pub served: bool,
    /// Served, and each router sees a ready endpoint of every revision that requests or copies go to (R2).
    pub acknowledged: bool,
    /// Routers that do not serve it, for messages.
    pub behind: Vec<String>,
}

/// The numbers of one candidate in one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageEvidence {
    /// Which stage.
    pub key: StageKey,
    /// End of the newest interval.
    pub at: Timestamp,
    /// The candidate's own requests in this stage: split ones, compared pairs of copies, or previewed ones (T2).
    pub requests: u64,
    /// The last reading of each metric.
    pub readings: Vec<Reading>,
    /// Of an A/B test: how its hypothesis stands.
    pub trial: Option<Trial>,
}

/// How the hypothesis of an A/B test stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// In one word.
    pub standing: Standing,
    /// Why, with the numbers.
    pub reason: String,
}

/// How a hypothesis stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Neither shown nor ruled out.
    Open,
    /// The candidate is better by enough.
    Shown,
    /// It is not.
    RuledOut,
}

/// How a bandit would share the traffic now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allotment {
    /// Which stage.
    pub key: StageKey,
    /// End of the interval that it follows from.
    pub at: Timestamp,
    /// Percent of each candidate; stable gets the rest.
    pub shares: Shares,
    /// The arm that is clearly the best: a candidate, or stable.
    pub best: Option<String>,
    /// Why, with the numbers.
    pub reason: String,
}

/// The annotations by which people ask for a verb (V2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `sluice.dev/action`.
    pub text: String,
    /// `sluice.dev/action-done`.
    pub done: Option<String>,
}
