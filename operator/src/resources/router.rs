//! The routers in front of a deployment.

use api::{RouterFeedback, RouterSettings, names};
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

/// Where the newest table is kept: in a volume that outlives the container.
const CACHE: &str = "/tmp/route.json";

/// Where the Secret of labels is mounted.
const FEEDBACK_SECRET: &str = "/etc/sluice/feedback";

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
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "protocol": "TCP", "port": port, "targetPort": target});
    let mut ports = vec![port("http", SERVICE_PORT, endpoint::ROUTER_PORT)];
    if feedback(settings).is_some() {
        ports.push(port("feedback", endpoint::FEEDBACK_PORT, endpoint::FEEDBACK_PORT));
    }
    let mut service: Service = manifest(json!({
        "metadata": {},
        "spec": {"type": "ClusterIP", "selector": labels(owner), "ports": ports},
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
    let limit = if feedback(settings).is_some() { "144Mi" } else { "128Mi" };
    let usual = || json!({"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"memory": limit}});
    let resources = settings.and_then(|s| s.resources.as_ref()).map_or_else(usual, |own| json!(own));
    let mut container = json!({
        "name": "router",
        "image": images.router,
        "args": ["--namespace", owner.namespace, "--route", owner.name, "--cache", CACHE],
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
    let mut volumes = vec![tmp()];
    if let Some(feedback) = feedback(settings) {
        take_labels(feedback, &mut container, &mut volumes);
    }
    let (fetch_container, fetch_pod) = images.fetching();
    let pod = json!({
        "serviceAccountName": account,
        "automountServiceAccountToken": true,
        "enableServiceLinks": false,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": GRACE,
        "topologySpreadConstraints": spread(&labels(owner)),
        "containers": [merge(merge(container, probes(START)), fetch_container)],
        "volumes": volumes,
    });
    json!({"metadata": {"labels": labels(owner)}, "spec": merge(pod, fetch_pod)})
}

fn feedback(settings: Option<&RouterSettings>) -> Option<&RouterFeedback> {
    settings?.feedback.as_ref()
}

/// Has a router take labels. It starts without the Secret too: predictions do not wait for who may label them.
fn take_labels(feedback: &RouterFeedback, container: &mut Value, volumes: &mut Vec<Value>) {
    let add = |list: &mut Value, more: Value| list.as_array_mut().expect("a list of this file").push(more);
    let mut args = vec![json!("--feedback-secret"), json!(FEEDBACK_SECRET)];
    if let Some(window) = feedback.window {
        args.extend([json!("--feedback-window"), json!(window)]);
    }
    args.into_iter().for_each(|arg| add(&mut container["args"], arg));
    add(&mut container["ports"], json!({"name": "feedback", "containerPort": endpoint::FEEDBACK_PORT}));
    let mount = json!({"name": "feedback", "mountPath": FEEDBACK_SECRET, "readOnly": true});
    add(&mut container["volumeMounts"], mount);
    // Readable by the pod's group, which is ours alone.
    let secret = json!({"secretName": feedback.secret_name, "optional": true, "defaultMode": 0o440});
    volumes.push(json!({"name": "feedback", "secret": secret}));
}
