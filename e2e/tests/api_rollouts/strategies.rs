//! Each strategy once, from the manifest to its end, on routers that split, copy and match.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::{Outcome, Phase, RolloutKind};
use e2e::trial::{Trial, is_healthy, spec, with};
use serde_json::{Value, json};

use crate::{at_stage, candidate, condition, ended, outcome, reason, reasons, rolled_back};

/// The spec of a version with this strategy.
fn by(version: &str, strategy: Value) -> Value {
    with(spec(version), &[("/strategy", strategy)])
}

fn model(version: &str) -> Value {
    json!({"version": version, "uri": format!("pvc://models/digits/{version}")})
}

/// 1.0.0 serves, and 1.1.0 is asked for with this strategy.
async fn asked(name: &str, strategy: Value) -> Result<Trial> {
    let trial = Trial::start(name).await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&by("1.1.0", strategy)).await?;
    Ok(trial)
}

#[tokio::test]
async fn a_shadow_compares_copies_and_reports() -> Result<()> {
    // rule: T2, C1
    let strategy = json!({"shadow": {"percent": 50, "hold": "2s", "minRequests": 300}});
    let trial = asked("shadow", strategy).await?;
    let status = trial.until(20, "copies", |s| at_stage(s, 1)).await?;
    let shadow = status.candidate.clone().context("a candidate")?;
    ensure!((shadow.weight, shadow.copies) == (0, Some(50)), "{shadow:?}");
    let over = ended(&trial, 2).await?;
    ensure!(outcome(&over) == Some(Outcome::Reported), "{:?}", over.status);
    let verdicts = over.status.clone().context("status")?.verdicts;
    ensure!(verdicts.iter().any(|v| v.name == "errors" && v.samples >= 50), "{verdicts:?}");
    // Users saw nothing of it at any time.
    let adopted = trial.hollow.adopted();
    ensure!(adopted.iter().all(|table| table.shares.get(&shadow.revision).is_none_or(|s| *s == 0.0)));
    let status = trial.until(10, "rest", |s| s.phase == Some(Phase::Healthy)).await?;
    ensure!(condition(&status, "SpecServed").is_some_and(|c| c.reason == "Reported"), "{status:?}");
    ensure!(trial.route().await?.spec.mirror.is_none());
    Ok(())
}

#[tokio::test]
async fn a_canary_whose_copies_fail_never_reaches_a_user() -> Result<()> {
    let steps = json!([{"shadow": 100, "hold": "60s"}, {"weight": 50, "hold": "1s"}]);
    let trial = Trial::start("copies").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial.hollow.model("1.1.0", |model| model.errors = 0.3);
    trial.apply(&by("1.1.0", json!({"canary": {"steps": steps}}))).await?;
    let over = ended(&trial, 2).await?;
    ensure!(
        outcome(&over) == Some(Outcome::RolledBack) && reason(&over).contains("errors"),
        "{:?}",
        over.status
    );
    let adopted = trial.hollow.adopted();
    ensure!(adopted.iter().all(|table| table.shares.get(&over.spec.to).is_none_or(|s| *s == 0.0)));
    Ok(())
}

#[tokio::test]
async fn green_is_previewed_by_whoever_asks_for_it_and_switched_to() -> Result<()> {
    // rule: T2
    let strategy = json!({"blueGreen": {"preview": {"minRequests": 100}, "autoPromote": false}});
    let trial = asked("green", strategy).await?;
    let status = trial.until(20, "the preview", |s| at_stage(s, 1)).await?;
    let green = candidate(&status)?;
    ensure!(trial.route().await?.spec.candidate == Some(green.clone()));
    trial
        .until(20, "previewed requests", |s| s.candidate.as_ref().is_some_and(|c| c.requests >= 100))
        .await?;
    let waits = |s: &api::ModelDeploymentStatus| {
        condition(s, "Progressing").is_some_and(|c| c.message.contains("waits for approval"))
    };
    let status = trial.until(10, "approval to be waited for", waits).await?;
    ensure!(
        status.candidate.as_ref().is_some_and(|c| (c.weight, c.ready, c.needed) == (0, 2, 2)),
        "{status:?}"
    );
    let asked = trial.act("promote").await?;
    let switched = trial.served(&green, 100.0, 10).await?;
    println!("blue/green: all users switched {:?} after the annotation", switched - asked);
    trial.until(10, "green to be stable", |s| is_healthy(s, "1.1.0")).await?;
    Ok(())
}

#[tokio::test]
async fn an_ab_test_with_a_challenger_ends_with_the_better_one() -> Result<()> {
    let challengers = json!([{"name": "small", "model": model("1.2.0")}]);
    let strategy = json!({"abTest": {
        "weight": 30, "maxDuration": "10m", "challengers": challengers,
        "hypothesis": {"metric": "highConfidence", "direction": "increase", "minimumEffect": 0.2, "significance": 0.05},
    }});
    let trial = Trial::start("ab").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial.hollow.routers(|routers| routers.rate = 1000.0);
    // The challenger is the surer one: nearly all of its answers are of high confidence.
    trial.hollow.model("1.0.0", |model| model.doubt = (-0.9, 0.7));
    trial.hollow.model("1.1.0", |model| model.doubt = (-0.9, 0.7));
    trial.hollow.model("1.2.0", |model| model.doubt = (-4.0, 0.3));
    let sequential = json!({"lowConfidence": {"onBreach": "ignore"}});
    trial.apply(&with(by("1.1.0", strategy), &[("/analysis/sequential", sequential)])).await?;
    let status = trial.until(20, "the split", |s| at_stage(s, 1)).await?;
    ensure!(status.challengers.len() == 1, "{status:?}");
    let over =
        trial.until(120, "an end", |s| s.phase == Some(Phase::Healthy) && s.candidate.is_none()).await?;
    let stable = over.stable.clone().context("stable")?;
    ensure!(stable.model.version == "1.2.0", "the better one won: {over:?}");
    ensure!(condition(&over, "SpecServed").is_some_and(|c| c.status == "True"));
    let rollout = ended(&trial, 2).await?;
    ensure!(rollout.spec.challengers.len() == 1 && outcome(&rollout) == Some(Outcome::Promoted));
    ensure!(reasons(&rollout).iter().any(|r| r == "Won"), "{:?}", reasons(&rollout));
    Ok(())
}

#[tokio::test]
async fn an_ab_test_drops_the_arm_that_does_harm() -> Result<()> {
    let challengers = json!([{"name": "broken", "model": model("1.2.0")}]);
    let strategy = json!({"abTest": {
        "weight": 20, "maxDuration": "10m", "challengers": challengers, "onUndecided": "rollback",
        "hypothesis": {"metric": "successRate", "direction": "increase", "minimumEffect": 0.01},
    }});
    let trial = Trial::start("drop").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial.hollow.model("1.2.0", |model| model.errors = 0.4);
    trial.apply(&by("1.1.0", strategy)).await?;
    let status = trial.until(20, "the split", |s| at_stage(s, 1)).await?;
    let good = candidate(&status)?;
    let status = trial.until(30, "one arm", |s| s.candidate.is_some() && s.challengers.is_empty()).await?;
    ensure!(candidate(&status)? == good, "the other one goes on: {status:?}");
    trial.served(&good, 20.0, 5).await?;
    let asked = trial.act("abort").await?;
    let zero = trial.served(&good, 0.0, 10).await?;
    println!("A/B: weight 0 served {:?} after the annotation", zero - asked);
    rolled_back(&trial, 10).await?;
    Ok(())
}

#[tokio::test]
async fn a_bandit_moves_shares_to_the_better_arm() -> Result<()> {
    let strategy = json!({"bandit": {"reward": "successRate", "floor": 5, "maxStep": 20}});
    let trial = Trial::start("bandit").await?;
    // Stable is the worse one, within what the tests of harm let pass.
    trial.hollow.model("1.0.0", |model| model.errors = 0.2);
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&by("1.1.0", strategy)).await?;
    let status = trial.until(20, "the floor", |s| at_stage(s, 1)).await?;
    let revision = candidate(&status)?;
    trial.served(&revision, 5.0, 5).await?;
    let grows = |s: &api::ModelDeploymentStatus| s.candidate.as_ref().is_some_and(|c| c.weight >= 25);
    trial.until(30, "its share to grow", grows).await?;
    trial.until(60, "the better one to be stable", |s| is_healthy(s, "1.1.0")).await?;
    let rollout = ended(&trial, 2).await?;
    ensure!(reasons(&rollout).iter().any(|r| r == "SharesMoved"), "{:?}", reasons(&rollout));
    Ok(())
}

#[tokio::test]
async fn promote_full_and_skip_leave_stages_out() -> Result<()> {
    // rule: V1, R4
    let steps = json!([{"weight": 10, "hold": "1h"}, {"weight": 50, "hold": "1h"}]);
    let trial = asked("skip", json!({"canary": {"steps": steps}})).await?;
    trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    trial.act("skip").await?;
    let status = trial.until(20, "the second stage", |s| at_stage(s, 2)).await?;
    trial.served(&candidate(&status)?, 50.0, 5).await?;
    trial.act("promote-full").await?;
    trial.until(20, "1.1.0 to be stable", |s| is_healthy(s, "1.1.0")).await?;
    let rollout = ended(&trial, 2).await?;
    ensure!(rollout.spec.kind == RolloutKind::Rollout && outcome(&rollout) == Some(Outcome::Promoted));
    ensure!(reasons(&rollout).iter().filter(|r| *r == "Skipped").count() == 2, "{:?}", reasons(&rollout));
    Ok(())
}

#[tokio::test]
async fn a_stage_that_lasts_too_long_goes_back_when_the_spec_says_so() -> Result<()> {
    // rule: T2, T4
    let steps = json!([{"weight": 10, "minRequests": 1_000_000_000}]);
    let canary = json!({"steps": steps, "maxStageDuration": "4s", "onInconclusive": "rollback"});
    let trial = asked("overdue", json!({"canary": canary})).await?;
    trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    trial.act("pause").await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let status = trial.status().await?;
    ensure!(status.phase == Some(Phase::Paused), "time stands still while it is paused: {status:?}");
    trial.act("resume").await?;
    rolled_back(&trial, 10).await?;
    let over = ended(&trial, 2).await?;
    ensure!(reason(&over).contains("its longest time"), "{}", reason(&over));
    Ok(())
}
