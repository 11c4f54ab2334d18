//! Who is told, and what is started.

use rstest::rstest;
use serde_json::{Value, json};

use e2e::trial::with;

use crate::{RUNTIME, check, create, valid};

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
