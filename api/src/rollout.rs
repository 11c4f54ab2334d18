//! One carried-out intent and its record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// One rollout or rollback, with everything that was decided in it. Written by the operator; people read it:
/// `kubectl get modelrollouts` is the audit trail.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "ModelRollout",
    doc = "One rollout or rollback, with everything that was decided in it; written by the operator.",
    plural = "modelrollouts",
    shortname = "mrollout",
    namespaced,
    status = "ModelRolloutStatus",
    derive = "PartialEq",
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.fromVersion"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.toVersion"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ModelRolloutSpec {
    /// Name of the ModelDeployment.
    #[schemars(length(max = 63))]
    pub deployment: String,
    /// Number among the rollouts of the deployment, from 1.
    pub sequence: u64,
    /// Towards the spec, or back by a decision or a person.
    pub kind: RolloutKind,
    /// The stable revision at its start; absent for the first deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub from: Option<String>,
    /// Model version of `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub from_version: Option<String>,
    /// The revision that is rolled out.
    #[schemars(length(max = 63))]
    pub to: String,
    /// Model version of `to`.
    #[schemars(length(max = 64))]
    pub to_version: String,
    /// Further candidates beside `to`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 63)))]
    pub challengers: Vec<String>,
    /// The compiled stages, frozen (I3).
    #[schemars(length(max = 20))]
    pub stages: Vec<StageSpec>,
    /// Salt of the sticky hash.
    #[schemars(length(max = 64))]
    pub salt: String,
}

/// Which way a rollout goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutKind {
    /// To what the spec asks for.
    Rollout,
    /// Back to an earlier revision.
    Rollback,
}

/// A compiled stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageSpec {
    /// Percent of each candidate.
    pub weight: u8,
    /// Percent of requests that it gets a copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<u8>,
    /// Whether it is there to be previewed, at weight 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<bool>,
    /// Least time.
    pub hold: Duration,
    /// Fewest requests, pairs of copies, or previewed requests.
    pub min_requests: u64,
    /// Whether a person must agree.
    pub approval: bool,
    /// Longest time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// By what it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub until: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelRolloutStatus {
    /// Absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it ended so, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<MicroTime>,
    /// What was decided, when and why; the oldest are dropped after 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub record: Vec<Record>,
    /// How many of the newest decisions `spec.notifications` has not been told yet.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold: u32,
    /// Last verdict per metric.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub verdicts: Vec<VerdictStatus>,
    /// State of the judge, opaque, at most 32 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32_768))]
    pub evidence: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The new revision answers all users.
    Promoted,
    /// Taken back by a metric, a deadline or a person, during or after the rollout.
    RolledBack,
    /// Taken back because the spec asked for something else.
    Superseded,
    /// Over as it was wanted: it was to be reported on, not promoted.
    Reported,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When.
    pub time: MicroTime,
    /// What, in one word, as in events and conditions.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, with the numbers.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Percent of the candidate after it.
    pub weight: u8,
}

/// The last verdict of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictStatus {
    /// The candidate, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub candidate: Option<String>,
    /// Metric.
    #[schemars(length(max = 40))]
    pub name: String,
    /// Pass, Fail, Inconclusive, NoData or Error.
    #[schemars(length(max = 16))]
    pub verdict: String,
    /// Measured value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Threshold; absent before a comparison whose threshold is what noise reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The candidate's samples. (Not `n`: YAML 1.1 reads that as false.)
    pub samples: u64,
    /// Of a sequential test: the always-valid p-value, that of its strongest moment so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// Of a sequential test: requests of both arms still needed until it would prove harm, if what was seen so
    /// far goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<u64>,
    /// Of the test of errors, while the old revision is kept warm: how many times its rate would be noticed by then,
    /// more likely than not, if it set in now. Absent if not even 20 times would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detects: Option<f64>,
    /// One sentence with the numbers.
    #[schemars(length(max = 1024))]
    pub reason: String,
}
