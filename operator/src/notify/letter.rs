//! What a receiver gets. Pure.

use std::fmt;

use api::{ModelRollout, Notification, Record, Template, UrlFrom, Webhook};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::resources::Owner;

/// Reasons that are told where a notification names none: what people should know of, or look at.
const DEFAULT_REASONS: [&str; 16] = [
    "RolloutStarted",
    "Promoted",
    "RollingBack",
    "RolledBack",
    "RollbackStarted",
    "Evicting",
    "DeadlineExceeded",
    "Paused",
    "InvalidSpec",
    "PinIgnored",
    "NameTaken",
    "Refused",
    "DigestMismatch",
    "DoesNotFit",
    "RetrainingStarted",
    "RetrainingRefused",
];

/// Whether a notification is about events of this reason.
#[must_use]
pub(super) fn wants(notification: &Notification, reason: &str) -> bool {
    if notification.reasons.is_empty() {
        return DEFAULT_REASONS.contains(&reason);
    }
    notification.reasons.iter().any(|r| r.0 == reason)
}

/// One event for one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The same each time that this event is sent.
    pub id: String,
    /// Why it is sent, for logs.
    pub reason: String,
    /// Where it goes.
    pub address: Address,
    /// What is posted: JSON.
    pub body: String,
}

/// Where a letter goes. An address may be all that protects a channel, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// In the spec.
    Url(String),
    /// In a Secret, which is read for each letter.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name and key.
        from: UrlFrom,
    },
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => f.write_str("Url(…)"),
            Self::Secret { namespace, from } => write!(f, "Secret({namespace}/{})", from.secret_name),
        }
    }
}

/// What happened, as receivers read it. The words are those of the ModelRollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Happened<'a> {
    /// The same each time that this is sent.
    pub(super) id: String,
    /// When it was decided.
    pub(super) time: Timestamp,
    /// Name of the ModelDeployment.
    pub(super) deployment: &'a str,
    /// Its namespace.
    pub(super) namespace: &'a str,
    /// In one word.
    pub(super) reason: &'a str,
    /// Why, with the numbers; as in the event and the record.
    pub(super) message: &'a str,
    /// The rollout that it belongs to, if to one.
    #[serde(flatten)]
    pub(super) rollout: Option<OfRollout<'a>>,
}

/// The rollout that an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfRollout<'a> {
    /// Name of the ModelRollout.
    rollout: &'a str,
    /// Stable at its start.
    from: Option<&'a str>,
    /// Its model version.
    from_version: Option<&'a str>,
    /// The revision that is rolled out.
    to: &'a str,
    /// Its model version.
    to_version: &'a str,
    /// Percent that `to` has after it.
    weight: u8,
}

impl<'a> Happened<'a> {
    /// An entry of a record. `nth` counts the entries of its time and reason before it.
    pub(super) fn recorded(
        owner: &'a Owner,
        rollout: &'a ModelRollout,
        entry: &'a Record,
        nth: usize,
    ) -> Self {
        let spec = &rollout.spec;
        let of = OfRollout {
            rollout: rollout.metadata.name.as_deref().unwrap_or_default(),
            from: spec.from.as_deref(),
            from_version: spec.from_version.as_deref(),
            to: &spec.to,
            to_version: &spec.to_version,
            weight: entry.weight,
        };
        let place = format!("{} {nth}", spec.sequence);
        Self::new(owner, (&entry.reason, &entry.message), entry.time.0, &place, Some(of))
    }

    /// What is in no record.
    pub(super) fn unrecorded(owner: &'a Owner, what: (&'a str, &'a str), time: Timestamp) -> Self {
        Self::new(owner, what, time, "", None)
    }

    fn new(
        owner: &'a Owner,
        (reason, message): (&'a str, &'a str),
        time: Timestamp,
        place: &str,
        rollout: Option<OfRollout<'a>>,
    ) -> Self {
        let id = id(&[&owner.uid, &time.as_microsecond().to_string(), reason, place]);
        let (deployment, namespace) = (owner.name.as_str(), owner.namespace.as_str());
        Self { id, time, deployment, namespace, reason, message, rollout }
    }

    /// For one receiver.
    pub(super) fn letter(&self, webhook: &Webhook) -> Letter {
        let body = match webhook.template.unwrap_or(Template::Json) {
            Template::Json => serde_json::to_string(self),
            Template::Slack => serde_json::to_string(&serde_json::json!({"text": self.slack()})),
        };
        let address = match (&webhook.url, &webhook.url_from) {
            (None, Some(from)) => {
                Address::Secret { namespace: self.namespace.to_owned(), from: from.clone() }
            }
            // The API server lets nothing else through than exactly one of both.
            (url, _) => Address::Url(url.clone().unwrap_or_default()),
        };
        Letter {
            id: self.id.clone(),
            reason: self.reason.to_owned(),
            address,
            body: body.expect("texts and numbers are JSON"),
        }
    }

    fn slack(&self) -> String {
        let Self { deployment, namespace, reason, message, .. } = self;
        let what = self.rollout.map(|r| {
            let from = r.from_version.map(|v| format!("{v} to ")).unwrap_or_default();
            format!(" ({}, {from}{}, {} %)", r.rollout, r.to_version, r.weight)
        });
        let what = what.unwrap_or_default();
        format!("*{reason}* {namespace}/{deployment}{}: {}", escape(&what), escape(message))
    }
}

/// What Slack would take for a link or a mention.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// 32 hex digits. A line break separates the parts: none of them holds one.
fn id(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n").as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
