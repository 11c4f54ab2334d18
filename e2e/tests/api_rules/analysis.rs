//! What a candidate is judged by.

use rstest::rstest;
use serde_json::{Value, json};

use crate::check;

fn metric(changes: &Value) -> Value {
    let mut metric = json!({"name": "m", "errorRate": {}, "max": 0.02});
    for (field, value) in changes.as_object().unwrap() {
        if value.is_null() {
            metric.as_object_mut().unwrap().remove(field);
        } else {
            metric[field] = value.clone();
        }
    }
    metric
}

#[rstest]
#[case("/spec/analysis/interval", json!("1s"), None)]
#[case("/spec/analysis/interval", json!("1h"), None)]
#[case("/spec/analysis/interval", json!("999ms"), Some("analysis.interval: must be between 1s and 1h"))]
#[case("/spec/analysis/interval", json!("61m"), Some("analysis.interval: must be between 1s and 1h"))]
#[case("/spec/analysis/falseRollback", json!(0), None)]
#[case("/spec/analysis/falseRollback", json!(0.2), None)]
#[case("/spec/analysis/falseRollback", json!(0.21), Some("spec.analysis.falseRollback"))]
#[case("/spec/analysis/falseRollback", json!(-0.01), Some("spec.analysis.falseRollback"))]
#[case("/spec/analysis", json!({"falseRollback": 0, "sequential": {}}), Some("its tests share falseRollback, which is 0"))]
#[case("/spec/analysis", json!({"sequential": {}}), None)]
#[case("/spec/analysis/metrics", json!([]), None)]
#[case("/spec/analysis/sequential", json!({}), None)]
#[case("/spec/analysis/sequential", json!({"errors": {"tolerance": 1, "onBreach": "rollback"}}), None)]
#[case("/spec/analysis/sequential", json!({"latency": {"tolerance": 10, "onBreach": "ignore"}}), None)]
#[case("/spec/analysis/sequential", json!({"errors": {"tolerance": 0.99}}), Some("errors.tolerance"))]
#[case("/spec/analysis/sequential", json!({"lowConfidence": {"tolerance": 10.1}}), Some("lowConfidence.tolerance"))]
#[case("/spec/analysis/sequential", json!({"errors": {"onBreach": "stop"}}), Some("Unsupported value"))]
#[case("/spec/analysis/sequential", json!({"change": {"onBreach": "pause"}}), None)]
#[case("/spec/analysis/sequential", json!({"change": {"onBreach": "rollback"}}), Some("Unsupported value"))]
fn analysis_is_bounded(#[case] pointer: &str, #[case] value: Value, #[case] message: Option<&str>) {
    check(pointer, value, message);
}

#[rstest]
#[case(16, None)]
#[case(17, Some("spec.analysis.metrics"))]
fn metrics_are_few_and_named_apart(#[case] count: u32, #[case] message: Option<&str>) {
    let many: Vec<Value> = (0..count).map(|i| metric(&json!({"name": format!("m{i}")}))).collect();
    check("/spec/analysis/metrics", json!(many), message);
    let twice = json!([metric(&json!({})), metric(&json!({}))]);
    check("/spec/analysis/metrics", twice, Some("Duplicate value"));
}

const KIND: &str = "metric: set exactly one of drift, errorRate, latency, invalidInputRate, nullOutputRate, disagreement, accuracy";
const BOUND: &str = "metric: set exactly one of max, maxRatio";
const RATE: &str = "metric: a rate's max is between 0 and 1";
const ORDER: &str =
    "metric: ks and wasserstein need an order and classes have none; use psi for feature class";
const SHARE: &str = "metric: this statistic is never more than 1, so max must be between 0 and 1";
const NOISE: &str =
    "metric: drift needs max, or a significance above 0 that says which distance is more than noise";
const MORE: &str = "metric: accuracy takes min or maxDrop, and nothing else does";
const FEW: &str = "metric: lastRequests must be at least minSamples (default 100)";
const WINDOW: &str = "metric: window must be between 1s and 24h";

fn drift(feature: &str, statistic: &str, against: &str) -> Value {
    json!({"feature": feature, "statistic": statistic, "against": against})
}

// rule: J4, J5
#[rstest]
#[case(json!({"errorRate": null}), Some(KIND))]
#[case(json!({"latency": {"quantile": 0.9}}), Some(KIND))]
#[case(json!({"invalidInputRate": {}}), Some(KIND))]
#[case(json!({"errorRate": null, "invalidInputRate": {}}), None)]
#[case(json!({"max": null}), Some(BOUND))]
#[case(json!({"maxRatio": 2}), Some(BOUND))]
#[case(json!({"max": null, "maxRatio": 0.01}), None)]
#[case(json!({"max": null, "maxRatio": 1000}), None)]
#[case(json!({"max": null, "maxRatio": 0.001}), Some("maxRatio"))]
#[case(json!({"max": null, "maxRatio": 1001}), Some("maxRatio"))]
#[case(json!({"max": 0}), None)]
#[case(json!({"max": 1}), None)]
#[case(json!({"max": 1.01}), Some(RATE))]
#[case(json!({"max": -0.01}), Some("max"))]
#[case(json!({"errorRate": null, "invalidInputRate": {}, "max": 2}), Some(RATE))]
#[case(json!({"errorRate": null, "latency": {"quantile": 0.5}, "max": 2.5}), None)]
#[case(json!({"errorRate": null, "latency": {"quantile": 0.999}, "max": 2.5}), None)]
#[case(json!({"errorRate": null, "latency": {"quantile": 0.9}, "max": 0}), Some("metric: latency max is in seconds and must be above 0"))]
#[case(json!({"errorRate": null, "latency": {"quantile": 0.49}}), Some("quantile"))]
#[case(json!({"errorRate": null, "latency": {"quantile": 1}}), Some("quantile"))]
#[case(json!({"errorRate": null, "drift": drift("class", "psi", "reference")}), None)]
#[case(json!({"errorRate": null, "drift": drift("sharpness", "ks", "stable")}), None)]
#[case(json!({"errorRate": null, "drift": drift("saturation", "psi", "reference")}), None)]
#[case(json!({"errorRate": null, "drift": drift("size", "wasserstein", "reference")}), None)]
#[case(json!({"errorRate": null, "drift": drift("entropy", "ks", "stable")}), None)]
#[case(json!({"errorRate": null, "drift": drift("energy", "ks", "reference")}), None)]
#[case(json!({"errorRate": null, "drift": drift("class", "ks", "stable")}), Some(ORDER))]
#[case(json!({"errorRate": null, "drift": drift("class", "wasserstein", "stable")}), Some(ORDER))]
#[case(json!({"errorRate": null, "drift": drift("contrast", "wasserstein", "stable")}), None)]
#[case(json!({"errorRate": null, "drift": drift("class", "jensenShannon", "stable")}), None)]
#[case(json!({"errorRate": null, "drift": drift("class", "hellinger", "stable")}), None)]
#[case(json!({"errorRate": null, "drift": drift("class", "lInfinity", "stable"), "max": 1.01}), Some(SHARE))]
#[case(json!({"errorRate": null, "drift": drift("class", "psi", "stable"), "max": 1.01}), None)]
#[case(json!({"errorRate": null, "drift": drift("class", "chiSquare", "stable"), "max": 30}), None)]
#[case(json!({"errorRate": null, "drift": drift("class", "g", "stable"), "max": null, "significance": 0.001}), None)]
#[case(json!({"errorRate": null, "drift": drift("class", "g", "stable"), "max": null, "significance": 0}), Some(NOISE))]
#[case(json!({"errorRate": null, "drift": drift("class", "g", "stable"), "max": null}), Some(NOISE))]
#[case(json!({"max": null, "significance": 0.001}), Some(BOUND))]
#[case(json!({"errorRate": null, "drift": drift("hue", "psi", "stable")}), Some("Unsupported value"))]
#[case(json!({"errorRate": null, "drift": drift("class", "chi", "stable")}), Some("Unsupported value"))]
#[case(json!({"errorRate": null, "drift": drift("class", "psi", "yesterday")}), Some("Unsupported value"))]
#[case(json!({"errorRate": null, "drift": drift("class", "psi", "stable"), "max": null, "maxRatio": 2}), Some("metric: drift takes max, not maxRatio: it is a comparison already"))]
#[case(json!({"window": "1s"}), None)]
#[case(json!({"window": "24h"}), None)]
#[case(json!({"window": "500ms"}), Some(WINDOW))]
#[case(json!({"window": "25h"}), Some(WINDOW))]
#[case(json!({"lastRequests": 100}), None)]
#[case(json!({"lastRequests": 1_000_000}), None)]
#[case(json!({"lastRequests": 1_000_001}), Some("lastRequests"))]
#[case(json!({"lastRequests": 99}), Some(FEW))]
#[case(json!({"lastRequests": 99, "minSamples": 99}), None)]
#[case(json!({"lastRequests": 2000, "minSamples": 2001}), Some(FEW))]
#[case(json!({"lastRequests": 2000, "window": "5m"}), Some("metric: set window or lastRequests, not both"))]
#[case(json!({"minSamples": 1}), None)]
#[case(json!({"minSamples": 0}), Some("minSamples"))]
#[case(json!({"consecutive": 100}), None)]
#[case(json!({"consecutive": 0}), Some("consecutive"))]
#[case(json!({"consecutive": 101}), Some("consecutive"))]
#[case(json!({"significance": 0}), None)]
#[case(json!({"significance": 0.5}), None)]
#[case(json!({"significance": 0.51}), Some("significance"))]
#[case(json!({"onBreach": "rollback"}), None)]
#[case(json!({"onBreach": "pause"}), None)]
#[case(json!({"onBreach": "alert"}), None)]
#[case(json!({"onBreach": "ignore"}), Some("Unsupported value"))]
#[case(json!({"onNoData": "hold"}), None)]
#[case(json!({"onNoData": "pause"}), None)]
#[case(json!({"onNoData": "rollback"}), None)]
#[case(json!({"onNoData": "pass"}), Some("Unsupported value"))]
#[case(json!({"noDataDeadline": "10m"}), None)]
#[case(json!({"noDataDeadline": "x"}), Some("noDataDeadline"))]
#[case(json!({"name": "a".repeat(40)}), None)]
#[case(json!({"name": "a".repeat(41)}), Some("name"))]
#[case(json!({"name": "Errors"}), Some("name"))]
#[case(json!({"errorRate": null, "disagreement": {}, "max": 0.05}), None)]
#[case(json!({"errorRate": null, "disagreement": {}, "max": 1.5}), Some(RATE))]
#[case(json!({"errorRate": null, "disagreement": {}, "max": null, "maxRatio": 2.0}), Some("disagreement takes max, not maxRatio"))]
#[case(json!({"errorRate": null, "nullOutputRate": {}, "maxRatio": 2.0, "max": null}), None)]
#[case(json!({"errorRate": null, "accuracy": {}, "max": null, "min": 0.9}), None)]
#[case(json!({"errorRate": null, "accuracy": {}, "max": null, "maxDrop": 0.02}), None)]
#[case(json!({"errorRate": null, "accuracy": {}, "max": null, "min": 1.01}), Some("min"))]
#[case(json!({"errorRate": null, "accuracy": {}, "max": null, "min": 0.9, "maxDrop": 0.02}), Some(BOUND))]
#[case(json!({"errorRate": null, "accuracy": {}, "max": null}), Some(BOUND))]
#[case(json!({"errorRate": null, "accuracy": {}, "max": 0.9}), Some(MORE))]
#[case(json!({"max": null, "min": 0.9}), Some(MORE))]
#[case(json!({"disagreement": {}}), Some(KIND))]
fn a_metric_is_one_kind_with_one_bound(#[case] changes: Value, #[case] message: Option<&str>) {
    check("/spec/analysis/metrics", json!([metric(&changes)]), message);
}
