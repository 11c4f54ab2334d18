//! A spec that changes while something is under way.

use anyhow::{Context, Result, ensure};
use api::Outcome;
use e2e::trial::{INTERVAL, Trial, by_threshold, is_healthy, spec, with};
use serde_json::{Value, json};

use crate::{at_stage, candidate, condition, ended, outcome, rolled_back};

fn long(version: &str) -> Value {
    with(spec(version), &[("/strategy/canary/steps/0", json!({"weight": 10, "hold": "60s"}))])
}

#[tokio::test]
async fn a_changed_spec_returns_to_stable_first_and_then_starts_anew() -> Result<()> {
    // rule: I4
    let trial = Trial::start("changed").await?;
    trial.serve_first(&long("1.0.0")).await?;
    trial.apply(&long("1.1.0")).await?;
    let rolling = trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    let old = candidate(&rolling)?;
    trial.apply(&spec("1.2.0")).await?;
    let status = trial.until(40, "1.2.0 to be promoted", |s| is_healthy(s, "1.2.0")).await?;
    let new = status.stable.context("it is healthy")?.revision;
    ensure!(outcome(&ended(&trial, 2).await?) == Some(Outcome::Superseded));
    ensure!(outcome(&ended(&trial, 3).await?) == Some(Outcome::Promoted));

    // No router ever gave a share to the new one while any router gave one to the old one.
    let adopted = trial.hollow.adopted();
    let share = |t: &e2e::hollow::Adopted, r: &String| t.shares.get(r).copied().unwrap_or(0.0);
    let first_new = adopted.iter().filter(|t| share(t, &new) > 0.0).map(|t| t.at).min().context("a share")?;
    let last_old = adopted.iter().filter(|t| share(t, &old) > 0.0).map(|t| t.at).max().context("a share")?;
    let gone = adopted.iter().filter(|t| t.at > last_old && share(t, &old) == 0.0).map(|t| t.at);
    let gone = gone.take(2).max().context("both routers returned")?;
    ensure!(first_new > gone, "new code got a share before the old candidate had lost its own");
    ensure!(adopted.iter().all(|t| share(t, &old) <= 10.0));
    Ok(())
}

#[tokio::test]
async fn a_reverted_spec_ends_the_rollout_at_once_and_the_version_may_come_again() -> Result<()> {
    // rule: I2, I4
    let trial = Trial::start("reverted").await?;
    let first = trial.serve_first(&long("1.0.0")).await?;
    trial.apply(&long("1.1.0")).await?;
    let rolling = trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    let revision = candidate(&rolling)?;
    trial.apply(&long("1.0.0")).await?;
    trial.until(10, "1.0.0 to be all there is", |s| is_healthy(s, "1.0.0")).await?;
    trial.served(&first, 100.0, 5).await?;
    ensure!(outcome(&ended(&trial, 2).await?) == Some(Outcome::Superseded));
    ensure!(trial.rollouts().await?.len() == 2, "going back to stable is no rollout");

    trial.apply(&spec("1.1.0")).await?;
    let status = trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    ensure!(
        status.stable.context("it is healthy")?.revision == revision,
        "the same spec is the same revision"
    );
    Ok(())
}

#[tokio::test]
async fn an_edited_strategy_acts_from_the_next_rollout_and_says_so() -> Result<()> {
    // rule: I3
    let trial = Trial::start("edited").await?;
    trial.serve_first(&long("1.0.0")).await?;
    trial.apply(&long("1.1.0")).await?;
    trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    let steps = json!([{"weight": 20}, {"weight": 40}]);
    trial.apply(&with(long("1.1.0"), &[("/strategy/canary/steps", steps)])).await?;
    let said = |s: &api::ModelDeploymentStatus| {
        condition(s, "Progressing").is_some_and(|c| c.message.contains("next rollout"))
    };
    trial.until(10, "a condition that says so", said).await?;
    tokio::time::sleep(INTERVAL * 2).await;
    let status = trial.status().await?;
    ensure!(at_stage(&status, 1) && status.candidate.as_ref().is_some_and(|c| c.weight == 10), "{status:?}");
    Ok(())
}

#[tokio::test]
async fn edited_thresholds_act_from_the_next_interval() -> Result<()> {
    // rule: I3
    let trial = Trial::start("threshold").await?;
    trial.hollow.model("1.1.0", |m| m.errors = 0.2);
    let max =
        |version, max: f64| by_threshold(with(long(version), &[("/analysis/metrics/0/max", json!(max))]));
    trial.serve_first(&max("1.0.0", 0.9)).await?;
    trial.apply(&max("1.1.0", 0.9)).await?;
    trial.until(20, "a verdict", |s| at_stage(s, 1) && s.verdict.as_deref() == Some("Pass")).await?;
    trial.apply(&max("1.1.0", 0.05)).await?;
    rolled_back(&trial, 10).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_not_part_of_the_revision_starts_no_rollout() -> Result<()> {
    // rule: I1, I2
    let trial = Trial::start("other").await?;
    let first = trial.serve_first(&spec("1.0.0")).await?;
    let changes =
        [("/replicas", json!(3)), ("/progressDeadline", json!("20s")), ("/analysis/interval", json!("2s"))];
    trial.apply(&with(spec("1.0.0"), &changes)).await?;
    trial.until(10, "three pods", |s| s.replicas == 3).await?;
    let status = trial.until(10, "the spec to be observed", |s| s.observed_generation == Some(2)).await?;
    ensure!(status.stable.context("stable")?.revision == first);
    ensure!(trial.rollouts().await?.len() == 1);
    Ok(())
}
