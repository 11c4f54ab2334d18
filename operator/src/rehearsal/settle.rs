//! From what was asked for to what is frozen (I1): the same fields, in the words of the API server. Pure.
//!
//! It writes `1024Mi` as `1Gi`, and 0 where that is the default not at all. What is compared with live objects for
//! ever after must be written its way, or it would look changed, and be applied, at every look.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

use super::Draft;
use crate::resources::is_nothing;
use crate::revision::Resolved;

/// What a revision resolves to whose Deployment the API server answered with `answer`.
///
/// # Errors
/// When a field would be lost, with its name: dropped by the API server, or not known to this program.
pub(super) fn settle(draft: &Draft, answer: &Value) -> Result<Resolved, String> {
    let template = |deployment: &Value| deployment.pointer("/spec/template").cloned().unwrap_or_default();
    let (wanted, answer) = (template(&draft.deployment), template(answer));
    let settled = value("", &wanted, &answer).map_err(|field| {
        format!("{field} is dropped: a feature that this cluster does not have, or has switched off")
    })?;
    let unknown =
        |what: &dyn std::fmt::Display| format!("{what}: this release of Sluice knows no such field");
    let template: PodTemplateSpec =
        serde_json::from_value(settled.clone()).map_err(|error| unknown(&error))?;
    let known = serde_json::to_value(&template).expect("Kubernetes objects are JSON");
    match lost("", &settled, &known) {
        Some(field) => Err(unknown(&field)),
        None => Ok(Resolved { image: draft.image.clone(), template }),
    }
}

/// The wanted fields with the values of the answer; the error is the path of one that the answer lacks.
fn value(path: &str, wanted: &Value, answer: &Value) -> Result<Value, String> {
    match (wanted, answer) {
        (Value::Object(wanted), Value::Object(answer)) => {
            let mut settled = Map::new();
            for (name, wanted) in wanted {
                let path = join(path, name);
                match answer.get(name) {
                    Some(answer) => drop(settled.insert(name.clone(), value(&path, wanted, answer)?)),
                    // Of numbers 0 is left out where it is the default.
                    None if is_nothing(wanted) || wanted.as_f64() == Some(0.0) => {}
                    None => return Err(path),
                }
            }
            Ok(Value::Object(settled))
        }
        (Value::Array(wanted), Value::Array(answer)) if wanted.len() == answer.len() => {
            let both = wanted.iter().zip(answer).enumerate();
            both.map(|(i, (wanted, answer))| value(&format!("{path}[{i}]"), wanted, answer)).collect()
        }
        // A scalar in its own words, or a list that an admission webhook made longer.
        _ => Ok(answer.clone()),
    }
}

/// The first field that is not in what this program knows of it.
fn lost(path: &str, all: &Value, known: &Value) -> Option<String> {
    match (all, known) {
        (Value::Object(all), Value::Object(known)) => all.iter().find_map(|(name, value)| {
            let path = join(path, name);
            match known.get(name) {
                Some(known) => lost(&path, value, known),
                None if value.is_null() => None,
                None => Some(path),
            }
        }),
        (Value::Array(all), Value::Array(known)) => {
            let both = all.iter().zip(known).enumerate();
            both.into_iter().find_map(|(i, (all, known))| lost(&format!("{path}[{i}]"), all, known))
        }
        _ => None,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
