//! The container that fetches a model before its server starts: `model-server fetch` into a volume of the pod.
//!
//! It is of the operator's own image, also where the server is another's: that one only finds a folder. Credentials are
//! variables of this container alone.

use api::Model;
use serde_json::{Value, json};

use super::{Images, container_security, merge};

/// Name of the container.
pub(crate) const FETCH: &str = "fetch";
/// Where the volume is mounted, and the folder within it: a mount point cannot be renamed to.
const FOLDER: &str = "artefact";
/// Bytes of an artefact, at most.
const LIMIT: u64 = 2 << 30;
/// Room of the volume: an archive beside what is unpacked of it, and an artefact that is replaced by another.
const ROOM: &str = "6400Mi";

/// Whether a model comes from outside of the pod.
#[must_use]
pub(crate) fn is_fetched(model: &Model) -> bool {
    ["http://", "https://", "s3://", "gs://", "az://"].iter().any(|scheme| model.uri.starts_with(scheme))
}

/// Where the server finds it.
pub(super) fn path(mounted: &str) -> String {
    format!("{mounted}/{FOLDER}")
}

/// Its volume.
pub(super) fn volume() -> Value {
    json!({"emptyDir": {"sizeLimit": ROOM}})
}

/// The container, which has the volume of that name mounted there.
pub(super) fn container(model: &Model, images: &Images, volume: &str, mounted: &str) -> Value {
    let mut args = vec!["fetch".to_owned(), "--replace".to_owned()];
    let mut push = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
    push("--uri", model.uri.clone());
    push("--to", path(mounted));
    push("--max-bytes", LIMIT.to_string());
    if let Some(digest) = &model.sha256 {
        push("--sha256", digest.clone());
    }
    let mut container = json!({
        "name": FETCH,
        "image": images.server,
        "args": args,
        "env": [{"name": "SLUICE_LOG_FORMAT", "value": "json"}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": container_security(),
        // Its last lines say why it failed, and the status of the ModelDeployment repeats the one that does.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": volume, "mountPath": mounted}],
    });
    if let Some(secret) = &model.secret_name {
        container["envFrom"] = json!([{"secretRef": {"name": secret}}]);
    }
    let (fetching, _) = images.fetching();
    merge(container, fetching)
}

#[cfg(test)]
mod tests {
    use api::ModelDeployment;
    use k8s_openapi::api::core::v1::PodSpec;

    use super::*;
    use crate::resources::{Owner, render};
    use crate::revision::Asked;

    fn pod(model: &Value, server: &Value, images: &Images) -> Value {
        let deployment: ModelDeployment = serde_json::from_value(json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": "digits", "namespace": "team", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e"},
            "spec": {"model": model, "server": server, "strategy": {"canary": {"steps": [{"weight": 10}]}}},
        }))
        .unwrap();
        let owner = Owner::of(&deployment).unwrap();
        let rendered = render(&owner, "digits-1a2b3c4d", &Asked::of(&deployment.spec), images);
        rendered.template["spec"].clone()
    }

    fn images() -> Images {
        Images {
            router: "router:1".into(),
            server: "server:1".into(),
            pull_policy: Some("Always".into()),
            pull_secrets: Vec::new(),
        }
    }

    #[test]
    fn a_model_of_elsewhere_is_fetched_by_our_own_image_before_any_server_starts() {
        let model = json!({
            "version": "1.1.0", "uri": "s3://team-models/digits/1.1.0", "sha256": "ab".repeat(32),
            "secretName": "team-models",
        });
        let pod = pod(&model, &json!({"image": "mine:2"}), &images());
        insta::assert_yaml_snapshot!(pod["initContainers"]);
        assert_eq!(pod["volumes"][1], json!({"name": "models", "emptyDir": {"sizeLimit": "6400Mi"}}));
        let server = &pod["containers"][0];
        assert_eq!(server["image"], "mine:2");
        assert_eq!(server["args"][2], "/models/artefact");
        let mounted = json!({"name": "models", "mountPath": "/models", "readOnly": true});
        assert_eq!(server["volumeMounts"][1], mounted);
        // Credentials are nobody else's.
        assert!(server.get("envFrom").is_none());
        assert!(serde_json::from_value::<PodSpec>(pod).is_ok());
    }

    #[test]
    fn a_model_without_digest_or_secret_asks_for_neither() {
        let pod = pod(&json!({"version": "1.1.0", "uri": "https://m.example/d.tgz"}), &json!({}), &images());
        let fetch = &pod["initContainers"][0];
        let args = ["fetch", "--replace", "--uri", "https://m.example/d.tgz", "--to", "/models/artefact"];
        assert_eq!(fetch["args"].as_array().unwrap()[..6], args.map(|arg| json!(arg)));
        assert!(fetch.get("envFrom").is_none());
    }

    #[test]
    fn what_is_in_a_volume_or_an_image_is_not_fetched() {
        for uri in ["pvc://models/digits/1.1.0", "file:///models/digits"] {
            let pod = pod(&json!({"version": "1.1.0", "uri": uri}), &json!({}), &images());
            assert!(pod.get("initContainers").is_none(), "{uri}");
        }
    }
}
