//! How many model servers there are, from the requests that routers count.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// As many model servers as the requests need; `spec.replicas` is only the number to begin with. It comes from the
/// routers' own counters: no metrics adapter, and no HorizontalPodAutoscaler beside it, whose number would be ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.min) ? self.min : 1) <= self.max")
        .message("autoscaling: min must not be above max"),
    validation = Rule::new("!has(self.scaleOutCooldown) || duration(self.scaleOutCooldown) <= duration('1h')")
        .message("autoscaling.scaleOutCooldown: must be within 0s and 1h"),
    validation = Rule::new("!has(self.scaleInCooldown) || (duration(self.scaleInCooldown) >= duration('1s') && duration(self.scaleInCooldown) <= duration('24h'))")
        .message("autoscaling.scaleInCooldown: must be within 1s and 24h")
)]
pub struct Autoscaling {
    /// Fewest model servers, 1..=1000. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min: Option<u32>,
    /// Most model servers, 1..=1000.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
    /// What each of them shall bear.
    pub target: AutoscalingTarget,
    /// Least time between two steps out, 0s..=1h. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_out_cooldown: Option<Duration>,
    /// How long fewer must have been enough before there are fewer, 1s..=24h. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_in_cooldown: Option<Duration>,
    /// The number stays as it is, within `min` and `max`. Default: false.
    #[serde(default)]
    pub suspended: bool,
}

/// What each model server shall bear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingTarget {
    /// Requests per second of each model server, above 0 and up to 1000000. A batch is one request; copies are none.
    #[x_kube(
        validation = Rule::new("self > 0.0 && self <= 1000000.0")
            .message("autoscaling.target.requestsPerReplica: must be above 0 and at most 1000000")
    )]
    pub requests_per_replica: f64,
}

/// How many model servers there are to be, and why; written when that changes. The operator goes on from it after a
/// restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingStatus {
    /// Model servers of the stable revision; during a rollout it never has fewer than at its start.
    pub replicas: u32,
    /// Requests per second that the number follows from; absent where it follows from none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Why it is this number.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// When there were more the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled_out: Option<MicroTime>,
    /// `spec.replicas` when autoscaling began.
    pub start: u32,
}
