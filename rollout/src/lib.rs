//! What to do next: a rollout as a small state machine. Pure: no kube, no tokio, no clock.
//!
//! ```text
//!              changed intent                      last stage acknowledged
//!   Idle ───────────────────────> Rolling ──────────────────────────────> Watching ──keepWarm over──> Idle
//!    ^                              │  │ ^                                    │
//!    │                              │  └─┘ stage left: hold, requests,        │ breach, `rollback`
//!    │ served by every router       │       approval, every gate passes       v
//!    └────────── Returning <────────┘                                Rolling (kind Rollback)
//!                        breach, abort, rollback, deadline, other intent
//! ```
//!
//! [`decide`] takes what is wanted ([`Wanted`]), what was persisted ([`State`]), what is seen
//! ([`Observed`]) and the time, and returns a [`Plan`]: a desired state, not a script. Applying a plan and
//! deciding again gives the same plan and no new notes.
//!
//! Where to change a rule: stages and their conditions in `decide/rolling.rs`; taking a candidate back in
//! `decide/returning.rs`; what a crash left behind in `decide/adopt.rs`; after a promotion in `decide/watching.rs`; on-call verbs in `decide/verbs.rs`;
//! what a new intent does in `decide/intent.rs`; the desired workloads and shares of each phase in
//! `decide/shape.rs`; which slots move in `slots.rs`.

mod decide;
mod observed;
mod plan;
mod slots;
mod stage;
mod state;
mod verb;

pub use decide::{decide, waiting};
pub use observed::{Allotment, Observed, Pods, Request, RouteSeen, StageEvidence, Standing, Trial};
pub use plan::{Mirror, Note, Plan, Reason, RoutePlan, Sampling, Shares, Summary, Workload};
pub use slots::{SlotMap, Span, reallocate};
pub use stage::{Limit, OnLimit, OnLose, OnWin, Pause, Stage, Then, Until, Wanted, intent};
pub use state::{
    Ended, Halt, Kind, Outcome, Phase, Returning, Rolling, Served, StageKey, State, Undo, VerbDone, Warm,
    Watching,
};
pub use verb::Verb;
