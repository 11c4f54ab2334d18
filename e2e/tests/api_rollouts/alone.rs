//! A first deployment under `strategy.shadow`, beside whatever decides today: copies only, and nobody is answered.

use anyhow::{Context, Result, ensure};
use api::{ModelDeploymentStatus, Outcome, Phase};
use e2e::trial::{Trial, at_stage, is_healthy, spec, with};
use serde_json::{Value, json};

use crate::{condition, ended, outcome, reason, reasons, rolled_back};

fn beside(version: &str, then: &str) -> Value {
    let shadow = json!({"shadow": {"percent": 100, "hold": "2s", "minRequests": 200, "then": then}});
    with(spec(version), &[("/strategy", shadow)])
}

fn answers_nobody(status: &ModelDeploymentStatus) -> bool {
    status.stable.is_none() && condition(status, "Ready").is_some_and(|c| c.status == "False")
}

/// Whether no router gave anybody a share at any time.
fn never_answered(trial: &Trial) -> bool {
    trial.hollow.adopted().iter().all(|table| table.shares.values().all(|share| *share == 0.0))
}

#[tokio::test]
async fn a_first_shadow_ends_in_a_report_and_answers_nobody() -> Result<()> {
    // rule: C1, T2
    let trial = Trial::start("alone").await?;
    trial.apply(&beside("1.0.0", "report")).await?;
    let status = trial.until(30, "copies", |s| at_stage(s, 1)).await?;
    let shadow = status.candidate.clone().context("a candidate")?;
    ensure!((shadow.weight, shadow.copies) == (0, Some(100)), "{shadow:?}");
    ensure!(condition(&status, "Ready").is_some_and(|c| c.reason == "OnlyCopies"), "{status:?}");
    let route = trial.route().await?.spec;
    ensure!(route.stable.is_none() && route.candidate.is_none() && route.mirror.is_some(), "{route:?}");
    let over = ended(&trial, 1).await?;
    ensure!(outcome(&over) == Some(Outcome::Reported) && over.spec.from.is_none(), "{:?}", over.status);
    let verdicts = over.status.clone().context("status")?.verdicts;
    ensure!(verdicts.iter().any(|v| v.name == "errors" && v.samples >= 50), "{verdicts:?}");
    let status = trial.until(10, "rest", |s| s.phase == Some(Phase::Healthy)).await?;
    ensure!(answers_nobody(&status), "{status:?}");
    ensure!(condition(&status, "SpecServed").is_some_and(|c| c.reason == "Reported"), "{status:?}");
    ensure!(trial.route().await?.spec.mirror.is_none() && never_answered(&trial));
    Ok(())
}

#[tokio::test]
async fn a_first_shadow_is_promoted_by_its_copies() -> Result<()> {
    // rule: T2
    let trial = Trial::start("alone-promote").await?;
    trial.apply(&beside("1.0.0", "promote")).await?;
    let status = trial.until(30, "copies", |s| at_stage(s, 1)).await?;
    ensure!(answers_nobody(&status) && never_answered(&trial), "{status:?}");
    let status = trial.until(30, "1.0.0 to serve", |s| is_healthy(s, "1.0.0")).await?;
    let stable = status.stable.context("it is healthy")?.revision;
    trial.served(&stable, 100.0, 5).await?;
    let over = ended(&trial, 1).await?;
    ensure!(outcome(&over) == Some(Outcome::Promoted), "{:?}", over.status);
    ensure!(reasons(&over).iter().any(|r| r == "StagePassed"), "{:?}", reasons(&over));
    // The next one is compared with it as ever.
    trial.apply(&beside("1.1.0", "report")).await?;
    let over = ended(&trial, 2).await?;
    ensure!(outcome(&over) == Some(Outcome::Reported) && over.spec.from == Some(stable), "{:?}", over.status);
    Ok(())
}

#[tokio::test]
async fn a_first_shadow_that_fails_is_taken_back_and_nobody_had_its_answers() -> Result<()> {
    // rule: R5
    let trial = Trial::start("alone-bad").await?;
    trial.hollow.model("1.0.0", |model| model.errors = 0.3);
    trial.apply(&beside("1.0.0", "promote")).await?;
    let over = ended(&trial, 1).await?;
    ensure!(
        outcome(&over) == Some(Outcome::RolledBack) && reason(&over).contains("errors"),
        "{:?}",
        over.status
    );
    let status = rolled_back(&trial, 10).await?;
    ensure!(answers_nobody(&status) && never_answered(&trial), "{status:?}");
    // A better one begins as this did, and an abort ends its copies.
    trial.apply(&beside("1.1.0", "promote")).await?;
    trial.until(30, "copies", |s| s.rollout.as_deref() == Some("digits-2") && at_stage(s, 1)).await?;
    trial.act("abort").await?;
    rolled_back(&trial, 10).await?;
    ensure!(never_answered(&trial) && trial.route().await?.spec.mirror.is_none());
    Ok(())
}
