//! The chapters of the node story. Each returns an error that says what did not happen.

mod curl;
mod faults;
mod fetched;
mod labels;
mod leaving;
mod private;
mod reviewed;
mod rollbacks;
mod router;
mod scaling;
mod strategies;
mod tripwire;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{ModelDeploymentStatus, Outcome, Phase};
use e2e::node::story::{NAME, Story, serves};
use e2e::node::{Change, Manifest, Node};

pub(crate) use faults::{
    candidate_pods_die_at_half, operator_killed_in_mid_canary, pin_works_without_the_operator,
    unready_stable_does_not_stop_an_abort,
};
pub(crate) use fetched::models_come_from_elsewhere;
pub(crate) use leaving::{clean, nothing_is_left_but_the_definitions, uninstall_alone_never_stops_serving};
pub(crate) use rollbacks::{every_pod_is_evicted_in_turn, on_call_many_times, rollbacks};
pub(crate) use router::routers_of_its_own;
pub(crate) use scaling::{pods_follow_the_requests, the_scale_subresource_is_followed};
pub(crate) use strategies::{
    a_bandit_shares_until_time_is_out, an_ab_test_is_lost, copies_take_a_bad_version_back,
    green_is_previewed_and_switched_to,
};

/// Prints a line of the story.
pub(crate) fn say(line: &str) {
    println!("   {line}");
}

/// A candidate that cannot load its model: the deadline takes it back, and no user notices.
pub(crate) async fn never_ready_hits_the_deadline(story: &Story) -> Result<()> {
    say("a candidate that never becomes ready hits the deadline");
    let before = story.load.summary();
    let mut manifest = Manifest::new(story.models.better());
    manifest.version = "1.3.0".into();
    manifest.uri = "pvc://models/digits/absent".into();
    manifest.deadline = "15s".into();
    let start = Instant::now();
    story.node.apply(&manifest.yaml())?;
    let change =
        until(story, start, 60, "1.3.0 to be given up", |s| s.phase == Some(Phase::RolledBack)).await?;
    let rollout = story.ended(&change.status.rollout.context("a rollout has a name")?).await?;
    let status = rollout.status.unwrap_or_default();
    ensure!(status.outcome == Some(Outcome::RolledBack), "{:?}", status.outcome);
    // rule: T3
    ensure!(status.record.iter().any(|r| r.reason == "DeadlineExceeded"), "{:?}", status.record);
    let after = story.load.summary();
    ensure!(after.failed() == before.failed(), "users noticed: {after}");
    Ok(())
}

/// The API server refuses what breaks a rule, with the rule's message.
pub(crate) fn bad_manifests_are_refused(story: &Story) -> Result<()> {
    say("bad manifests are refused");
    let good = Manifest::new(story.models.better());
    let steps = |steps: &str| Manifest { steps: steps.into(), ..good.clone() }.yaml();
    let table = [
        (steps("[{weight: 50}, {weight: 10}]"), "weights must rise"),
        (good.yaml().replace("1.1.0", "one"), "must be a semantic version"),
        (good.yaml().replace("pvc://", "ftp://"), "model.uri: must be pvc://"),
        (
            good.yaml()
                .replace("statistic: psi, against: stable}, max", "statistic: ks, against: stable}, max"),
            "ks and wasserstein need an order",
        ),
        (good.yaml().replace("name: digits,", "name: 1digits,"), "starting with a letter"),
    ];
    for (manifest, message) in table {
        let refused = story.node.apply(&manifest).err().with_context(|| format!("accepted:\n{manifest}"))?;
        ensure!(refused.to_string().contains(message), "{refused} does not say {message:?}");
    }
    Ok(())
}

/// Waits for a status.
pub(crate) async fn until(
    story: &Story,
    from: Instant,
    seconds: u64,
    what: &str,
    fits: impl Fn(&ModelDeploymentStatus) -> bool,
) -> Result<Change> {
    story.watcher.until(from, Duration::from_secs(seconds), what, fits).await
}

/// Waits until the candidate has an acknowledged share.
pub(crate) async fn until_weight(story: &Story, from: Instant, weight: u8) -> Result<Change> {
    until(story, from, 120, &format!("{weight} % to be acknowledged"), |s| has_weight(s, weight)).await
}

/// Whether every router gives the candidate this share.
pub(crate) fn has_weight(status: &ModelDeploymentStatus, weight: u8) -> bool {
    status.candidate.as_ref().is_some_and(|c| {
        status.traffic.iter().any(|t| t.revision == c.revision && t.acknowledged == Some(weight))
    })
}

/// Waits until a version is stable and nothing is under way.
pub(crate) async fn until_serves(story: &Story, from: Instant, version: &str) -> Result<Change> {
    let version =
        story.models.versions.iter().find(|v| v.version == version).context("a version of the demo")?;
    until(story, from, 180, &format!("{} to be promoted", version.version), |s| serves(s, version)).await
}

/// A JSON path of the ModelDeployment.
pub(crate) fn field(node: &Node, path: &str) -> Result<String> {
    node.kubectl(&["get", "modeldeployment", NAME, "-o", &format!("jsonpath={path}")])
}
