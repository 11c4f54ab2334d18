//! What is the case: everything of one deployment, from the stores and nothing else. No network wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::{ModelDeployment, ModelRollout, ModelRoute, names};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{Resource, ResourceExt};
use rollout::{State, Wanted};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::RouteState;

use crate::fresh::Fresh;
use crate::index::{Index, Key};
use crate::resources::Owner;
use crate::revision::{self, Revision};
use crate::world::World;

/// Our last writes of the objects that are decided from. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// ModelDeployments (their status).
    pub deployments: Fresh<ModelDeployment>,
    /// Route tables.
    pub routes: Fresh<ModelRoute>,
    /// ModelRollouts.
    pub rollouts: Fresh<ModelRollout>,
}

/// One deployment and everything that was made for it. Objects of another owner are left out.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Names it.
    pub key: Key,
    /// The owner of the rest.
    pub owner: Owner,
    /// What the team wrote, and our status.
    pub deployment: Arc<ModelDeployment>,
    /// What was remembered.
    pub state: State,
    /// The route table.
    pub route: Option<Arc<ModelRoute>>,
    /// Rollouts by number.
    pub rollouts: BTreeMap<u64, Arc<ModelRollout>>,
    /// Revisions by name.
    pub revisions: BTreeMap<String, Revision>,
    /// Deployments by name, the routers' too.
    pub workloads: BTreeMap<String, Arc<Deployment>>,
    /// Services by name, the routers' too.
    pub services: BTreeMap<String, Arc<Service>>,
    /// ServiceAccounts by name.
    pub accounts: BTreeMap<String, Arc<ServiceAccount>>,
    /// RoleBindings by name.
    pub bindings: BTreeMap<String, Arc<RoleBinding>>,
    /// PodDisruptionBudgets by name.
    pub budgets: BTreeMap<String, Arc<PodDisruptionBudget>>,
    /// Pods of servers and routers.
    pub pods: Vec<Arc<Pod>>,
    /// Revisions that cannot be read, with the reason: they can't be gone back to.
    pub unreadable: Vec<String>,
}

/// Why a deployment cannot be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// It was never stored.
    #[error("the ModelDeployment has no uid or namespace")]
    NotStored,
    /// Its memory cannot be read.
    #[error("status.state cannot be read: {0}; it was written by another release")]
    State(#[source] serde_json::Error),
}

/// Looks at everything of a deployment.
///
/// # Errors
/// When its memory cannot be read: nothing is decided then, and what serves goes on.
pub fn observe(
    world: &World,
    written: &Written,
    key: &Key,
    stored: &ModelDeployment,
) -> Result<Seen, ObserveError> {
    let namespace = key.namespace.clone().unwrap_or_default();
    let deployment = written
        .deployments
        .newest(&namespace, &key.name, Some(Arc::new(stored.clone())))
        .ok_or(ObserveError::NotStored)?;
    let owner = Owner::of(&deployment).ok_or(ObserveError::NotStored)?;
    let stored_route = world.routes.of(key).remove(&key.name);
    let route =
        written.routes.newest(&namespace, &key.name, stored_route).filter(|route| owner.owns(&**route));
    let mut rollouts = rollouts(world, written, key, &owner);
    let (revisions, unreadable) = revisions(&owned(&world.revisions, key, &owner));
    let state: State = match deployment.status.as_ref().and_then(|s| s.state.clone()) {
        Some(state) => serde_json::from_value(state).map_err(ObserveError::State)?,
        None => recovered(&rollouts),
    };
    let newest = names::rollout(&key.name, state.sequence);
    if !rollouts.contains_key(&state.sequence)
        && let Some(created) = written.rollouts.newest(&namespace, &newest, None)
    {
        rollouts.insert(state.sequence, created);
    }
    Ok(Seen {
        state,
        route,
        rollouts,
        revisions,
        unreadable,
        workloads: owned(&world.workloads, key, &owner),
        services: owned(&world.services, key, &owner),
        accounts: owned(&world.accounts, key, &owner),
        bindings: owned(&world.bindings, key, &owner),
        budgets: owned(&world.budgets, key, &owner),
        pods: world.pods.of(key).into_values().collect(),
        key: key.clone(),
        owner,
        deployment,
    })
}

fn owned<K: Resource + Serialize + DeserializeOwned>(
    index: &Index<K>,
    key: &Key,
    owner: &Owner,
) -> BTreeMap<String, Arc<K>> {
    let mut objects = index.of(key);
    objects.retain(|_, object| owner.owns(&**object));
    objects
}

fn rollouts(world: &World, written: &Written, key: &Key, owner: &Owner) -> BTreeMap<u64, Arc<ModelRollout>> {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let stored = owned(&world.rollouts, key, owner);
    let newest = stored.into_iter().filter_map(|(name, object)| {
        let object = written.rollouts.newest(namespace, &name, Some(object))?;
        Some((object.spec.sequence, object))
    });
    newest.collect()
}

fn revisions(
    stored: &BTreeMap<String, Arc<ControllerRevision>>,
) -> (BTreeMap<String, Revision>, Vec<String>) {
    let (mut read, mut unreadable) = (BTreeMap::new(), Vec::new());
    for (name, object) in stored {
        match revision::read(object) {
            Ok(revision) => drop(read.insert(name.clone(), revision)),
            Err(why) => unreadable.push(why.to_string()),
        }
    }
    (read, unreadable)
}

/// The memory of a deployment whose status was lost, as after a restore from a backup: the newest rollout says
/// what was acted upon (I2). One that was running is not resumed: stable serves, and the intent counts as
/// tried.
fn recovered(rollouts: &BTreeMap<u64, Arc<ModelRollout>>) -> State {
    let Some(newest) = rollouts.values().next_back() else { return State::default() };
    let ended = newest.status.as_ref().and_then(|s| s.outcome);
    let promoted = ended == Some(api::Outcome::Promoted);
    // What was being gone back to is what is good.
    let goes_back = newest.spec.kind == api::RolloutKind::Rollback && ended.is_none();
    let to = promoted || goes_back;
    let stable = if to { Some(newest.spec.to.clone()) } else { newest.spec.from.clone() };
    let is_over = matches!(ended, Some(api::Outcome::Reported | api::Outcome::RolledBack));
    // Of a first shadow that is over there is no stable either.
    if stable.is_none() && !is_over {
        // A first one that was opened and never told of anything is opened again, with its number: else each failed
        // try would leave one behind.
        let opened = u64::from(newest.status.is_some());
        return State { sequence: newest.spec.sequence - 1 + opened, ..State::default() };
    }
    let of_spec = newest.spec.kind == api::RolloutKind::Rollout;
    State {
        stable,
        // After a rollback the intent of the rollout before it was acted upon.
        acted: rollouts
            .values()
            .rev()
            .find(|r| r.spec.kind == api::RolloutKind::Rollout)
            .map(|r| rollout::intent(&r.spec.to, &r.spec.challengers)),
        sequence: newest.spec.sequence,
        last: Some(rollout::Ended {
            sequence: newest.spec.sequence,
            kind: if of_spec { rollout::Kind::Rollout } else { rollout::Kind::Rollback },
            from: newest.spec.from.clone(),
            to: newest.spec.to.clone(),
            outcome: match ended {
                Some(api::Outcome::Promoted) => rollout::Outcome::Promoted,
                Some(api::Outcome::Superseded) => rollout::Outcome::Superseded,
                Some(api::Outcome::Reported) => rollout::Outcome::Reported,
                Some(api::Outcome::RolledBack) | None => rollout::Outcome::RolledBack,
            },
            reason: newest
                .status
                .as_ref()
                .and_then(|s| s.reason.clone())
                .unwrap_or_else(|| "the status of the ModelDeployment was lost while it ran".into()),
            undo: None,
        }),
        ..State::default()
    }
}

impl Seen {
    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.owner.namespace
    }

    /// The revision that the annotation on the route pins, if the table knows it (R8).
    #[must_use]
    pub fn pin(&self) -> Option<&str> {
        let route = self.route.as_ref()?;
        let pin = route.annotations().get(names::PIN)?;
        route.spec.revisions.iter().map(|r| r.name.as_str()).find(|name| name == pin)
    }

    /// A pin that names no revision of the table: routers ignore it, and people must hear of it (R8).
    #[must_use]
    pub fn unknown_pin(&self) -> Option<&str> {
        let pin = self.route.as_ref()?.annotations().get(names::PIN)?;
        (self.pin() != Some(pin)).then_some(pin)
    }

    /// The state of the route table that routers shall serve (R1).
    #[must_use]
    pub fn route_state(&self) -> Option<RouteState> {
        route_state(self.route.as_deref()?, self.pin())
    }

    /// Server pods of a revision that exist.
    pub fn servers<'a>(&'a self, revision: &'a str) -> impl Iterator<Item = &'a Arc<Pod>> {
        self.pods.iter().filter(move |pod| {
            pod.labels().get(names::ROLE).map(String::as_str) == Some(names::ROLE_SERVER)
                && pod.labels().get(names::REVISION).map(String::as_str) == Some(revision)
                && !is_over(pod)
        })
    }

    /// Names of the revisions that have a workload.
    pub fn running_revisions(&self) -> impl Iterator<Item = (&String, &Arc<Deployment>)> {
        self.workloads.iter().filter(|(_, w)| w.labels().contains_key(names::REVISION))
    }

    /// Revisions that memory or history refers to: they are never pruned.
    #[must_use]
    pub fn referenced(&self, state: &State) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = state.stable.iter().cloned().collect();
        if let Some(acted) = &state.acted {
            let (revision, challengers) = Wanted::of_intent(acted);
            all.extend(challengers.into_iter().chain([revision]));
        }
        all.extend(state.warm.iter().map(|w| w.revision.clone()));
        if let Some(last) = &state.last {
            all.extend(last.from.iter().cloned().chain([last.to.clone()]));
        }
        match &state.phase {
            rollout::Phase::Idle => {}
            rollout::Phase::Rolling(r) => all.extend(r.from.iter().chain(r.arms()).cloned()),
            rollout::Phase::Returning(r) => all.extend(r.candidates().chain(&r.undo.to).cloned()),
            rollout::Phase::Watching(w) => drop(all.insert(w.old.clone())),
        }
        all
    }
}

/// Names a state of a route table (R1).
#[must_use]
pub fn route_state(route: &ModelRoute, pin: Option<&str>) -> Option<RouteState> {
    Some(RouteState {
        uid: route.uid()?,
        generation: route.metadata.generation?,
        pin: pin.map(str::to_owned),
    })
}

/// Whether its containers have ended for good.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Ready, and not about to stop.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn rollout(kind: &str, outcome: Option<&str>) -> BTreeMap<u64, Arc<ModelRollout>> {
        let rollout = serde_json::from_value(serde_json::json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelRollout", "metadata": {"name": "digits-2"},
            "spec": {
                "deployment": "digits", "sequence": 2, "kind": kind, "from": "a", "fromVersion": "1",
                "to": "b", "toVersion": "2", "stages": [], "salt": "s",
            },
            "status": {"outcome": outcome},
        }));
        BTreeMap::from([(2, Arc::new(rollout.unwrap()))])
    }

    /// The first rollout of a deployment, with this status.
    pub(crate) fn first_rollout(status: &serde_json::Value) -> BTreeMap<u64, Arc<ModelRollout>> {
        let rollout = serde_json::from_value(serde_json::json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelRollout", "metadata": {"name": "digits-1"},
            "spec": {
                "deployment": "digits", "sequence": 1, "kind": "Rollout", "to": "a", "toVersion": "1",
                "stages": [], "salt": "s",
            },
            "status": status,
        }));
        BTreeMap::from([(1, Arc::new(rollout.unwrap()))])
    }

    #[test]
    fn a_first_rollout_that_was_only_opened_keeps_its_number() {
        // rule: I2
        let number = |status| recovered(&first_rollout(&status)).sequence;
        assert_eq!(number(serde_json::Value::Null), 0, "the next one is its first");
        assert_eq!(number(serde_json::json!({"outcome": "RolledBack"})), 1);
    }

    #[test]
    fn a_first_shadow_that_is_over_is_not_begun_again() {
        // rule: I2
        for (outcome, acted) in [("Reported", Some("a")), ("RolledBack", Some("a")), ("Superseded", None)] {
            let state = recovered(&first_rollout(&serde_json::json!({"outcome": outcome})));
            assert_eq!((state.stable, state.acted.as_deref()), (None, acted), "{outcome}");
        }
    }

    #[test]
    fn after_the_loss_of_the_status_what_is_good_is_stable() {
        // rule: I2
        let stable = |kind, outcome| recovered(&rollout(kind, outcome)).stable.unwrap();
        assert_eq!(stable("Rollout", None), "a", "the candidate was not proven");
        assert_eq!(stable("Rollout", Some("Promoted")), "b");
        assert_eq!(stable("Rollout", Some("RolledBack")), "a");
        assert_eq!(stable("Rollback", None), "b", "the way back was not finished");
        assert_eq!(stable("Rollback", Some("Promoted")), "b");
    }
}
