//! The API server refuses, forgets, loses answers, and is away.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{ModelDeployment, ModelRoute, Phase};
use e2e::proxy::Fault;
use e2e::trial::{NAME, Trial, is_healthy, spec};
use rstest::rstest;

use crate::end::{End, given};

/// A whole rollout with both versions.
async fn rollout(trial: &Trial) -> Result<()> {
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    trial.until(120, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    Ok(())
}

#[rstest]
#[case::conflicts(Fault::Refuse(409), 0.33)]
#[case::unavailable(Fault::Refuse(503), 0.2)]
#[case::lost_answers(Fault::Lose, 0.33)]
#[tokio::test]
async fn writes_fail_and_the_end_is_the_same(#[case] fault: Fault, #[case] share: f64) -> Result<()> {
    // rule: R3, T1
    let (calm, quiet) = Trial::through_a_proxy("calm").await?;
    rollout(&calm).await?;
    let expected = End::settled(&calm).await?;
    let (trial, proxy) = Trial::through_a_proxy("faults").await?;
    proxy.fault(fault, share);
    rollout(&trial).await?;
    expected.reached(&trial).await?;
    let (with, without) = (proxy.writes().len(), quiet.writes().len());
    println!("{fault:?} for {share} of all: {with} writes, {without} with nothing in the way");
    // Each is made again, with what was planned together with it.
    ensure!(with <= 3 * without, "{with} writes instead of {without}");
    Ok(())
}

#[tokio::test]
async fn a_restart_at_rest_writes_nothing() -> Result<()> {
    let (mut trial, first) = Trial::through_a_proxy("rest").await?;
    rollout(&trial).await?;
    let end = End::settled(&trial).await?;
    trial.operator.take().context("it runs")?.terminate().await?;
    drop(first);
    let second = trial.proxy().await?;
    trial.operator = Some(trial.operator_through(&second, "operator-1").await?);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let writes: Vec<String> = second.writes().iter().map(ToString::to_string).collect();
    // Evidence of the promoted revision, which is watched, is written as it comes.
    ensure!(writes.iter().all(|write| write.starts_with("PUT modelrollouts/")), "{writes:#?}");
    ensure!(writes.len() <= 1, "{writes:#?}");
    end.reached(&trial).await
}

#[tokio::test]
async fn watches_that_must_begin_anew_change_nothing() -> Result<()> {
    let (trial, proxy) = Trial::through_a_proxy("expired").await?;
    trial.first_step("4s").await?;
    proxy.expire().await?;
    let told = async || Ok((proxy.expired() >= 8).then_some(()));
    trial.eventually(30, "every watch to be told that its version is gone", told).await?;
    println!("{} watches began anew", proxy.expired());
    trial.until(40, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    // The status is written first.
    let recorded = async || {
        let rollouts = trial.rollouts().await?;
        let record = rollouts.last().and_then(|rollout| rollout.status.clone()).unwrap_or_default().record;
        let served = record.iter().filter(|record| record.reason == "StageServed").count();
        Ok((rollouts.len() == 2 && served == 3).then_some(()))
    };
    trial.eventually(5, "a record of three stages, each served once", recorded).await?;
    Ok(())
}

#[tokio::test]
async fn people_who_change_objects_all_the_time_do_not_stop_a_rollout() -> Result<()> {
    let (trial, proxy) = Trial::through_a_proxy("people").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    let people = async {
        for n in 0_u32.. {
            let value = n.to_string();
            trial.annotate::<ModelDeployment>(NAME, "people.example/note", Some(&value)).await?;
            trial.annotate::<ModelRoute>(NAME, "people.example/note", Some(&value)).await?;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        anyhow::Ok(())
    };
    let rolled_out = async {
        trial.apply(&spec("1.1.0")).await?;
        trial.until(120, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await
    };
    tokio::select! {
        failed = people => failed?,
        done = rolled_out => drop(done?),
    }
    let conflicts = proxy.writes().iter().filter(|write| write.status == Some(409)).count();
    println!("{conflicts} conflicts with people in {} writes", proxy.writes().len());
    Ok(())
}

#[tokio::test]
async fn thirty_seconds_without_the_api_server_skip_no_step() -> Result<()> {
    // rule: T1, R4
    let (trial, proxy) = Trial::through_a_proxy("away").await?;
    let status = trial.first_step("8s").await?;
    let revision = status.candidate.context("a candidate")?.revision;
    proxy.away(Duration::from_secs(30)).await?;
    let back = Instant::now();
    trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    println!("away for 30 s; promoted {:?} after it was back", back.elapsed());
    for (router, shares) in given(&trial.hollow.adopted(), &revision) {
        let shares: Vec<f64> = shares.into_iter().map(|(share, _)| share).collect();
        ensure!(
            shares == [0.0, 10.0, 50.0, 100.0] || shares == [10.0, 50.0, 100.0],
            "{router} was told {shares:?}"
        );
    }
    let operator = trial.operator.as_ref().context("it runs")?;
    ensure!(operator.pid().is_some(), "the operator has not ended");
    Ok(())
}

#[tokio::test]
async fn a_breach_while_the_api_server_is_away_is_acted_on_when_it_is_back() -> Result<()> {
    // rule: V1
    let (trial, proxy) = Trial::through_a_proxy("breach").await?;
    let status = trial.first_step("60s").await?;
    let revision = status.candidate.context("a candidate")?.revision;
    trial.hollow.model("1.1.0", |model| model.errors = 0.5);
    proxy.away(Duration::from_secs(10)).await?;
    let back = Instant::now();
    let zero = trial.served(&revision, 0.0, 20).await?;
    println!("away for 10 s with a breach: weight 0 was served {:?} after it was back", zero - back);
    // The lease has to be taken again (a look every half second) once the connections are open again.
    ensure!(zero - back <= Duration::from_secs(6), "{:?}", zero - back);
    trial.until(20, "the way back", |s| s.phase == Some(Phase::RolledBack)).await?;
    Ok(())
}
