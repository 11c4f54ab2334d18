//! Who is told of what was decided.

use std::borrow::Cow;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Every reason that an event of the operator can have, and so a notification.
pub const EVENT_REASONS: [&str; 34] = [
    "RolloutStarted",
    "StageServed",
    "StagePassed",
    "Promoted",
    "RollingBack",
    "RolledBack",
    "Superseded",
    "RollbackStarted",
    "Evicting",
    "DeadlineExceeded",
    "Paused",
    "Resumed",
    "Approved",
    "Skipped",
    "StageOverdue",
    "Dropped",
    "Won",
    "SharesMoved",
    "Concluding",
    "Reported",
    "ActionRefused",
    "WatchEnded",
    "SpecReverted",
    "InvalidSpec",
    "PinIgnored",
    "NameTaken",
    "Refused",
    "DigestMismatch",
    "DoesNotFit",
    "RetrainingStarted",
    "RetrainingRefused",
    "RetrainingSkipped",
    "ScaledOut",
    "ScaledIn",
];

/// A receiver of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Name, unique among the notifications.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Where events are posted.
    pub webhook: Webhook,
    /// Which events, by reason. Default: those that people should know of: a rollout or rollback started, ended
    /// or stands still, and whatever is wrong. (Not `on`: YAML 1.1 reads that as true.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 34))]
    pub reasons: Vec<EventReason>,
}

/// An address that events are posted to, one request each: at least once for what a ModelRollout records, with the
/// same `id` each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.url), has(self.urlFrom)].exists_one(x, x)")
        .message("webhook: set exactly one of url, urlFrom")
)]
pub struct Webhook {
    /// The address. Whoever may read this object can read it: use `urlFrom` where the address itself is the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^/@?#]+([/?#].*)?$')")
            .message("webhook.url: must be http://… or https://…, without user and password")
    )]
    pub url: Option<String>,
    /// Where the address is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<UrlFrom>,
    /// How an event is written. Default: json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// One key of a Secret in the same namespace. The operator may read Secrets of the names that it was installed with
/// (chart value `notifications.secretNames`), and no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrlFrom {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub secret_name: String,
    /// The key that holds the address.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// `{"text": …}`, as Slack and those that speak like it read it.
    Slack,
    /// An object with the fields of docs/operations.md.
    Json,
}

/// One of [`EVENT_REASONS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventReason(pub String);

impl JsonSchema for EventReason {
    fn schema_name() -> Cow<'static, str> {
        "EventReason".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": EVENT_REASONS.as_slice()})
    }
}
