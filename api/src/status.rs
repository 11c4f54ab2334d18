//! What is the case now, for people and scripts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AutoscalingStatus, Record, RetrainingStatus};

/// Status of a ModelDeployment. Written only when it changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelDeploymentStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods of the stable revision (for the scale subresource, K2).
    #[serde(default)]
    pub replicas: u32,
    /// Selects the stable revision's pods (K2).
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub selector: String,
    /// In one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Where the rollout is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageStatus>,
    /// Shares per revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["revision".into()]))]
    pub traffic: Vec<Traffic>,
    /// The revision that answers users. A contract for batch jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<StableStatus>,
    /// The revision that is being judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateStatus>,
    /// Those that are judged beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub challengers: Vec<CandidateStatus>,
    /// Name of the newest ModelRollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub rollout: Option<String>,
    /// The verdict of the metrics together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub verdict: Option<String>,
    /// Ready, Progressing, SpecServed, RollbackReady, Paused, Drifting, RetrainingReady, Autoscaling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many model servers there are to be, and why; absent without `spec.autoscaling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
    /// What is remembered of retrainings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retraining: Option<RetrainingStatus>,
    /// What was decided last. The record of the ModelRollout has it too, unless the operator died in between: then
    /// it is recorded from here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub decisions: Vec<Decision>,
    /// What the operator must remember between two reconciles: the state of crate `rollout`. For the operator
    /// only; everything in it that people need is in the fields above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub state: Option<serde_json::Value>,
}

/// A decision about a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// Number of the rollout.
    pub rollout: u64,
    /// What, when and why.
    #[serde(flatten)]
    pub record: Record,
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A deployment in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Nothing serves yet.
    Pending,
    /// A rollout is running.
    Progressing,
    /// A rollout is running and stands still by wish or by a breach.
    Paused,
    /// Stable serves what the spec asks for.
    Healthy,
    /// The candidate's share is being taken away.
    RollingBack,
    /// The candidate has no share any more on any router; stable serves.
    RolledBack,
    /// Something that people must look at: see the conditions.
    Degraded,
}

/// Where a rollout is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Number of the stage, from 1.
    pub index: u32,
    /// Number of stages.
    pub of: u32,
    /// `1/3`, for the table.
    #[schemars(length(max = 16))]
    pub text: String,
    /// When every router first served it (T1); absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
}

/// Share of one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Revision.
    #[schemars(length(max = 63))]
    pub revision: String,
    /// Percent that it shall have.
    pub desired: u8,
    /// Percent that every running router gives it; absent while they differ or do not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u8>,
}

/// The stable revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StableStatus {
    /// Revision.
    #[schemars(length(max = 63))]
    pub revision: String,
    /// Its model.
    pub model: ServedModel,
}

/// A model that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServedModel {
    /// Semantic version.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Where its artefact came from.
    #[schemars(length(max = 512))]
    pub uri: String,
    /// Digest that its pods report; absent until the first one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub sha256: Option<String>,
}

/// The revision that is being judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// Revision.
    #[schemars(length(max = 63))]
    pub revision: String,
    /// Its model version.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Percent that it shall have.
    pub weight: u8,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that it needs for the stage.
    pub needed: u32,
    /// Percent of stable's requests that it gets a copy of; absent without copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<u8>,
    /// Its requests in this stage that count as evidence: split ones, compared pairs of copies, or previewed ones. It is
    /// written with other news, and alone at most every fourth interval.
    pub requests: u64,
}
