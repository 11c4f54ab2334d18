//! Lays a partial pod template over a rendered one, as a strategic merge patch does where people expect it. Pure.
//!
//! Maps are merged, `null` removes a field, and lists whose items have a name of some kind are merged item by item;
//! every other list is replaced. A table of those names is enough: in a pod template each of these fields means one
//! thing wherever it stands. (`k8s_openapi::DeepMerge` knows more of them, but has no removal, and drops the fields of
//! a newer cluster.)

use serde_json::{Map, Value};

/// How a list is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Items {
    /// By these fields of its items; one that is absent counts as the text beside it.
    Keyed(&'static [(&'static str, Option<&'static str>)]),
    /// Those that are not there yet are added.
    Added,
}

/// How the list of that name is merged; `None`: it is replaced.
#[must_use]
pub fn items(field: &str) -> Option<Items> {
    Some(Items::Keyed(match field {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" | "claims"
        | "resourceClaims" => &[("name", None)],
        "ports" => &[("containerPort", None), ("protocol", Some("TCP"))],
        "volumeMounts" => &[("mountPath", None)],
        "volumeDevices" => &[("devicePath", None)],
        "topologySpreadConstraints" => &[("topologyKey", None)],
        "hostAliases" => &[("ip", None)],
        "tolerations" => return Some(Items::Added),
        _ => return None,
    }))
}

/// What identifies an item; `None` where it says nothing of that kind.
#[must_use]
pub fn identity(item: &Value, keys: &[(&str, Option<&str>)]) -> Option<Vec<Value>> {
    let part = |(key, otherwise): &(&str, Option<&str>)| match item.get(*key) {
        None | Some(Value::Null) => otherwise.map(Value::from),
        Some(value) => (value.is_string() || value.is_number()).then(|| value.clone()),
    };
    keys.iter().map(part).collect()
}

/// The template with the overlay on it.
#[must_use]
pub fn lay(base: Value, overlay: &Map<String, Value>) -> Value {
    let Value::Object(base) = base else { return plain(&Value::Object(overlay.clone())) };
    Value::Object(fields(base, overlay))
}

fn fields(mut base: Map<String, Value>, overlay: &Map<String, Value>) -> Map<String, Value> {
    for (name, over) in overlay {
        let merged = match (base.remove(name), over) {
            (_, Value::Null) => continue,
            (Some(Value::Object(old)), Value::Object(new)) => Value::Object(fields(old, new)),
            (Some(Value::Array(old)), Value::Array(new)) => list(name, old, new),
            (_, Value::Array(new)) => list(name, Vec::new(), new),
            (_, new) => plain(new),
        };
        base.insert(name.clone(), merged);
    }
    base
}

fn list(name: &str, mut old: Vec<Value>, new: &[Value]) -> Value {
    match items(name) {
        None => return Value::Array(new.iter().map(plain).collect()),
        Some(Items::Added) => {
            for item in new.iter().map(plain) {
                if !old.contains(&item) {
                    old.push(item);
                }
            }
        }
        Some(Items::Keyed(keys)) => {
            for item in new {
                let wanted = identity(item, keys);
                let same = old.iter_mut().find(|o| wanted.is_some() && identity(o, keys) == wanted);
                match (same, item) {
                    (Some(Value::Object(same)), Value::Object(item)) => {
                        *same = fields(std::mem::take(same), item);
                    }
                    _ => old.push(plain(item)),
                }
            }
        }
    }
    Value::Array(old)
}

/// What is new, without what it would remove.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
