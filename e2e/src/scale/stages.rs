//! What is done, one after the other, and measured.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::{ModelDeployment, ModelDeploymentStatus, Phase};
use serde_json::{Value, json};

use super::usage;
use super::world::{World, say};
use super::{Created, Figures, Resync, Rollouts, Settings};
use crate::trial::is_healthy;

/// Between two readings of a router, in seconds.
pub const INTERVAL: u64 = 15;

/// Longest time for all rollouts to begin, and to end: where the API server cannot take the writes of so many,
/// that is what is found.
const PATIENCE: Duration = Duration::from_secs(240);

const OLD: &str = "1.0.0";
const NEW: &str = "2.0.0";

/// Runs all stages with a fresh API server and operator.
///
/// # Errors
/// When one does not come to its end.
pub async fn run(settings: Settings) -> Result<Figures> {
    let n = settings.deployments;
    say(&format!("{n} deployments: starting"));
    let mut world = World::start(settings).await?;
    world.operate().await?;
    world.rest().await?;
    let mut figures = Figures { deployments: n, empty: world.memory()?, ..Figures::default() };
    for numbers in [0..n / 2, n / 2..n] {
        figures.created.push(create(&mut world, numbers).await?);
        say(&serde_json::to_string(&figures.created)?);
    }
    say("at rest");
    figures.idle = world.window(settings.window).await?;
    say(&serde_json::to_string(&figures.idle)?);
    figures.resync = resync(&mut world, n).await?;
    say(&serde_json::to_string(&figures.resync)?);
    figures.rollouts = roll_out(&mut world, n, settings.window).await?;
    world.terminate().await?;
    Ok(figures)
}

async fn create(world: &mut World, numbers: std::ops::Range<usize>) -> Result<Created> {
    let (deployments, until) = (numbers.len(), numbers.end);
    say(&format!("creating {deployments}"));
    let (cpu, from) = (world.cpu()?, Instant::now());
    let (accepted, reconciled, healthy) = tokio::try_join!(
        async {
            world.each(numbers, &asking(OLD)).await?;
            Ok(from.elapsed().as_secs_f64())
        },
        world.until("reconciled", until, from, is_reconciled),
        world.until("healthy", until, from, |_, status| is_healthy(status, OLD)),
    )?;
    let requests = world.rest().await?;
    let cpu = (world.cpu()? - cpu).as_secs_f64();
    Ok(Created { deployments, accepted, reconciled, healthy, cpu, requests, load: usage::load()? })
}

async fn resync(world: &mut World, n: usize) -> Result<Resync> {
    say("restarting the operator");
    world.terminate().await?;
    world.take_requests()?;
    let from = world.operate().await?;
    // A router is asked because of a reconcile only, and of nothing but its result.
    let seconds = world.wait("deployments read", n, from, || world.crowd.read_since(from)).await?;
    let requests = world.rest().await?;
    Ok(Resync { seconds, cpu: world.cpu()?.as_secs_f64(), requests })
}

async fn roll_out(world: &mut World, n: usize, window: u64) -> Result<Rollouts> {
    say("rolling out another version");
    world.take_requests()?;
    let (from, wanted) = (Instant::now(), asking(NEW));
    let judging = || world.count(|_, status| is_judged(status));
    let (accepted, (judging, began)) =
        tokio::join!(world.each(0..n, &wanted), world.reach("judged", n, from, PATIENCE, judging));
    accepted?;
    // The first pages are only a baseline.
    tokio::time::sleep(Duration::from_secs(INTERVAL + INTERVAL / 2)).await;
    let mut requests = world.take_requests()?;
    say(&format!("all are judged every {INTERVAL} s"));
    let judged = world.window(window).await?;

    say("promoting");
    let from = Instant::now();
    let mut promote = asking(NEW);
    promote["metadata"] = json!({"annotations": {api::names::ACTION: "promote-full"}});
    let healthy = || world.count(|_, status| is_healthy(status, NEW));
    let (accepted, (promoted, ended)) = tokio::join!(
        world.each(0..n, &promote),
        world.reach("healthy with the new version", n, from, PATIENCE, healthy)
    );
    accepted?;
    requests.add(&if promoted == n { world.rest().await? } else { world.take_requests()? });
    let memory = world.memory().context("at the end")?;
    Ok(Rollouts { began, judging, judged, ended, promoted, requests, memory })
}

fn is_reconciled(object: &ModelDeployment, status: &ModelDeploymentStatus) -> bool {
    status.phase.is_some() && status.observed_generation == object.metadata.generation
}

/// The candidate has its first share, and every router has said so.
fn is_judged(status: &ModelDeploymentStatus) -> bool {
    let stage = status.stage.as_ref();
    status.phase == Some(Phase::Progressing)
        && stage.is_some_and(|stage| stage.index == 1 && stage.since.is_some())
}

/// What a person writes: a stage that lasts, so that all are in it at one time.
fn asking(version: &str) -> Value {
    json!({"spec": {
        "replicas": 2,
        "model": {"version": version, "uri": format!("pvc://models/digits/{version}")},
        "strategy": {"canary": {"steps": [{"weight": 10, "hold": "1h"}, {"weight": 50, "hold": "1h"}]}},
        "analysis": {
            "interval": format!("{INTERVAL}s"),
            "metrics": [{"name": "errors", "errorRate": {}, "max": 0.05, "minSamples": 50}],
        },
        "rollback": {"keepWarm": "30m"},
        "progressDeadline": "10m",
    }})
}
