//! The routers in front of a deployment.

use api::{RouterFeedback, RouterSettings, RouterTls, names};
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
/// The same with TLS.
const TLS_PORT: u16 = 443;
/// Seconds that a router may take to start answering on its admin port.
const START: u32 = 60;

/// Where the newest table is kept: in a volume that outlives the container.
const CACHE: &str = "/tmp/route.json";

/// Where the Secret of labels is mounted.
const FEEDBACK_SECRET: &str = "/etc/sluice/feedback";

/// Where the Secret of the certificate is mounted.
const TLS_SECRET: &str = "/etc/sluice/tls";

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
        "spec": {"type": "ClusterIP", "selector": labels(owner), "ports": ports(settings)},
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

/// Ports of the Service. With TLS they lead to the pods' ports by name, so that while the routers are replaced a client of
/// either port finds those that speak as it does, and none of the others.
fn ports(settings: Option<&RouterSettings>) -> Vec<Value> {
    let port = |name: &str, port: u16, target: Value| json!({"name": name, "protocol": "TCP", "port": port, "targetPort": target});
    let mut ports = match tls(settings) {
        Some(_) => {
            vec![port("https", TLS_PORT, json!("https")), port("http", SERVICE_PORT, json!("http"))]
        }
        None => vec![port("http", SERVICE_PORT, json!(endpoint::ROUTER_PORT))],
    };
    if feedback(settings).is_some() {
        ports.push(port("feedback", endpoint::FEEDBACK_PORT, json!(endpoint::FEEDBACK_PORT)));
    }
    ports
}

/// The memory limit in MiB, as in router/src/budget.rs.
fn memory(settings: Option<&RouterSettings>) -> u32 {
    let more = |asked: bool, mi: u32| if asked { mi } else { 0 };
    128 + more(feedback(settings).is_some(), 16) + more(tls(settings).is_some(), 32)
}

fn labels(owner: &Owner) -> Value {
    json!({names::DEPLOYMENT: owner.name, names::ROLE: names::ROLE_ROUTER})
}

fn template(owner: &Owner, account: &str, settings: Option<&RouterSettings>, images: &Images) -> Value {
    let limit = format!("{}Mi", memory(settings));
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
    telling(settings).into_iter().for_each(|arg| add(&mut container["args"], arg));
    if let Some(tls) = tls(settings) {
        serve_tls(tls, &mut container, &mut volumes);
    }
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

fn tls(settings: Option<&RouterSettings>) -> Option<&RouterTls> {
    settings?.tls.as_ref()
}

fn add(list: &mut Value, more: Value) {
    list.as_array_mut().expect("a list of this file").push(more);
}

/// Arguments by which a router tells of single requests.
fn telling(settings: Option<&RouterSettings>) -> Vec<Value> {
    let mut args = vec![];
    if let Some(log) = settings.and_then(|settings| settings.access_log.as_ref()) {
        args.extend([json!("--access-log"), json!(log.sample.unwrap_or(100).to_string())]);
    }
    if let Some(tracing) = settings.and_then(|settings| settings.tracing.as_ref()) {
        args.extend([json!("--otlp-endpoint"), json!(tracing.endpoint)]);
        args.extend(tracing.sample.into_iter().flat_map(|n| [json!("--trace-sample"), json!(n.to_string())]));
    }
    args
}

/// Has a router serve by TLS. Its pod waits for the Secret: those before it serve on meanwhile.
fn serve_tls(tls: &RouterTls, container: &mut Value, volumes: &mut Vec<Value>) {
    for (flag, file) in [("--tls-cert", "tls.crt"), ("--tls-key", "tls.key")] {
        add(&mut container["args"], json!(flag));
        add(&mut container["args"], json!(format!("{TLS_SECRET}/{file}")));
    }
    container["ports"][0]["name"] = json!("https");
    let mount = json!({"name": "tls", "mountPath": TLS_SECRET, "readOnly": true});
    add(&mut container["volumeMounts"], mount);
    volumes.push(json!({"name": "tls", "secret": {"secretName": tls.secret_name, "defaultMode": 0o440}}));
}

/// Has a router take labels. It starts without the Secret too: predictions do not wait for who may label them.
fn take_labels(feedback: &RouterFeedback, container: &mut Value, volumes: &mut Vec<Value>) {
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
