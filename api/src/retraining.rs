//! What starts when the world moved, or a candidate was taken back.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Duration;

/// A Job that trains the next version; Sluice starts it and looks no further.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.cooldown) || duration(self.cooldown) >= duration('1m')")
        .message("retraining.cooldown: must be at least 1m")
)]
pub struct Retraining {
    /// What starts it. (Not `on`: YAML 1.1 reads that as true.)
    #[schemars(length(min = 1, max = 2))]
    pub triggers: Vec<RetrainingTrigger>,
    /// Least time between two Jobs; what would start one meanwhile is dropped, and an event says so. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Duration>,
    /// The Job.
    pub job_template: JobTemplate,
}

/// What starts a retraining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetrainingTrigger {
    /// Condition `Drifting` turned `True`.
    Drift,
    /// A metric took a candidate back.
    Rollback,
}

/// A Job as in a CronJob's `jobTemplate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobTemplate {
    /// Labels and annotations of the Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JobMeta>,
    /// A JobSpec, at most 64 KiB; checked by the API server when a Job is made. Each container gets the variables
    /// `SLUICE_REASON`, `SLUICE_DEPLOYMENT` and `SLUICE_ROLLOUT`.
    #[schemars(schema_with = "job_spec")]
    pub spec: Value,
}

/// Labels and annotations of a Job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobMeta {
    /// Labels, at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts")]
    pub annotations: BTreeMap<String, String>,
}

fn job_spec(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 32, "x-kubernetes-preserve-unknown-fields": true})
}

fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 16, "additionalProperties": {"type": "string", "maxLength": 1024},
    })
}

/// What is remembered of retrainings, so that each trigger starts one Job at most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetrainingStatus {
    /// Number of the newest Job; 0 before the first.
    #[serde(default)]
    pub number: u32,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<MicroTime>,
    /// Since when `Drifting` was `True` that has been dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Time>,
    /// Number of the newest rollout that a metric took back and that has been dealt with.
    #[serde(default)]
    pub rollout: u64,
}
