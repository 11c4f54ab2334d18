//! Revisions: what was asked for and what it resolved to, frozen in a ControllerRevision (I1).
//!
//! Two specs are the same revision when `asked` is equal in canonical form. Workloads are rendered from
//! `resolved`, which never changes: an operator upgrade starts no rollout and restarts no stable pod.

use std::collections::BTreeMap;

use api::{Model, ModelDeploymentSpec, Server};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Annotation on a ControllerRevision: the digest that its first ready pod reported (I5).
pub const DIGEST: &str = "sluice.dev/digest";

/// What the user wrote; what is absent stays absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The model.
    pub model: Model,
    /// How it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
}

/// What that resolved to when the revision was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The image of the server.
    pub image: String,
    /// The pods.
    pub template: PodTemplateSpec,
}

/// `data` of the ControllerRevision.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Data<A> {
    asked: A,
    resolved: Resolved,
}

/// A revision as it was stored.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Its name.
    pub name: String,
    /// Its number among the revisions of the deployment, from 1.
    pub number: i64,
    /// What was asked for.
    pub asked: Asked,
    /// What it resolved to.
    pub resolved: Resolved,
    /// The digest that its first ready pod reported (I5).
    pub digest: Option<String>,
    /// `asked` in canonical form.
    canonical: String,
}

/// Why a stored revision cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// Not ours, or damaged.
    #[error("ControllerRevision {name}: data cannot be read: {reason}")]
    Data {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl Asked {
    /// The part of a spec that is the revision.
    #[must_use]
    pub fn of(spec: &ModelDeploymentSpec) -> Self {
        Self { model: spec.model.clone(), server: spec.server.clone() }
    }

    /// The pod overlay, if it changes anything.
    #[must_use]
    pub fn overlay(&self) -> Option<&Map<String, Value>> {
        let overlay = self.server.as_ref()?.template.as_ref()?;
        (!overlay.0.is_empty()).then_some(&overlay.0)
    }

    /// The canonical form: keys sorted, nothing absent or empty written, but in a pod overlay, where that means
    /// something.
    #[must_use]
    pub fn canonical(&self) -> String {
        canonical(serde_json::to_value(self).expect("plain data without maps that have other keys than text"))
    }
}

impl Revision {
    /// Whether it was made for this.
    #[must_use]
    pub fn asks_for(&self, asked: &Asked) -> bool {
        self.canonical == asked.canonical()
    }
}

fn canonical(mut asked: Value) -> String {
    let mut out = String::new();
    // In a pod overlay `nodeSelector: null` removes it, and an empty selector selects everything: it counts as it is.
    if let Some(overlay) = asked.pointer_mut("/server/template").filter(|overlay| !is_empty(overlay, true)) {
        let mut literal = String::new();
        write_canonical(overlay, true, &mut literal);
        *overlay = Value::String(literal);
    }
    write_canonical(&asked, false, &mut out);
    out
}

/// Writes a value with sorted keys; serde_json's own order depends on a feature that any dependency may switch on.
/// Without nulls and empty maps, unless it is to be `literal`.
fn write_canonical(value: &Value, literal: bool, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().filter(|(_, v)| literal || !is_empty(v, false)).collect();
            fields.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (i, (name, value)) in fields.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(name.clone()).to_string());
                out.push(':');
                write_canonical(value, literal, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, literal, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Nothing, or a map of nothing; taken `literally`, a map without fields.
fn is_empty(value: &Value, literally: bool) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) if literally => map.is_empty(),
        Value::Object(map) => map.values().all(|value| is_empty(value, false)),
        _ => false,
    }
}

/// First eight hex digits of the SHA-256 of a text.
#[must_use]
pub fn hash8(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// The name of what is asked for: that of the known revision that asked for the same, else a new one that no
/// known revision has. The name says nothing: two different specs may not share one (I1).
#[must_use]
pub fn name(deployment: &str, asked: &Asked, known: &BTreeMap<String, Revision>) -> String {
    let asked = asked.canonical();
    if let Some(same) = known.values().find(|r| r.canonical == asked) {
        return same.name.clone();
    }
    let counted = (1..).map(|n| format!("{asked}#{n}"));
    std::iter::once(asked.clone())
        .chain(counted)
        .map(|text| format!("{deployment}-{}", hash8(&text)))
        .find(|name| !known.contains_key(name))
        .expect("the counter goes on until a name is free")
}

/// Reads a stored revision.
///
/// # Errors
/// When its data is not of ours.
pub fn read(stored: &ControllerRevision) -> Result<Revision, RevisionError> {
    let name = stored.name_any();
    let fail = |reason: String| RevisionError::Data { name: stored.name_any(), reason };
    let raw = stored.data.as_ref().ok_or_else(|| fail("it is absent".into()))?;
    // What a newer operator asked for counts too, also where this one does not know the field.
    let data = Data::<Value>::deserialize(&raw.0).map_err(|e| fail(e.to_string()))?;
    let asked = Asked::deserialize(&data.asked).map_err(|e| fail(e.to_string()))?;
    let canonical = canonical(data.asked);
    let digest = stored.annotations().get(DIGEST).cloned();
    Ok(Revision { name, number: stored.revision, asked, resolved: data.resolved, digest, canonical })
}

/// The object that stores a new revision; `meta` holds its name, labels and owner.
#[must_use]
pub fn store(meta: ObjectMeta, number: i64, asked: &Asked, resolved: &Resolved) -> ControllerRevision {
    let data = Data { asked, resolved: resolved.clone() };
    let data = serde_json::to_value(data).expect("plain data without maps that have other keys than text");
    ControllerRevision { metadata: meta, revision: number, data: Some(RawExtension(data)) }
}

#[cfg(test)]
mod tests;
