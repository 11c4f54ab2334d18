//! What the person on call can ask for.

use anyhow::{Context, Result, ensure};
use api::{Outcome, Phase, names};
use e2e::trial::{INTERVAL, NAME, Trial, is_healthy, spec, with};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{at_stage, candidate, ended, outcome, reason, rolled_back};

/// One long step: the rollout stays there until someone acts.
fn long(version: &str) -> Value {
    with(spec(version), &[("/strategy/canary/steps/0", json!({"weight": 10, "hold": "60s"}))])
}

#[tokio::test]
async fn abort_takes_a_candidate_back_at_once_and_retry_tries_it_again() -> Result<()> {
    // rule: V1, I2, R5
    let trial = Trial::start("abort").await?;
    let first = trial.serve_first(&long("1.0.0")).await?;
    trial.apply(&long("1.1.0")).await?;
    let rolling = trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    let revision = candidate(&rolling)?;
    trial.served(&revision, 10.0, 5).await?;

    let asked = trial.act("abort").await?;
    let zero = trial.served(&revision, 0.0, 10).await?;
    println!("abort: weight 0 served {:?} after the annotation", zero - asked);
    rolled_back(&trial, 10).await?;
    ensure!(outcome(&ended(&trial, 2).await?) == Some(Outcome::RolledBack));
    // rule: V2
    let done = async || {
        let object = trial.api::<api::ModelDeployment>().get(NAME).await?;
        let (asked, done) =
            (object.annotations().get(names::ACTION), object.annotations().get(names::ACTION_DONE));
        Ok((asked.is_none() && done.is_some()).then_some(()))
    };
    trial.eventually(5, "the annotation to be answered", done).await?;
    ensure!(trial.status().await?.stable.context("stable")?.revision == first);

    trial.act("retry").await?;
    trial.until(20, "the first stage again", |s| at_stage(s, 1)).await?;
    let rollouts = trial.rollouts().await?;
    ensure!(
        rollouts.len() == 3 && rollouts[2].spec.to == revision,
        "retry opens rollout 3 of the same revision"
    );
    Ok(())
}

#[tokio::test]
async fn rollback_to_a_revision_goes_further_back_than_a_second_press() -> Result<()> {
    // rule: V1
    let trial = Trial::start("backto").await?;
    let first = trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;

    let asked = trial.act(&format!("rollback:{first}")).await?;
    let back = trial.served(&first, 100.0, 10).await?;
    println!("rollback:<revision>: 100 % served {:?} after the annotation", back - asked);
    let status = trial.until(10, "1.0.0 to be stable", |s| {
        s.phase == Some(Phase::RolledBack) && s.stable.as_ref().is_some_and(|s| s.revision == first)
    });
    status.await?;
    // The record follows the status.
    let undone = async || {
        let second = trial.rollouts().await?.into_iter().find(|r| r.spec.sequence == 2);
        Ok(second.filter(|r| outcome(r) == Some(Outcome::RolledBack)))
    };
    trial.eventually(10, "rollout 2 to be recorded as taken back", undone).await?;

    trial.act("rollback").await?;
    let refused = async || Ok(trial.events("ActionRefused").await?.into_iter().next());
    let refused = trial.eventually(10, "the refusal", refused).await?;
    ensure!(refused.contains("already undone"), "{refused}");
    ensure!(trial.status().await?.stable.context("stable")?.revision == first);
    Ok(())
}

#[tokio::test]
async fn a_bare_rollback_undoes_the_newest_rollout() -> Result<()> {
    // rule: V1
    let trial = Trial::start("undo").await?;
    let first = trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    let asked = trial.act("rollback").await?;
    let back = trial.served(&first, 100.0, 10).await?;
    println!("rollback: 100 % served {:?} after the annotation", back - asked);
    trial.until(10, "the phase RolledBack", |s| s.phase == Some(Phase::RolledBack)).await?;
    Ok(())
}

#[tokio::test]
async fn a_pause_holds_a_stage_and_nothing_else() -> Result<()> {
    // rule: T4
    let trial = Trial::start("pause").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    trial.until(20, "a candidate", |s| s.candidate.is_some()).await?;
    trial.act("pause").await?;
    let paused = trial.until(10, "the pause", |s| s.phase == Some(Phase::Paused)).await?;
    let index = paused.stage.context("a stage")?.index;
    tokio::time::sleep(INTERVAL * 3).await;
    let later = trial.status().await?;
    ensure!(later.phase == Some(Phase::Paused), "{later:?}");
    ensure!(later.stage.as_ref().is_some_and(|stage| stage.index == index), "{later:?}");

    // Under spec.paused a resume is refused, with the reason.
    trial.apply(&with(spec("1.1.0"), &[("/paused", json!(true))])).await?;
    trial.act("resume").await?;
    let refused = async || Ok(trial.events("ActionRefused").await?.into_iter().next());
    let refused = trial.eventually(10, "the refusal", refused).await?;
    ensure!(refused.contains("spec.paused"), "{refused}");

    trial.apply(&with(spec("1.1.0"), &[("/paused", json!(false))])).await?;
    trial.act("resume").await?;
    trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    Ok(())
}

#[tokio::test]
async fn a_paused_candidate_is_judged_all_the_same() -> Result<()> {
    // rule: T4
    let trial = Trial::start("paused").await?;
    trial.serve_first(&long("1.0.0")).await?;
    trial.apply(&long("1.1.0")).await?;
    trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    trial.act("pause").await?;
    trial.until(10, "the pause", |s| s.phase == Some(Phase::Paused)).await?;
    trial.hollow.model("1.1.0", |m| m.errors = 0.9);
    rolled_back(&trial, 20).await?;
    ensure!(reason(&ended(&trial, 2).await?).contains("errors"));
    Ok(())
}

#[tokio::test]
async fn a_step_waits_for_its_approval() -> Result<()> {
    // rule: T2
    let trial = Trial::start("approval").await?;
    let steps = json!([{"weight": 10, "approval": true}, {"weight": 50, "hold": "1s"}]);
    let spec = |version| with(spec(version), &[("/strategy/canary/steps", steps.clone())]);
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    tokio::time::sleep(INTERVAL * 3).await;
    ensure!(at_stage(&trial.status().await?, 1), "it waits for a person");
    trial.act("promote").await?;
    trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    Ok(())
}

#[tokio::test]
async fn an_unknown_verb_is_refused_with_those_that_are_known() -> Result<()> {
    // rule: V1
    let trial = Trial::start("unknown").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial.act("undo").await?;
    let refused = async || Ok(trial.events("ActionRefused").await?.into_iter().next());
    let refused = trial.eventually(10, "the refusal", refused).await?;
    ensure!(refused.contains("rollback:<revision>") && refused.contains("retry"), "{refused}");
    Ok(())
}
