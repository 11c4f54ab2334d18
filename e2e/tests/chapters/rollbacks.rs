//! How long a person on call waits, and what an eviction costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{Phase, names};
use e2e::node::Manifest;
use e2e::node::story::{NAME, NAMESPACE, Story};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{EvictParams, ListParams};
use kube::{Api, ResourceExt};

use super::{say, until, until_weight};

/// 99 of a hundred rollbacks take this long at most.
const TARGET: Duration = Duration::from_millis(250);

/// How many rollbacks: what `SLUICE_ROLLBACKS` says, if it says anything.
pub(crate) fn rollbacks(otherwise: usize) -> Result<usize> {
    match std::env::var("SLUICE_ROLLBACKS") {
        Ok(text) => text.parse().context("SLUICE_ROLLBACKS is a number"),
        Err(_) => Ok(otherwise),
    }
}

/// Aborts a candidate at 10 % again and again: from the annotation until the status says that every router serves
/// weight 0. Beside it, how late this machine wakes a task that sleeps.
pub(crate) async fn on_call_many_times(story: &Story, n: usize) -> Result<()> {
    say(&format!("{n} rollbacks by a person"));
    let idle = Cpu::now()?;
    let mut manifest = Manifest::new(story.models.better());
    manifest.cpu = "70m".into();
    manifest.steps = "[{weight: 10, hold: 1h}]".into();
    let mut start = Instant::now();
    story.node.apply(&manifest.yaml())?;
    let stop = Arc::new(AtomicBool::new(false));
    let noise = tokio::spawn(lateness(stop.clone()));
    let mut took = Vec::new();
    for _ in 0..n {
        until_weight(story, start, 10).await?;
        let asked = story.act("abort").await?;
        let back = until(story, asked, 30, "the abort", |s| s.phase == Some(Phase::RolledBack)).await?;
        took.push(back.at.duration_since(asked));
        start = story.act("retry").await?;
    }
    until_weight(story, start, 10).await?;
    let asked = story.act("abort").await?;
    until(story, asked, 30, "the last abort", |s| s.phase == Some(Phase::RolledBack)).await?;
    stop.store(true, Ordering::Relaxed);
    let noise = noise.await?;
    println!("the machine was busy for {:.0} % of the time", 100.0 * idle.busy_since()?);
    println!("on-call rollback, annotation to weight 0 acknowledged: {}", distribution(took.clone()));
    println!("this machine wakes a sleeping task late by: {}", distribution(noise));
    let p99 = quantile(&mut took, 0.99);
    let reached = p99 <= TARGET;
    println!(
        "target  p99 of {n} rollbacks: {:.0} ms (at most {} ms)  {}\nsummary  {} of 1 targets reached",
        millis(p99),
        TARGET.as_millis(),
        if reached { "reached" } else { "missed" },
        u8::from(reached)
    );
    // What a person notices; the target is for a machine that is half idle.
    ensure!(p99 <= Duration::from_secs(3), "{p99:?}");
    Ok(())
}

/// Time of all processors since the start, in ticks.
struct Cpu {
    busy: u64,
    all: u64,
}

impl Cpu {
    fn now() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guests are in user already.
        let all = ticks.iter().take(8).sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Ok(Self { busy: all - idle, all })
    }

    /// The part of the time since then that they were busy, 0..=1.
    fn busy_since(&self) -> Result<f64> {
        let now = Self::now()?;
        Ok((now.busy - self.busy) as f64 / (now.all - self.all).max(1) as f64)
    }
}

/// Sleeps for 5 ms again and again, and says by how much it woke late.
async fn lateness(stop: Arc<AtomicBool>) -> Vec<Duration> {
    const NAP: Duration = Duration::from_millis(5);
    let mut late = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let due = Instant::now() + NAP;
        tokio::time::sleep_until(due.into()).await;
        late.push(Instant::now().duration_since(due));
    }
    late
}

fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort_unstable();
    let index = ((times.len() as f64 * q).ceil() as usize).saturating_sub(1);
    times.get(index).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn distribution(mut times: Vec<Duration>) -> String {
    let of = |q, times: &mut Vec<Duration>| millis(quantile(times, q));
    format!(
        "p50 {:.1} ms, p90 {:.1}, p99 {:.1}, max {:.1} (n = {})",
        of(0.5, &mut times),
        of(0.9, &mut times),
        of(0.99, &mut times),
        of(1.0, &mut times),
        times.len()
    )
}

/// Every pod of the deployment, routers too, through the Eviction API, one after the other.
pub(crate) async fn every_pod_is_evicted_in_turn(story: &Story) -> Result<()> {
    say("every pod is evicted in turn");
    let selector = format!("{}={NAME}", names::DEPLOYMENT);
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), NAMESPACE);
    let running = ListParams::default().labels(&selector).fields("status.phase=Running");
    let failed = story.load.summary().failed();
    let mut evicted = 0;
    for pod in pods.list(&running).await? {
        let deadline = Instant::now() + Duration::from_secs(90);
        // A budget that does not allow it yet answers 429: whoever drains a node tries again a little later.
        while let Err(error) = pods.evict(&pod.name_any(), &EvictParams::default()).await {
            let code = if let kube::Error::Api(status) = &error { status.code } else { 0 };
            // One that was on its way out has gone by itself.
            if code == 404 {
                break;
            }
            ensure!(
                code == 429 && Instant::now() < deadline,
                "{} cannot be evicted: {error}",
                pod.name_any()
            );
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        evicted += 1;
    }
    for deployment in story.node.kubectl(&["get", "deployments", "-l", &selector, "-o", "name"])?.lines() {
        story.node.kubectl(&["rollout", "status", deployment, "--timeout=90s"])?;
    }
    let summary = story.load.summary();
    println!("{evicted} pods evicted: {} requests so far, {} failed", summary.requests, summary.failed());
    ensure!(summary.failed() == failed, "requests were lost: {summary}");
    Ok(())
}
