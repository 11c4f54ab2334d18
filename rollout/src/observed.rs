//! What is seen of the world.

use std::collections::{BTreeMap, BTreeSet};

use evidence::Reading;
use jiff::Timestamp;

use crate::{Shares, StageKey, Undo};

/// Everything that a decision may depend on, besides what is wanted and what is remembered.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Revisions that have a workload.
    pub workloads: BTreeMap<String, Pods>,
    /// Revisions in the history: those that one can go back to.
    pub known: BTreeSet<String>,
    /// The route table, once it exists.
    pub route: Option<RouteSeen>,
    /// What the numbers say of the stage that is judged.
    pub evidence: Option<StageEvidence>,
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
    /// Salt of the sticky hash.
    pub salt: String,
    /// The decision to go back that was written with it.
    pub undo: Option<Undo>,
    /// The pinned revision (R8).
    pub pin: Option<String>,
    /// Every running router serves this state (R2).
    pub served: bool,
    /// Served, and each router sees a ready endpoint of every revision with a share (R2).
    pub acknowledged: bool,
    /// Routers that do not serve it, for messages.
    pub behind: Vec<String>,
}

/// The numbers of one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageEvidence {
    /// Which stage.
    pub key: StageKey,
    /// End of the newest interval.
    pub at: Timestamp,
    /// The candidate's own split requests in this stage.
    pub requests: u64,
    /// The last reading of each metric.
    pub readings: Vec<Reading>,
}

/// The annotations by which people ask for a verb (V2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `sluice.dev/action`.
    pub text: String,
    /// `sluice.dev/action-done`.
    pub done: Option<String>,
}
