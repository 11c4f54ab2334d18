//! What must be remembered between two decisions. Only what cannot be observed again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Shares, Stage, Then};

/// The memory of one deployment; persisted in its status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The revision that answers users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// The intent that was acted upon last (I2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acted: Option<String>,
    /// Number of the newest rollout; 0 before the first.
    #[serde(default)]
    pub sequence: u64,
    /// What is going on.
    #[serde(default)]
    pub phase: Phase,
    /// Stands still by a verb or a breach (T4); a pause by the spec is not in here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<Halt>,
    /// Old revisions whose pods are kept, without a share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm: Vec<Warm>,
    /// Pods of stable when the rollout or watch began: never fewer until it ends (R4).
    #[serde(default)]
    pub floor: u32,
    /// How the newest rollout ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Ended>,
    /// The verb that was carried out last (V2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<VerbDone>,
    /// How long each revision of the history took to get its pods ready, the last time that they were waited for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub took: BTreeMap<String, Duration>,
}

/// What is going on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one per deployment, and it is nearly always the large one"
)]
pub enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// A revision is getting its share.
    Rolling(Rolling),
    /// A candidate's share has been taken away, not yet by every router.
    Returning(Returning),
    /// Promoted; the old revision is kept for going back.
    Watching(Watching),
}

impl Phase {
    /// Whether it leads back to what served before.
    #[must_use]
    pub fn is_way_back(&self) -> bool {
        match self {
            Self::Returning(_) => true,
            Self::Rolling(rolling) => rolling.kind == Kind::Rollback,
            Self::Idle | Self::Watching(_) => false,
        }
    }
}

/// Towards the spec, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A rollout of what the spec asks for.
    Rollout,
    /// Back to an earlier revision, without steps.
    Rollback,
}

/// A revision on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rolling {
    /// Its number.
    pub sequence: u64,
    /// Which way.
    pub kind: Kind,
    /// Stable at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The revision that is to become stable.
    pub to: String,
    /// Further candidates; the one that wins takes the place of `to`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rivals: Vec<String>,
    /// Its stages, frozen (I3).
    pub stages: Vec<Stage>,
    /// What follows them, frozen.
    #[serde(default)]
    pub then: Then,
    /// The present stage; `stages.len()` is the promotion.
    pub index: usize,
    /// The stage that was acknowledged last. It stays judged until the next one is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// Since when capacity, readiness or acknowledgement is missing (T3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Timestamp>,
    /// `promote` was given for the present stage.
    #[serde(default)]
    pub approved: bool,
    /// The deadline passed, and there is nothing better to return to.
    #[serde(default)]
    pub missed: bool,
    /// When it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Timestamp>,
    /// The shares that a bandit has moved the candidates to in the present stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<Shares>,
    /// The present stage has had its longest time, and waits on.
    #[serde(default)]
    pub overdue: bool,
    /// Since when the present stage stands still (T4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still: Option<Timestamp>,
    /// How long it stood still before.
    #[serde(default)]
    pub stood: Duration,
    /// What this rollback undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// A candidate that was on its way when this rollback began, and that routers did not let go of in time:
    /// its pods are deleted (R5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicting: Option<String>,
}

/// When a stage was first acknowledged; never reset (T1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Which stage.
    pub index: usize,
    /// When.
    pub since: Timestamp,
}

/// A decision to go back, carried by the route table itself, so that a crash between the two writes cannot
/// give the share back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Undo {
    /// The rollout that is undone.
    pub sequence: u64,
    /// The revision that takes over; absent where nothing is stable: nobody answers, as before the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How the undone rollout ends.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
}

/// A candidate on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Returning {
    /// The candidate.
    pub candidate: String,
    /// Those that were on their way beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rivals: Vec<String>,
    /// Which way it went.
    pub kind: Kind,
    /// The rollout, and why it is undone.
    pub undo: Undo,
    /// When it was decided.
    pub since: Timestamp,
    /// Routers did not serve it in time: the candidate's pods are deleted (R5).
    #[serde(default)]
    pub evicting: bool,
}

/// After a promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watching {
    /// The promoted rollout.
    pub sequence: u64,
    /// The number of its stages.
    pub stages: usize,
    /// The old revision.
    pub old: String,
    /// When the watch began. It ends by the `keepWarm` of now, which may be edited meanwhile.
    pub since: Timestamp,
}

/// An old revision that keeps its pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm {
    /// The revision.
    pub revision: String,
    /// When its watch began.
    pub since: Timestamp,
}

/// Why nothing moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// For people.
    pub reason: String,
    /// The rollout whose breach caused it: it ends with that rollout. A person's pause ends with `resume` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The new revision answers all users.
    Promoted,
    /// Taken back.
    RolledBack,
    /// Taken back because the spec asked for something else.
    Superseded,
    /// Over as it was wanted: it was to be reported on, not promoted.
    Reported,
}

/// The newest rollout, once it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Its number.
    pub sequence: u64,
    /// Which way it went.
    pub kind: Kind,
    /// Stable before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The revision that was rolled out.
    pub to: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
    /// What it has undone: its record may not have been written before it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
}

/// A verb that was carried out, or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerbDone {
    /// Minted when it was first seen.
    pub id: String,
    /// As it was written.
    pub text: String,
    /// What came of it.
    pub answer: String,
    /// The annotation was seen to be gone: the same text is a new request from now on.
    #[serde(default)]
    pub closed: bool,
}

/// Which stage evidence belongs to: windows never cross stages (T1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageKey {
    /// The rollout.
    pub sequence: u64,
    /// The stage; one past the promotion is the watch.
    pub index: usize,
}

impl Rolling {
    /// A rollout without stages, as it begins.
    pub(crate) fn new(sequence: u64, now: Timestamp) -> Self {
        Self {
            sequence,
            kind: Kind::Rollout,
            from: None,
            to: String::new(),
            rivals: Vec::new(),
            stages: Vec::new(),
            then: Then::Promote,
            index: 0,
            served: None,
            blocked: None,
            approved: false,
            missed: false,
            opened: Some(now),
            shares: None,
            overdue: false,
            still: None,
            stood: Duration::ZERO,
            undo: None,
            evicting: None,
        }
    }

    /// The stage that is to be served, or `None` for the promotion.
    #[must_use]
    pub fn stage(&self) -> Option<&Stage> {
        self.stages.get(self.index)
    }

    /// When the present stage was acknowledged; its hold starts then (T1).
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.served.filter(|s| s.index == self.index).map(|s| s.since)
    }

    /// Whether it has stages though nothing is stable: a first deployment under `strategy.shadow`.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.kind == Kind::Rollout && self.from.is_none() && !self.stages.is_empty()
    }

    /// Names the present stage.
    #[must_use]
    pub const fn key(&self) -> StageKey {
        StageKey { sequence: self.sequence, index: self.index }
    }

    /// All candidates.
    pub fn arms(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.to).chain(&self.rivals)
    }

    /// The same, with this candidate before its rivals.
    pub(crate) fn led_by(&self, arm: &str) -> Self {
        let rivals = self.arms().filter(|a| *a != arm).cloned().collect();
        Self { to: arm.to_owned(), rivals, ..self.clone() }
    }

    /// The same, at another stage.
    pub(crate) fn at(&self, index: usize) -> Self {
        Self {
            index,
            approved: false,
            blocked: None,
            missed: false,
            shares: None,
            overdue: false,
            still: None,
            stood: Duration::ZERO,
            ..self.clone()
        }
    }

    /// The same, at the stage after this one. What wins the last one stands alone.
    pub(crate) fn next(&self) -> Self {
        let mut next = self.at(self.index + 1);
        if next.stage().is_none() {
            next.rivals.clear();
        }
        next
    }
}

impl Returning {
    /// All that are on their way out.
    pub fn candidates(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.candidate).chain(&self.rivals)
    }

    /// What is remembered of it.
    pub(crate) fn ended(&self) -> Ended {
        let Undo { sequence, to, outcome, reason } = self.undo.clone();
        Ended { sequence, kind: self.kind, from: to, to: self.candidate.clone(), outcome, reason, undo: None }
    }
}

impl Watching {
    /// Names the watch as a stage.
    #[must_use]
    pub const fn key(&self) -> StageKey {
        StageKey { sequence: self.sequence, index: self.stages + 1 }
    }
}

impl State {
    /// Which stage, if any, is judged now, and since when. While the next stage waits for pods or routers,
    /// the one before it still serves, and is still judged.
    #[must_use]
    pub fn judged_stage(&self) -> Option<(StageKey, Timestamp)> {
        match &self.phase {
            Phase::Rolling(r) if r.kind == Kind::Rollout && (r.from.is_some() || r.is_alone()) => {
                let served = r.served?;
                Some((StageKey { sequence: r.sequence, index: served.index }, served.since))
            }
            Phase::Watching(w) => Some((w.key(), w.since)),
            _ => None,
        }
    }
}
