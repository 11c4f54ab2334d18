//! Images that model servers keep.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where images go that the model does not decide (`automation`), for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.secretName) || self.uri.matches('^(s3|gs|az):')")
        .message("server.review: only s3, gs and az take a secretName")
)]
pub struct Review {
    /// `{s3,gs,az}://<bucket>/<path>`, `pvc://<claim>/<path>` (mounted to be written), or `file:///<path>` of a volume that
    /// `template` adds.
    pub uri: KeepUri,
    /// Secret whose variables all containers that serve get: `AWS_*` and so on. They should allow to write there, and nothing
    /// else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
}

/// Where a sample of all images goes that were answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.secretName) || self.uri.matches('^(s3|gs|az):')")
        .message("server.capture: only s3, gs and az take a secretName")
)]
pub struct Capture {
    /// As `review.uri`.
    pub uri: KeepUri,
    /// How much of them, 1..=100.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u8,
    /// As `review.secretName`; the same, where both have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
}

/// An address at which images are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeepUri(pub String);

impl JsonSchema for KeepUri {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeepUri".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let rule = r"self.matches(r'^[\w.~+@=,:/-]+$') && self.matches(r'^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?|file://|(s3|gs|az)://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(/[^./][^/]*)+/?$')";
        let message = "uri: must be {s3,gs,az}://<bucket>/<path>, pvc://<claim>/<path> or file:///<path>, without .. and hidden names";
        schemars::json_schema!({
            "type": "string",
            "maxLength": 512,
            "x-kubernetes-validations": [{"rule": rule, "message": message}],
        })
    }
}
