//! Two operators: never two writers. And how much one writes for a way back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{ModelDeployment, Phase};
use e2e::proxy::Proxy;
use e2e::trial::{NAME, Trial, is_healthy, spec, with};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::at_stage;
use crate::end::End;

fn holding(version: &str, hold: &str) -> Value {
    with(spec(version), &[("/strategy/canary/steps/0", json!({"weight": 10, "hold": hold}))])
}

/// Whose writes came, one letter for each change of the writer; refused ones were none.
fn writers(proxies: &[(&str, &Proxy)]) -> String {
    let mut all: Vec<(Instant, &str)> = Vec::new();
    for (letter, proxy) in proxies {
        let done = proxy.writes().into_iter().filter(|w| w.status.is_some_and(|status| status < 300));
        all.extend(done.map(|write| (write.at, *letter)));
    }
    all.sort();
    let mut order: Vec<&str> = all.into_iter().map(|(_, letter)| letter).collect();
    order.dedup();
    order.concat()
}

/// Two operators, and a rollout that `a` has brought to its first step.
async fn two(name: &str, hold: &str) -> Result<(Trial, Proxy, Proxy)> {
    let mut trial = Trial::without_operator(name).await?;
    let (a, b) = (trial.proxy().await?, trial.proxy().await?);
    trial.operator = Some(trial.operator_through(&a, "operator-a").await?);
    trial.serve_first(&holding("1.0.0", hold)).await?;
    trial.apply(&holding("1.1.0", hold)).await?;
    trial.until(20, "the first step", |s| at_stage(s, 1)).await?;
    Ok((trial, a, b))
}

#[tokio::test]
async fn an_operator_that_loses_the_api_server_is_followed_by_one_writer() -> Result<()> {
    // rule: K4, K3
    let (trial, a, b) = two("partition", "12s").await?;
    let other = trial.operator_through(&b, "operator-b").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    a.away(Duration::from_secs(9)).await?;
    trial.until(40, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    let order = writers(&[("a", &a), ("b", &b)]);
    println!("writers one after the other: {order}");
    ensure!(order == "ab", "{order}; the other one's log:\n{}", other.tail());
    Ok(())
}

#[tokio::test]
async fn an_operator_that_slept_while_another_led_writes_nothing_when_it_wakes() -> Result<()> {
    // rule: K4, K3
    let (trial, a, b) = two("asleep", "10s").await?;
    let other = trial.operator_through(&b, "operator-b").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = trial.operator.as_ref().and_then(e2e::operator::Operator::pid).context("it runs")?.to_string();
    let signal = async |signal: &str| Command::new("kill").args([signal, &pid]).status().await;
    ensure!(signal("-STOP").await?.success(), "it cannot be stopped");
    let led = async || Ok((!b.writes().is_empty()).then_some(()));
    let taken_over = trial.eventually(30, "the other one to write", led).await;
    ensure!(signal("-CONT").await?.success(), "it cannot go on");
    taken_over?;
    trial.until(40, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    let order = writers(&[("a", &a), ("b", &b)]);
    println!("writers one after the other: {order}");
    ensure!(order == "ab", "{order}; the other one's log:\n{}", other.tail());
    Ok(())
}

#[tokio::test]
async fn one_way_back_is_a_dozen_writes_and_then_nothing() -> Result<()> {
    // Argo Rollouts needed 1,272 in 31 s for one (research/peers-measured.md).
    let mut trial = Trial::without_operator("frugal").await?;
    let proxy = trial.proxy().await?;
    trial.operator = Some(trial.operator_through(&proxy, "operator-0").await?);
    trial.serve_first(&holding("1.0.0", "60s")).await?;
    trial.apply(&holding("1.1.0", "60s")).await?;
    trial.until(20, "the first step", |s| at_stage(s, 1)).await?;
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
