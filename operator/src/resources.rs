//! The objects that a deployment is made of, rendered from plain values. Pure.

mod budget;
mod cover;
mod fetch;
mod keeping;
pub mod overlay;
mod route;
mod router;
mod server;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use api::{ModelDeployment, ModelRollout, ModelRolloutSpec, RolloutKind, StageSpec, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};
use rollout::{Kind, Stage, Until};
use serde_json::{Value, json};

pub use budget::{WORTH_A_BUDGET, router_budget, server_budget};
pub use cover::{APPLIED, covers, stamp};
pub(crate) use cover::{is_nothing, quantity};
pub(crate) use fetch::FETCH;
pub(crate) use route::REQUEST_TIMEOUT;
pub use route::{mirror, plan_salt, reached, route, salt, shares, split, undo};
pub use router::{Router, router};
pub(crate) use server::{ARTEFACT, MODELS, SERVER};
pub use server::{Rendered, render, service, template, workload};

/// Seconds that a pod still answers after it was asked to stop, so that every router has heard of it (R6).
const PRE_STOP: u32 = 5;
/// Seconds until a stopping pod is killed: longer than the pause and the programs' drain of 31 s (R6).
pub(crate) const GRACE: u32 = 60;

/// Images of the installation.
#[derive(Debug, Clone)]
pub struct Images {
    /// Routers.
    pub router: String,
    /// Model servers, where a ModelDeployment names none.
    pub server: String,
    /// `imagePullPolicy` of both; absent: as the cluster decides.
    pub pull_policy: Option<String>,
    /// Names of the Secrets that they are fetched with.
    pub pull_secrets: Vec<String>,
}

impl Images {
    /// What is set of fetching: fields of the container, and of the pod.
    fn fetching(&self) -> (Value, Value) {
        let (mut container, mut pod) = (json!({}), json!({}));
        if let Some(policy) = &self.pull_policy {
            container["imagePullPolicy"] = json!(policy);
        }
        if !self.pull_secrets.is_empty() {
            let secrets = self.pull_secrets.iter().map(|name| json!({"name": name}));
            pod["imagePullSecrets"] = secrets.collect();
        }
        (container, pod)
    }
}

/// The ModelDeployment as owner of what is made for it.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    reference: OwnerReference,
}

impl Owner {
    /// `None` for an object that was never stored.
    #[must_use]
    pub fn of(deployment: &ModelDeployment) -> Option<Self> {
        Some(Self {
            name: deployment.name_any(),
            namespace: deployment.namespace()?,
            uid: deployment.uid()?,
            reference: deployment.controller_owner_ref(&())?,
        })
    }

    /// Whether an object was made for this very ModelDeployment, not only for one of the same name.
    #[must_use]
    pub fn owns(&self, object: &impl Resource) -> bool {
        object.meta().owner_references.as_ref().is_some_and(|all| all.iter().any(|o| o.uid == self.uid))
    }

    /// Whether an object was made for an earlier ModelDeployment of this name. That one is gone, since a name is
    /// given once at a time, so the garbage collector is about to take what it owned.
    #[must_use]
    pub fn succeeds(&self, object: &impl Resource) -> bool {
        let ours = &self.reference;
        let earlier = |o: &OwnerReference| {
            (&o.api_version, &o.kind, &o.name) == (&ours.api_version, &ours.kind, &ours.name)
                && o.uid != ours.uid
        };
        object.meta().owner_references.as_ref().is_some_and(|all| all.iter().any(earlier))
            && !self.owns(object)
    }

    /// Metadata of something that is made for it.
    #[must_use]
    pub fn meta(&self, name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
        let mut all = BTreeMap::from([
            (names::DEPLOYMENT.to_owned(), self.name.clone()),
            ("app.kubernetes.io/managed-by".to_owned(), names::MANAGER.to_owned()),
        ]);
        all.extend(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(all),
            owner_references: Some(vec![self.reference.clone()]),
            ..ObjectMeta::default()
        }
    }
}

/// One intent, as it was when it was opened (I3).
#[derive(Debug, Clone, Copy)]
pub struct Opened<'a> {
    /// Its number.
    pub sequence: u64,
    /// Which way it goes.
    pub kind: Kind,
    /// Stable at its start, with its model version.
    pub from: Option<(&'a str, &'a str)>,
    /// What is rolled out, with its model version.
    pub to: (&'a str, &'a str),
    /// Further candidates.
    pub challengers: &'a [String],
    /// Its stages.
    pub stages: &'a [Stage],
}

/// The ModelRollout of an intent.
#[must_use]
pub fn rollout(owner: &Owner, opened: Opened<'_>) -> ModelRollout {
    let spec = ModelRolloutSpec {
        deployment: owner.name.clone(),
        sequence: opened.sequence,
        kind: match opened.kind {
            Kind::Rollout => RolloutKind::Rollout,
            Kind::Rollback => RolloutKind::Rollback,
        },
        from: opened.from.map(|(name, _)| name.to_owned()),
        from_version: opened.from.map(|(_, version)| version.to_owned()),
        to: opened.to.0.to_owned(),
        to_version: opened.to.1.to_owned(),
        challengers: opened.challengers.to_vec(),
        stages: opened.stages.iter().map(stage).collect(),
        salt: salt(owner, &opened.sequence.to_string()),
    };
    let name = names::rollout(&owner.name, opened.sequence);
    ModelRollout { metadata: owner.meta(&name, &[]), spec, status: None }
}

fn stage(stage: &Stage) -> StageSpec {
    StageSpec {
        weight: stage.weight,
        shadow: (stage.mirror > 0).then_some(stage.mirror),
        preview: stage.preview.then_some(true),
        hold: stage.hold.into(),
        min_requests: stage.min_requests,
        approval: stage.approval,
        max_duration: stage.limit.map(|limit| limit.after.into()),
        until: match stage.until {
            Until::Passed if stage.accept => Some("ProvenGood".into()),
            Until::Passed => None,
            Until::Shown { .. } => Some("HypothesisDecided".into()),
            Until::Best => Some("BestArm".into()),
        },
    }
}

/// What every pod of ours keeps to: the restricted Pod Security Standard.
fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

/// Probes of the admin port. Liveness begins after the start, which may take as long as `start` seconds.
fn probes(start: u32) -> Value {
    let get = |path: &str| json!({"path": path, "port": "admin"});
    json!({
        "startupProbe": {"httpGet": get("/livez"), "periodSeconds": 1, "failureThreshold": start},
        "readinessProbe": {"httpGet": get("/readyz"), "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {"httpGet": get("/livez"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
    })
}

/// Room for temporary files: our programs write next to nothing.
fn tmp() -> Value {
    json!({"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}})
}

/// Over as many nodes and zones as there are; never a reason not to start.
fn spread(labels: &Value) -> Value {
    let over = |topology: &str| {
        json!({
            "maxSkew": 1, "topologyKey": topology, "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
        })
    };
    json!([over("kubernetes.io/hostname"), over("topology.kubernetes.io/zone")])
}

/// Puts the fields of `more` into `base`.
fn merge(mut base: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut base, more) {
        fields.extend(more);
    }
    base
}

/// Reads a manifest that is written out in this crate.
fn manifest<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("a manifest of this crate has the fields of its kind")
}
