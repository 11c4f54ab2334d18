//! Whole rollouts through a real API server and the operator's own binary, against the hollow cluster.
//!
//! Intervals and holds are as short as the API allows; every wait is for a condition, with a deadline.

#![allow(clippy::print_stdout, reason = "tests print the times that they measured")]

mod alone;
mod back;
mod first;
mod intents;
mod labels;
mod operators;
mod overlay;
mod routers;
mod scaling;
mod strategies;
mod verbs;

use anyhow::{Context, Result};
use api::{ModelDeploymentStatus, ModelRollout, Outcome, Phase, Record};
use e2e::trial::{Trial, at_stage};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

fn candidate(status: &ModelDeploymentStatus) -> Result<String> {
    Ok(status.candidate.clone().context("there is a candidate")?.revision)
}

fn condition<'a>(status: &'a ModelDeploymentStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|c| c.type_ == kind)
}

/// The rollout of this number once it has ended.
async fn ended(trial: &Trial, sequence: u64) -> Result<ModelRollout> {
    let what = format!("rollout {sequence} to end");
    trial
        .eventually(20, &what, async || {
            let mut all = trial.rollouts().await?.into_iter();
            let over = |r: &ModelRollout| r.status.as_ref().is_some_and(|s| s.outcome.is_some());
            Ok(all.find(|r| r.spec.sequence == sequence).filter(over))
        })
        .await
}

fn outcome(rollout: &ModelRollout) -> Option<Outcome> {
    rollout.status.as_ref().and_then(|status| status.outcome)
}

fn reason(rollout: &ModelRollout) -> String {
    rollout.status.as_ref().and_then(|status| status.reason.clone()).unwrap_or_default()
}

fn records(rollout: &ModelRollout) -> Vec<Record> {
    rollout.status.as_ref().map(|status| status.record.clone()).unwrap_or_default()
}

fn reasons(rollout: &ModelRollout) -> Vec<String> {
    records(rollout).into_iter().map(|record| record.reason).collect()
}

/// Waits for the end of the way back.
async fn rolled_back(trial: &Trial, seconds: u64) -> Result<ModelDeploymentStatus> {
    trial.until(seconds, "the candidate to be taken back", |s| s.phase == Some(Phase::RolledBack)).await
}
