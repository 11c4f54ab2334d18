//! Deployment and Service of a revision.

use api::{Model, names};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PodTemplateSpec, Service};
use serde_json::{Value, json};
use wire::endpoint;

use super::keeping::Keeping;
use super::{
    GRACE, Images, Owner, PRE_STOP, container_security, fetch, manifest, merge, overlay, pod_security,
    probes, spread, tmp,
};
use crate::revision::{Asked, Resolved};

/// Name of the container that serves.
pub(crate) const SERVER: &str = "server";
/// Name of the volume that holds the artefact.
pub(crate) const ARTEFACT: &str = "models";
/// Where it is mounted.
pub(crate) const MODELS: &str = "/models";
/// Seconds that a server may take to start answering on its admin port.
const START: u32 = 120;

/// A revision that is not made yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The image of the server.
    pub image: String,
    /// The pods' template, with the overlay of the spec on it: that may have fields which this program does not know.
    pub template: Value,
}

/// What a revision without a pod overlay resolves to, once and for all (I1). One with an overlay resolves to what the
/// API server makes of it, see [`crate::rehearsal`].
#[must_use]
pub fn template(owner: &Owner, revision: &str, asked: &Asked, images: &Images) -> Resolved {
    let Rendered { image, template } = plain(owner, revision, asked, images);
    Resolved { image, template: manifest(template) }
}

/// What a revision is to be, with the pod overlay if there is one.
#[must_use]
pub fn render(owner: &Owner, revision: &str, asked: &Asked, images: &Images) -> Rendered {
    let Rendered { image, template } = plain(owner, revision, asked, images);
    let template = match asked.overlay() {
        Some(fields) => overlay::lay(template, fields),
        None => template,
    };
    Rendered { image, template }
}

fn plain(owner: &Owner, revision: &str, asked: &Asked, images: &Images) -> Rendered {
    let server = asked.server.as_ref();
    let image = server.and_then(|s| s.image.clone()).unwrap_or_else(|| images.server.clone());
    let resources = match server.and_then(|s| s.resources.as_ref()) {
        Some(resources) => json!(resources),
        None => json!({"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}),
    };
    let (path, volume) = artefact(&asked.model);
    let mut volumes = vec![tmp()];
    let mut mounts = vec![json!({"name": "tmp", "mountPath": "/tmp"})];
    if let Some(volume) = volume {
        volumes.push(merge(json!({"name": ARTEFACT}), volume));
        mounts.push(json!({"name": ARTEFACT, "mountPath": MODELS, "readOnly": true}));
    }
    let keeping = Keeping::of(server);
    volumes.extend(keeping.volumes);
    mounts.extend(keeping.mounts);
    let mut env = vec![json!({"name": "SLUICE_LOG_FORMAT", "value": "json"})];
    env.extend(keeping.env);
    let mut container = json!({
        "name": SERVER,
        "image": image,
        "args": args(&path, revision, &asked.model),
        "env": env,
        "ports": [
            {"name": "http", "containerPort": endpoint::SERVER_PORT},
            {"name": "admin", "containerPort": endpoint::ADMIN_PORT},
        ],
        "resources": resources,
        "securityContext": container_security(),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP}}},
        "volumeMounts": mounts,
    });
    if !keeping.env_from.is_empty() {
        container["envFrom"] = json!(keeping.env_from);
    }
    let (fetch_container, fetch_pod) = images.fetching();
    let mut pod = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": GRACE,
        "topologySpreadConstraints": spread(&labels(&owner.name, revision)),
        "containers": [merge(merge(container, probes(START)), fetch_container)],
        "volumes": volumes,
    });
    if fetch::is_fetched(&asked.model) {
        pod["initContainers"] = json!([fetch::container(&asked.model, images, ARTEFACT, MODELS)]);
    }
    let template = json!({
        "metadata": {
            "labels": labels(&owner.name, revision),
            "annotations": {"sluice.dev/version": asked.model.version},
        },
        "spec": merge(pod, fetch_pod),
    });
    Rendered { image, template }
}

fn labels(deployment: &str, revision: &str) -> Value {
    json!({
        names::DEPLOYMENT: deployment,
        names::REVISION: revision,
        names::ROLE: names::ROLE_SERVER,
    })
}

fn args(path: &str, revision: &str, model: &Model) -> Vec<String> {
    let listen = |port: u16| format!("0.0.0.0:{port}");
    let mut args: Vec<String> = vec!["serve".into()];
    let mut push = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
    push("--model", path.to_owned());
    push("--version", model.version.clone());
    push("--revision", revision.to_owned());
    if let Some(digest) = &model.sha256 {
        push("--sha256", digest.clone());
    }
    push("--listen", listen(endpoint::SERVER_PORT));
    push("--admin", listen(endpoint::ADMIN_PORT));
    args
}

/// Where the artefact is within the pod, and the volume that holds it.
fn artefact(model: &Model) -> (String, Option<Value>) {
    if fetch::is_fetched(model) {
        return (fetch::path(MODELS), Some(fetch::volume()));
    }
    match model.uri.strip_prefix("pvc://").and_then(|rest| rest.split_once('/')) {
        Some((claim, path)) => (
            format!("{MODELS}/{}", path.trim_matches('/')),
            Some(json!({"persistentVolumeClaim": {"claimName": claim, "readOnly": true}})),
        ),
        // The API server's rule leaves nothing but file:///.
        None => (model.uri.trim_start_matches("file://").to_owned(), None),
    }
}

/// The Deployment of a revision. Its pods' template is never anything but the frozen one.
#[must_use]
pub fn workload(owner: &Owner, revision: &str, template: &PodTemplateSpec, replicas: u32) -> Deployment {
    let mut deployment: Deployment = manifest(json!({
        "metadata": {},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": labels(&owner.name, revision)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"spec": {"containers": []}},
        },
    }));
    deployment.metadata = owner.meta(revision, &own_labels(revision));
    if let Some(spec) = &mut deployment.spec {
        spec.template = template.clone();
    }
    deployment
}

fn own_labels(revision: &str) -> [(&str, &str); 2] {
    [(names::REVISION, revision), (names::ROLE, names::ROLE_SERVER)]
}

/// The Service whose EndpointSlices tell routers the pods of a revision; the slices inherit its labels.
#[must_use]
pub fn service(owner: &Owner, revision: &str) -> Service {
    let mut service: Service = manifest(json!({
        "metadata": {},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": false,
            "selector": labels(&owner.name, revision),
            "ports": [{
                "name": "http", "protocol": "TCP",
                "port": endpoint::SERVER_PORT, "targetPort": endpoint::SERVER_PORT,
            }],
        },
    }));
    service.metadata = owner.meta(revision, &own_labels(revision));
    service
}
