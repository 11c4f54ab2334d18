//! The Job of a retraining. Pure.

use std::borrow::Cow;

use api::{JobTemplate, Retraining, names};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Cause, too_soon, until};
use crate::resources::Owner;

/// Annotation: the trigger that a Job was made for.
pub(super) const CAUSE: &str = "sluice.dev/cause";
/// Value of the role label on Jobs.
pub(super) const ROLE: &str = "retraining";
/// Bytes of a JobSpec, at most.
const SPEC: usize = 64 * 1024;

/// A Job as the user wrote it: fields that this program does not know reach the API server, which refuses those
/// that it does not know either.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Name, labels, owner.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// A JobSpec.
    #[serde(default)]
    pub spec: Value,
}

impl Resource for Job {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Job".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "batch".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "jobs".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What is to be done about a trigger, when the Jobs that exist are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A Job was made for it already: its number, and when.
    Known(u32, Timestamp),
    /// One was made too recently, although the status does not tell: why none follows.
    TooSoon(String),
    /// One is to be made, with this number.
    Make(u32),
}

/// What is to be done about `cause`, when `newest` is the number of the last Job that is remembered.
#[must_use]
pub fn next(jobs: &[Job], newest: u32, cause: &Cause, settings: &Retraining, now: Timestamp) -> Next {
    let number = |job: &Job| job.name_any().rsplit('-').next().and_then(|n| n.parse::<u32>().ok());
    let created = |job: &Job| job.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
    let made_for = |job: &&Job| job.annotations().get(CAUSE) == Some(&cause.id);
    if let Some(job) = jobs.iter().find(made_for)
        && let Some(number) = number(job)
    {
        return Next::Known(number, created(job));
    }
    let last = jobs.iter().map(created).max();
    if let Some(until) = last.map(|at| until(settings, at)).filter(|until| *until > now) {
        return Next::TooSoon(too_soon(until, cause));
    }
    let highest = jobs.iter().filter_map(number).max().unwrap_or(0).max(newest);
    Next::Make(highest.saturating_add(1))
}

/// Renders a Job; each of its containers is told why it runs.
///
/// # Errors
/// When the template is too large, or is no JobSpec at all.
pub fn job(owner: &Owner, number: u32, template: &JobTemplate, cause: &Cause) -> Result<Job, String> {
    let bytes = template.spec.to_string().len();
    if bytes > SPEC {
        return Err(format!(
            "spec.retraining.jobTemplate.spec: found {bytes} bytes, at most {SPEC} are allowed"
        ));
    }
    let mut spec = template.spec.clone();
    let Some(pod) = spec.pointer_mut("/template/spec").filter(|pod| pod.is_object()) else {
        return Err("spec.retraining.jobTemplate.spec: found no template.spec, a pod's spec is needed".into());
    };
    let rollout = names::rollout(&owner.name, cause.sequence);
    for field in ["initContainers", "containers"] {
        for container in pod[field].as_array_mut().into_iter().flatten() {
            tell(container, &[("REASON", &cause.reason), ("DEPLOYMENT", &owner.name), ("ROLLOUT", &rollout)]);
        }
    }
    let mut metadata = owner.meta(&format!("{}-retrain-{number}", owner.name), &[(names::ROLE, ROLE)]);
    let more = template.metadata.clone().unwrap_or_default();
    // Ours last: they are how the Job is found again.
    let ours = metadata.labels.take().unwrap_or_default();
    metadata.labels = Some(more.labels.into_iter().chain(ours).collect());
    let cause = (CAUSE.to_owned(), cause.id.clone());
    metadata.annotations = Some(more.annotations.into_iter().chain([cause]).collect());
    Ok(Job { metadata, spec })
}

/// Sets variables of a container; of a name that the user gave too, ours counts.
fn tell(container: &mut Value, variables: &[(&str, &str)]) {
    let Some(container) = container.as_object_mut() else { return };
    let environment = container.entry("env").or_insert_with(|| json!([]));
    // What is no list is the API server's to refuse.
    let Some(environment) = environment.as_array_mut() else { return };
    for (name, value) in variables {
        let name = format!("SLUICE_{name}");
        environment.retain(|variable| variable["name"] != name.as_str());
        environment.push(json!({"name": name, "value": value}));
    }
}
