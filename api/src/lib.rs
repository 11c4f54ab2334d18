//! The Kubernetes types of Sluice (`sluice.dev/v1alpha1`) with the rules that the API server enforces.
//!
//! - [`ModelDeployment`]: what a team writes.
//! - [`ModelRollout`]: one carried-out intent with its decision record; written by the operator.
//! - [`ModelRoute`]: who gets which share; written by the operator, obeyed by routers.
//!
//! Every list, map and string is bounded, because the API server refuses CEL rules whose cost it cannot
//! bound (K8); one-of fields are structs of options with a rule and a message of our own, because the
//! generated schema of an enum hides every other error of the object. `model` and `server` carry no schema
//! defaults: a default added later would show up in stored objects and look like a changed intent (I1).

#![allow(unreachable_pub, reason = "KubeSchema derives a hidden twin of each struct")]
#![allow(clippy::duplicated_attributes, reason = "every printcolumn names its type")]

mod analysis;
mod automation;
mod autoscaling;
mod deployment;
mod duration;
mod keeping;
pub mod names;
mod notifications;
mod retraining;
mod rollout;
mod route;
mod status;
mod strategy;
mod template;

pub use analysis::{
    Accuracy, Against, Analysis, ChangeTest, Disagreement, Drift, ErrorRate, HarmTest, InvalidInputRate,
    Latency, Metric, NullOutputRate, OnBreach, OnChange, OnHarm, OnNoData, Sequential, Series, Statistic,
};
pub use automation::{Automation, AutomationLevel};
pub use autoscaling::{Autoscaling, AutoscalingStatus, AutoscalingTarget};
pub use deployment::{
    AccessLog, Match, MatchTo, Model, ModelDeployment, ModelDeploymentSpec, Rollback, RouterFeedback,
    RouterSettings, RouterTls, Routing, Server, Sticky, Tracing,
};
pub use duration::Duration;
pub use keeping::{Capture, KeepUri, Review};
pub use notifications::{EVENT_REASONS, EventReason, Notification, Template, UrlFrom, Webhook};
pub use retraining::{JobMeta, JobTemplate, Retraining, RetrainingStatus, RetrainingTrigger};
pub use rollout::{
    ModelRollout, ModelRolloutSpec, ModelRolloutStatus, Outcome, Record, RolloutKind, StageSpec,
    VerdictStatus,
};
pub use route::{ModelRoute, ModelRouteSpec, RouteMirror, RouteRevision, SlotRange, TripWire};
pub use status::{
    CandidateStatus, Decision, ModelDeploymentStatus, Phase, ServedModel, StableStatus, StageStatus, Traffic,
};
pub use strategy::{
    AbTest, Advance, Bandit, BlueGreen, Canary, Challenger, Direction, Gradual, Hypothesis, Measure,
    OnInconclusive, OnLose, OnUndecided, OnWin, Preview, Shadow, Step, Strategy, Switch, SwitchStep, Then,
};
pub use template::PodOverlay;
