//! Every rule of the API, against a real API server: what is refused and with which words, and what is just
//! within it. Dry runs: nothing is stored.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::sync::LazyLock;

use api::ModelDeployment;
use e2e::apiserver::{ApiServer, definitions};
use e2e::trial::with;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{Scope, pinned_kind};
use kube::{Client, ResourceExt};
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// All cases share one runtime, and so one client.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});
static CLIENT: OnceCell<Client> = OnceCell::const_new();

fn valid() -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "digits"},
        "spec": {
            "replicas": 2,
            "model": {"version": "1.1.0", "uri": "pvc://models/digits/1.1.0", "sha256": "0".repeat(64)},
            "server": {"image": "server:1", "resources": {"limits": {"memory": "1Gi"}}},
            "router": {"replicas": 2},
            "routing": {"sticky": {"header": "x-user-id"}},
            "strategy": {"canary": {"steps": [
                {"weight": 5, "hold": "2m", "minRequests": 200}, {"weight": 50, "approval": true},
            ]}},
            "analysis": {"interval": "15s", "falseRollback": 0.01, "metrics": [
                {"name": "errors", "errorRate": {}, "max": 0.02},
                {"name": "latency", "latency": {"quantile": 0.99}, "maxRatio": 1.3},
                {"name": "drift", "drift": {"feature": "confidence", "statistic": "ks", "against": "stable"},
                    "max": 0.15, "window": "5m", "minSamples": 300},
            ]},
            "rollback": {"keepWarm": "30m", "holdback": 1},
            "progressDeadline": "10m",
            "revisionHistoryLimit": 5,
            "paused": false,
        },
    })
}

/// Creates the changed manifest without storing it.
async fn create(object: Value) -> Result<(), String> {
    let client =
        CLIENT.get_or_init(async || ApiServer::shared().await.unwrap().client().await.unwrap()).await;
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), "default", &ApiResource::erase::<ModelDeployment>(&()));
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&parameters, &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(other) => panic!("{other}"),
    }
}

fn check(pointer: &str, value: Value, message: Option<&str>) {
    let object = with(valid(), &[(pointer, value)]);
    match (RUNTIME.block_on(create(object)), message) {
        (Ok(()), None) => {}
        (Err(said), Some(message)) => assert!(said.contains(message), "{pointer} is refused with: {said}"),
        (Ok(()), Some(message)) => panic!("{pointer} is accepted, expected: {message}"),
        (Err(said), None) => panic!("{pointer} is refused: {said}"),
    }
}

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

fn step(weight: u32) -> Value {
    json!({"weight": weight})
}

#[test]
fn the_manifest_that_the_others_change_is_accepted() {
    assert_eq!(RUNTIME.block_on(create(valid())), Ok(()));
}

// rule: K1
#[rstest]
#[case("a", None)]
#[case("a-1", None)]
#[case(&"a".repeat(40), None)]
#[case(&"a".repeat(41), Some("metadata.name: at most 40 characters"))]
#[case("1digit", Some("metadata.name: at most 40 characters"))]
#[case("my.model", Some("metadata.name: at most 40 characters"))]
fn names_fit_services(#[case] name: &str, #[case] message: Option<&str>) {
    check("/metadata/name", json!(name), message);
}

#[rstest]
#[case("/spec/replicas", json!(1), None)]
#[case("/spec/replicas", json!(1000), None)]
#[case("/spec/replicas", json!(0), Some("spec.replicas"))]
#[case("/spec/replicas", json!(1001), Some("spec.replicas"))]
#[case("/spec/replicas", Value::Null, None)]
#[case("/spec/router/replicas", json!(1), None)]
#[case("/spec/router/replicas", json!(100), None)]
#[case("/spec/router/replicas", json!(0), Some("spec.router.replicas"))]
#[case("/spec/router/replicas", json!(101), Some("spec.router.replicas"))]
#[case("/spec/revisionHistoryLimit", json!(1), None)]
#[case("/spec/revisionHistoryLimit", json!(50), None)]
#[case("/spec/revisionHistoryLimit", json!(0), Some("spec.revisionHistoryLimit"))]
#[case("/spec/revisionHistoryLimit", json!(51), Some("spec.revisionHistoryLimit"))]
#[case("/spec/progressDeadline", json!("1s"), None)]
#[case("/spec/progressDeadline", json!("999ms"), Some("progressDeadline: must be at least 1s"))]
#[case("/spec/progressDeadline", json!("10"), Some("spec.progressDeadline"))]
#[case("/spec/progressDeadline", json!("-5m"), Some("spec.progressDeadline"))]
#[case("/spec/server/image", json!("i"), None)]
#[case("/spec/server/image", json!(""), Some("spec.server.image"))]
#[case("/spec/server/image", json!("i".repeat(513)), Some("spec.server.image"))]
#[case("/spec/routing/sticky/header", json!("cookie-2"), None)]
#[case("/spec/routing/sticky/header", json!("X-User"), Some("spec.routing.sticky.header"))]
#[case("/spec/routing/sticky/header", json!(""), Some("spec.routing.sticky.header"))]
#[case("/spec/routing/sticky/header", json!("h".repeat(65)), Some("spec.routing.sticky.header"))]
fn settings_are_bounded(#[case] pointer: &str, #[case] value: Value, #[case] message: Option<&str>) {
    check(pointer, value, message);
}

#[rstest]
#[case("/spec/model/version", json!("0.0.1"), None)]
#[case("/spec/model/version", json!("1.0.0-rc.1+build.5"), None)]
#[case("/spec/model/version", json!("1.0"), Some("spec.model.version"))]
#[case("/spec/model/version", json!("01.0.0"), Some("model.version: must be a semantic version such as 1.4.0"))]
#[case("/spec/model/version", json!("v1.0.0"), Some("model.version: must be a semantic version such as 1.4.0"))]
#[case("/spec/model/uri", json!("file:///models/1"), None)]
#[case("/spec/model/uri", json!("pvc://claim/a"), None)]
#[case("/spec/model/uri", json!("s3://bucket/a"), Some("model.uri: must be pvc://<claim>/<path> or file:///<path>"))]
#[case("/spec/model/uri", json!("https://host/a"), Some("other schemes are not loaded by this release"))]
#[case("/spec/model/uri", json!("pvc://claim/"), Some("model.uri: must be pvc://<claim>/<path>"))]
#[case("/spec/model/uri", json!("pvc://claim/a/../b"), Some("model.uri: the path must not contain .."))]
#[case("/spec/model/uri", json!("file:///.."), Some("model.uri: the path must not contain .."))]
#[case("/spec/model/sha256", Value::Null, None)]
#[case("/spec/model/sha256", json!("a".repeat(63)), Some("spec.model.sha256"))]
#[case("/spec/model/sha256", json!("A".repeat(64)), Some("spec.model.sha256"))]
fn models_are_named_exactly(#[case] pointer: &str, #[case] value: Value, #[case] message: Option<&str>) {
    check(pointer, value, message);
}

#[rstest]
#[case(json!({}), None)]
#[case(json!({"keepWarm": "0s"}), None)]
#[case(json!({"holdback": 0, "keepWarm": "0s"}), None)]
#[case(json!({"holdback": 20}), None)]
#[case(json!({"holdback": 21}), Some("spec.rollback.holdback"))]
#[case(json!({"holdback": 1, "keepWarm": "0s"}), Some("rollback.holdback: a control group needs keepWarm above 0s"))]
#[case(json!({"keepWarm": "soon"}), Some("spec.rollback.keepWarm"))]
fn a_control_group_needs_a_warm_revision(#[case] rollback: Value, #[case] message: Option<&str>) {
    check("/spec/rollback", rollback, message);
}

// rule: K8
#[rstest]
#[case(json!({}), Some("strategy: set exactly one strategy; this release has: canary"))]
#[case(json!({"blueGreen": {}}), Some("strategy: set exactly one strategy; this release has: canary"))]
#[case(json!({"canary": {"steps": []}}), Some("spec.strategy.canary.steps"))]
#[case(json!({"canary": {"steps": [step(1)]}}), None)]
#[case(json!({"canary": {"steps": (1..=20).map(step).collect::<Vec<_>>()}}), None)]
#[case(json!({"canary": {"steps": (1..=21).map(step).collect::<Vec<_>>()}}), Some("spec.strategy.canary.steps"))]
#[case(json!({"canary": {"steps": [step(0)]}}), Some("weight"))]
#[case(json!({"canary": {"steps": [step(99)]}}), None)]
#[case(json!({"canary": {"steps": [step(100)]}}), Some("weight"))]
#[case(json!({"canary": {"steps": [step(50), step(10)]}}), Some("strategy.canary.steps: weights must rise from step to step"))]
#[case(json!({"canary": {"steps": [step(10), step(10)]}}), Some("strategy.canary.steps: two steps have the same weight"))]
#[case(json!({"canary": {"steps": [{"weight": 10, "hold": "2 minutes"}]}}), Some("hold"))]
#[case(json!({"canary": {"steps": [{"weight": 10, "minRequests": -1}]}}), Some("minRequests"))]
#[case(json!({"canary": {"steps": [{"hold": "1s"}]}}), Some("weight"))]
fn steps_rise(#[case] strategy: Value, #[case] message: Option<&str>) {
    check("/spec/strategy", strategy, message);
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
#[case("/spec/analysis/sequential", json!({"latency": {"tolerance": 10, "onBreach": "off"}}), None)]
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

const KIND: &str = "metric: set exactly one of drift, errorRate, latency, invalidInputRate";
const BOUND: &str = "metric: set exactly one of max, maxRatio";
const RATE: &str = "metric: a rate's max is between 0 and 1";
const ORDER: &str =
    "metric: ks and wasserstein need an order and classes have none; use psi for feature class";
const SHARE: &str = "metric: this statistic is never more than 1, so max must be between 0 and 1";
const NOISE: &str =
    "metric: drift needs max, or a significance above 0 that says which distance is more than noise";
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
fn a_metric_is_one_kind_with_one_bound(#[case] changes: Value, #[case] message: Option<&str>) {
    check("/spec/analysis/metrics", json!([metric(&changes)]), message);
}

fn notification(changes: &Value) -> Value {
    let mut notification = json!({"name": "team", "webhook": {"url": "https://hooks.example/T0"}});
    for (field, value) in changes.as_object().unwrap() {
        notification[field] = value.clone();
    }
    notification
}

#[rstest]
#[case(json!({}), None)]
#[case(json!({"webhook": {"url": "http://hooks:8080"}}), None)]
#[case(json!({"webhook": {"urlFrom": {"secretName": "sluice-notifications", "key": "slack"}, "template": "slack"}}), None)]
#[case(json!({"webhook": {}}), Some("webhook: set exactly one of url, urlFrom"))]
#[case(
    json!({"webhook": {"url": "http://h", "urlFrom": {"secretName": "s", "key": "k"}}}),
    Some("webhook: set exactly one of url, urlFrom")
)]
#[case(json!({"webhook": {"url": "ftp://hooks"}}), Some("webhook.url: must be http://"))]
#[case(json!({"webhook": {"url": "https://me:word@hooks/"}}), Some("without user and password"))]
#[case(json!({"webhook": {"url": format!("http://h/{}", "a".repeat(2040))}}), Some("webhook.url"))]
#[case(json!({"webhook": {"urlFrom": {"secretName": "S", "key": "k"}}}), Some("secretName"))]
#[case(json!({"webhook": {"urlFrom": {"secretName": "s", "key": "a/b"}}}), Some("key"))]
#[case(json!({"webhook": {"url": "http://h", "template": "xml"}}), Some("template"))]
#[case(json!({"reasons": ["Promoted", "RolledBack"]}), None)]
#[case(json!({"reasons": ["Demoted"]}), Some("reasons"))]
#[case(json!({"name": "Team"}), Some("name"))]
fn a_notification_has_one_address_and_known_reasons(#[case] changes: Value, #[case] message: Option<&str>) {
    check("/spec/notifications", json!([notification(&changes)]), message);
}

#[test]
fn notifications_are_few_and_have_names_of_their_own() {
    let named = |n: usize| (0..n).map(|i| notification(&json!({"name": format!("n{i}")}))).collect();
    check("/spec/notifications", Value::Array(named(8)), None);
    check("/spec/notifications", Value::Array(named(9)), Some("spec.notifications"));
    check(
        "/spec/notifications",
        json!([notification(&json!({})), notification(&json!({}))]),
        Some("Duplicate"),
    );
}

#[rstest]
#[case("/cooldown", json!("1m"), None)]
#[case("/cooldown", json!("59s"), Some("retraining.cooldown: must be at least 1m"))]
#[case("/triggers", json!(["drift", "rollback"]), None)]
#[case("/triggers", json!([]), Some("triggers"))]
#[case("/triggers", json!(["moon"]), Some("triggers"))]
#[case("/jobTemplate", json!({}), Some("jobTemplate.spec"))]
#[case("/jobTemplate/spec/anything", json!({"goes": true}), None)]
#[case("/jobTemplate/metadata", json!({"labels": {"queue": "gpu"}}), None)]
fn a_retraining_is_bounded(#[case] at: &str, #[case] value: Value, #[case] message: Option<&str>) {
    let template =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "train", "image": "t:1"}]}}}});
    let retraining = json!({"triggers": ["drift"], "jobTemplate": template});
    let object =
        with(valid(), &[("/spec/retraining", retraining), (&format!("/spec/retraining{at}"), value)]);
    match (RUNTIME.block_on(create(object)), message) {
        (Ok(()), None) => {}
        (Err(said), Some(message)) => assert!(said.contains(message), "{at} is refused with: {said}"),
        other => panic!("{at}: {other:?}"),
    }
}

#[rstest]
#[case("/min", json!(10), None)]
#[case("/min", json!(11), Some("autoscaling: min must not be above max"))]
#[case("/min", json!(0), Some("autoscaling.min"))]
#[case("/max", json!(1001), Some("autoscaling.max"))]
#[case("/max", json!(0), Some("autoscaling"))]
#[case("/target", json!({"requestsPerReplica": 0.1}), None)]
#[case("/target", json!({"requestsPerReplica": 0}), Some("requestsPerReplica: must be above 0 and at most 1000000"))]
#[case("/target", json!({"requestsPerReplica": 1_000_001}), Some("requestsPerReplica: must be above 0"))]
#[case("/target", json!({}), Some("requestsPerReplica"))]
#[case("/scaleOutCooldown", json!("0s"), None)]
#[case("/scaleOutCooldown", json!("61m"), Some("autoscaling.scaleOutCooldown: must be within 0s and 1h"))]
#[case("/scaleInCooldown", json!("24h"), None)]
#[case("/scaleInCooldown", json!("0s"), Some("autoscaling.scaleInCooldown: must be within 1s and 24h"))]
#[case("/suspended", json!(true), None)]
fn autoscaling_is_bounded(#[case] at: &str, #[case] value: Value, #[case] message: Option<&str>) {
    let autoscaling = json!({"max": 10, "target": {"requestsPerReplica": 50}});
    let object =
        with(valid(), &[("/spec/autoscaling", autoscaling), (&format!("/spec/autoscaling{at}"), value)]);
    match (RUNTIME.block_on(create(object)), message) {
        (Ok(()), None) => {}
        (Err(said), Some(message)) => assert!(said.contains(message), "{at} is refused with: {said}"),
        other => panic!("{at}: {other:?}"),
    }
}

#[test]
fn every_example_is_accepted() {
    let folder = e2e::repository().join("examples");
    let mut applied = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for document in serde_yaml::Deserializer::from_str(&std::fs::read_to_string(&path).unwrap()) {
            let object = Value::deserialize(document).unwrap();
            if !object.is_null() {
                let done = RUNTIME.block_on(apply(&object));
                assert_eq!(done, Ok(()), "{}", path.display());
                applied += 1;
            }
        }
    }
    assert!(applied > 0, "no example in {}", folder.display());
    println!("{applied} objects of {}", folder.display());
}

/// Applies any object without storing it; fields that the API does not know are refused.
async fn apply(object: &Value) -> Result<(), String> {
    let client =
        CLIENT.get_or_init(async || ApiServer::shared().await.unwrap().client().await.unwrap()).await;
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let kind = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let (resource, capabilities) = pinned_kind(client, &kind).await.unwrap();
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), "default", &resource),
    };
    let parameters = PatchParams {
        dry_run: true,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("person").force()
    };
    match api.patch(&object.name_any(), &parameters, &Patch::Apply(&object)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_definitions_are_three_and_small() {
    let all = definitions().unwrap();
    assert_eq!(all.len(), 3);
    for definition in &all {
        let size = serde_yaml::to_string(definition).unwrap().len();
        println!("{}: {size} bytes", definition.name_any());
        assert!(size <= 100 * 1024, "{} has {size} bytes", definition.name_any());
    }
}
