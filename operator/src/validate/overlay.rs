//! What the pod overlay of the model servers may not touch. Pure.
//!
//! Whether its fields exist and have the right types is the API server's to say ([`crate::rehearsal`]); what would be
//! valid and break what Sluice promises is refused here, with the field's name.

use api::{PodOverlay, names};
use serde_json::{Map, Value};
use wire::endpoint;

use super::{Defaults, Invalid, invalid};
use crate::resources::overlay::{Items, identity, items};
use crate::resources::{ARTEFACT, FETCH, GRACE, MODELS, SERVER};

const FIELD: &str = "spec.server.template";
/// Bytes as JSON, at most: it is stored with every revision.
const SIZE: usize = 16 * 1024;

const ARGUMENTS: &str =
    "but artefact, digest and ports are given there; set spec.model and spec.server.image";
const ROUTED: &str = "but routers go by it: what a pod must be to get requests is not to be changed";
const STAYS: &str = "but pods of a Deployment run until they are stopped: leave it out";

/// Fields of container `server` that are Sluice's, and what there is instead.
const OF_SERVER: [(&str, &str); 10] = [
    ("image", "but that is set by spec.server.image"),
    ("resources", "but that is set by spec.server.resources"),
    ("command", ARGUMENTS),
    ("args", ARGUMENTS),
    ("startupProbe", ROUTED),
    ("readinessProbe", ROUTED),
    ("livenessProbe", ROUTED),
    ("lifecycle", "but a stopping pod must answer until every router has heard of it"),
    ("restartPolicy", STAYS),
    ("restartPolicyRules", STAYS),
];

/// Fields of container `fetch` that are not Sluice's: the rest is what makes the artefact be the one of the spec.
const OF_FETCH: [&str; 4] = ["name", "resources", "env", "envFrom"];

/// Variables that would change what the arguments say, or that would be overruled by them.
const VARIABLES: [&str; 7] = [
    "SLUICE_MODEL",
    "SLUICE_VERSION",
    "SLUICE_REVISION",
    "SLUICE_SHA256",
    "SLUICE_LISTEN",
    "SLUICE_ADMIN",
    "SLUICE_DRAIN",
];

/// Checks the overlay of a spec, if there is one.
pub(super) fn check(overlay: Option<&PodOverlay>, defaults: Defaults) -> Result<(), Invalid> {
    let Some(PodOverlay(overlay)) = overlay.filter(|overlay| !overlay.0.is_empty()) else { return Ok(()) };
    if !defaults.pod_overlays {
        return Err(invalid(
            FIELD,
            "a pod overlay",
            "but this installation takes none: the chart's server.podOverlays allows them",
        ));
    }
    let size = Value::Object(overlay.clone()).to_string().len();
    if size > SIZE {
        return Err(invalid(FIELD, format!("{size} bytes"), format!("at most {SIZE} are allowed")));
    }
    only(FIELD, overlay, &["metadata", "spec"])?;
    lists(FIELD, overlay)?;
    if let Some(metadata) = map(FIELD, overlay, "metadata")? {
        self::metadata(metadata)?;
    }
    match map(FIELD, overlay, "spec")? {
        Some(spec) => pod(spec),
        None => Ok(()),
    }
}

fn metadata(metadata: &Map<String, Value>) -> Result<(), Invalid> {
    let field = format!("{FIELD}.metadata");
    only(&field, metadata, &["labels", "annotations"])?;
    for kind in ["labels", "annotations"] {
        for (name, value) in map(&field, metadata, kind)?.into_iter().flatten() {
            let domain = name.split_once('/').map_or("", |(domain, _)| domain);
            if domain == names::GROUP || domain.ends_with(&format!(".{}", names::GROUP)) {
                let allowed = format!("but names under {} are Sluice's own", names::GROUP);
                return Err(invalid(format!("{field}.{kind}.{name}"), found(value), allowed));
            }
        }
    }
    Ok(())
}

fn pod(spec: &Map<String, Value>) -> Result<(), Invalid> {
    let field = format!("{FIELD}.spec");
    let refuse =
        |name: &str, value: &Value, why: &str| Err(invalid(format!("{field}.{name}"), found(value), why));
    if let Some(policy) = spec.get("restartPolicy") {
        return refuse("restartPolicy", policy, STAYS);
    }
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        if let Some(value) =
            spec.get(shared).filter(|value| !matches!(value, Value::Null | Value::Bool(false)))
        {
            return refuse(
                shared,
                value,
                "but pods of model servers share nothing of their node: leave it out",
            );
        }
    }
    // rule: R6
    if let Some(grace) = spec.get("terminationGracePeriodSeconds")
        && grace.as_f64().is_none_or(|seconds| seconds < f64::from(GRACE))
    {
        let why = format!("must be a number of {GRACE} or more: a stopping pod answers what it has begun");
        return refuse("terminationGracePeriodSeconds", grace, &why);
    }
    for item in all(spec, "volumes") {
        if text(item, "name") == Some(ARTEFACT) {
            return refuse("volumes", item, "but the artefact is what spec.model.uri says: use another name");
        }
    }
    if let Some(gone @ Value::Null) = spec.get("containers") {
        return refuse("containers", gone, "but there must be the container server");
    }
    for kind in ["containers", "initContainers"] {
        for item in all(spec, kind) {
            container(&format!("{field}.{kind}"), item)?;
        }
    }
    Ok(())
}

fn container(list: &str, container: &Value) -> Result<(), Invalid> {
    let name = text(container, "name").unwrap_or_default();
    let field = format!("{list}[{name}]");
    let privileged = container.pointer("/securityContext/privileged");
    if let Some(value) = privileged.filter(|value| !matches!(value, Value::Null | Value::Bool(false))) {
        let field = format!("{field}.securityContext.privileged");
        return Err(invalid(
            field,
            found(value),
            "but no container of a model server has its node: leave it out",
        ));
    }
    if name == SERVER {
        return server(&field, container);
    }
    if name == FETCH {
        return fetch(&field, container);
    }
    for port in all_of(container, "ports") {
        taken(&field, port, false)?;
    }
    Ok(())
}

fn fetch(field: &str, fetch: &Value) -> Result<(), Invalid> {
    let others = fetch.as_object().into_iter().flatten().find(|(name, _)| !OF_FETCH.contains(&name.as_str()));
    match others {
        Some((name, value)) => Err(invalid(
            format!("{field}.{name}"),
            found(value),
            "but the container fetch is Sluice's: only its resources, env and envFrom may be set",
        )),
        None => Ok(()),
    }
}

fn server(field: &str, server: &Value) -> Result<(), Invalid> {
    for (name, why) in OF_SERVER {
        if let Some(value) = server.get(name) {
            return Err(invalid(format!("{field}.{name}"), found(value), why));
        }
    }
    for name in ["ports", "volumeMounts", "env"] {
        if let Some(gone @ Value::Null) = server.get(name) {
            let why = "but the model server needs those that it has: name the items to change";
            return Err(invalid(format!("{field}.{name}"), found(gone), why));
        }
    }
    for port in all_of(server, "ports") {
        taken(field, port, true)?;
    }
    for mount in all_of(server, "volumeMounts") {
        let path = text(mount, "mountPath").unwrap_or_default();
        if path == MODELS || path.starts_with(&format!("{MODELS}/")) {
            let why = "but the artefact is what spec.model.uri says: use another path";
            return Err(invalid(format!("{field}.volumeMounts"), found(mount), why));
        }
    }
    for variable in all_of(server, "env") {
        let name = text(variable, "name").unwrap_or_default();
        if VARIABLES.contains(&name) {
            let why = "but Sluice sets it, by an argument or by what its routers rely on: leave it out";
            return Err(invalid(format!("{field}.env[{name}]"), found(variable), why));
        }
    }
    Ok(())
}

/// The two ports of the model server: their numbers in the whole pod, their names in its container.
fn taken(field: &str, port: &Value, of_server: bool) -> Result<(), Invalid> {
    let ours = [endpoint::SERVER_PORT, endpoint::ADMIN_PORT];
    let number = port.get("containerPort").and_then(Value::as_u64);
    let same_number = number.is_some_and(|number| ours.iter().any(|port| u64::from(*port) == number));
    let same_name = of_server && matches!(text(port, "name"), Some("http" | "admin"));
    if same_number || same_name {
        let why = format!("but {} (http) and {} (admin) are the model server's", ours[0], ours[1]);
        return Err(invalid(format!("{field}.ports"), found(port), why));
    }
    Ok(())
}

/// Whether lists that are merged by item can be: each item says which it is, and no two are the same. Directives of
/// a strategic merge patch would be taken for fields.
fn lists(field: &str, fields: &Map<String, Value>) -> Result<(), Invalid> {
    for (name, value) in fields {
        let field = format!("{field}.{name}");
        if name.starts_with('$') {
            return Err(invalid(
                field,
                found(value),
                "but directives are not known here: null removes a field",
            ));
        }
        match value {
            Value::Object(inner) => lists(&field, inner)?,
            Value::Array(all) => {
                if let Some(Items::Keyed(keys)) = items(name) {
                    keyed(&field, all, keys)?;
                }
                for (i, inner) in all.iter().enumerate() {
                    if let Value::Object(inner) = inner {
                        lists(&format!("{field}[{i}]"), inner)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn keyed(field: &str, list: &[Value], keys: &[(&str, Option<&str>)]) -> Result<(), Invalid> {
    let mut known = Vec::new();
    for (i, item) in list.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let Some(identity) = identity(item, keys) else {
            return Err(invalid(
                field,
                found(item),
                format!("must have {}: items are merged by it", keys[0].0),
            ));
        };
        if known.contains(&identity) {
            return Err(invalid(field, found(item), format!("but another item has that {}", keys[0].0)));
        }
        known.push(identity);
    }
    Ok(())
}

fn only(field: &str, fields: &Map<String, Value>, known: &[&str]) -> Result<(), Invalid> {
    match fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, value)) => Err(invalid(
            format!("{field}.{name}"),
            found(value),
            format!("only {} may be set", known.join(" and ")),
        )),
        None => Ok(()),
    }
}

/// A field that must be a map; absent and `null` are none.
fn map<'a>(
    field: &str,
    fields: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a Map<String, Value>>, Invalid> {
    match fields.get(name) {
        Some(Value::Object(map)) => Ok(Some(map)),
        None => Ok(None),
        Some(other) => Err(invalid(format!("{field}.{name}"), found(other), "must be a map of fields")),
    }
}

fn all<'a>(fields: &'a Map<String, Value>, list: &str) -> impl Iterator<Item = &'a Value> {
    fields.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn all_of<'a>(item: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    item.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(item: &'a Value, name: &str) -> Option<&'a str> {
    item.get(name).and_then(Value::as_str)
}

/// What was found, short enough for a sentence.
fn found(value: &Value) -> String {
    const LONG: usize = 80;
    let text = value.to_string();
    let short = crate::report::cut(&text, LONG);
    if short.len() < text.len() { format!("{short}…") } else { text }
}

#[cfg(test)]
mod tests;
