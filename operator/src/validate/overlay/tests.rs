use rstest::rstest;
use serde_json::json;

use super::*;

const DEFAULTS: Defaults = Defaults { interval: std::time::Duration::from_secs(15), pod_overlays: true };

fn checked(overlay: Value) -> Result<(), String> {
    let overlay: PodOverlay = serde_json::from_value(overlay).unwrap();
    check(Some(&overlay), DEFAULTS).map_err(|why| why.to_string())
}

fn server(fields: Value) -> Value {
    let mut server = fields;
    server["name"] = json!("server");
    json!({"spec": {"containers": [server]}})
}

#[rstest]
#[case(json!({}))]
#[case(json!({"metadata": {"labels": {"env": "prod", "ports": "x"}, "annotations": {"a.dev/b": "c"}}}))]
#[case(json!({"spec": {"nodeSelector": {"env": "prod"}, "tolerations": [{"key": "gpu"}], "hostNetwork": false}}))]
#[case(json!({"spec": {"terminationGracePeriodSeconds": 60, "serviceAccountName": "s"}}))]
#[case(json!({"spec": {"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "cache"}]}}))]
#[case(json!({"spec": {"initContainers": [{"name": "proxy", "image": "p", "restartPolicy": "Always"}]}}))]
#[case(json!({"spec": {"containers": [{"name": "proxy", "image": "p", "args": ["a"], "readinessProbe": {}}]}}))]
#[case(server(json!({"env": [{"name": "SLUICE_LOG", "value": "debug"}], "envFrom": [{"secretRef": {"name": "a"}}]})))]
#[case(server(json!({"ports": [{"name": "grpc", "containerPort": 9000}], "securityContext": {"privileged": false}})))]
#[case(server(json!({"volumeMounts": [{"name": "cache", "mountPath": "/modelsx"}], "workingDir": "/tmp"})))]
#[case(json!({"spec": {"initContainers": [{"name": "fetch", "env": [{"name": "A"}], "resources": {}}]}}))]
#[case(json!({"spec": {"fieldOfANewerCluster": {"a": [1]}}}))]
fn what_sluice_does_not_rely_on_may_be_changed(#[case] overlay: Value) {
    assert_eq!(checked(overlay), Ok(()));
}

#[rstest]
#[case(json!({"spce": {}}), "spec.server.template.spce: found {}, only metadata and spec may be set")]
#[case(
    json!({"metadata": {"name": "x"}}),
    "spec.server.template.metadata.name: found \"x\", only labels and annotations may be set"
)]
#[case(json!({"spec": []}), "spec.server.template.spec: found [], must be a map of fields")]
#[case(
    json!({"metadata": {"labels": {"sluice.dev/revision": "x"}}}),
    "spec.server.template.metadata.labels.sluice.dev/revision: found \"x\", but names under sluice.dev are Sluice's own"
)]
#[case(
    json!({"metadata": {"annotations": {"x.sluice.dev/y": null}}}),
    "spec.server.template.metadata.annotations.x.sluice.dev/y: found null, but names under sluice.dev"
)]
#[case(json!({"spec": {"restartPolicy": "Never"}}), "spec.server.template.spec.restartPolicy: found \"Never\", but")]
#[case(json!({"spec": {"hostNetwork": true}}), "spec.server.template.spec.hostNetwork: found true, but pods of model")]
#[case(json!({"spec": {"hostPID": true}}), "spec.server.template.spec.hostPID: found true")]
#[case(json!({"spec": {"hostIPC": "yes"}}), "spec.server.template.spec.hostIPC: found \"yes\"")]
#[case(
    json!({"spec": {"terminationGracePeriodSeconds": 59}}),
    "spec.server.template.spec.terminationGracePeriodSeconds: found 59, must be a number of 60 or more"
)]
#[case(json!({"spec": {"terminationGracePeriodSeconds": null}}), "GracePeriodSeconds: found null, must be a number")]
#[case(
    json!({"spec": {"volumes": [{"name": "models", "emptyDir": {}}]}}),
    "spec.server.template.spec.volumes: found {\"emptyDir\":{},\"name\":\"models\"}, but the artefact is what spec.model.uri"
)]
#[case(
    json!({"spec": {"initContainers": [{"name": "fetch", "image": "mine"}]}}),
    "spec.server.template.spec.initContainers[fetch].image: found \"mine\", but the container fetch is Sluice's"
)]
#[case(json!({"spec": {"containers": null}}), "spec.server.template.spec.containers: found null, but there must be")]
#[case(
    json!({"spec": {"containers": [{"image": "x"}]}}),
    "spec.server.template.spec.containers[0]: found {\"image\":\"x\"}, must have name: items are merged by it"
)]
#[case(
    json!({"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}),
    "spec.server.template.spec.containers[1]: found {\"name\":\"a\"}, but another item has that name"
)]
#[case(
    json!({"spec": {"containers": [{"name": "a", "env": [{"value": "x"}]}]}}),
    "spec.server.template.spec.containers[0].env[0]: found {\"value\":\"x\"}, must have name"
)]
#[case(
    json!({"spec": {"tolerations": [{"$patch": "delete"}]}}),
    "spec.server.template.spec.tolerations[0].$patch: found \"delete\", but directives are not known here"
)]
#[case(
    json!({"spec": {"initContainers": [{"name": "a", "securityContext": {"privileged": true}}]}}),
    "spec.server.template.spec.initContainers[a].securityContext.privileged: found true, but no container"
)]
#[case(server(json!({"securityContext": {"privileged": true}})), "spec.containers[server].securityContext.privileged")]
#[case(
    json!({"spec": {"containers": [{"name": "proxy", "ports": [{"containerPort": 8000}]}]}}),
    "spec.server.template.spec.containers[proxy].ports: found {\"containerPort\":8000}, but 8000 (http) and 9091 (admin)"
)]
#[case(server(json!({"image": "x"})), "spec.server.template.spec.containers[server].image: found \"x\", but that is set by spec.server.image")]
#[case(server(json!({"resources": {}})), "containers[server].resources: found {}, but that is set by spec.server.resources")]
#[case(server(json!({"command": ["sh"]})), "containers[server].command: found [\"sh\"], but artefact")]
#[case(server(json!({"args": null})), "containers[server].args: found null, but artefact")]
#[case(server(json!({"startupProbe": null})), "containers[server].startupProbe: found null, but routers go by it")]
#[case(server(json!({"readinessProbe": {"periodSeconds": 9}})), "containers[server].readinessProbe")]
#[case(server(json!({"livenessProbe": {}})), "containers[server].livenessProbe")]
#[case(server(json!({"lifecycle": null})), "containers[server].lifecycle: found null, but a stopping pod must answer")]
#[case(server(json!({"restartPolicy": "Always"})), "containers[server].restartPolicy")]
#[case(server(json!({"ports": [{"name": "admin", "containerPort": 1}]})), "containers[server].ports: found")]
#[case(server(json!({"ports": [{"containerPort": 9091, "protocol": "UDP"}]})), "containers[server].ports: found")]
#[case(server(json!({"ports": null})), "containers[server].ports: found null, but the model server needs those")]
#[case(server(json!({"volumeMounts": null})), "containers[server].volumeMounts: found null")]
#[case(server(json!({"volumeMounts": [{"mountPath": "/models", "name": "x"}]})), "containers[server].volumeMounts")]
#[case(server(json!({"volumeMounts": [{"mountPath": "/models/a", "name": "x"}]})), "containers[server].volumeMounts")]
#[case(server(json!({"env": [{"name": "SLUICE_DRAIN", "value": "9m"}]})), "containers[server].env[SLUICE_DRAIN]: found")]
fn what_it_relies_on_is_refused_by_name(#[case] overlay: Value, #[case] message: &str) {
    let refused = checked(overlay).unwrap_err();
    assert!(refused.contains(message), "{refused}");
    assert!(refused.starts_with("spec.server.template"), "{refused}");
}

#[test]
fn it_is_small() {
    // With the 34 bytes around it.
    let of = |bytes: usize| json!({"metadata": {"annotations": {"a": "x".repeat(bytes - 37)}}});
    assert_eq!(of(SIZE).to_string().len(), SIZE);
    assert_eq!(checked(of(SIZE)), Ok(()));
    let message = "spec.server.template: found 16385 bytes, at most 16384 are allowed";
    assert_eq!(checked(of(SIZE + 1)), Err(message.into()));
}

#[test]
fn an_installation_may_take_none() {
    let defaults = Defaults { pod_overlays: false, ..DEFAULTS };
    let overlay = PodOverlay(serde_json::from_value(json!({"spec": {}})).unwrap());
    let refused = check(Some(&overlay), defaults).unwrap_err().to_string();
    assert!(refused.ends_with("the chart's server.podOverlays allows them"), "{refused}");
    assert_eq!(check(Some(&PodOverlay::default()), defaults), Ok(()), "an empty one changes nothing");
    assert_eq!(check(None, defaults), Ok(()));
}
