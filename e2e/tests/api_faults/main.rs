//! An operator that dies at every write, loses the API server, or is not alone: the end is the same.
//!
//! Everything is real but the pods: the operator's own binary, killed by SIGKILL, an API server, and between
//! them a [`Proxy`](e2e::proxy::Proxy) that says when.

#![allow(clippy::print_stdout, reason = "tests print what they measured")]

mod crashes;
mod end;
mod outages;
mod writers;

use anyhow::Result;
use api::ModelDeploymentStatus;
use e2e::trial::Trial;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// Whether the rollout's present stage is this one and served.
fn at_stage(status: &ModelDeploymentStatus, index: u32) -> bool {
    status.stage.as_ref().is_some_and(|stage| stage.index == index && stage.since.is_some())
}

/// Frees the lease of a process that was killed, so that its successor need not wait for its end: the waiting is
/// tested elsewhere.
async fn free_lease(trial: &Trial) -> Result<()> {
    let free = Patch::Merge(json!({"spec": {"holderIdentity": null}}));
    trial.api::<Lease>().patch("sluice-operator", &PatchParams::default(), &free).await?;
    Ok(())
}
