//! The number of model servers under load.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{ModelDeployment, ModelDeploymentStatus};
use e2e::trial::{NAME, Trial, spec, with};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{at_stage, condition, rolled_back};

/// Each pod bears 400 a second; two routers count.
fn scaled(version: &str) -> Value {
    let autoscaling = json!({
        "max": 6, "target": {"requestsPerReplica": 400}, "scaleOutCooldown": "0s", "scaleInCooldown": "10s",
    });
    let first = json!({"weight": 10, "hold": "120s"});
    with(spec(version), &[("/autoscaling", autoscaling), ("/strategy/canary/steps/0", first)])
}

fn number(status: &ModelDeploymentStatus) -> u32 {
    status.autoscaling.as_ref().map_or(0, |autoscaling| autoscaling.replicas)
}

/// Pods that a revision's workload asks for.
async fn asked(trial: &Trial, revision: &str) -> Result<i32> {
    let workload = trial.api::<Deployment>().get(revision).await?;
    workload.spec.and_then(|spec| spec.replicas).context("a number of pods")
}

#[tokio::test]
async fn pods_follow_the_requests_and_neither_a_restart_nor_a_rollout_loses_any() -> Result<()> {
    // rule: R4, C4
    let mut trial = Trial::start("scaled").await?;
    trial.hollow.routers(|routers| routers.rate = 700.0);
    let stable = trial.serve_first(&scaled("1.0.0")).await?;
    // 1400 a second: between three and four, by five standard deviations of a second's count.
    let out = trial.until(30, "four pods", |s| number(s) == 4 && s.replicas == 4).await?;
    ensure!(condition(&out, "Autoscaling").is_some_and(|c| c.status == "True"), "{:?}", out.conditions);
    ensure!(asked(&trial, &stable).await? == 4);
    let events = trial.events("ScaledOut").await?;
    ensure!(
        events.iter().any(|event| event.contains("requests per second at 400 each need 4")),
        "{events:?}"
    );

    let version =
        async || Ok::<_, anyhow::Error>(trial.api::<ModelDeployment>().get(NAME).await?.resource_version());
    let (before, read) = (version().await?, trial.hollow.reads());
    tokio::time::sleep(Duration::from_secs(5)).await;
    ensure!(trial.hollow.reads() >= read + 6, "two routers are read once a second");
    ensure!(version().await? == before, "while the number stays nothing is written");

    trial.apply(&scaled("1.1.0")).await?;
    trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    // The load goes, and so does the operator.
    trial.hollow.routers(|routers| routers.rate = 100.0);
    trial.operator.take().context("it runs")?.kill().await?;
    let start = Instant::now();
    trial.operator = Some(trial.another_operator("operator-1").await?);
    let calm = trial.until(60, "one pod to be enough", |s| number(s) < 4).await?;
    let took = start.elapsed();
    println!("from the restart to the step in, with a cooldown of 10 s: {took:?}");
    ensure!(took >= Duration::from_secs(10), "the restart took pods away after {took:?}");
    ensure!(number(&calm) == 1, "{:?}", calm.autoscaling);
    // Events follow the status.
    let told = async || Ok((!trial.events("ScaledIn").await?.is_empty()).then_some(()));
    trial.eventually(10, "the event", told).await?;
    // Stable keeps what it had when the rollout began, until it is over.
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(at_stage(&trial.status().await?, 1) && asked(&trial, &stable).await? == 4);
    trial.act("abort").await?;
    rolled_back(&trial, 20).await?;
    let shrunk = async || Ok((asked(&trial, &stable).await? == 1).then_some(()));
    trial.eventually(20, "stable to have one pod", shrunk).await?;
    Ok(())
}
