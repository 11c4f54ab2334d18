//! Each strategy once on real pods, while the client sends. (The canary is the rest of the story.)

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use api::{ModelDeploymentStatus, ModelRollout, Outcome, Phase};
use e2e::load::{Load, Settings};
use e2e::node::story::{NAME, Story, address};
use e2e::node::{Change, Manifest};

use super::{field, say, until, until_serves};

/// The demo's better version as another revision, by another strategy.
fn better(story: &Story, cpu: &str, strategy: &str) -> Manifest {
    let mut manifest = Manifest::new(story.models.better());
    (manifest.cpu, manifest.strategy) = (cpu.into(), Some(strategy.into()));
    manifest
}

async fn over(story: &Story, change: &Change) -> Result<ModelRollout> {
    story.ended(change.status.rollout.as_ref().context("a rollout has a name")?).await
}

/// Waits until a stage is served, and then until its candidate has been taken back.
async fn taken_back(story: &Story, start: Instant, seconds: u64) -> Result<Change> {
    let served = until(story, start, 60, "the stage", is_served).await?;
    let back = |s: &ModelDeploymentStatus| s.phase == Some(Phase::RolledBack);
    until(story, served.at, seconds, "the candidate to be taken back", back).await
}

fn is_served(status: &ModelDeploymentStatus) -> bool {
    status.stage.as_ref().is_some_and(|stage| stage.since.is_some())
}

fn answers(story: &Story, version: &str) -> u64 {
    story.load.summary().versions.get(version).map_or(0, |v| v.answers)
}

/// Only copies reach the bad version, and they are enough to take it back.
pub(crate) async fn copies_take_a_bad_version_back(story: &Story) -> Result<()> {
    say("1.2.0 gets copies only, and is taken back by what they say");
    let seen = answers(story, "1.2.0");
    let mut manifest = Manifest::new(story.models.bad());
    manifest.strategy = Some("{shadow: {percent: 100, hold: 2m, minRequests: 500, then: promote}}".into());
    let start = Instant::now();
    story.node.apply(&manifest.yaml())?;
    let change = taken_back(story, start, 120).await?;
    let status = over(story, &change).await?.status.unwrap_or_default();
    ensure!(status.outcome == Some(Outcome::RolledBack), "{:?}", status.record);
    println!("taken back by copies: {}", status.reason.unwrap_or_default());
    ensure!(answers(story, "1.2.0") == seen, "users saw answers of 1.2.0");
    Ok(())
}

/// Testers name the candidate, a person approves, and everybody follows by steps.
pub(crate) async fn green_is_previewed_and_switched_to(story: &Story) -> Result<()> {
    say("blue/green: previewed by those who name it, then switched to");
    let strategy = "{blueGreen: {preview: {minRequests: 200}, autoPromote: false, \
                    switch: {gradual: {steps: [{weight: 50, hold: 10s}]}}}}";
    let manifest = Manifest { routing: "{allowTargeting: true}".into(), ..better(story, "80m", strategy) };
    let start = Instant::now();
    story.node.apply(&manifest.yaml())?;
    until(story, start, 60, "the preview", is_served).await?;
    let settings =
        Settings::new(&address(&story.node, NAME)?, &story.models.images, story.models.predictions(), 50);
    let testers =
        Load::start(Settings { target: Some("candidate".parse()?), workers: 2, ..settings }).await?;
    let enough = |s: &ModelDeploymentStatus| s.candidate.as_ref().is_some_and(|c| c.requests >= 200);
    let change = until(story, start, 60, "200 previewed requests", enough).await?;
    ensure!(change.status.candidate.is_some_and(|c| c.weight == 0), "it is only previewed");
    let tested = testers.stop().await;
    ensure!(tested.failed() == 0 && tested.versions.len() == 1, "testers saw {tested}");
    story.annotate("promote")?;
    until_serves(story, Instant::now(), "1.1.0").await?;
    ensure!(field(&story.node, "{.status.rollout}")? == change.status.rollout.unwrap_or_default());
    println!("blue/green: {} previewed requests", tested.requests);
    Ok(())
}

/// A candidate that is not better by twenty points loses.
pub(crate) async fn an_ab_test_is_lost(story: &Story) -> Result<()> {
    say("A/B: twenty points more answers would be a win, and are ruled out");
    let strategy = "{abTest: {weight: 50, maxDuration: 10m, hypothesis: \
                    {metric: successRate, direction: increase, minimumEffect: 0.2}}}";
    let start = Instant::now();
    story.node.apply(&better(story, "85m", strategy).yaml())?;
    let change = taken_back(story, start, 180).await?;
    let status = over(story, &change).await?.status.unwrap_or_default();
    let reason = status.reason.unwrap_or_default();
    println!("A/B: {reason}");
    ensure!(reason.contains("success rate"), "{reason}");
    Ok(())
}

/// Two equal arms: shares follow their rewards, whichever way, until time ends it.
pub(crate) async fn a_bandit_shares_until_time_is_out(story: &Story) -> Result<()> {
    say("bandit: two equal arms share the traffic until time is out");
    let strategy = "{bandit: {reward: highConfidence, floor: 10, maxStep: 20, maxDuration: 40s}}";
    let start = Instant::now();
    story.node.apply(&better(story, "95m", strategy).yaml())?;
    let change = taken_back(story, start, 120).await?;
    let status = over(story, &change).await?.status.unwrap_or_default();
    let moved: Vec<&str> =
        status.record.iter().filter(|r| r.reason == "SharesMoved").map(|r| r.message.as_str()).collect();
    println!("bandit: {} moves, the last: {}", moved.len(), moved.last().copied().unwrap_or("none"));
    let reason = status.reason.unwrap_or_default();
    ensure!(reason.contains("its longest time") && reason.contains("best with probability"), "{reason}");
    Ok(())
}
