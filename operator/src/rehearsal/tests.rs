use kube::core::Status;
use rstest::rstest;
use serde_json::json;

use super::answer::is_of_the_spec;
use super::settle::settle;
use super::*;

// rule: K8. Messages as API server 1.34 gives them.
#[rstest]
#[case(
    500,
    "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.template.spec.foo: field not declared in schema",
    true
)]
#[case(
    500,
    "failed to convert new object (a/b; apps/v1, Kind=Deployment) to proper version: unable to convert",
    true
)]
#[case(
    500,
    "Internal error occurred: failed calling webhook \"x\": Post \"https://x\": connection refused",
    false
)]
#[case(500, "etcdserver: request timed out", false)]
#[case(
    422,
    "Deployment.apps \"b\" is invalid: spec.template.spec.tolerations[0].operator: Unsupported value",
    true
)]
#[case(400, "admission webhook \"x\" denied the request: no", true)]
#[case(403, "admission webhook \"x\" denied the request: no", true)]
#[case(
    403,
    "deployments.apps \"b\" is forbidden: User \"o\" cannot patch resource \"deployments\" in API group",
    false
)]
#[case(
    403,
    "deployments.apps \"b\" is forbidden: unable to create new content in namespace a because it is being terminated",
    false
)]
#[case(403, "deployments.apps \"b\" is forbidden: exceeded quota: q", false)]
#[case(401, "Unauthorized", false)]
#[case(404, "namespaces \"a\" not found", false)]
#[case(409, "Operation cannot be fulfilled", false)]
#[case(429, "too many requests", false)]
#[case(503, "apiserver not ready", false)]
#[case(504, "Timeout: request did not complete", false)]
fn only_what_the_spec_can_mend_is_its_mistake(
    #[case] code: u16,
    #[case] message: &str,
    #[case] of_the_spec: bool,
) {
    let status = Status { code, ..Status::failure(message, "") };
    assert_eq!(is_of_the_spec(&status), of_the_spec);
}

fn draft(pod: &Value) -> Draft {
    let deployment = json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}});
    Draft { name: "digits-1".into(), image: "i".into(), deployment }
}

/// What is frozen of `pod` when the API server answers with `answer`.
fn settled(pod: &Value, answer: &Value) -> Result<Value, String> {
    let resolved = settle(&draft(pod), &draft(answer).deployment)?;
    assert_eq!(resolved.image, "i");
    Ok(json!(resolved.template.spec))
}

#[test]
fn what_is_frozen_is_what_was_asked_for_in_the_words_of_the_api_server() {
    let asked = json!({
        "containers": [{
            "name": "server", "env": [{"name": "A", "value": ""}],
            "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}},
            "readinessProbe": {"initialDelaySeconds": 0, "timeoutSeconds": 0},
        }],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1024Mi"}}],
        "hostNetwork": false,
    });
    let answer = json!({
        "containers": [{
            "name": "server", "env": [{"name": "A"}], "imagePullPolicy": "Always",
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            "readinessProbe": {"timeoutSeconds": 1, "periodSeconds": 10},
        }],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
        "dnsPolicy": "ClusterFirst",
    });
    let expected = json!({
        "containers": [{
            "name": "server", "env": [{"name": "A"}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "readinessProbe": {"timeoutSeconds": 1},
        }],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
    });
    assert_eq!(settled(&asked, &answer), Ok(expected.clone()));
    assert!(crate::resources::covers(&answer, &expected), "nothing is to be written once it is there");
}

#[test]
fn what_an_admission_webhook_adds_to_a_list_is_taken_over() {
    let (one, two) = (json!({"name": "server"}), json!({"name": "injected"}));
    let frozen = settled(&json!({"containers": [one]}), &json!({"containers": [one, two]}));
    assert_eq!(frozen, Ok(json!({"containers": [one, two]})));
}

#[test]
fn a_field_that_would_be_lost_is_refused_by_name() {
    let containers = json!([{"name": "server"}]);
    let asked = json!({"containers": containers, "gate": {"a": 1}});
    let dropped = settled(&asked, &json!({"containers": containers})).unwrap_err();
    assert_eq!(
        dropped,
        "spec.gate is dropped: a feature that this cluster does not have, or has switched off"
    );
    let unknown = settled(&asked, &asked).unwrap_err();
    assert_eq!(unknown, "spec.gate: this release of Sluice knows no such field");
    let nested = json!({"containers": [{"name": "server", "new": "x"}]});
    assert!(settled(&nested, &nested).unwrap_err().starts_with("spec.containers[0].new: "));
}
