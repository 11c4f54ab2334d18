//! Routers that do not answer, and routes that a person pinned.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{ModelRoute, Outcome, Phase, names};
use e2e::trial::{Trial, is_healthy, spec, with};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::{at_stage, candidate, condition, ended, outcome, reasons, rolled_back};

fn long(version: &str) -> Value {
    with(spec(version), &[("/strategy/canary/steps/0", json!({"weight": 10, "hold": "60s"}))])
}

#[tokio::test]
async fn promotion_waits_for_a_silent_router_and_an_abort_does_not() -> Result<()> {
    // rule: R2, R5
    let trial = Trial::start("silent").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    let rolling = trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    let revision = candidate(&rolling)?;
    trial.hollow.routers(|r| r.silent = [1].into());
    trial.act("promote").await?;
    let waiting = |s: &api::ModelDeploymentStatus| {
        s.stage.as_ref().is_some_and(|stage| stage.index == 2 && stage.since.is_none())
    };
    trial.until(20, "the second stage to be asked for", waiting).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = trial.status().await?;
    ensure!(waiting(&status), "it waits for the silent router: {status:?}");
    let waits = &condition(&status, "Progressing").context("the condition")?.message;
    ensure!(waits.contains("not acknowledged by"), "{waits}");

    let asked = trial.act("abort").await?;
    let zero = trial.served(&revision, 0.0, 5).await?;
    println!("abort with a silent router: weight 0 served by all {:?} after the annotation", zero - asked);
    rolled_back(&trial, 20).await?;
    let took = asked.elapsed();
    println!("abort with a silent router: RolledBack {took:?} after the annotation");
    ensure!(took >= Duration::from_secs(5), "its pods are deleted only after 5 s");
    let rollout = ended(&trial, 2).await?;
    ensure!(outcome(&rollout) == Some(Outcome::RolledBack));
    ensure!(reasons(&rollout).contains(&"Evicting".to_owned()), "{:?}", reasons(&rollout));
    let of_candidate = ListParams::default().labels(&format!("{}={revision}", names::REVISION));
    let left = trial.api::<Pod>().list(&of_candidate).await?;
    ensure!(left.items.is_empty(), "the candidate's pods are gone");
    Ok(())
}

#[tokio::test]
async fn a_router_that_does_not_hear_of_the_table_holds_the_stage() -> Result<()> {
    // rule: R2, T1
    let trial = Trial::start("deaf").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial.hollow.routers(|r| r.deaf = [0].into());
    trial.apply(&spec("1.1.0")).await?;
    trial.until(20, "the first stage", |s| s.stage.as_ref().is_some_and(|stage| stage.index == 1)).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = trial.status().await?;
    ensure!(
        status.stage.as_ref().is_some_and(|stage| stage.since.is_none()),
        "its hold has not begun: {status:?}"
    );
    trial.hollow.routers(|r| r.deaf.clear());
    trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    Ok(())
}

#[tokio::test]
async fn a_pin_to_stable_is_an_abort_and_stays_until_a_person_removes_it() -> Result<()> {
    // rule: R8
    let trial = Trial::start("pin").await?;
    let first = trial.serve_first(&long("1.0.0")).await?;
    trial.apply(&long("1.1.0")).await?;
    trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    let route = trial.route().await?.name_any();
    let asked = trial.annotate::<ModelRoute>(&route, names::PIN, Some(&first)).await?;
    rolled_back(&trial, 10).await?;
    println!("pin to stable: RolledBack {:?} after the annotation", asked.elapsed());
    ensure!(outcome(&ended(&trial, 2).await?) == Some(Outcome::RolledBack));
    ensure!(trial.route().await?.annotations().get(names::PIN) == Some(&first), "only a person removes it");

    // While pinned no rollout starts.
    trial.apply(&spec("1.2.0")).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(trial.rollouts().await?.len() == 2, "no rollout starts while pinned");
    let paused = trial.status().await?;
    ensure!(condition(&paused, "Paused").is_some_and(|c| c.reason == "Pinned"), "{paused:?}");
    trial.annotate::<ModelRoute>(&route, names::PIN, None).await?;
    trial.until(30, "1.2.0 to be promoted", |s| is_healthy(s, "1.2.0")).await?;
    Ok(())
}

#[tokio::test]
async fn a_pin_to_nobody_is_ignored_and_reported() -> Result<()> {
    // rule: R8
    let trial = Trial::start("badpin").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    let route = trial.route().await?.name_any();
    trial.annotate::<ModelRoute>(&route, names::PIN, Some("digits-00000000")).await?;
    let events = async || Ok(trial.events("PinIgnored").await?.into_iter().next());
    let event = trial.eventually(10, "an event that says so", events).await?;
    ensure!(event.contains("digits-00000000"), "{event}");
    trial.apply(&spec("1.1.0")).await?;
    trial.until(30, "1.1.0 to be promoted all the same", |s| is_healthy(s, "1.1.0")).await?;
    Ok(())
}

#[tokio::test]
async fn an_unready_stable_does_not_stop_the_way_back() -> Result<()> {
    // rule: R5
    let trial = Trial::start("unready").await?;
    let first = trial.serve_first(&long("1.0.0")).await?;
    trial.apply(&long("1.1.0")).await?;
    let rolling = trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    let revision = candidate(&rolling)?;
    trial.hollow.model("1.0.0", |m| m.ready = e2e::hollow::Ready::Never);
    trial
        .until(10, "stable to be unready", |s| condition(s, "Ready").is_some_and(|c| c.status == "False"))
        .await?;
    let start = Instant::now();
    trial.act("abort").await?;
    trial.served(&revision, 0.0, 10).await?;
    let share = |t: &e2e::hollow::Adopted| t.shares.get(&first) == Some(&100.0);
    ensure!(trial.hollow.adopted().iter().filter(|t| t.at > start).any(share));
    // Nothing serves, and the phase says so: but the candidate is off.
    let over = |s: &api::ModelDeploymentStatus| {
        matches!(s.phase, Some(Phase::Degraded | Phase::RolledBack)) && s.candidate.is_none()
    };
    trial.until(10, "the end of the way back", over).await?;
    ensure!(outcome(&ended(&trial, 2).await?) == Some(Outcome::RolledBack));
    Ok(())
}
