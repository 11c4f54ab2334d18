//! Every rule of the API, against a real API server: what is refused and with which words, and what is just
//! within it. Dry runs: nothing is stored.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod analysis;
mod keeping;
mod scaling;
mod strategy;
mod told;

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
#[case("/spec/router/feedback", json!({"secretName": "digits-labels"}), None)]
#[case("/spec/router/feedback", json!({"secretName": "digits-labels", "window": "720h"}), None)]
#[case("/spec/router/feedback", json!({"secretName": "digits-labels", "window": "30s"}), Some("router.feedback.window: must be between 1m and 720h"))]
#[case("/spec/router/feedback", json!({"window": "1h"}), Some("secretName"))]
#[case("/spec/router/feedback", json!({"secretName": "Digits"}), Some("secretName"))]
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
#[case("/spec/routing/sticky", json!({"cookie": "sluice_user"}), None)]
#[case("/spec/routing/sticky", json!({"cookie": "__Host-x"}), Some("spec.routing.sticky.cookie"))]
#[case("/spec/routing/sticky", json!({}), Some("sticky: set exactly one of header, cookie"))]
#[case("/spec/routing/sticky", json!({"header": "x-user", "cookie": "u"}), Some("sticky: set exactly one of header, cookie"))]
#[case("/spec/router/maxInFlight", json!(1), None)]
#[case("/spec/router/maxInFlight", json!(0), Some("spec.router.maxInFlight"))]
#[case("/spec/router/maxInFlight", json!(100_001), Some("spec.router.maxInFlight"))]
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
#[case("/spec/model/uri", json!("s3://bucket/a"), None)]
#[case("/spec/model/uri", json!("s3://team-models/digits/1.0.0/"), None)]
#[case("/spec/model/uri", json!("gs://team_models.example/a"), None)]
#[case("/spec/model/uri", json!("az://models/a/b_c"), None)]
#[case("/spec/model/uri", json!("s3://bucket"), Some("model.uri: must be pvc://<claim>/<path>, file:///<path>"))]
#[case("/spec/model/uri", json!("s3://bucket/"), Some("model.uri: must be pvc://<claim>/<path>, file:///<path>"))]
#[case("/spec/model/uri", json!("s3://Bucket/a"), Some("model.uri: must be pvc://<claim>/<path>, file:///<path>"))]
#[case("/spec/model/uri", json!("gs://bucket/.hidden"), Some("or http(s)://<host>/<path>{/,.tar,.tar.gz,.tgz}, without .. and hidden names"))]
#[case("/spec/model/uri", json!("az://bucket/a//b"), Some("or http(s)://<host>/<path>{/,.tar,.tar.gz,.tgz}, without .. and hidden names"))]
#[case("/spec/model/uri", json!("s3://bucket/a?versionId=1"), Some("model.uri: must be pvc://<claim>/<path>, file:///<path>"))]
#[case("/spec/model/uri", json!("https://host/a/"), None)]
#[case("/spec/model/uri", json!("https://host:8443/a/b.tar.gz"), None)]
#[case("/spec/model/uri", json!("https://host/b.tgz"), None)]
#[case("/spec/model/uri", json!("http://host/a.tar"), None)]
#[case("/spec/model/uri", json!("https://host/a"), Some("model.uri: must be pvc://<claim>/<path>, file:///<path>"))]
#[case("/spec/model/uri", json!("https://host/a.tar?sig=1"), Some("model.uri: must be pvc://<claim>/<path>, file:///<path>"))]
#[case("/spec/model/uri", json!("https://me:pw@host/a/"), Some("model.uri: must be pvc://<claim>/<path>, file:///<path>"))]
#[case("/spec/model/uri", json!("https://host/%2e%2e/"), Some("model.uri: must be pvc://<claim>/<path>, file:///<path>"))]
#[case("/spec/model/uri", json!("https://host/a/../"), Some("or http(s)://<host>/<path>{/,.tar,.tar.gz,.tgz}, without .. and hidden names"))]
#[case("/spec/model/uri", json!("ftp://host/a/"), Some("model.uri: must be pvc://<claim>/<path>, file:///<path>"))]
#[case("/spec/model/secretName", json!("s3"), Some("model: http:// needs a sha256, and only s3"))]
#[case("/spec/model/uri", json!("pvc://claim/"), Some("model.uri: must be pvc://<claim>/<path>"))]
#[case("/spec/model/uri", json!("pvc://claim/a/../b"), Some("without .. and hidden names"))]
#[case("/spec/model/uri", json!("file:///a//.b"), None)]
#[case("/spec/model/uri", json!("file:///.."), Some("without .. and hidden names"))]
#[case("/spec/model/sha256", Value::Null, None)]
#[case("/spec/model/sha256", json!("a".repeat(63)), Some("spec.model.sha256"))]
#[case("/spec/model/sha256", json!("A".repeat(64)), Some("spec.model.sha256"))]
fn models_are_named_exactly(#[case] pointer: &str, #[case] value: Value, #[case] message: Option<&str>) {
    check(pointer, value, message);
}

#[rstest]
#[case(json!({"uri": "s3://bucket/a", "secretName": "s3"}), None)]
#[case(json!({"uri": "s3://bucket/a", "secretName": "S3"}), Some("spec.model.secretName"))]
#[case(json!({"uri": "s3://bucket/a", "secretName": "s".repeat(254)}), Some("spec.model.secretName"))]
#[case(json!({"uri": "s3://bucket/a", "sha256": null}), None)]
#[case(json!({"uri": "https://host/a/", "secretName": "s3"}), Some("model: http:// needs a sha256, and only s3"))]
#[case(json!({"uri": "http://host/a/", "sha256": null}), Some("model: http:// needs a sha256"))]
fn a_model_of_elsewhere_is_safe_to_fetch(#[case] fields: Value, #[case] message: Option<&str>) {
    let mut model = valid()["spec"]["model"].clone();
    for (name, value) in fields.as_object().unwrap() {
        model[name] = value.clone();
    }
    // As some write what they leave out.
    check("/spec/model", model, message);
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
