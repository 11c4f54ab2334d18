//! How a new revision gets its share.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// How a changed model is rolled out: exactly one of the strategies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.canary)].exists_one(x, x)")
        .message("strategy: set exactly one strategy; this release has: canary")
)]
pub struct Strategy {
    /// A growing share, judged at every step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// Steps of rising weight. After the last step has been left the candidate is promoted to 100 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// The steps, in order; weights must rise.
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(
        validation = Rule::new("self.map(s, s.weight).isSorted()")
            .message("strategy.canary.steps: weights must rise from step to step"),
        validation = Rule::new("self.all(s, self.filter(t, t.weight == s.weight).size() == 1)")
            .message("strategy.canary.steps: two steps have the same weight")
    )]
    pub steps: Vec<Step>,
}

/// One step. It is left when its hold is over, its requests are seen, its approval is given and every metric
/// that is not only an alert passes (T2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Share of the candidate in percent, 1..=99.
    #[schemars(range(min = 1, max = 99))]
    pub weight: u8,
    /// Least time at this weight, from when every router serves it (T1). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
    /// Least number of the candidate's own split requests in this step. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub min_requests: Option<u64>,
    /// Wait for `promote` before leaving. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<bool>,
}
