//! Makes it so: the desired state of a plan, in an order that is right at every crash point.
//!
//! A share is taken away before anything else is written. Otherwise capacity grows first, then the route is
//! written; only after the status remembers the decision ([`crate::report`]) does capacity shrink
//! ([`settle`]), and only of what the plan no longer wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{ModelRollout, ModelRoute, names};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::Patch;
use kube::{Resource, ResourceExt};
use rollout::{Phase, Plan};
use serde_json::json;

use crate::observe::{Seen, Written};
use crate::resources::{self, Images, Opened, WORTH_A_BUDGET};
use crate::revision::{self, Asked, Resolved, Revision};
use crate::validate::Valid;
use crate::write::{Pen, WriteError};

/// Grace in seconds of pods that must go at once (R5).
const EVICTION_GRACE: u32 = 1;

/// One plan about to be carried out.
pub struct Act<'a> {
    /// What was seen; brought up to date with what is written.
    pub seen: &'a mut Seen,
    /// What is wanted.
    pub valid: &'a Valid,
    /// What those revisions resolve to that have a pod overlay and are to be made.
    pub taken: &'a BTreeMap<String, Resolved>,
    /// What was decided.
    pub plan: &'a Plan,
    /// Where writes are remembered.
    pub written: &'a Written,
    /// Images of the installation.
    pub images: &'a Images,
    /// Connection of most writes.
    pub pen: Pen<'a>,
    /// Connection of the route alone: nothing is ever queued before it (R5).
    pub lane: Pen<'a>,
}

impl Act<'_> {
    /// Carries out everything of the plan that does not lower capacity. Returns the first write that one object
    /// is in the way of, when all the rest was done.
    ///
    /// # Errors
    /// The first other write that is not made; the next reconcile starts over.
    pub async fn act(&mut self) -> Result<Option<WriteError>, WriteError> {
        let mut refused = Refused::default();
        let urgent = (self.plan.route.undo.is_some() || self.lowers()) && self.seen.route.is_some();
        if urgent {
            self.route().await?;
            self.evict().await?;
        }
        // What serves comes before what is new.
        let stable = self.plan.state.stable.as_ref();
        let stable = stable.and_then(|name| Some((name, self.plan.workloads.get(name)?.replicas)));
        if let Some((name, replicas)) = stable {
            self.grow(name, replicas, &mut refused).await?;
        }
        self.revision().await?;
        self.rollout().await?;
        for (name, workload) in &self.plan.workloads {
            if stable.is_none_or(|(stable, _)| stable != name) {
                self.grow(name, workload.replicas, &mut refused).await?;
            }
        }
        self.router(&mut refused).await?;
        if !urgent {
            self.route().await?;
            self.evict().await?;
        }
        Ok(refused.0)
    }

    /// Lowers capacity to what the plan still wants, and removes what is no longer referred to. Called once
    /// the status remembers the plan.
    ///
    /// # Errors
    /// The first write that is not made.
    pub async fn settle(&mut self) -> Result<(), WriteError> {
        self.shrink().await?;
        self.prune().await
    }

    /// Whether any revision loses all of its share, or what else it gets.
    fn lowers(&self) -> bool {
        let Some(route) = self.seen.route.as_deref() else { return false };
        if resources::mirror(route) != self.plan.route.mirror
            || route.spec.candidate != self.plan.route.candidate
        {
            return self.plan.route.mirror.is_none() && self.plan.route.candidate.is_none();
        }
        let live = resources::shares(route);
        live.keys().any(|revision| self.plan.route.shares.get(revision).copied().unwrap_or(0) == 0)
    }

    async fn route(&mut self) -> Result<(), WriteError> {
        let (owner, spec) = (&self.seen.owner, &self.seen.deployment.spec);
        let live = self.seen.route.as_deref();
        let mut wanted = resources::route(owner, spec, &self.plan.route, live);
        if let Some(live) = live
            && same_route(live, &wanted)
        {
            return Ok(());
        }
        // Ours is dropped when it is no longer wanted, and never a person's pin: it has another owner.
        wanted.metadata.managed_fields = None;
        let route = self.lane.put(live, wanted, true).await?;
        if let Some(route) = route {
            self.seen.route = Some(self.written.routes.remember(route));
        }
        Ok(())
    }

    /// Stores what the spec asks for, once, with what it resolves to now (I1).
    async fn revision(&mut self) -> Result<(), WriteError> {
        if self.valid.is_put_off() {
            return Ok(());
        }
        for (name, asked) in &self.valid.asked {
            if !self.seen.revisions.contains_key(name) {
                self.store(name, asked).await?;
            }
        }
        Ok(())
    }

    async fn store(&mut self, name: &str, asked: &Asked) -> Result<(), WriteError> {
        let owner = &self.seen.owner;
        let plain = || resources::template(owner, name, asked, self.images);
        let resolved = self.taken.get(name).cloned().unwrap_or_else(plain);
        let number = self.seen.revisions.values().map(|r| r.number).max().unwrap_or(0) + 1;
        let meta = owner.meta(name, &[(names::REVISION, name)]);
        let stored = revision::store(meta, number, asked, &resolved);
        let stored = self.pen.create_once(&stored).await?;
        let refused = |why: revision::RevisionError| WriteError::Refused {
            object: format!("ControllerRevision {name}"),
            reason: why.to_string(),
        };
        let revision = revision::read(&stored).map_err(refused)?;
        if !revision.asks_for(asked) {
            // Another spec has that name, and the watch does not know it yet.
            return Err(WriteError::Conflict { object: format!("ControllerRevision {name}") });
        }
        self.seen.revisions.insert(name.to_owned(), revision);
        Ok(())
    }

    /// Opens the audit trail of the rollout that runs now.
    async fn rollout(&mut self) -> Result<(), WriteError> {
        let Phase::Rolling(rolling) = &self.plan.state.phase else { return Ok(()) };
        let version = |revision: &str| {
            self.seen.revisions.get(revision).map_or("", |r| r.asked.model.version.as_str()).to_owned()
        };
        let from = rolling.from.as_deref().map(|name| (name, version(name)));
        let to = version(&rolling.to);
        let wanted = resources::rollout(
            &self.seen.owner,
            Opened {
                sequence: rolling.sequence,
                kind: rolling.kind,
                from: from.as_ref().map(|(name, version)| (*name, version.as_str())),
                to: (&rolling.to, &to),
                challengers: &rolling.rivals,
                stages: &rolling.stages,
            },
        );
        let known = self.seen.rollouts.get(&rolling.sequence).cloned();
        let stored = match known {
            Some(known) => known,
            None => self.written.rollouts.remember(self.pen.create_once(&wanted).await?),
        };
        if is_same(&stored, &wanted) {
            self.seen.rollouts.insert(rolling.sequence, stored);
            return Ok(());
        }
        // Opened for another intent, by a process that died before the status remembered it.
        self.pen.delete(&*stored, None).await?;
        self.written.rollouts.forget(self.seen.namespace(), &stored.name_any());
        let created = self.pen.create_once(&wanted).await?;
        self.seen.rollouts.insert(rolling.sequence, self.written.rollouts.remember(created));
        Ok(())
    }

    /// Service and workload of a revision: one that must grow, or appear, or whose fields someone changed.
    async fn grow(&mut self, revision: &str, to: u32, refused: &mut Refused) -> Result<(), WriteError> {
        let wanted = resources::service(&self.seen.owner, revision);
        let service = self.pen.put(self.live(&self.seen.services, revision), wanted, false).await;
        refused.pass(service)?;
        let has = self.live(&self.seen.workloads, revision).map_or(0, replicas);
        refused.pass(self.scale(revision, to.max(has)).await)?;
        self.budget(to, resources::server_budget(&self.seen.owner, revision), refused).await
    }

    /// Keeps a drain from taking all pods at once, where there is more than one.
    async fn budget(
        &self,
        pods: u32,
        wanted: PodDisruptionBudget,
        refused: &mut Refused,
    ) -> Result<(), WriteError> {
        if pods < WORTH_A_BUDGET {
            return Ok(());
        }
        let live = self.live(&self.seen.budgets, &wanted.name_any());
        refused.pass(self.pen.put(live, wanted, false).await)
    }

    async fn router(&self, refused: &mut Refused) -> Result<(), WriteError> {
        let (owner, spec) = (&self.seen.owner, &self.seen.deployment.spec);
        let name = names::router(&owner.name);
        let live = self.live(&self.seen.workloads, &name);
        let router = resources::router(owner, spec.router.as_ref(), self.valid.routers, self.images);
        refused.pass(self.pen.put(self.live(&self.seen.accounts, &name), router.account, false).await)?;
        refused.pass(self.pen.put(self.live(&self.seen.bindings, &name), router.binding, false).await)?;
        // A rollout is no time to replace routers: they are what it is judged by. Their number may change.
        let busy = matches!(self.plan.state.phase, Phase::Rolling(_) | Phase::Returning(_));
        match live.filter(|_| busy) {
            Some(live) if replicas(live) != self.valid.routers => {
                let patch = Patch::Merge(json!({
                    "metadata": {"uid": live.uid(), "resourceVersion": live.resource_version()},
                    "spec": {"replicas": self.valid.routers},
                }));
                refused.pass(self.pen.patch::<Deployment>(&name, &patch).await)?;
            }
            Some(_) => {}
            None => refused.pass(self.pen.put(live, router.workload, true).await)?,
        }
        refused
            .pass(self.pen.put(self.live(&self.seen.services, &owner.name), router.service, false).await)?;
        self.budget(self.valid.routers, resources::router_budget(owner), refused).await
    }

    /// Takes the pods of revisions that routers do not let go of (R5).
    async fn evict(&mut self) -> Result<(), WriteError> {
        for revision in &self.plan.evict {
            if self.live(&self.seen.workloads, revision).is_some_and(|live| replicas(live) > 0) {
                self.scale(revision, 0).await?;
            }
            for pod in self.seen.servers(revision) {
                if pod.metadata.deletion_grace_period_seconds.is_none_or(|s| s > i64::from(EVICTION_GRACE)) {
                    self.pen.delete::<Pod>(pod, Some(EVICTION_GRACE)).await?;
                }
            }
        }
        Ok(())
    }

    async fn shrink(&mut self) -> Result<(), WriteError> {
        let running: Vec<(String, Arc<Deployment>)> =
            self.seen.running_revisions().map(|(name, live)| (name.clone(), live.clone())).collect();
        for (revision, live) in running {
            match self.plan.workloads.get(&revision) {
                Some(workload) if workload.replicas < replicas(&live) => {
                    self.scale(&revision, workload.replicas).await?;
                }
                Some(_) => {}
                None => self.pen.delete::<Deployment>(&live, None).await?,
            }
        }
        for (name, service) in &self.seen.services {
            let of_revision = service.labels().contains_key(names::REVISION);
            if of_revision && !self.plan.workloads.contains_key(name) {
                self.pen.delete::<Service>(service, None).await?;
            }
        }
        for budget in self.seen.budgets.values() {
            let pods = match budget.labels().get(names::REVISION) {
                Some(revision) => self.plan.workloads.get(revision).map_or(0, |w| w.replicas),
                None => self.valid.routers,
            };
            if pods < WORTH_A_BUDGET {
                self.pen.delete::<PodDisruptionBudget>(budget, None).await?;
            }
        }
        Ok(())
    }

    /// rule: K3, R4. Always fenced: what is more than was seen may be less than there is by now.
    async fn scale(&mut self, revision: &str, to: u32) -> Result<(), WriteError> {
        let live = self.live(&self.seen.workloads, revision);
        let Some(template) = self.template(revision) else { return Ok(()) };
        let wanted = resources::workload(&self.seen.owner, revision, template, to);
        if let Some(workload) = self.pen.put(live, wanted, true).await? {
            self.seen.workloads.insert(revision.to_owned(), Arc::new(workload));
        }
        Ok(())
    }

    /// The frozen template of a revision; that of its workload if its record was deleted by someone.
    fn template(&self, revision: &str) -> Option<&PodTemplateSpec> {
        let frozen = self.seen.revisions.get(revision).map(|r| &r.resolved.template);
        frozen.or_else(|| Some(&self.seen.workloads.get(revision)?.spec.as_ref()?.template))
    }

    /// Keeps the history within its limit: never the newest rollout, never a revision that is referred to.
    async fn prune(&self) -> Result<(), WriteError> {
        let limit = self.valid.history;
        let state = &self.plan.state;
        let old = self.seen.rollouts.iter().rev().skip(limit);
        for (_, rollout) in old.filter(|(sequence, _)| **sequence < state.sequence) {
            self.pen.delete::<ModelRollout>(rollout, None).await?;
        }
        let mut keep = self.seen.referenced(state);
        keep.extend(self.valid.wanted.candidates().cloned());
        keep.extend(self.plan.workloads.keys().cloned());
        let mut unused: Vec<&Revision> =
            self.seen.revisions.values().filter(|r| !keep.contains(&r.name)).collect();
        unused.sort_by_key(|r| std::cmp::Reverse(r.number));
        for revision in unused.into_iter().skip(limit) {
            if let Some(stored) = self.pen.read::<ControllerRevision>(&revision.name).await? {
                self.pen.delete(&stored, None).await?;
            }
        }
        Ok(())
    }

    fn live<'s, K: Resource>(&self, objects: &'s BTreeMap<String, Arc<K>>, name: &str) -> Option<&'s K> {
        objects.get(name).map(Arc::as_ref)
    }
}

/// The first write that one object is in the way of; what does not depend on it goes on.
#[derive(Default)]
struct Refused(Option<WriteError>);

impl Refused {
    fn pass<T>(&mut self, done: Result<T, WriteError>) -> Result<(), WriteError> {
        match done {
            Ok(_) => Ok(()),
            Err(error) if error.is_of_one_object() => {
                self.0.get_or_insert(error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Pods that a workload asks for.
#[must_use]
pub fn replicas(workload: &Deployment) -> u32 {
    let replicas = workload.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    u32::try_from(replicas).unwrap_or(0)
}

fn same_route(live: &ModelRoute, wanted: &ModelRoute) -> bool {
    live.spec == wanted.spec
        && live.annotations().get(names::RETURNING) == wanted.annotations().get(names::RETURNING)
}

fn is_same(stored: &ModelRollout, wanted: &ModelRollout) -> bool {
    let (stored, wanted) = (&stored.spec, &wanted.spec);
    // Candidates that went are still a part of what was opened.
    let opened = |name: &String| *name == stored.to || stored.challengers.contains(name);
    let all = std::iter::once(&wanted.to).chain(&wanted.challengers).all(opened);
    all && (&stored.from, stored.kind) == (&wanted.from, wanted.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_write_lets_the_rest_go_on_and_a_failed_one_does_not() {
        let object = || "Deployment x".to_owned();
        let mut refused = Refused::default();
        assert!(refused.pass(Ok(())).is_ok());
        assert!(refused.pass::<()>(Err(WriteError::NameTaken { object: object() })).is_ok());
        let second = WriteError::Refused { object: object(), reason: String::new() };
        assert!(refused.pass::<()>(Err(second)).is_ok());
        assert!(refused.pass::<()>(Err(WriteError::Conflict { object: object() })).is_err());
        assert!(matches!(refused.0, Some(WriteError::NameTaken { .. })), "the first one is told");
    }
}
