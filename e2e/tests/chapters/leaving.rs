//! Uninstalling, and what is left.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::node::Node;
use e2e::node::story::{NAME, Story};

use super::{fetched, private, say};

/// Kinds of which nothing of ours may be left.
const KINDS: &str = "deployments,replicasets,pods,services,serviceaccounts,rolebindings,roles,clusterroles,\
clusterrolebindings,controllerrevisions,jobs,leases,poddisruptionbudgets,modeldeployments,modelrollouts,modelroutes,endpointslices";

/// What an earlier run has left.
pub(crate) fn clean(node: &Node) -> Result<()> {
    node.kubectl(&["delete", "modeldeployments.sluice.dev", "--all", "-A", "--ignore-not-found"]).ok();
    let deadline = Instant::now() + Duration::from_secs(90);
    // A new cluster does not know the kinds yet, and so has nothing of them.
    while let Ok(left) = left(node)
        && left.iter().any(|l| [NAME, private::NAME, fetched::NAME].iter().any(|name| l.contains(name)))
    {
        ensure!(Instant::now() < deadline, "an earlier run has left {left:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// `helm uninstall` takes the operator away and nothing else: routers and servers go on, also a router that
/// starts afterwards (K7).
pub(crate) async fn uninstall_alone_never_stops_serving(story: &Story) -> Result<()> {
    say("the chart is uninstalled, and serving goes on");
    story.node.uninstall()?;
    let before = story.load.summary();
    story.node.kubectl(&["delete", "pod", "-l", "sluice.dev/role=router", "--wait=false"])?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    story.node.kubectl(&["rollout", "status", &format!("deployment/{NAME}-router"), "--timeout=60s"])?;
    let after = story.load.summary();
    ensure!(after.failed() == before.failed(), "requests were lost: {after}");
    ensure!(after.requests > before.requests + 1000, "hardly anything was served: {after}");
    story.node.install()?;
    Ok(())
}

/// ModelDeployments deleted, chart uninstalled: only the definitions remain.
pub(crate) async fn nothing_is_left_but_the_definitions(node: &Node) -> Result<()> {
    say("ModelDeployments deleted, chart uninstalled: only the definitions remain");
    node.kubectl(&["delete", "modeldeployments.sluice.dev", "--all", "-A"])?;
    let deadline = Instant::now() + Duration::from_secs(90);
    // Pods of routers and servers drain first; garbage collection follows the owner.
    while !left(node)?.iter().all(|l| l.contains("sluice-operator") || l.contains("sluice-router")) {
        ensure!(Instant::now() < deadline, "after the ModelDeployments there is still {:?}", left(node)?);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    node.uninstall()?;
    while !left(node)?.is_empty() {
        ensure!(Instant::now() < deadline, "after uninstall there is still {:?}", left(node)?);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let definitions = node.kubectl(&["get", "crd", "-o", "name"])?;
    ensure!(definitions.lines().filter(|l| l.contains("sluice.dev")).count() == 3, "{definitions}");
    Ok(())
}

/// Everything of ours that exists, as `kind/name`.
fn left(node: &Node) -> Result<Vec<String>> {
    let all = node.kubectl(&["get", KINDS, "-A", "-o", "name"])?;
    let ours = |line: &&str| ["sluice", NAME, private::NAME].iter().any(|name| line.contains(name));
    Ok(all.lines().filter(ours).map(str::to_owned).collect())
}
