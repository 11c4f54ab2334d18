//! Whether a live object is already as it shall be, so that nothing is written when nothing changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;
use serde_json::Value;

use crate::revision::hash8;

/// Annotation: hash of what was applied last. It differs too when a field is no longer wanted, which the
/// comparison of what is wanted with what is there cannot see.
pub const APPLIED: &str = "sluice.dev/applied";

/// Notes on an object what it was rendered as.
///
/// # Panics
/// Never for Kubernetes objects: they have no maps with keys other than text.
#[must_use]
pub fn stamp<K: Resource + Serialize>(mut object: K) -> K {
    let text = serde_json::to_string(&object).expect("Kubernetes objects are JSON");
    let meta: &mut ObjectMeta = object.meta_mut();
    meta.annotations.get_or_insert_default().insert(APPLIED.to_owned(), hash8(&text));
    object
}

/// Whether `live` has every field that `wanted` has, with the same value. The API server adds defaults and
/// writes quantities in its own way (`1000m` as `1`); neither is a difference.
#[must_use]
pub fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            let Some(live) = live.get(name) else { return is_nothing(wanted) };
            match name.as_str() {
                "requests" | "limits" => same_quantities(live, wanted),
                _ => covers(live, wanted),
            }
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        _ => live == wanted,
    }
}

/// What the API server leaves out when it stores it.
pub(crate) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(_) | Value::Bool(true) => false,
    }
}

fn same_quantities(live: &Value, wanted: &Value) -> bool {
    let (Some(live), Some(wanted)) = (live.as_object(), wanted.as_object()) else { return live == wanted };
    live.len() == wanted.len()
        && wanted.iter().all(|(name, wanted)| {
            live.get(name).is_some_and(|live| {
                live == wanted || amount(live).zip(amount(wanted)).is_some_and(|(a, b)| close(a, b))
            })
        })
}

/// A quantity as a number: `100m`, `1.5`, `2Gi`, `1e3`.
fn amount(value: &Value) -> Option<f64> {
    quantity(value.as_str()?)
}

/// The same of its text.
pub(crate) fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    if let Ok(number) = text.parse::<f64>() {
        return Some(number);
    }
    SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some(text.strip_suffix(suffix)?.parse::<f64>().ok()? * factor))
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::default_added(json!({"a": 1, "b": 2}), json!({"a": 1}), true)]
    #[case::changed(json!({"a": 2}), json!({"a": 1}), false)]
    #[case::missing(json!({}), json!({"a": 1}), false)]
    #[case::left_out_when_stored(json!({}), json!({"a": false, "b": {}, "c": [], "d": null}), true)]
    #[case::list_longer(json!({"a": [1, 2]}), json!({"a": [1]}), false)]
    #[case::nested_default(json!({"a": [{"x": 1, "y": 2}]}), json!({"a": [{"x": 1}]}), true)]
    #[case::cpu(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), json!({"limits": {"cpu": "1000m", "memory": "1024Mi"}}), true)]
    #[case::less(json!({"limits": {"cpu": "1"}}), json!({"limits": {"cpu": "999m"}}), false)]
    #[case::limit_added(json!({"limits": {"cpu": "1", "memory": "1"}}), json!({"limits": {"cpu": "1"}}), false)]
    #[case::text_is_no_quantity(json!({"args": ["1"]}), json!({"args": ["1000m"]}), false)]
    fn only_what_differs_is_written(#[case] live: Value, #[case] wanted: Value, #[case] same: bool) {
        assert_eq!(covers(&live, &wanted), same);
    }
}
