//! What is to be: a desired state.

use std::collections::{BTreeMap, BTreeSet};

use evidence::Draw;
use jiff::Timestamp;

use crate::{StageKey, State, Undo, Until};

/// Percent per revision; empty, or 100 in all.
pub type Shares = BTreeMap<String, u8>;

/// Copies of stable's requests; without a stable, of those that nobody answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Who gets them.
    pub revision: String,
    /// How many of a hundred, 1..=100.
    pub percent: u8,
}

/// A decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Workloads that shall exist; others are removed.
    pub workloads: BTreeMap<String, Workload>,
    /// The route table.
    pub route: RoutePlan,
    /// Delete the pods of these revisions now: routers did not let go of them (R5).
    pub evict: Vec<String>,
    /// What must be remembered.
    pub state: State,
    /// What was decided, in order: the same text goes to events, record and conditions.
    pub notes: Vec<Note>,
    /// What people want to know at a glance.
    pub summary: Summary,
    /// What the sampler shall judge.
    pub sampling: Option<Sampling>,
    /// When to decide again without an event.
    pub check_again: Option<Timestamp>,
}

/// Pods of one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// How many.
    pub replicas: u32,
}

/// The shares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutePlan {
    /// Percent per revision; revisions with a workload and no share have 0.
    pub shares: Shares,
    /// Copies.
    pub mirror: Option<Mirror>,
    /// The revision that requests are matched and targeted to.
    pub candidate: Option<String>,
    /// The revisions that routers stop sending to by themselves when they are plainly broken (R7).
    pub wired: BTreeSet<String>,
    /// Takes over for a revision without ready endpoints.
    pub stable: Option<String>,
    /// Salt of the sticky hash.
    pub salt: String,
    /// The decision to go back that this table carries out.
    pub undo: Option<Undo>,
}

/// Whose numbers are compared now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// Which stage.
    pub key: StageKey,
    /// When it was acknowledged: intervals before it are not of this stage.
    pub since: Timestamp,
    /// The revisions that are judged: the candidate, and its rivals.
    pub candidates: Vec<String>,
    /// The revision that they are compared with; absent where nothing is stable.
    pub stable: Option<String>,
    /// Which of their requests are evidence.
    pub draw: Draw,
    /// Whether it must be proven that a candidate is good enough.
    pub accept: bool,
    /// By what the stage ends.
    pub until: Until,
    /// When it ends whatever the numbers say, in a watch.
    pub ends: Option<Timestamp>,
}

/// One thing that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// In one word.
    pub reason: Reason,
    /// Why, with the numbers.
    pub message: String,
    /// The rollout that it belongs to.
    pub sequence: u64,
}

/// Decisions, in one word each; used as event and condition reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::Display, strum::VariantNames)]
pub enum Reason {
    /// A rollout was opened.
    RolloutStarted,
    /// A stage is served by every router.
    StageServed,
    /// A stage was left.
    StagePassed,
    /// The new revision answers all users.
    Promoted,
    /// A candidate's share is being taken away.
    RollingBack,
    /// It is taken away.
    RolledBack,
    /// Taken away because the spec asked for something else.
    Superseded,
    /// Back to an earlier revision was opened.
    RollbackStarted,
    /// Routers did not let go of a candidate: its pods are deleted.
    Evicting,
    /// The deadline passed.
    DeadlineExceeded,
    /// Stands still.
    Paused,
    /// Goes on.
    Resumed,
    /// A stage was approved.
    Approved,
    /// A stage was left out by a person.
    Skipped,
    /// A stage has had its longest time.
    StageOverdue,
    /// One of several candidates has lost its share.
    Dropped,
    /// One of several candidates has won.
    Won,
    /// A bandit moved shares.
    SharesMoved,
    /// A rollout that was to be reported on is over; the candidate is being let go.
    Concluding,
    /// It is over.
    Reported,
    /// A verb was refused.
    ActionRefused,
    /// The old revision is no longer kept.
    WatchEnded,
    /// The spec asks for what serves already.
    SpecReverted,
}

impl Reason {
    /// Whether people should look.
    #[must_use]
    pub const fn is_warning(self) -> bool {
        matches!(
            self,
            Self::RollingBack
                | Self::RolledBack
                | Self::Evicting
                | Self::DeadlineExceeded
                | Self::StageOverdue
                | Self::Dropped
                | Self::ActionRefused
        )
    }
}

/// The deployment at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::Display)]
pub enum Summary {
    /// Nothing serves yet.
    Pending,
    /// A rollout is running.
    Progressing,
    /// It stands still.
    Paused,
    /// Stable is what the spec asks for.
    Healthy,
    /// A share is being taken away.
    RollingBack,
    /// The spec's revision was taken back; stable serves.
    RolledBack,
    /// Someone must look.
    Degraded,
}
