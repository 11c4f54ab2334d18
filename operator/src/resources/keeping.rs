//! What a server's pod needs to keep images: variables that say where, credentials, and a volume that can be written.
//!
//! Variables and not arguments: a server of another's image that does not know them goes on as before. It writes while it
//! serves, so that its container has the credentials; no other has them.

use api::Server;
use serde_json::{Value, json};

/// Parts of the pod.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// Variables of the server.
    pub(super) env: Vec<Value>,
    /// Where more of them come from.
    pub(super) env_from: Vec<Value>,
    /// Volumes of the pod.
    pub(super) volumes: Vec<Value>,
    /// Where the server finds them.
    pub(super) mounts: Vec<Value>,
}

impl Keeping {
    /// Of these settings.
    pub(super) fn of(server: Option<&Server>) -> Self {
        let mut keeping = Self::default();
        let Some(server) = server else { return keeping };
        let mut secrets = Vec::new();
        if let Some(review) = &server.review {
            keeping.place("SLUICE_REVIEW", "review", &review.uri.0);
            secrets.extend(&review.secret_name);
        }
        if let Some(capture) = &server.capture {
            keeping.place("SLUICE_CAPTURE", "capture", &capture.uri.0);
            keeping.env.push(json!({"name": "SLUICE_CAPTURE_PERCENT", "value": capture.percent.to_string()}));
            secrets.extend(&capture.secret_name);
        }
        secrets.dedup();
        keeping.env_from = secrets.into_iter().map(|name| json!({"secretRef": {"name": name}})).collect();
        keeping
    }

    /// A claim is a volume of this name, mounted at a folder of this name.
    fn place(&mut self, variable: &str, name: &str, uri: &str) {
        let claim = uri.strip_prefix("pvc://").and_then(|rest| rest.split_once('/'));
        let uri = match claim {
            Some((claim, path)) => {
                self.volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": claim}}));
                self.mounts.push(json!({"name": name, "mountPath": format!("/{name}")}));
                format!("file:///{name}/{}", path.trim_end_matches('/'))
            }
            None => uri.to_owned(),
        };
        self.env.push(json!({"name": variable, "value": uri}));
    }
}

#[cfg(test)]
mod tests {
    use api::ModelDeployment;
    use k8s_openapi::api::core::v1::PodSpec;

    use super::*;
    use crate::resources::{Images, Owner, render};
    use crate::revision::Asked;

    fn pod(server: &Value) -> Value {
        let deployment: ModelDeployment = serde_json::from_value(json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": "digits", "namespace": "team", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e"},
            "spec": {
                "model": {"version": "1.1.0", "uri": "s3://models/digits/1.1.0", "secretName": "models"},
                "server": server,
                "strategy": {"canary": {"steps": [{"weight": 10}]}},
            },
        }))
        .unwrap();
        let images = Images {
            router: "router:1".into(),
            server: "server:1".into(),
            pull_policy: None,
            pull_secrets: Vec::new(),
        };
        let owner = Owner::of(&deployment).unwrap();
        let rendered = render(&owner, "digits-1a2b3c4d", &Asked::of(&deployment.spec), &images);
        let pod = rendered.template["spec"].clone();
        serde_json::from_value::<PodSpec>(pod.clone()).unwrap();
        pod
    }

    #[test]
    fn a_server_is_told_where_to_keep_images_and_has_the_credentials_for_it() {
        let pod = pod(&json!({
            "review": {"uri": "s3://team/review", "secretName": "team-review"},
            "capture": {"uri": "s3://team/captures/", "percent": 5, "secretName": "team-review"},
        }));
        let server = &pod["containers"][0];
        let expected = json!([
            {"name": "SLUICE_LOG_FORMAT", "value": "json"},
            {"name": "SLUICE_REVIEW", "value": "s3://team/review"},
            {"name": "SLUICE_CAPTURE", "value": "s3://team/captures/"},
            {"name": "SLUICE_CAPTURE_PERCENT", "value": "5"},
        ]);
        assert_eq!(server["env"], expected);
        assert_eq!(server["envFrom"], json!([{"secretRef": {"name": "team-review"}}]));
        // Who fetches the model has those of the model, and no others.
        assert_eq!(pod["initContainers"][0]["envFrom"], json!([{"secretRef": {"name": "models"}}]));
    }

    #[test]
    fn a_claim_is_mounted_to_be_written() {
        let pod = pod(
            &json!({"review": {"uri": "pvc://reviews/digits/"}, "capture": {"uri": "file:///data/c", "percent": 100}}),
        );
        let server = &pod["containers"][0];
        assert_eq!(server["env"][1]["value"], "file:///review/digits");
        assert_eq!(server["env"][2]["value"], "file:///data/c");
        let mount = json!({"name": "review", "mountPath": "/review"});
        assert_eq!(server["volumeMounts"].as_array().unwrap().last(), Some(&mount));
        let volume = json!({"name": "review", "persistentVolumeClaim": {"claimName": "reviews"}});
        assert_eq!(pod["volumes"].as_array().unwrap().last(), Some(&volume));
        assert!(server.get("envFrom").is_none());
    }

    #[test]
    fn without_them_a_pod_is_as_before() {
        let (none, plain) = (pod(&Value::Null), pod(&json!({})));
        assert_eq!(none, plain);
        assert!(
            !none.to_string().contains("SLUICE_REVIEW") && none["containers"][0].get("envFrom").is_none()
        );
    }
}
