//! The routers in front of a deployment.

use api::{RouterSettings, names};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use serde_json::{Value, json};
use wire::endpoint;

use super::{
    GRACE, Images, Owner, PRE_STOP, container_security, manifest, merge, pod_security, probes, spread, tmp,
};

/// Port of the Service that clients use.
const SERVICE_PORT: u16 = 80;
/// Seconds that a router may take to start answering on its admin port.
const START: u32 = 60;

/// Everything that the routers need.
#[derive(Debug, Clone)]
pub struct Router {
    /// Who they are.
    pub account: ServiceAccount,
    /// What they may read.
    pub binding: RoleBinding,
    /// Their pods.
    pub workload: Deployment,
    /// Where clients find them.
    pub service: Service,
}

/// Renders the routers.
#[must_use]
pub fn router(owner: &Owner, settings: Option<&RouterSettings>, replicas: u32, images: &Images) -> Router {
    let name = names::router(&owner.name);
    let role = [(names::ROLE, names::ROLE_ROUTER)];
    let mut workload: Deployment = manifest(json!({
        "metadata": {},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": labels(owner)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": template(owner, &name, settings, images),
        },
    }));
    workload.metadata = owner.meta(&name, &role);
    let mut service: Service = manifest(json!({
        "metadata": {},
        "spec": {
            "type": "ClusterIP",
            "selector": labels(owner),
            "ports": [{
                "name": "http", "protocol": "TCP", "port": SERVICE_PORT, "targetPort": endpoint::ROUTER_PORT,
            }],
        },
    }));
    service.metadata = owner.meta(&owner.name, &role);
    let account = ServiceAccount {
        metadata: owner.meta(&name, &role),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    let mut binding: RoleBinding = manifest(json!({
        "metadata": {},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": names::ROUTER_ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": owner.namespace}],
    }));
    binding.metadata = owner.meta(&name, &role);
    Router { account, binding, workload, service }
}

fn labels(owner: &Owner) -> Value {
    json!({names::DEPLOYMENT: owner.name, names::ROLE: names::ROLE_ROUTER})
}

fn template(owner: &Owner, account: &str, settings: Option<&RouterSettings>, images: &Images) -> Value {
    let resources = match settings.and_then(|s| s.resources.as_ref()) {
        Some(resources) => json!(resources),
        None => json!({"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}),
    };
    let container = json!({
        "name": "router",
        "image": images.router,
        "args": ["--namespace", owner.namespace, "--route", owner.name],
        "env": [{"name": "SLUICE_LOG_FORMAT", "value": "json"}],
        "ports": [
            {"name": "http", "containerPort": endpoint::ROUTER_PORT},
            {"name": "admin", "containerPort": endpoint::ADMIN_PORT},
        ],
        "resources": resources,
        "securityContext": container_security(),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP}}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    });
    let (fetch_container, fetch_pod) = images.fetching();
    let pod = json!({
        "serviceAccountName": account,
        "automountServiceAccountToken": true,
        "enableServiceLinks": false,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": GRACE,
        "topologySpreadConstraints": spread(&labels(owner)),
        "containers": [merge(merge(container, probes(START)), fetch_container)],
        "volumes": [tmp()],
    });
    json!({"metadata": {"labels": labels(owner)}, "spec": merge(pod, fetch_pod)})
}
