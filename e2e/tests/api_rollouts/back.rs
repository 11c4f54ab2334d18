//! Ways back that nobody asked for: drift, errors, deadlines; and what does not lead back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::{ModelDeploymentStatus, Outcome, Phase};
use e2e::hollow::{Model, Ready};
use e2e::trial::{INTERVAL, Trial, by_threshold, is_healthy, spec, with};
use serde_json::{Value, json};
use wire::Trip;

use crate::{at_stage, candidate, condition, ended, outcome, reason, reasons, rolled_back};

/// A spec that judges by one metric, with one long step.
fn judged(version: &str, metric: Value) -> Value {
    let step = json!({"weight": 10, "hold": "30s"});
    with(spec(version), &[("/analysis/metrics/0", metric), ("/strategy/canary/steps/0", step)])
}

fn drift(feature: &str, statistic: &str, max: f64) -> Value {
    let drift = json!({"feature": feature, "statistic": statistic, "against": "stable"});
    json!({"name": feature, "drift": drift, "max": max, "minSamples": 50})
}

fn errors() -> Value {
    json!({"name": "errors", "errorRate": {}, "max": 0.05, "minSamples": 50})
}

/// Rolls out a bad 1.1.0 and prints how long it had a share, and how long it kept it after the page that
/// showed the breach.
async fn taken_back(name: &str, metric: Value, bad: impl FnOnce(&mut Model)) -> Result<(Trial, String)> {
    let trial = Trial::start(name).await?;
    trial.hollow.routers(|r| r.rate = 800.0);
    trial.hollow.model("1.1.0", bad);
    let first = trial.serve_first(&judged("1.0.0", metric.clone())).await?;
    trial.apply(&judged("1.1.0", metric)).await?;
    rolled_back(&trial, 30).await?;

    let rollout = ended(&trial, 2).await?;
    ensure!(outcome(&rollout) == Some(Outcome::RolledBack), "{rollout:?}");
    let revision = rollout.spec.to.clone();
    let zero = trial.served(&revision, 0.0, 5).await?;
    let share = |t: &e2e::hollow::Adopted| t.shares.get(&revision).copied().unwrap_or(0.0);
    let adopted = trial.hollow.adopted();
    let given = adopted.iter().filter(|t| share(t) > 0.0).map(|t| t.at).max().context("it had a share")?;
    let page = trial.hollow.page_before(zero).context("pages were read")?;
    let (exposed, breach) = (zero - given, zero - page);
    println!("{name}: share given {exposed:?}; from the page with the breach to weight 0 served {breach:?}");
    println!("{name}: {}", reason(&rollout));
    ensure!(breach <= Duration::from_secs(1), "weight 0 was served {breach:?} after the breach");
    // The first page of a stage is a baseline, the second one shows the breach; the rest is slack for machines
    // that are busy with other tests.
    ensure!(exposed <= INTERVAL * 2 + Duration::from_secs(3), "it kept its share for {exposed:?}");
    ensure!(adopted.iter().all(|t| share(t) <= 10.0), "it never got more than its first step");
    trial.served(&first, 100.0, 5).await?;
    Ok((trial, first))
}

#[tokio::test]
async fn drift_of_confidence_takes_a_candidate_back_and_it_is_not_tried_again() -> Result<()> {
    // rule: J2, V1, I2
    let metric = drift("confidence", "ks", 0.4);
    let (trial, first) = taken_back("confidence", metric, |m| m.doubt = (-0.4, 0.2)).await?;
    let status = trial.status().await?;
    let served = condition(&status, "SpecServed").context("the condition")?;
    ensure!((served.status.as_str(), served.reason.as_str()) == ("False", "RolledBack"), "{served:?}");

    // A bare rollback would remove a good model now: refused.
    trial.act("rollback").await?;
    let refused = async || Ok(trial.events("ActionRefused").await?.into_iter().next());
    let refused = trial.eventually(10, "the refusal", refused).await?;
    ensure!(refused.contains("already undone"), "{refused}");
    tokio::time::sleep(INTERVAL * 2).await;
    ensure!(trial.rollouts().await?.len() == 2, "the intent is not tried again");
    ensure!(trial.status().await?.stable.context("stable")?.revision == first);
    Ok(())
}

#[tokio::test]
async fn drift_of_classes_takes_a_candidate_back() -> Result<()> {
    // rule: J4
    let metric = drift("class", "psi", 0.25);
    let (trial, _) = taken_back("class", metric, |m| m.classes = vec![("8".into(), 1.0)]).await?;
    let rollout = ended(&trial, 2).await?;
    let verdicts = rollout.status.context("it has ended")?.verdicts;
    ensure!(verdicts.iter().any(|v| v.name == "class" && v.verdict == "Fail"), "{verdicts:?}");
    Ok(())
}

#[tokio::test]
async fn errors_take_a_candidate_back() -> Result<()> {
    // rule: J2
    taken_back("errors", errors(), |m| m.errors = 0.5).await.map(drop)
}

#[tokio::test]
async fn a_version_that_goes_bad_after_its_promotion_is_taken_back_by_its_holdback() -> Result<()> {
    // rule: S3
    let trial = Trial::start("holdback").await?;
    let changes = [("/rollback/holdback", json!(10)), ("/analysis/metrics/0/max", json!(0.9))];
    let spec = |version| with(spec(version), &changes);
    let first = trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    let told = |s: &ModelDeploymentStatus| {
        condition(s, "Progressing")
            .is_some_and(|c| c.message.ends_with("times as high would be noticed by then"))
    };
    // What fails slowly was not counted in the first 30 s of a stage, so failures are compared from then on.
    let status = trial.until(60, "what can be noticed", told).await?;
    println!("{}", condition(&status, "Progressing").context("the condition")?.message);
    trial.hollow.model("1.1.0", |model| model.errors = 0.3);
    trial.served(&first, 100.0, 30).await?;
    let over = ended(&trial, 3).await?;
    ensure!(over.spec.to == first && reason(&over).contains("sequential/errors"), "{:?}", over.status);
    Ok(())
}

#[tokio::test]
async fn what_a_router_has_stopped_sending_to_is_taken_back() -> Result<()> {
    // rule: R7
    let trial = Trial::start("trips").await?;
    let first = trial.serve_first(&spec("1.0.0")).await?;
    ensure!(trial.route().await?.spec.revisions.iter().all(|r| r.trip_wire.is_none()), "stable has none");
    trial.apply(&spec("1.1.0")).await?;
    let status = trial.until(20, "the candidate's share", |s| at_stage(s, 1)).await?;
    let candidate = candidate(&status)?;
    let route = trial.route().await?.spec;
    let wired = route.revisions.iter().filter(|r| r.trip_wire.is_some()).map(|r| &r.name);
    ensure!(wired.collect::<Vec<_>>() == [&candidate], "{route:?}");
    let trip = Trip { failures: 10, requests: 20, stable_failures: 0, stable_requests: 56 };
    trial.hollow.model("1.1.0", |model| model.trips = Some(trip));
    let over = ended(&trial, 2).await?;
    ensure!(outcome(&over) == Some(Outcome::RolledBack), "{:?}", over.status);
    ensure!(reason(&over).contains("trip-wire: a router has stopped sending to it"), "{}", reason(&over));
    trial.served(&first, 100.0, 5).await?;
    // Who wants no trip-wire has none.
    let off = with(spec("1.2.0"), &[("/analysis/tripWire", json!(false))]);
    trial.apply(&off).await?;
    trial.until(20, "the next candidate's share", |s| at_stage(s, 1)).await?;
    ensure!(trial.route().await?.spec.revisions.iter().all(|r| r.trip_wire.is_none()));
    Ok(())
}

#[tokio::test]
async fn an_alert_leads_nowhere_and_a_breach_that_pauses_stands_still() -> Result<()> {
    // rule: J5, T4
    let trial = Trial::start("pauses").await?;
    trial.hollow.model("1.1.0", |m| {
        m.errors = 0.5;
        m.rejected = 0.3;
    });
    let metrics = json!([
        {"name": "rejected", "invalidInputRate": {}, "max": 0.01, "minSamples": 50, "onBreach": "alert"},
        {"name": "errors", "errorRate": {}, "max": 0.05, "minSamples": 50, "onBreach": "pause"},
    ]);
    let spec = |version| by_threshold(with(spec(version), &[("/analysis/metrics", metrics.clone())]));
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    let paused = trial.until(20, "the pause", |s| s.phase == Some(Phase::Paused)).await?;
    ensure!(at_stage(&paused, 1), "{:?}", paused.stage);
    let halted = condition(&paused, "Paused").context("the condition")?;
    ensure!(halted.message.contains("errors"), "{}", halted.message);
    trial.served(&candidate(&paused)?, 10.0, 5).await?;
    tokio::time::sleep(INTERVAL * 2).await;
    let later = trial.status().await?;
    ensure!(later.phase == Some(Phase::Paused) && at_stage(&later, 1), "{later:?}");
    Ok(())
}

#[tokio::test]
async fn a_candidate_that_never_becomes_ready_misses_its_deadline_and_no_user_notices() -> Result<()> {
    // rule: T3, R2
    let trial = Trial::start("never").await?;
    trial.hollow.model("1.1.0", |m| m.ready = Ready::Never);
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&with(spec("1.1.0"), &[("/progressDeadline", json!("2s"))])).await?;
    rolled_back(&trial, 20).await?;
    let rollout = ended(&trial, 2).await?;
    ensure!(reason(&rollout).contains("ready pods"), "{}", reason(&rollout));
    ensure!(reasons(&rollout).contains(&"DeadlineExceeded".to_owned()), "{:?}", reasons(&rollout));
    let shares = trial.hollow.adopted().into_iter().filter_map(|t| t.shares.get(&rollout.spec.to).copied());
    ensure!(shares.into_iter().all(|share| share == 0.0), "it never had a share");
    Ok(())
}

#[tokio::test]
async fn without_data_a_stage_is_held_and_left_once_they_are_there() -> Result<()> {
    // rule: J1
    let trial = Trial::start("nodata").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial.hollow.routers(|r| r.rate = 0.0);
    trial.apply(&spec("1.1.0")).await?;
    trial.until(20, "the first stage", |s| at_stage(s, 1)).await?;
    tokio::time::sleep(INTERVAL * 4).await;
    let held = trial.status().await?;
    ensure!(at_stage(&held, 1) && held.verdict.as_deref() == Some("NoData"), "{held:?}");
    let waits = &condition(&held, "Progressing").context("the condition")?.message;
    ensure!(waits.contains("errors"), "it says which metric it waits for: {waits}");
    trial.hollow.routers(|r| r.rate = 400.0);
    trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    Ok(())
}

#[tokio::test]
async fn fewest_requests_hold_a_stage() -> Result<()> {
    // rule: T2
    let trial = Trial::start("requests").await?;
    let step = json!({"weight": 10, "hold": "1s", "minRequests": 300});
    let spec = |version| with(spec(version), &[("/strategy/canary/steps/0", step.clone())]);
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    let left = trial.until(30, "the second stage", |s| at_stage(s, 2)).await?;
    let revision = candidate(&left)?;
    let adopted = trial.hollow.adopted();
    let at = |percent: f64| {
        let tables = adopted.iter().filter(|t| t.shares.get(&revision) == Some(&percent));
        tables.map(|t| t.at).min().context("it was served")
    };
    let took = at(50.0)? - at(10.0)?;
    // 10 % of 800 requests a second.
    ensure!(took >= Duration::from_millis(3500), "300 requests were seen after {took:?}");
    println!("300 of 80 requests per second after {took:?}");
    Ok(())
}

#[tokio::test]
async fn pods_that_loaded_different_artefacts_get_no_raise() -> Result<()> {
    // rule: I5
    let trial = Trial::start("digests").await?;
    trial.hollow.model("1.1.0", |m| m.digests = vec!["a".repeat(64), "b".repeat(64)]);
    let four = |version| with(spec(version), &[("/replicas", json!(4))]);
    trial.serve_first(&four("1.0.0")).await?;
    trial.apply(&with(four("1.1.0"), &[("/progressDeadline", json!("8s"))])).await?;
    rolled_back(&trial, 30).await?;
    let rollout = ended(&trial, 2).await?;
    ensure!(reason(&rollout).contains("different digests"), "{}", reason(&rollout));
    let most = trial.hollow.adopted().into_iter().filter_map(|t| t.shares.get(&rollout.spec.to).copied());
    let most = most.into_iter().fold(0.0, f64::max);
    ensure!(most == 10.0, "one pod was enough for 10 %, two were needed for 50 %: it got {most} %");
    Ok(())
}

#[tokio::test]
async fn a_flapping_candidate_is_charged_with_what_stable_served_for_it() -> Result<()> {
    // rule: C2
    let trial = Trial::start("flapping").await?;
    trial.hollow.model("1.1.0", |m| m.ready = Ready::Flapping(Duration::from_secs(3)));
    trial.serve_first(&by_threshold(judged("1.0.0", errors()))).await?;
    trial.apply(&by_threshold(judged("1.1.0", errors()))).await?;
    rolled_back(&trial, 40).await?;
    let rollout = ended(&trial, 2).await?;
    ensure!(reason(&rollout).contains("error rate"), "{}", reason(&rollout));
    Ok(())
}

#[tokio::test]
async fn a_world_that_moved_is_an_alert_and_no_reason_to_go_back() -> Result<()> {
    // rule: J5
    let trial = Trial::start("world").await?;
    trial.hollow.routers(|r| r.brightness = 0.7);
    let drift = json!({"feature": "brightness", "statistic": "psi", "against": "reference"});
    let metric = json!({"name": "inputs", "drift": drift, "max": 0.2, "minSamples": 50});
    let spec = |version| with(spec(version), &[("/analysis/metrics/0", metric.clone())]);
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    let status = trial.until(40, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    let drifting = condition(&status, "Drifting").context("the condition")?;
    ensure!(drifting.status == "True", "{drifting:?}");
    let rollout = ended(&trial, 2).await?;
    let verdicts = rollout.status.context("it has ended")?.verdicts;
    ensure!(verdicts.iter().any(|v| v.reason.contains("the world moved")), "{verdicts:?}");
    Ok(())
}
