//! Things that break in the middle of a rollout.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use api::Phase;
use e2e::node::story::{NAME, Story};
use e2e::node::{Manifest, Node};

use super::{field, say, until, until_serves, until_weight};

/// SIGKILL of the operator that holds the lease, in the middle of a stage: the next one goes on at the same
/// stage, with the same start of its hold (T1).
pub(crate) async fn operator_killed_in_mid_canary(story: &Story) -> Result<()> {
    say("the operator is SIGKILLed in mid-canary");
    let start = Instant::now();
    let mut manifest = Manifest::new(story.models.better());
    // Two candidate pods at 50 %, so that one may die in the next chapter without an answer from stable.
    manifest.replicas = 3;
    manifest.steps = "[{weight: 10, hold: 20s, minRequests: 100}, {weight: 50, hold: 30s}]".into();
    story.node.apply(&manifest.yaml())?;
    let before = until_weight(story, start, 10).await?;
    let since = before.status.stage.clone().context("a stage is served")?.since;
    let holder = story.node.kubectl(&[
        "get",
        "lease",
        "sluice-operator",
        "-n",
        "sluice-system",
        "-o",
        "jsonpath={.spec.holderIdentity}",
    ])?;
    signal("-KILL", process("operator", &format!("POD_NAME={}", pod_of(&holder)))?)?;
    let killed = Instant::now();
    let now: Option<String> = Some(field(&story.node, "{.status.stage.since}")?);
    let after = until_weight(story, killed, 50).await?;
    println!(
        "operator killed: 50 % acknowledged {:.1} s later",
        after.at.duration_since(killed).as_secs_f64()
    );
    // rule: T1
    let rollout = after.status.rollout.context("a rollout has a name")?;
    let served = story.node.kubectl(&[
        "get",
        "modelrollout",
        &rollout,
        "-o",
        "jsonpath={range .status.record[?(@.reason==\"StageServed\")]}{.message}{\"\\n\"}{end}",
    ])?;
    ensure!(served.lines().count() == 2, "each stage is served once: {served}");
    let held = after.at.duration_since(before.at);
    ensure!(held >= Duration::from_secs(19), "the hold was shortened to {held:?}");
    ensure!(held <= Duration::from_secs(40), "the hold was repeated: {held:?}");
    let kept = since.map(|s| serde_json::to_value(s).map(|v| v.as_str().unwrap_or_default().to_owned()));
    ensure!(kept.transpose()? == now, "the start of the stage was reset");
    Ok(())
}

/// At 50 %, one candidate pod is deleted and another is SIGKILLed: no request is lost (R6).
pub(crate) async fn candidate_pods_die_at_half(story: &Story) -> Result<()> {
    say("at 50 %, a candidate pod is deleted, and one is SIGKILLed");
    let start = Instant::now();
    let candidate = field(&story.node, "{.status.candidate.revision}")?;
    let selector = format!("sluice.dev/revision={candidate}");
    let pod = |node: &Node| {
        node.kubectl(&[
            "get",
            "pods",
            "-l",
            &selector,
            "--field-selector=status.phase=Running",
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ])
    };
    let failed = story.load.summary().failed();
    story.node.kubectl(&["delete", "pod", &pod(&story.node)?, "--wait=true"])?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    signal("-KILL", process("model-server", &format!("HOSTNAME={}", pod(&story.node)?))?)?;
    let summary = story.load.summary();
    until_serves(story, start, "1.1.0").await?;
    ensure!(story.load.summary().failed() == failed, "requests were lost: {}", story.load.summary());
    println!("candidate pods died at 50 %: {} requests so far, {failed} failed", summary.requests);
    Ok(())
}

/// With no operator, a pin on the ModelRoute is obeyed by the routers (R8).
pub(crate) async fn pin_works_without_the_operator(story: &Story) -> Result<()> {
    say("the pin works with the operator stopped");
    let first = story.revision_of(story.models.first()).await?;
    stop_operator(&story.node)?;
    story.node.kubectl(&["annotate", "modelroute", NAME, &format!("sluice.dev/pin={first}")])?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let answers = |version: &str| story.load.summary().versions.get(version).map_or(0, |v| v.answers);
    let (old, new) = (answers("1.0.0"), answers("1.1.0"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let pinned = answers("1.0.0") - old;
    ensure!(answers("1.1.0") == new, "{} answers of 1.1.0 while pinned to 1.0.0", answers("1.1.0") - new);
    ensure!(pinned > 100, "only {pinned} answers of 1.0.0 in 3 s of its pin");
    story.node.kubectl(&["annotate", "modelroute", NAME, "sluice.dev/pin-"])?;
    start_operator(&story.node)
}

/// Returns when no operator runs any more.
pub(crate) fn stop_operator(node: &Node) -> Result<()> {
    scale_operator(node, 0)?;
    node.kubectl(&[
        "wait",
        "--for=delete",
        "pod",
        "-l",
        "app.kubernetes.io/component=operator",
        "-n",
        "sluice-system",
        "--timeout=60s",
    ])
    .map(drop)
}

/// Returns when both replicas are ready.
pub(crate) fn start_operator(node: &Node) -> Result<()> {
    scale_operator(node, 2)?;
    let operator = "deployment/sluice-operator";
    node.kubectl(&["rollout", "status", operator, "-n", "sluice-system", "--timeout=60s"]).map(drop)
}

fn scale_operator(node: &Node, replicas: u32) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    node.kubectl(&["scale", "deployment", "sluice-operator", "-n", "sluice-system", &replicas]).map(drop)
}

/// A stable pod that is not ready does not stop an abort (R5): measured on peers, it keeps the bad weight for
/// ever there.
pub(crate) async fn unready_stable_does_not_stop_an_abort(story: &Story) -> Result<()> {
    say("a stable pod is not ready, and the abort goes through");
    let start = Instant::now();
    let mut manifest = Manifest::new(story.models.better());
    // The same model with other settings: another revision.
    manifest.cpu = "90m".into();
    manifest.steps = "[{weight: 10, hold: 10m}]".into();
    story.node.apply(&manifest.yaml())?;
    until_weight(story, start, 10).await?;
    let stable = field(&story.node, "{.status.stable.revision}")?;
    let selector = format!("sluice.dev/revision={stable}");
    let pod =
        story.node.kubectl(&["get", "pods", "-l", &selector, "-o", "jsonpath={.items[0].metadata.name}"])?;
    let frozen = process("model-server", &format!("HOSTNAME={pod}"))?;
    signal("-STOP", frozen)?;
    let outcome = abort_beside(story, &pod).await;
    // Whatever happened, the process goes on, and so do the requests that it holds.
    signal("-CONT", frozen)?;
    let took = outcome?;
    println!("abort beside an unready stable pod: {:.3} s", took.as_secs_f64());
    ensure!(took <= Duration::from_secs(5), "the abort took {took:?}");
    story.node.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=30s"])?;
    Ok(())
}

async fn abort_beside(story: &Story, pod: &str) -> Result<Duration> {
    story.node.kubectl(&["wait", "--for=condition=Ready=false", &format!("pod/{pod}"), "--timeout=20s"])?;
    story.annotate("abort")?;
    let asked = Instant::now();
    let change = until(story, asked, 30, "the abort", |s| s.phase == Some(Phase::RolledBack)).await?;
    Ok(change.at.duration_since(asked))
}

/// The operator's identity in the lease is its pod's name, its process and its start.
fn pod_of(holder: &str) -> &str {
    holder.rsplitn(3, '-').last().unwrap_or(holder)
}

/// The process of a pod of ours: by its program and a variable of its environment. The node's processes are
/// this machine's.
fn process(program: &str, variable: &str) -> Result<u32> {
    for entry in std::fs::read_dir("/proc")? {
        let path: PathBuf = entry?.path();
        let Some(pid) = path.file_name().and_then(|n| n.to_str()?.parse().ok()) else { continue };
        let read = |file: &str| std::fs::read(path.join(file)).unwrap_or_default();
        let of_program = read("cmdline")
            .split(|b| *b == 0)
            .next()
            .is_some_and(|arg| arg.ends_with(format!("/{program}").as_bytes()) || arg == program.as_bytes());
        let of_pod = read("environ").split(|b| *b == 0).any(|v| v == variable.as_bytes());
        if of_program && of_pod {
            return Ok(pid);
        }
    }
    bail!("no process of {program} with {variable}")
}

fn signal(signal: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status()?;
    ensure!(status.success(), "kill {signal} {pid}: {status}");
    Ok(())
}
