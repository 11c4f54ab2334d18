//! What the samples say: joins what was seen with the newest snapshot of the sampler, into what a decision
//! depends on. The verdicts themselves are made by crate `evidence`, in the sampler, once per interval. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::names;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use rollout::{Kind, Observed, Phase, Plan, Pods, Request, RouteSeen};

use crate::act::replicas;
use crate::fetching::failing;
use crate::observe::{Seen, is_ready};
use crate::resources;
use crate::sampler::{Memory, Order, Snapshot, acknowledgement, running_routers};
use crate::validate::Valid;

/// Everything that a decision depends on.
#[must_use]
pub fn judge(seen: &Seen, snapshot: &Snapshot) -> Observed {
    let annotation = |name: &str| seen.deployment.annotations().get(name).cloned();
    let workloads = seen.running_revisions().map(|(name, workload)| {
        let ready: Vec<_> = seen.servers(name).filter(|pod| is_ready(pod)).collect();
        let heard = ready.iter().filter(|pod| counts(seen, snapshot, name, pod)).count();
        let pods = Pods {
            replicas: replicas(workload),
            ready: u32::try_from(heard).unwrap_or(u32::MAX),
            unheard: u32::try_from(ready.len() - heard).unwrap_or(u32::MAX),
            existing: u32::try_from(seen.servers(name).count()).unwrap_or(u32::MAX),
            conflict: digests(seen, snapshot, name).len() > 1,
        };
        (name.clone(), pods)
    });
    Observed {
        workloads: workloads.collect(),
        failing: seen
            .running_revisions()
            .filter_map(|(name, _)| Some((name.clone(), unfetched(seen, name)?)))
            .collect(),
        known: seen.revisions.keys().cloned().collect(),
        route: route(seen, snapshot),
        evidence: snapshot.evidence.clone(),
        allotment: snapshot.allotment.clone(),
        request: annotation(names::ACTION).map(|text| Request { text, done: annotation(names::ACTION_DONE) }),
    }
}

/// Why pods of a revision have no model.
pub(crate) fn unfetched(seen: &Seen, revision: &str) -> Option<String> {
    let (pod, why) = failing(seen.servers(revision).map(Arc::as_ref))?;
    Some(format!("pod {pod} cannot fetch its model: {why}"))
}

/// A candidate's pod counts once it has said what it loaded: a raise must not be faster than the news that it
/// is another artefact (I5).
fn counts(seen: &Seen, snapshot: &Snapshot, revision: &str, pod: &Pod) -> bool {
    let is_candidate = match &seen.state.phase {
        Phase::Rolling(rolling) if rolling.kind == Kind::Rollout => rolling.arms().any(|arm| arm == revision),
        _ => false,
    };
    !is_candidate || snapshot.has_heard(revision, pod)
}

/// All digests that a revision has, or should have: what was asked for, what was recorded, what its pods
/// report. More than one is a conflict (I5).
#[must_use]
pub fn digests(seen: &Seen, snapshot: &Snapshot, revision: &str) -> BTreeSet<String> {
    let mut all = snapshot.servers.get(revision).map(|s| s.digests.clone()).unwrap_or_default();
    if let Some(known) = seen.revisions.get(revision) {
        all.extend(known.digest.clone());
        all.extend(known.asked.model.sha256.clone());
    }
    all
}

fn route(seen: &Seen, snapshot: &Snapshot) -> Option<RouteSeen> {
    let route = seen.route.as_ref()?;
    let state = seen.route_state()?;
    let with_share = resources::reached(route);
    let names: Vec<String> = running_routers(&seen.pods).map(|pod| pod.name_any()).collect();
    let said = acknowledgement(&state, &with_share, names.iter().map(String::as_str), &snapshot.reports);
    Some(RouteSeen {
        shares: resources::shares(route),
        mirror: resources::mirror(route),
        candidate: route.spec.candidate.clone(),
        salt: resources::plan_salt(&seen.owner, &route.spec.salt),
        undo: resources::undo(route),
        pin: state.pin,
        served: said.served,
        acknowledged: said.acknowledged,
        behind: said.behind,
    })
}

/// Whether every running router serves the table that was seen, or written since.
#[must_use]
pub fn is_served(seen: &Seen, snapshot: &Snapshot) -> bool {
    route(seen, snapshot).is_some_and(|route| route.served)
}

/// What the sampler shall do from now on.
#[must_use]
pub fn order(seen: &Seen, valid: &Valid, plan: &Plan, snapshot: &Snapshot) -> Order {
    // One that remembers has no use for what was stored, and reading it takes longer than all the rest.
    let resumes = plan.sampling.as_ref().filter(|_| snapshot.memory.is_none());
    let resume = resumes.and_then(|sampling| {
        let rollout = seen.rollouts.get(&sampling.key.sequence)?;
        let text = rollout.status.as_ref()?.evidence.as_deref()?;
        Some(Memory::read(text, &sampling.candidates))
    });
    let splits = plan.sampling.iter().flat_map(|sampling| {
        let split = |name: &String| {
            let share = resources::split(&seen.route.as_deref()?.spec, name, sampling.stable.as_deref()?)?;
            Some((name.clone(), share))
        };
        sampling.candidates.iter().filter_map(split)
    });
    Order {
        route: seen.route_state(),
        with_share: seen.route.as_deref().map(resources::reached).unwrap_or_default(),
        sampling: plan.sampling.clone(),
        remembers: plan.state.phase.is_way_back(),
        splits: splits.collect(),
        metrics: valid.metrics.clone(),
        tests: valid.tests.clone(),
        false_rollback: valid.false_rollback,
        interval: valid.wanted.interval,
        contest: valid.contest,
        scaling: valid.scaling,
        resume,
    }
}
