//! What people hear of it: events of Kubernetes.

use kube::runtime::events::{Event, EventType};
use rollout::Note;

use super::{TEXT, cut};
use crate::revision::hash8;
use crate::status;

/// Bytes of an event's action, at most: the API server's limit.
const ACTION: usize = 128;

/// A warning for people.
pub(super) fn warning(reason: &str, message: &str) -> Event {
    Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(cut(message, TEXT)),
        action: action(message),
        secondary: None,
    }
}

/// Events of one reason and action are counted as one, with the words of the first: the action says which decision it
/// is, also where only the end of a long message does.
fn action(message: &str) -> String {
    if message.len() <= ACTION {
        return message.to_owned();
    }
    let hash = hash8(message);
    format!("{} {hash}", cut(message, ACTION - 1 - hash.len()))
}

/// A decision, for people.
pub(super) fn event(note: &Note) -> Event {
    let mut event = warning(note.reason.into(), &note.message);
    if !note.reason.is_warning() {
        event.type_ = EventType::Normal;
    }
    event
}

/// What people must hear of that is no decision: a condition that turned bad.
pub(super) fn troubles(
    before: Option<&api::ModelDeploymentStatus>,
    after: Option<&api::ModelDeploymentStatus>,
) -> Vec<Event> {
    let had = |kind: &str, reason: &str| {
        let all = before.map(|s| s.conditions.as_slice()).unwrap_or_default();
        all.iter().any(|c| c.type_ == kind && c.reason == reason)
    };
    let mut events = Vec::new();
    for reason in status::TROUBLES {
        let now = after.and_then(|s| s.conditions.iter().find(|c| c.reason == reason));
        if let Some(condition) = now.filter(|c| !had(&c.type_, reason)) {
            events.push(warning(reason, &condition.message));
        }
    }
    events
}
