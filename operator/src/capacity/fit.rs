//! The two questions: do the quotas let them in, and have the nodes room?

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, ResourceQuota, Taint, Toleration};
use kube::ResourceExt;

use super::pods::{Amounts, Coming, amounts, limits, requests};

/// The first quota that does not let all new pods in.
#[must_use]
pub fn by_quotas(coming: &[Coming], quotas: &[ResourceQuota]) -> Option<String> {
    quotas.iter().filter(|quota| !is_scoped(quota)).find_map(|quota| by_quota(coming, quota))
}

/// Which pods such a quota is about is left out here.
fn is_scoped(quota: &ResourceQuota) -> bool {
    let spec = quota.spec.as_ref();
    spec.is_some_and(|s| s.scope_selector.is_some() || s.scopes.as_ref().is_some_and(|all| !all.is_empty()))
}

fn by_quota(coming: &[Coming], quota: &ResourceQuota) -> Option<String> {
    let status = quota.status.as_ref();
    let stated = status.and_then(|s| s.hard.as_ref());
    let hard = amounts(stated.or_else(|| quota.spec.as_ref()?.hard.as_ref()).into_iter().flatten());
    let used = amounts(status.and_then(|s| s.used.as_ref()).into_iter().flatten());
    let new = |c: &&Coming| c.new > 0;
    hard.iter().find_map(|(limited, hard)| {
        let mut needed = 0.0;
        for coming in coming.iter().filter(new) {
            let Some(each) = of_pod(&coming.pod, limited)? else {
                let (quota, revision) = (quota.name_any(), &coming.revision);
                return Some(format!(
                    "ResourceQuota {quota} limits {limited}, and refuses pods that name none, as those of {revision}"
                ));
            };
            needed += each * f64::from(coming.new);
        }
        let free = (hard - used.get(limited).copied().unwrap_or(0.0)).max(0.0);
        (!is_within(needed, free)).then(|| {
            format!(
                "ResourceQuota {}: {limited} {} needed, {} of {} free",
                quota.name_any(),
                spell(limited, needed),
                spell(limited, free),
                spell(limited, *hard)
            )
        })
    })
}

/// How much of a quota's resource a pod takes: `None` if the quota is not about pods, `Some(None)` if the pod must
/// name an amount and does not.
fn of_pod(pod: &PodSpec, limited: &str) -> Option<Option<f64>> {
    let (amounts, name) = match limited {
        "pods" | "count/pods" => return Some(Some(1.0)),
        "cpu" | "memory" | "ephemeral-storage" => (requests(pod), limited),
        _ => match limited.split_once('.') {
            Some(("requests", name)) if name != "storage" => (requests(pod), name),
            Some(("limits", name)) => (limits(pod), name),
            _ => return None,
        },
    };
    let must = matches!(name, "cpu" | "memory");
    Some(amounts.get(name).copied().or((!must).then_some(0.0)))
}

/// What nodes still have, filled page by page.
#[derive(Debug, Clone, Default)]
pub struct Free {
    nodes: BTreeMap<String, (Node, Amounts)>,
}

impl Free {
    /// Of these nodes, all empty.
    #[must_use]
    pub fn of(nodes: Vec<Node>) -> Self {
        let allocatable = |node: &Node| {
            amounts(node.status.as_ref().and_then(|s| s.allocatable.as_ref()).into_iter().flatten())
        };
        let nodes = nodes.into_iter().filter(is_open).map(|node| {
            let free = allocatable(&node);
            (node.name_any(), (node, free))
        });
        Self { nodes: nodes.collect() }
    }

    /// Takes what a pod uses; one that is over, or has no node, uses nothing.
    pub fn take(&mut self, pod: &Pod) {
        let Some(spec) = &pod.spec else { return };
        let over = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        if matches!(over, Some("Succeeded" | "Failed")) {
            return;
        }
        if let Some((_, free)) = spec.node_name.as_ref().and_then(|name| self.nodes.get_mut(name)) {
            take(free, &with_itself(spec));
        }
    }
}

/// The first revision whose pods the nodes have no room for; those before it are placed, each wherever it fits.
#[must_use]
pub fn by_nodes(coming: &[Coming], free: &Free) -> Option<String> {
    let mut nodes: Vec<(&Node, Amounts)> =
        free.nodes.values().map(|(node, free)| (node, free.clone())).collect();
    coming.iter().find_map(|coming| {
        let needed = with_itself(&coming.pod);
        let mut left = coming.unplaced;
        for (_, free) in nodes.iter_mut().filter(|(node, _)| accepts(node, &coming.pod)) {
            while left > 0 && needed.iter().all(|(name, n)| is_within(*n, amount(free, name))) {
                take(free, &needed);
                left -= 1;
            }
        }
        (left > 0).then(|| {
            let (all, revision) = (coming.unplaced, &coming.revision);
            let open = nodes.iter().filter(|(node, _)| accepts(node, &coming.pod)).map(|(_, free)| free);
            let most = |name: &str| open.clone().map(|free| amount(free, name)).fold(0.0, f64::max);
            let each = needed.iter().map(|(name, needed)| {
                format!(
                    "{name} {} (at most {} free on one node)",
                    spell(name, *needed),
                    spell(name, most(name))
                )
            });
            let each = each.collect::<Vec<_>>().join(", ");
            format!("nodes have room for {} of {all} pods of {revision}, each needs {each}", all - left)
        })
    })
}

/// Ready, and open for new pods.
fn is_open(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let ready = conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    ready && !node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false)
}

/// Whether a pod may run there: its node selector, and the node's taints.
fn accepts(node: &Node, pod: &PodSpec) -> bool {
    let selected =
        pod.node_selector.iter().flatten().all(|(label, value)| node.labels().get(label) == Some(value));
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    let tolerations = pod.tolerations.as_deref().unwrap_or_default();
    let kept_out = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    selected && taints.iter().filter(kept_out).all(|taint| tolerations.iter().any(|t| tolerates(t, taint)))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    (effect.is_empty() || effect == taint.effect)
        && (key == taint.key || (key.is_empty() && exists))
        && (exists
            || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default())
}

/// Requests, and the pod as one of the pods that a node takes.
fn with_itself(pod: &PodSpec) -> Amounts {
    let mut all = requests(pod);
    all.retain(|_, amount| *amount > 0.0);
    all.insert("pods".into(), 1.0);
    all
}

fn amount(amounts: &Amounts, name: &str) -> f64 {
    amounts.get(name).copied().unwrap_or(0.0)
}

fn take(free: &mut Amounts, used: &Amounts) {
    for (name, used) in used {
        if let Some(free) = free.get_mut(name) {
            *free = (*free - used).max(0.0);
        }
    }
}

/// Sums of decimal fractions are a little off.
fn is_within(needed: f64, free: f64) -> bool {
    needed <= free * (1.0 + 1e-9) + 1e-9
}

/// Memory in Mi, everything else as a number.
fn spell(name: &str, amount: f64) -> String {
    if name.ends_with("memory") || name.ends_with("storage") {
        return format!("{:.0}Mi", amount / 1_048_576.0);
    }
    let text = format!("{amount:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
