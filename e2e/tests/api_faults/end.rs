//! What is left when a story is over: the same, whatever happened on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use api::{ModelRoute, Outcome, Phase};
use e2e::hollow::Adopted;
use e2e::trial::Trial;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// Everything that must not depend on what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    phase: Option<Phase>,
    stable: Option<String>,
    candidate: Option<String>,
    /// The revision of the newest rollout.
    asked: Option<String>,
    shares: Vec<String>,
    /// Replicas asked for, by Deployment.
    replicas: BTreeMap<String, Option<i32>>,
    /// Names of everything else that was made.
    others: Vec<String>,
    /// Number, outcome and the reasons of the decisions of each rollout.
    rollouts: Vec<(u64, Option<Outcome>, Vec<String>)>,
}

impl End {
    /// How it is now.
    pub(crate) async fn now(trial: &Trial) -> Result<Self> {
        let status = trial.status().await?;
        let deployments = trial.api::<Deployment>().list(&ListParams::default()).await?;
        let replicas = |d: Deployment| (d.name_any(), d.spec.and_then(|spec| spec.replicas));
        let routes = trial.api::<ModelRoute>().list(&ListParams::default()).await?;
        let mut others = names::<ControllerRevision>(trial).await?;
        others.extend(names::<Service>(trial).await?);
        others.extend(names::<ServiceAccount>(trial).await?);
        others.extend(names::<RoleBinding>(trial).await?);
        others.extend(names::<PodDisruptionBudget>(trial).await?);
        let rollouts = trial.rollouts().await?;
        let asked = rollouts.last().map(|rollout| rollout.spec.to.clone());
        let rollouts = rollouts.into_iter().map(|rollout| {
            let status = rollout.status.unwrap_or_default();
            let reasons = status.record.into_iter().map(|record| record.reason).collect();
            (rollout.spec.sequence, status.outcome, reasons)
        });
        Ok(Self {
            phase: status.phase,
            stable: status.stable.map(|stable| stable.revision),
            candidate: status.candidate.map(|candidate| candidate.revision),
            asked,
            shares: routes.items.into_iter().map(|route| route.spec.shares).collect(),
            replicas: deployments.items.into_iter().map(replicas).collect(),
            others,
            rollouts: rollouts.collect(),
        })
    }

    /// The revision that the newest rollout is about.
    pub(crate) fn last_revision(&self) -> &str {
        self.asked.as_deref().unwrap_or_default()
    }

    /// Kind and name of everything that was made.
    pub(crate) fn everything(&self) -> impl Iterator<Item = String> {
        let deployments = self.replicas.keys().map(|name| format!("Deployment {name}"));
        deployments.chain(self.others.iter().cloned())
    }

    /// Waits until nothing changes any more for a second and a half.
    pub(crate) async fn settled(trial: &Trial) -> Result<Self> {
        let mut last = Self::now(trial).await?;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            let now = Self::now(trial).await?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
        anyhow::bail!("it does not come to rest: {last:#?}")
    }

    /// Waits until the end is this one, and it stays.
    pub(crate) async fn reached(&self, trial: &Trial) -> Result<()> {
        let is_reached = async || Ok((Self::now(trial).await? == *self).then_some(()));
        if trial.eventually(15, "the same end", is_reached).await.is_err() {
            let found = Self::now(trial).await?;
            anyhow::bail!("another end: {found:#?}\ninstead of {self:#?}\n{}", trial.report().await);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        ensure!(Self::now(trial).await? == *self, "it was reached, and left again");
        Ok(())
    }
}

async fn names<K>(trial: &Trial) -> Result<Vec<String>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let all = trial.api::<K>().list(&ListParams::default()).await?;
    Ok(all.items.iter().map(|object| format!("{} {}", K::kind(&()), object.name_any())).collect())
}

/// What every router gave to a revision, one after the other, each with the time for which it lasted; the last one
/// lasts.
pub(crate) fn given(adopted: &[Adopted], revision: &str) -> BTreeMap<String, Vec<(f64, Duration)>> {
    let mut all: BTreeMap<String, Vec<(f64, Duration)>> = BTreeMap::new();
    let mut since = BTreeMap::new();
    for table in adopted {
        let share = table.shares.get(revision).copied().unwrap_or(0.0);
        let mine = all.entry(table.router.clone()).or_default();
        if mine.last().is_none_or(|(last, _)| *last != share) {
            if let (Some((_, lasted)), Some(began)) = (mine.last_mut(), since.get(&table.router)) {
                *lasted = table.at - *began;
            }
            since.insert(table.router.clone(), table.at);
            mine.push((share, Duration::MAX));
        }
    }
    all
}
