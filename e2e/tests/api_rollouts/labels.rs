//! Candidates that are judged by true labels.

use anyhow::{Context, Result, ensure};
use api::Outcome;
use e2e::trial::{INTERVAL, Trial, is_healthy, spec, with};
use serde_json::{Value, json};

use crate::{at_stage, candidate, condition, ended, outcome, reason, reasons, rolled_back};

/// A spec that takes labels.
fn labelled(version: &str, changes: &[(&str, Value)]) -> Value {
    let spec = with(spec(version), &[("/router", json!({"feedback": {"secretName": "digits-labels"}}))]);
    with(spec, changes)
}

fn by_accuracy(version: &str) -> Value {
    let metric = json!({"name": "accuracy", "accuracy": {}, "min": 0.9, "minSamples": 400});
    let step = json!({"weight": 50, "hold": "2s"});
    // The test of harm would take it back as well.
    let off = json!({"accuracy": {"onBreach": "ignore"}});
    let changes = [
        ("/analysis/metrics/0", metric),
        ("/analysis/sequential", off),
        ("/strategy/canary/steps", json!([step])),
    ];
    labelled(version, &changes)
}

#[tokio::test]
async fn a_candidate_that_is_wrong_more_often_than_stable_is_taken_back_without_any_metric() -> Result<()> {
    // rule: S1
    let step = json!({"weight": 50, "hold": "10m"});
    let changes = [("/analysis/metrics", json!([])), ("/strategy/canary/steps", json!([step]))];
    let trial = Trial::start("accuracy-harm").await?;
    trial.hollow.routers(|routers| routers.labelled = 0.5);
    trial.hollow.model("1.1.0", |model| model.accuracy = 0.7);
    trial.serve_first(&labelled("1.0.0", &changes)).await?;
    trial.apply(&labelled("1.1.0", &changes)).await?;
    rolled_back(&trial, 60).await?;
    let over = ended(&trial, 2).await?;
    let why = reason(&over);
    println!("{why}");
    ensure!(why.contains("sequential/accuracy: ") && why.contains("labelled answers are wrong"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_candidate_that_is_wrong_too_often_waits_for_labels_and_is_taken_back_by_them() -> Result<()> {
    // rule: J1, J2
    let trial = Trial::start("accuracy").await?;
    trial.hollow.model("1.1.0", |model| model.accuracy = 0.7);
    trial.serve_first(&by_accuracy("1.0.0")).await?;
    trial.apply(&by_accuracy("1.1.0")).await?;
    trial.until(20, "the stage", |s| at_stage(s, 1)).await?;
    // Silence holds, long after the stage's hold.
    tokio::time::sleep(INTERVAL * 5).await;
    let held = trial.status().await?;
    ensure!(at_stage(&held, 1) && held.verdict.as_deref() == Some("NoData"), "{held:?}");
    let waits = &condition(&held, "Progressing").context("the condition")?.message;
    ensure!(waits.contains("accuracy"), "it says which metric it waits for: {waits}");
    trial.hollow.routers(|routers| routers.labelled = 0.5);
    rolled_back(&trial, 30).await?;
    let over = ended(&trial, 2).await?;
    ensure!(outcome(&over) == Some(Outcome::RolledBack), "{:?}", over.status);
    let why = reason(&over);
    println!("{why}");
    ensure!(why.contains("accuracy by labels is") && why.contains("below 90 %"), "{why}");
    let verdicts = over.status.context("status")?.verdicts;
    let found = verdicts.iter().find(|verdict| verdict.name == "accuracy").context("a verdict")?;
    ensure!(found.samples >= 400, "{found:?}");
    // A good one passes by the same labels.
    trial.apply(&by_accuracy("1.2.0")).await?;
    trial.until(40, "1.2.0 to be promoted", |s| is_healthy(s, "1.2.0")).await?;
    Ok(())
}

#[tokio::test]
async fn a_shadow_is_judged_by_labels_of_the_answers_beside_it() -> Result<()> {
    // rule: J1, S1
    let metric = json!({"name": "accuracy", "accuracy": {}, "min": 0.9, "minSamples": 200});
    let strategy = json!({"shadow": {"percent": 50, "hold": "2s", "then": "promote"}});
    let changes = [("/analysis/metrics/0", metric), ("/strategy", strategy)];
    let trial = Trial::start("accuracy-shadow").await?;
    trial.hollow.routers(|routers| routers.labelled = 0.5);
    trial.hollow.model("1.1.0", |model| model.accuracy = 0.7);
    // The first one is promoted by another strategy: nobody would answer beside it.
    trial.serve_first(&labelled("1.0.0", &[])).await?;
    trial.apply(&labelled("1.1.0", &changes)).await?;
    rolled_back(&trial, 40).await?;
    let why = reason(&ended(&trial, 2).await?);
    println!("{why}");
    ensure!(why.contains("labels in") || why.contains("labelled answers are wrong"), "{why}");
    trial.apply(&labelled("1.2.0", &changes)).await?;
    trial.until(40, "1.2.0 to be promoted", |s| is_healthy(s, "1.2.0")).await?;
    Ok(())
}

#[tokio::test]
async fn an_ab_test_is_won_by_labels() -> Result<()> {
    let hypothesis = json!({"metric": "accuracy", "direction": "increase", "minimumEffect": 0.1});
    let strategy = json!({"abTest": {"weight": 50, "maxDuration": "10m", "hypothesis": hypothesis}});
    let spec = |version| labelled(version, &[("/strategy", strategy.clone())]);
    let trial = Trial::start("ab-labels").await?;
    trial.hollow.routers(|routers| routers.labelled = 0.5);
    trial.hollow.model("1.0.0", |model| model.accuracy = 0.7);
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    let status = trial.until(20, "the split", |s| at_stage(s, 1)).await?;
    trial.served(&candidate(&status)?, 50.0, 5).await?;
    trial.until(120, "1.1.0 to win", |s| is_healthy(s, "1.1.0")).await?;
    let rollout = ended(&trial, 2).await?;
    ensure!(reasons(&rollout).iter().any(|r| r == "Won"), "{:?}", reasons(&rollout));
    Ok(())
}
