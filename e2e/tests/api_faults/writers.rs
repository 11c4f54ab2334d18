//! Two operators: never two writers. And how much one writes for a way back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{ModelDeployment, Phase};
use e2e::operator::Operator;
use e2e::proxy::Proxy;
use e2e::trial::{NAME, Trial, is_healthy};
use tokio::process::Command;

use crate::end::End;

/// The rollout goes on to its end, and whoever writes after `a` is `b` for good; refused writes were none.
async fn followed_by_b(trial: &Trial, a: &Proxy, b: &Proxy, log_of_b: &Operator) -> Result<()> {
    trial.until(40, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    let mut all: Vec<(Instant, &str)> = Vec::new();
    for (letter, proxy) in [("a", a), ("b", b)] {
        let done = proxy.writes().into_iter().filter(|w| w.status.is_some_and(|status| status < 300));
        all.extend(done.map(|write| (write.at, letter)));
    }
    all.sort();
    let mut order: Vec<&str> = all.into_iter().map(|(_, letter)| letter).collect();
    order.dedup();
    let order = order.concat();
    println!("writers one after the other: {order}");
    ensure!(order == "ab", "{order}; the other one's log:\n{}", log_of_b.tail());
    Ok(())
}

/// A rollout that one operator has brought to its first step, and another one that waits.
async fn two(name: &str, hold: &str) -> Result<(Trial, Proxy, Proxy, Operator)> {
    let (trial, a) = Trial::through_a_proxy(name).await?;
    trial.first_step(hold).await?;
    let b = trial.proxy().await?;
    let other = trial.operator_through(&b, "operator-1").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok((trial, a, b, other))
}

#[tokio::test]
async fn an_operator_that_loses_the_api_server_is_followed_by_one_writer() -> Result<()> {
    // rule: K4, K3
    let (trial, a, b, other) = two("partition", "12s").await?;
    a.away(Duration::from_secs(9)).await?;
    followed_by_b(&trial, &a, &b, &other).await
}

#[tokio::test]
async fn an_operator_that_slept_while_another_led_writes_nothing_when_it_wakes() -> Result<()> {
    // rule: K4, K3
    let (trial, a, b, other) = two("asleep", "10s").await?;
    let pid = trial.operator.as_ref().and_then(Operator::pid).context("it runs")?.to_string();
    let signal = async |signal: &str| Command::new("kill").args([signal, &pid]).status().await;
    ensure!(signal("-STOP").await?.success(), "it cannot be stopped");
    let led = async || Ok((!b.writes().is_empty()).then_some(()));
    let taken_over = trial.eventually(30, "the other one to write", led).await;
    ensure!(signal("-CONT").await?.success(), "it cannot go on");
    taken_over?;
    followed_by_b(&trial, &a, &b, &other).await
}

#[tokio::test]
async fn one_way_back_is_a_dozen_writes_and_then_nothing() -> Result<()> {
    // Argo Rollouts needed 1,272 in 31 s for one (research/peers-measured.md).
    let (trial, proxy) = Trial::through_a_proxy("frugal").await?;
    trial.first_step("60s").await?;
    End::settled(&trial).await?;
    let before = proxy.writes().len();
    trial.act("rollback").await?;
    trial.until(20, "the way back", |s| s.phase == Some(Phase::RolledBack)).await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let writes = proxy.writes().split_off(before);
    let told: Vec<String> = writes.iter().map(ToString::to_string).collect();
    println!("writes of one way back and the 20 s after it: {told:#?}");
    ensure!(told.len() <= 12, "{}: {told:#?}", told.len());
    let waiting = trial.api::<ModelDeployment>().get(NAME).await?.metadata.annotations.unwrap_or_default();
    ensure!(!waiting.contains_key(api::names::ACTION), "the order is still there: {waiting:?}");
    Ok(())
}
