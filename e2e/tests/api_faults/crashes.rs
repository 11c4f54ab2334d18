//! The operator dies before and after each of its writes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::Phase;
use e2e::proxy::{At, Moment, Write};
use e2e::trial::{Trial, at_stage, holding, is_healthy, spec};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::end::{End, given};

/// Worlds at the same time; they wait most of the time.
const TOGETHER: usize = 4;
/// Renewals of the Lease that the operator dies at, beside its writes.
const RENEWALS: usize = 2;
/// How long each step of the canary is held.
const HOLD: Duration = Duration::from_secs(1);

/// What is done, while the operator dies once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// From the first apply of all to the promotion of another version.
    Rollout,
    /// From the apply of another version to its end by a person's hand in its first step.
    Rollback,
}

impl Story {
    fn spec(self, version: &str) -> Value {
        let hold = if self == Self::Rollout { "1s" } else { "60s" };
        holding(version, hold)
    }

    /// What is done before it, with an operator that lives.
    async fn begin(self, trial: &Trial) -> Result<()> {
        if self == Self::Rollback {
            trial.serve_first(&self.spec("1.0.0")).await?;
            End::settled(trial).await?;
        }
        Ok(())
    }

    async fn tell(self, trial: &Trial) -> Result<()> {
        if self == Self::Rollout {
            trial.serve_first(&self.spec("1.0.0")).await?;
            trial.apply(&self.spec("1.1.0")).await?;
            trial.until(40, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
        } else {
            trial.apply(&self.spec("1.1.0")).await?;
            trial.until(30, "the first step", |s| at_stage(s, 1)).await?;
            trial.act("rollback").await?;
            trial.until(30, "the way back", |s| s.phase == Some(Phase::RolledBack)).await?;
        }
        Ok(())
    }

    /// What no router may have seen.
    fn check(self, trial: &Trial, end: &End) -> Result<()> {
        let wanted: &[f64] =
            if self == Self::Rollout { &[0.0, 10.0, 50.0, 100.0] } else { &[0.0, 10.0, 0.0] };
        let hold = if self == Self::Rollout { HOLD } else { Duration::ZERO };
        for (router, shares) in given(&trial.hollow.adopted(), end.last_revision()) {
            // A router may see two changes as one, but none that was not made, and no hold is cut short.
            let mut rest = wanted.iter();
            let in_order = shares.iter().all(|(share, _)| rest.any(|wanted| wanted == share));
            ensure!(in_order, "{router} was told {shares:?}");
            for (share, lasted) in shares.iter().filter(|(share, _)| [10.0, 50.0].contains(share)) {
                ensure!(*lasted >= hold, "{router} gave {share} % for {lasted:?}");
            }
        }
        Ok(())
    }
}

/// A whole story with nothing in its way: its end, and its writes.
async fn undisturbed(story: Story) -> Result<(End, Vec<Write>)> {
    let (trial, proxy) = Trial::through_a_proxy("undisturbed").await?;
    story.begin(&trial).await?;
    let before = proxy.writes().len();
    story.tell(&trial).await?;
    let end = End::settled(&trial).await?;
    story.check(&trial, &end)?;
    Ok((end, proxy.writes().split_off(before)))
}

/// What a crash did.
struct Crashed {
    /// It did die: the story had as many writes.
    died: bool,
    /// Writes of both processes.
    writes: usize,
}

async fn crashed(story: Story, at: At, moment: Moment, expected: &End) -> Result<Crashed> {
    let (mut trial, first) = Trial::through_a_proxy("crash").await?;
    let operator = trial.operator.take().context("it runs")?;
    let second = trial.proxy().await?;
    story.begin(&trial).await?;
    let before = first.writes().len();
    first.crash_at(at, moment);
    let whole = async {
        story.tell(&trial).await?;
        expected.reached(&trial).await
    };
    tokio::pin!(whole);
    let died = tokio::select! {
        done = &mut whole => { done?; false }
        () = first.crashed() => true,
    };
    if died {
        operator.kill().await?;
        free_lease(&trial).await?;
        let successor = trial.operator_through(&second, "operator-1").await?;
        whole.await.map_err(|error| error.context(format!("its successor's log:\n{}", successor.tail())))?;
    }
    story.check(&trial, expected)?;
    Ok(Crashed { died, writes: first.writes().len() - before + second.writes().len() })
}

/// Frees the lease of a process that was killed, so that its successor need not wait for its end: the waiting is
/// tested elsewhere.
async fn free_lease(trial: &Trial) -> Result<()> {
    let free = Patch::Merge(json!({"spec": {"holderIdentity": null}}));
    match trial.api::<Lease>().patch("sluice-operator", &PatchParams::default(), &free).await {
        // It died before it had made one.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        done => Ok(done.map(drop)?),
    }
}

/// A crash at each write in turn, and at renewals of the Lease, before and after it; returns how many writes there are.
async fn sweep(story: Story) -> Result<usize> {
    let (end, writes) = undisturbed(story).await?;
    println!("{story:?}: {} writes when nothing happens:", writes.len());
    for (k, write) in (1..).zip(&writes) {
        println!("  {k:>2} {write}");
    }
    let all = (1..=writes.len()).map(At::Write).chain((1..=RENEWALS).map(At::Lease));
    let moments = all.flat_map(|at| [(at, Moment::Before), (at, Moment::After)]);
    let runs = stream::iter(moments.map(|(at, moment)| {
        let end = &end;
        async move {
            let crashed = crashed(story, at, moment, end).await;
            crashed.with_context(|| format!("{story:?}, dead {moment:?} {at:?}"))
        }
    }));
    let all: Vec<Crashed> = runs.buffer_unordered(TOGETHER).try_collect().await?;
    let died = all.iter().filter(|run| run.died).count();
    let most = all.iter().map(|run| run.writes).max().unwrap_or(0);
    println!(
        "{story:?}: {died} crashes at {} writes and {RENEWALS} renewals, each with the same end; at most {most} writes",
        writes.len()
    );
    // The number of writes varies a little: statistics are written as they come.
    ensure!(died + 8 >= 2 * (writes.len() + RENEWALS), "only {died} crashes for {} writes", writes.len());
    ensure!(most <= 2 * writes.len(), "a restart made {most} writes of {}", writes.len());
    Ok(writes.len())
}

#[ignore = "minutes, and alone: make crashes"]
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_ends_the_same_wherever_the_operator_dies() -> Result<()> {
    // rule: T1, R3
    let writes = sweep(Story::Rollout).await?;
    ensure!(writes >= 20, "{writes} writes: is the proxy on the way?");
    Ok(())
}

#[ignore = "minutes, and alone: make crashes"]
#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_ends_the_same_wherever_the_operator_dies() -> Result<()> {
    // rule: V2, R4
    let writes = sweep(Story::Rollback).await?;
    ensure!(writes >= 10, "{writes} writes: is the proxy on the way?");
    Ok(())
}

/// Its kubeconfig leads to the proxy and holds nothing else: what the operator does, the proxy sees.
#[tokio::test]
async fn no_write_takes_another_way_than_the_proxy() -> Result<()> {
    let (trial, proxy) = Trial::through_a_proxy("bypass").await?;
    let kubeconfig = std::fs::read_to_string(proxy.kubeconfig())?;
    ensure!(!kubeconfig.contains("https") && !kubeconfig.contains("client-certificate"), "{kubeconfig}");
    trial.serve_first(&spec("1.0.0")).await?;
    let seen = proxy.writes();
    let end = End::now(&trial).await?;
    for made in end.everything() {
        let (kind, name) = made.split_once(' ').context("kind and name")?;
        let plural = format!("{}s", kind.to_lowercase());
        let is_it = |write: &Write| write.object == plural || write.object == format!("{plural}/{name}");
        ensure!(seen.iter().any(is_it), "{made} was made, and no write of {plural} came by");
    }
    Ok(())
}
