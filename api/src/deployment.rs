//! What a team writes.

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Analysis, Automation, Autoscaling, Capture, Duration, ModelDeploymentStatus, Notification, PodOverlay,
    Retraining, Review, Strategy,
};

/// A model in service, and how its next version is to be rolled out.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "ModelDeployment",
    doc = "A model in service, and how its next version is to be rolled out.",
    plural = "modeldeployments",
    shortname = "mdeploy",
    namespaced,
    status = "ModelDeploymentStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 40")
        .message("metadata.name: at most 40 characters, lower case letters, digits and dashes, starting with a letter (Services are named after it)"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".status.stage.text"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".status.candidate.weight"),
    printcolumn(name = "Stable", type_ = "string", json_path = ".status.stable.model.version"),
    printcolumn(name = "Candidate", type_ = "string", json_path = ".status.candidate.version"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdict"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.rollback) || !has(self.rollback.holdback) || self.rollback.holdback == 0 || !has(self.rollback.keepWarm) || duration(self.rollback.keepWarm) > duration('0s')")
        .message("rollback.holdback: a control group needs keepWarm above 0s, it is served by the old revision"),
    validation = Rule::new("!has(self.progressDeadline) || duration(self.progressDeadline) >= duration('1s')")
        .message("progressDeadline: must be at least 1s")
)]
pub struct ModelDeploymentSpec {
    /// Model servers of the stable revision, 1..=1000. Not part of the revision. With `autoscaling` only the number to
    /// begin with. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: u32,
    /// As many model servers as the traffic needs, instead of `replicas`. Not part of the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// The model to serve. A change starts a rollout.
    pub model: Model,
    /// How it is served. A change starts a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// The routers in front of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterSettings>,
    /// How requests are assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
    /// How a change is rolled out.
    pub strategy: Strategy,
    /// What a candidate is judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// What is kept for going back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// How long a candidate may take to get capacity, become ready and be acknowledged (T3). Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Duration>,
    /// Rollouts and unused revisions that are kept, 1..=50. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub revision_history_limit: Option<u32>,
    /// No stage is left and no rollout starts; judging and rolling back go on (T4). Default: false.
    #[serde(default)]
    pub paused: bool,
    /// Who is told of what was decided, by name; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub notifications: Vec<Notification>,
    /// How much the model decides by itself. Not part of the revision. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automation: Option<Automation>,
    /// A Job that is started when the world moved, or a metric took a candidate back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retraining: Option<Retraining>,
}

fn one() -> u32 {
    1
}

/// A model version: what a team ships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretName) ? self.uri.matches('^(s3|gs|az):') : has(self.sha256) || !self.uri.startsWith('http:')")
        .message("model: http:// needs a sha256, and only s3, gs and az take a secretName")
)]
pub struct Model {
    /// Semantic version, as in `metadata.json`.
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = Rule::new("self.matches('^(0|[1-9][0-9]*)[.](0|[1-9][0-9]*)[.](0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?([+][0-9A-Za-z.-]+)?$')")
            .message("model.version: must be a semantic version such as 1.4.0")
    )]
    pub version: String,
    /// Volume (`pvc://`), image (`file://`), or what is fetched (`s3://`, `gs://`, `az://`, `https://`, `http://`).
    #[schemars(length(max = 512))]
    #[x_kube(
        validation = Rule::new(r"self.matches(r'^[\w.~+@=,:/-]+$') && self.matches(r'^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?/.|file:///.|((s3|gs|az)://[a-z0-9._-]+(/[^./][^/]*)+/?|https?://[A-Za-z0-9.-]+(:\d+)?(/|(/[^./][^/]*)+(/|[.](tar|tar[.]gz|tgz))))$)') && !self.contains('/..')")
            .message("model.uri: must be pvc://<claim>/<path>, file:///<path>, {s3,gs,az}://<bucket>/<path>, or http(s)://<host>/<path>{/,.tar,.tar.gz,.tgz}, without .. and hidden names")
    )]
    pub uri: String,
    /// Secret with the variables of what fetches: `AWS_*` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
    /// Digest as `model-server digest` prints it: 64 hex digits. Verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
}

/// Settings of the model servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.review) || !has(self.capture) || !has(self.review.secretName) || !has(self.capture.secretName) || self.review.secretName == self.capture.secretName")
        .message("server: review and capture have one secretName, its variables are those of one container")
)]
pub struct Server {
    /// Image. Default: the one that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// CPU and memory. Default: 100m CPU and 256Mi requested, 1Gi limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::template::resources")]
    pub resources: Option<ResourceRequirements>,
    /// Changes of their pods: a partial pod template (`metadata.labels`, `metadata.annotations`, `spec`), at most 16 KiB,
    /// merged as in a strategic merge patch: containers, volumes and variables by name, tolerations added, `null`
    /// removes. What Sluice relies on stays as it is. Checked by the API server before a rollout begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodOverlay>,
    /// Keeps images that the model does not decide, for people. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// Keeps a sample of all images that were answered. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
}

/// Settings of the routers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouterSettings {
    /// Routers, 1..=100. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<u32>,
    /// CPU and memory. Default: 100m CPU and 32Mi requested, 128Mi limit; with `feedback` 16Mi, with `tls` 32Mi more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::template::resources")]
    pub resources: Option<ResourceRequirements>,
    /// Takes true labels of answers, on port 8081 of the Service. Absent: answers have no id, and nothing can be judged
    /// by accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<RouterFeedback>,
    /// Most requests that one router has at one revision at the same time, 1..=100000. Whoever comes then is answered 503 at
    /// once, and counts as `overload` for the revision. Copies are not meant. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_in_flight: Option<u32>,
    /// A line of JSON on stdout for requests. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// Spans for an OpenTelemetry collector. Absent: none; `traceparent` is passed on as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Clients come by TLS, on port 443 of the Service. Absent: without, on port 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouterTls>,
}

/// Which requests are logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessLog {
    /// Percentage of requests that are logged, 0..=100, beside all that fail. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub sample: Option<u8>,
}

/// Which requests are traced, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tracing {
    /// `http://<host>[:<port>]` of a collector that takes OTLP over HTTP in JSON.
    #[schemars(
        length(min = 8, max = 256),
        regex(pattern = r"^http://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?$")
    )]
    pub endpoint: String,
    /// Percentage of the requests without a trace that begin one, 0..=100. Those with one are traced if it is sampled.
    /// Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub sample: Option<u8>,
}

/// The certificate of the routers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouterTls {
    /// Name of a Secret of type `kubernetes.io/tls` in the same namespace. Routers start once it is there, and read it
    /// again when it changes.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub secret_name: String,
}

/// Where true labels of answers come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.window) || (duration(self.window) >= duration('1m') && duration(self.window) <= duration('720h'))")
        .message("router.feedback.window: must be between 1m and 720h")
)]
pub struct RouterFeedback {
    /// Name of a Secret in the same namespace. Its `key`, 32 bytes or more, signs the ids of answers; its `token`, 16
    /// characters or more, is what clients send as `Authorization: Bearer`. Both others are optional and have one a line:
    /// labels outside of `classes` are refused; ids that `other-keys` signed are taken too. Routers alone read it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub secret_name: String,
    /// How old an answer may be whose label comes. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
}

/// How requests are assigned to revisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// The same key always gets the same revision, as long as the weights stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Requests that go to the candidate, or stay at stable, whatever the weights say; the first that fits counts.
    /// They are no evidence but in a preview (C1).
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub matches: Vec<Match>,
    /// Whether a request may name its revision itself: header `x-sluice-target`, with `stable`, `candidate` or the
    /// name of one of both. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_targeting: Option<bool>,
}

/// Requests with this header go there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Match {
    /// Name of a request header, in lower case.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9][a-z0-9-]*$"))]
    pub header: String,
    /// Its value, exactly.
    #[schemars(length(min = 1, max = 256))]
    pub value: String,
    /// Where they go while there is a candidate.
    pub to: MatchTo,
}

/// Where matched requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MatchTo {
    /// To the revision that is being judged.
    Candidate,
    /// To stable.
    Stable,
}

/// Where the key of sticky assignment comes from: exactly one of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.header), has(self.cookie)].exists_one(x, x)")
        .message("sticky: set exactly one of header, cookie")
)]
pub struct Sticky {
    /// Name of a request header, in lower case; requests without it are assigned at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9][a-z0-9-]*$"))]
    pub header: Option<String>,
    /// Name of a cookie. Any value of it is a key; a request without it is assigned by a random one, which its answer sets
    /// for 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"))]
    pub cookie: Option<String>,
}

impl Sticky {
    /// By a header.
    #[must_use]
    pub fn by_header(name: &str) -> Self {
        Self { header: Some(name.to_owned()), cookie: None }
    }

    /// By a cookie.
    #[must_use]
    pub fn by_cookie(name: &str) -> Self {
        Self { header: None, cookie: Some(name.to_owned()) }
    }
}

/// What is kept for going back after a promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// How long the old revision keeps all its pods. Default: 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_warm: Option<Duration>,
    /// Share in percent that the old revision keeps as control group meanwhile, 0..=20. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub holdback: Option<u8>,
}
