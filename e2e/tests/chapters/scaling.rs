//! The number of model servers: set by a person through the scale subresource, and by the requests themselves.

use std::time::Instant;

use anyhow::{Result, ensure};
use api::{ModelDeploymentStatus, Phase};
use e2e::node::story::{NAME, Story};

use super::{field, say, until};

/// What `kubectl scale` writes is what an HPA would; with it the Deployment of stable grows and shrinks, and nothing is
/// lost on the way.
pub(crate) async fn the_scale_subresource_is_followed(story: &Story) -> Result<()> {
    // rule: K2
    say("kubectl scale: 3 model servers, then 2 again");
    let failed = story.load.summary().failed();
    let deployment = format!("deployment/{}", field(&story.node, "{.status.stable.revision}")?);
    for replicas in [3, 2] {
        let start = Instant::now();
        story.node.kubectl(&["scale", "modeldeployment", NAME, &format!("--replicas={replicas}")])?;
        let what = format!("{replicas} model servers");
        until(story, start, 90, &what, |s| s.replicas == replicas && s.phase.is_some()).await?;
        story.node.kubectl(&["rollout", "status", &deployment, "--timeout=60s"])?;
        let ready = story.node.kubectl(&["get", &deployment, "-o", "jsonpath={.status.readyReplicas}"])?;
        ensure!(ready == replicas.to_string(), "{what}, and {ready} are ready");
    }
    ensure!(story.load.summary().failed() == failed, "requests were lost: {}", story.load.summary());
    Ok(())
}

/// As many model servers as the client's requests need, counted by the routers.
pub(crate) async fn pods_follow_the_requests(story: &Story, rate: u32) -> Result<()> {
    // Two and a half: a number that the noise of a second does not change.
    let each = f64::from(rate) / 2.5;
    say(&format!("autoscaling: {rate} requests per second at {each} each need 3 model servers"));
    let failed = story.load.summary().failed();
    let patch = |autoscaling: &str| {
        let patch = format!("{{\"spec\": {{\"autoscaling\": {autoscaling}}}}}");
        story.node.kubectl(&["patch", "modeldeployment", NAME, "--type=merge", "-p", &patch]).map(drop)
    };
    let start = Instant::now();
    patch(&format!("{{\"max\": 4, \"target\": {{\"requestsPerReplica\": {each}}}}}"))?;
    let three = |s: &ModelDeploymentStatus| {
        s.replicas == 3 && s.autoscaling.as_ref().is_some_and(|a| a.replicas == 3 && a.rate.is_some())
    };
    let scaled = until(story, start, 90, "three model servers", three).await?;
    println!("autoscaling: {}", scaled.status.autoscaling.map(|a| a.reason).unwrap_or_default());
    let start = Instant::now();
    patch("null")?;
    let two = |s: &ModelDeploymentStatus| s.replicas == 2 && s.phase != Some(Phase::Progressing);
    until(story, start, 90, "two model servers again", two).await?;
    ensure!(story.load.summary().failed() == failed, "requests were lost: {}", story.load.summary());
    Ok(())
}
