//! Ways up: the first deployment, a canary that is promoted, rest, and the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{ModelDeployment, ModelDeploymentStatus, ModelRollout, ModelRoute, Outcome, Phase};
use e2e::trial::{NAME, Trial, is_healthy, spec, with};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::{condition, ended, outcome, reasons};

#[tokio::test]
async fn the_first_version_is_pending_until_it_is_ready_and_then_has_everything() -> Result<()> {
    // rule: R4, T3
    let trial = Trial::start("first").await?;
    trial.hollow.model("1.0.0", |m| m.ready = e2e::hollow::Ready::After(Duration::from_secs(1)));
    trial.apply(&spec("1.0.0")).await?;
    trial.until(10, "the phase Pending", |s| s.phase == Some(Phase::Pending)).await?;
    let status = trial.until(20, "1.0.0 to serve", |s| is_healthy(s, "1.0.0")).await?;
    let stable = status.stable.context("it is healthy")?;
    // rule: I5
    let digest =
        trial.until(5, "its digest", |s| s.stable.as_ref().is_some_and(|s| s.model.sha256.is_some())).await?;
    ensure!(digest.stable.context("it is healthy")?.model.sha256.context("above")?.len() == 64);
    trial.served(&stable.revision, 100.0, 5).await?;
    ensure!(trial.rollouts().await?.len() == 1);
    Ok(())
}

#[tokio::test]
async fn a_good_version_goes_through_every_step_and_is_promoted() -> Result<()> {
    // rule: R2, T1, T2
    let trial = Trial::start("promote").await?;
    let first = trial.serve_first(&spec("1.0.0")).await?;
    let start = Instant::now();
    trial.apply(&spec("1.1.0")).await?;
    let status = trial.until(40, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    println!("promoted through 10 and 50 % after {:?} with holds of 1 s", start.elapsed());
    let second = status.stable.context("it is healthy")?.revision;

    // What every router served, in this order, and nothing else.
    let adopted = trial.hollow.adopted();
    let routers: BTreeSet<&String> = adopted.iter().map(|table| &table.router).collect();
    ensure!(routers.len() == 2, "{routers:?}");
    for router in routers {
        let mut shares: Vec<f64> = adopted
            .iter()
            .filter(|table| table.router == *router)
            .map(|table| table.shares.get(&second).copied().unwrap_or(0.0))
            .collect();
        shares.dedup();
        ensure!(shares == [0.0, 10.0, 50.0, 100.0], "{router} gave {shares:?} %");
    }
    // Holds begin when every router serves the step.
    let at = |percent: f64| {
        let tables = adopted.iter().filter(|t| t.shares.get(&second) == Some(&percent));
        tables.map(|t| t.at).max().context("it was served")
    };
    ensure!(at(50.0)? - at(10.0)? >= Duration::from_secs(1), "the hold of the first step was cut short");
    ensure!(at(100.0)? - at(50.0)? >= Duration::from_secs(1), "the hold of the second step was cut short");

    let rollout = ended(&trial, 2).await?;
    ensure!(outcome(&rollout) == Some(Outcome::Promoted), "{rollout:?}");
    ensure!(rollout.spec.from == Some(first.clone()) && rollout.spec.to == second);
    let served = reasons(&rollout).iter().filter(|r| *r == "StageServed").count();
    ensure!(served == 3, "{:?}", reasons(&rollout));
    let verdicts = rollout.status.context("it has ended")?.verdicts;
    ensure!(verdicts.first().is_some_and(|v| v.verdict == "Pass" && v.samples >= 50), "{verdicts:?}");
    // The old revision stays warm, with all its pods.
    let old = trial.api::<Deployment>().get(&first).await?;
    ensure!(old.status.and_then(|s| s.ready_replicas) == Some(2), "the old revision is kept warm");
    Ok(())
}

#[tokio::test]
async fn at_rest_nothing_is_read_and_nothing_is_written() -> Result<()> {
    let trial = Trial::start("idle").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    // What a promotion leaves to be told is told within a moment.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, reads) = (versions(&trial).await?, trial.hollow.reads());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let after = versions(&trial).await?;
    ensure!(before == after, "written at rest:\n{before:?}\n{after:?}");
    ensure!(trial.hollow.reads() == reads, "{} pages were read at rest", trial.hollow.reads() - reads);
    println!("10 s at rest: 0 writes to {} objects, 0 reads of pages", after.len());
    Ok(())
}

#[tokio::test]
async fn with_its_deployment_everything_goes() -> Result<()> {
    let trial = Trial::start("delete").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial
        .apply(&with(spec("1.1.0"), &[("/strategy/canary/steps/0", json!({"weight": 10, "hold": "30s"}))]))
        .await?;
    trial.until(20, "a candidate", |s| s.candidate.is_some()).await?;
    ensure!(versions(&trial).await?.len() > 8);
    trial.api::<ModelDeployment>().delete(NAME, &DeleteParams::background()).await?;
    trial
        .eventually(20, "nothing to be left", async || Ok(versions(&trial).await?.is_empty().then_some(())))
        .await
}

#[tokio::test]
async fn one_made_anew_waits_quietly_for_what_the_one_before_leaves() -> Result<()> {
    let trial = Trial::start("anew").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    // The garbage collector cannot finish with it until we let go.
    let services = trial.api::<Service>();
    let holders = async |names: &[&str]| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": names}}));
        services.patch(NAME, &PatchParams::default(), &patch).await
    };
    let old = holders(&["sluice.dev/test"]).await?;
    trial.api::<ModelDeployment>().delete(NAME, &DeleteParams::background()).await?;
    let new = trial.apply(&spec("1.0.0")).await?;

    // All the rest is made meanwhile, and the one reason that is left says what is waited for.
    let status = trial
        .until(30, "pods of its own", |s| {
            let leaving = |c: &Condition| c.reason == "NameLeaving" && c.message.contains("Service digits ");
            s.stable.is_some() && condition(s, "Progressing").is_some_and(leaving)
        })
        .await?;
    ensure!(services.get(NAME).await?.uid() == old.uid(), "{status:?}");

    holders(&[]).await?;
    let start = Instant::now();
    let settled =
        |s: &ModelDeploymentStatus| condition(s, "Progressing").is_some_and(|c| c.reason == "Settled");
    trial.until(20, "1.0.0 to serve again", |s| is_healthy(s, "1.0.0") && settled(s)).await?;
    println!("settled {:?} after the last object of the one before went", start.elapsed());
    let owners = services.get(NAME).await?.metadata.owner_references.unwrap_or_default();
    ensure!(owners.iter().map(|o| Some(&o.uid)).eq([new.metadata.uid.as_ref()]), "{owners:?}");
    // Nobody was called for what passes by itself.
    for reason in ["NameTaken", "NameLeaving", "Refused"] {
        let events = trial.events(reason).await?;
        ensure!(events.is_empty(), "{reason}: {events:?}");
    }
    Ok(())
}

/// Resource versions of everything that an operator makes or writes, but the Lease.
async fn versions(trial: &Trial) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    list::<ModelDeployment>(trial, &mut all).await?;
    list::<ModelRollout>(trial, &mut all).await?;
    list::<ModelRoute>(trial, &mut all).await?;
    list::<ControllerRevision>(trial, &mut all).await?;
    list::<Deployment>(trial, &mut all).await?;
    list::<Service>(trial, &mut all).await?;
    list::<ServiceAccount>(trial, &mut all).await?;
    list::<RoleBinding>(trial, &mut all).await?;
    list::<Pod>(trial, &mut all).await?;
    list::<EndpointSlice>(trial, &mut all).await?;
    Ok(all)
}

async fn list<K>(trial: &Trial, all: &mut BTreeMap<String, String>) -> Result<()>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    for object in trial.api::<K>().list(&ListParams::default()).await? {
        let name = format!("{} {}", K::kind(&()), object.name_any());
        all.insert(name, object.resource_version().unwrap_or_default());
    }
    Ok(())
}
