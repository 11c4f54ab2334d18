//! Which pods are to come, and what each of them asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rollout::Plan;

use crate::observe::Seen;
use crate::resources::quantity;

/// Amounts by resource, in its base unit: cores, bytes, pieces.
pub type Amounts = BTreeMap<String, f64>;

/// Pods of one revision that a plan wants on top of those that have a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Coming {
    /// The revision.
    pub revision: String,
    /// Pods that do not exist yet: a quota must let them in.
    pub new: u32,
    /// Pods without a node, those that do not exist yet among them.
    pub unplaced: u32,
    /// What each of them is.
    pub pod: PodSpec,
}

/// What a plan wants on top of what is there. Empty once every pod has a node.
#[must_use]
pub fn coming(seen: &Seen, plan: &Plan) -> Vec<Coming> {
    let mut all = Vec::new();
    for (revision, workload) in &plan.workloads {
        let (new, unplaced) = missing(workload.replicas, seen.servers(revision).map(Arc::as_ref));
        let frozen = seen.revisions.get(revision).and_then(|r| r.resolved.template.spec.clone());
        if let Some(pod) = frozen
            && unplaced > 0
        {
            all.push(Coming { revision: revision.clone(), new, unplaced, pod });
        }
    }
    all
}

/// How many of a revision's pods do not exist yet, and how many have no node yet; one that is about to go is none.
pub(super) fn missing<'a>(wanted: u32, pods: impl Iterator<Item = &'a Pod>) -> (u32, u32) {
    let (mut existing, mut placed) = (0, 0);
    for pod in pods.filter(|pod| is_staying(pod)) {
        existing += 1;
        placed += u32::from(has_node(pod));
    }
    (wanted.saturating_sub(existing), wanted.saturating_sub(placed))
}

fn is_staying(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
}

fn has_node(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref().is_some_and(|name| !name.is_empty()))
}

/// What a pod requests, as the scheduler counts it: its containers and sidecars together, or one that runs before
/// them if that is more; and its overhead. What is limited and not requested is requested.
#[must_use]
pub fn requests(pod: &PodSpec) -> Amounts {
    let mut all = sum_of(pod, |resources| {
        let mut asked = resources.limits.clone().unwrap_or_default();
        asked.extend(resources.requests.clone().unwrap_or_default());
        asked
    });
    for (name, amount) in amounts(pod.overhead.iter().flatten()) {
        *all.entry(name).or_default() += amount;
    }
    all
}

/// What a pod is limited to, in the same way.
#[must_use]
pub(super) fn limits(pod: &PodSpec) -> Amounts {
    sum_of(pod, |resources| resources.limits.clone().unwrap_or_default())
}

fn sum_of(pod: &PodSpec, of: impl Fn(&ResourceRequirements) -> BTreeMap<String, Quantity>) -> Amounts {
    let of = |c: &Container| amounts(c.resources.as_ref().map(&of).unwrap_or_default().iter());
    let init = pod.init_containers.as_deref().unwrap_or_default();
    let is_sidecar = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    let mut sum = Amounts::new();
    for (name, amount) in pod.containers.iter().chain(init.iter().filter(is_sidecar)).flat_map(of) {
        *sum.entry(name).or_default() += amount;
    }
    for (name, amount) in init.iter().filter(|c| !is_sidecar(c)).flat_map(of) {
        let most = sum.entry(name).or_default();
        *most = most.max(amount);
    }
    sum
}

/// Quantities as numbers; one that cannot be read is left out.
pub(super) fn amounts<'a>(all: impl Iterator<Item = (&'a String, &'a Quantity)>) -> Amounts {
    all.filter_map(|(name, q)| Some((name.clone(), quantity(&q.0)?))).collect()
}
