//! Operators that come and go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::trial::{Trial, is_healthy};

use crate::{at_stage, reasons};

#[tokio::test]
async fn a_killed_operator_is_followed_by_one_that_goes_on_at_the_same_stage() -> Result<()> {
    // rule: T1, C4
    let mut trial = Trial::start("killed").await?;
    let before = trial.first_step("8s").await?;
    let since = before.stage.context("a stage")?.since.context("it is served")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    trial.operator.take().context("it runs")?.kill().await?;
    let adopted = trial.hollow.adopted().len();

    trial.operator = Some(trial.another_operator("operator-1").await?);
    let next = trial.until(30, "the second stage", |s| at_stage(s, 2)).await?;
    let held = next.stage.context("a stage")?.since.context("it is served")?.0.duration_since(since.0);
    println!("hold of 8 s with the operator killed in its midst: {held}");
    ensure!(held.as_secs_f64() >= 8.0, "the hold was cut short: {held}");
    // The other one may lead after 5 s; the hold was over by then or soon after, and not begun again.
    ensure!(held.as_secs_f64() <= 8.0 + 7.0, "the hold was repeated: {held}");
    trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    let rollouts = trial.rollouts().await?;
    ensure!(rollouts.len() == 2, "the rollout was not started again");
    let served = reasons(&rollouts[1]).iter().filter(|reason| *reason == "StageServed").count();
    ensure!(served == 3, "each stage was begun once: {:?}", reasons(&rollouts[1]));
    // Three changes for each of two routers at most: nothing was written back and forth.
    ensure!(trial.hollow.adopted().len() - adopted <= 6, "{:?}", trial.hollow.adopted());
    Ok(())
}

#[tokio::test]
async fn the_stage_and_its_time_survive_a_restart_unchanged() -> Result<()> {
    // rule: T1
    let mut trial = Trial::start("restart").await?;
    let before = trial.first_step("60s").await?;
    // Some evidence is there to go on from.
    let counted = |s: &api::ModelDeploymentStatus| s.candidate.as_ref().map_or(0, |c| c.requests);
    let before_count = counted(&trial.until(10, "requests", |s| counted(s) > 100).await?);
    trial.operator.take().context("it runs")?.terminate().await?;
    trial.operator = Some(trial.another_operator("operator-1").await?);
    let after = trial.until(20, "more requests", |s| counted(s) > before_count + 100).await?;
    ensure!(after.stage == before.stage, "{:?} became {:?}", before.stage, after.stage);
    // Traffic is 80 requests per second: nothing was counted twice.
    let since = after.stage.context("a stage")?.since.context("it is served")?;
    let seconds = jiff::Timestamp::now().duration_since(since.0).as_secs_f64();
    let most = 80.0 * 1.25 * (seconds + 1.0);
    let count = after.candidate.context("a candidate")?.requests;
    ensure!((count as f64) < most, "{count} requests in {seconds} s");
    Ok(())
}
