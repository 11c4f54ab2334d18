//! Labels, annotations and names that the programs agree on.

/// API group.
pub const GROUP: &str = "sluice.dev";
/// Field manager of everything that the operator applies.
pub const MANAGER: &str = "sluice-operator";
/// Label: name of the ModelDeployment, on everything that is made for it.
pub const DEPLOYMENT: &str = "sluice.dev/deployment";
/// Label: name of the revision, on its Deployment, Service and pods.
pub const REVISION: &str = "sluice.dev/revision";
/// Label: what a pod is, [`ROLE_SERVER`] or [`ROLE_ROUTER`].
pub const ROLE: &str = "sluice.dev/role";
/// Value of [`ROLE`] on model servers.
pub const ROLE_SERVER: &str = "server";
/// Value of [`ROLE`] on routers.
pub const ROLE_ROUTER: &str = "router";
/// Annotation on a ModelDeployment: the verb that the person on call asks for (V1).
pub const ACTION: &str = "sluice.dev/action";
/// Annotation on a ModelDeployment: id of the last verb that was carried out (V2).
pub const ACTION_DONE: &str = "sluice.dev/action-done";
/// Annotation on a ModelRoute: all split traffic to this revision, obeyed by routers directly (R8).
pub const PIN: &str = "sluice.dev/pin";
/// Annotation on a ModelRoute: the decision that took the candidate's share away, written together with the
/// slots, so that a crash before the status is written cannot give the share back.
pub const RETURNING: &str = "sluice.dev/returning";
/// Name of the ClusterRole that each router's ServiceAccount is bound to (K7).
pub const ROUTER_ROLE: &str = "sluice-router";

/// Name of the router's Deployment, ServiceAccount and RoleBinding.
#[must_use]
pub fn router(deployment: &str) -> String {
    format!("{deployment}-router")
}

/// Name of a ModelRollout by its sequence number.
#[must_use]
pub fn rollout(deployment: &str, sequence: u64) -> String {
    format!("{deployment}-{sequence}")
}
