//! How long nobody is in charge.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::Phase;
use e2e::trial::Trial;

/// From `start` until the operator in charge has carried out a pause.
async fn decided(trial: &Trial, start: Instant, verb: &str, phase: Phase) -> Result<Duration> {
    trial.act(verb).await?;
    trial.until(20, "the next decision", |s| s.phase == Some(phase)).await?;
    Ok(start.elapsed())
}

#[ignore = "alone, because of its limits: make crashes"]
#[tokio::test(flavor = "multi_thread")]
async fn another_operator_takes_over_within_a_second_of_sigterm_and_six_of_sigkill() -> Result<()> {
    // rule: K4
    let mut trial = Trial::start("takeover").await?;
    trial.first_step("60s").await?;
    let second = trial.another_operator("operator-1").await?;
    // It has to know the lease and the world before it can take over.
    tokio::time::sleep(Duration::from_secs(3)).await;

    let first = trial.operator.replace(second).context("it runs")?;
    let terminated = tokio::spawn(first.terminate());
    let start = Instant::now();
    let soft = decided(&trial, start, "pause", Phase::Paused).await?;
    terminated.await??;
    println!("SIGTERM: the next decision {soft:?} later");

    let third = trial.another_operator("operator-2").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let second = trial.operator.replace(third).context("it runs")?;
    let killed = second.kill().await?;
    let hard = decided(&trial, killed, "resume", Phase::Progressing).await?;
    println!("SIGKILL: the next decision {hard:?} later");
    // design §9
    ensure!(soft <= Duration::from_secs(1), "{soft:?}");
    ensure!(hard <= Duration::from_secs(6), "{hard:?}");
    Ok(())
}
