//! How many pods of one kind a node that is drained may take at once.

use api::names;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::{Owner, manifest};

/// Fewest pods that a budget is made for. One for a single pod would either say nothing, or block every drain of
/// its node: there is nothing between the two.
pub const WORTH_A_BUDGET: u32 = 2;

/// One pod of a revision at a time.
#[must_use]
pub fn server_budget(owner: &Owner, revision: &str) -> PodDisruptionBudget {
    budget(owner, revision, &[(names::REVISION, revision), (names::ROLE, names::ROLE_SERVER)])
}

/// One router at a time.
#[must_use]
pub fn router_budget(owner: &Owner) -> PodDisruptionBudget {
    budget(owner, &names::router(&owner.name), &[(names::ROLE, names::ROLE_ROUTER)])
}

/// A pod that is not ready may always be taken: a candidate that does not start must not block a drain.
fn budget(owner: &Owner, name: &str, labels: &[(&str, &str)]) -> PodDisruptionBudget {
    let mut selected = json!({names::DEPLOYMENT: owner.name});
    for (label, value) in labels {
        selected[label] = Value::from(*value);
    }
    let mut budget: PodDisruptionBudget = manifest(json!({
        "metadata": {},
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selected},
        },
    }));
    budget.metadata = owner.meta(name, labels);
    budget
}
