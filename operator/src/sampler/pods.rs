//! Which pods there are to read, from their status alone (K6).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use api::names;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::observe::is_ready;

/// A pod with a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) uid: String,
    pub(super) name: String,
    /// Empty for routers.
    pub(super) revision: String,
    pub(super) address: SocketAddr,
}

/// The routers among the pods of a deployment that run: those that are unready and those that terminate still
/// serve (R2).
pub fn running_routers(pods: &[Arc<Pod>]) -> impl Iterator<Item = &Arc<Pod>> {
    of_role(pods, names::ROLE_ROUTER).filter(|pod| is_running(pod))
}

pub(super) fn routers(pods: &[Arc<Pod>]) -> Vec<Target> {
    running_routers(pods).filter_map(|pod| target(pod)).collect()
}

/// The servers among them that are ready: what they say can be trusted to last.
pub(super) fn servers(pods: &[Arc<Pod>]) -> Vec<Target> {
    of_role(pods, names::ROLE_SERVER)
        .filter(|pod| is_ready(pod))
        .filter_map(|pod| target(pod))
        .filter(|target| !target.revision.is_empty())
        .collect()
}

fn of_role<'a>(pods: &'a [Arc<Pod>], role: &'a str) -> impl Iterator<Item = &'a Arc<Pod>> {
    pods.iter().filter(move |pod| pod.labels().get(names::ROLE).is_some_and(|found| found == role))
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

fn target(pod: &Pod) -> Option<Target> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(Target {
        uid: pod.uid()?,
        name: pod.name_any(),
        revision: pod.labels().get(names::REVISION).cloned().unwrap_or_default(),
        address: SocketAddr::new(ip, wire::endpoint::ADMIN_PORT),
    })
}
