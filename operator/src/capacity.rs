//! Whether the pods that a plan wants on top fit into quotas and nodes (K5): a dry run of a Deployment does not say.
//! Pure, but for `reader.rs`.
//!
//! It is only told, never a gate: an autoscaler may bring nodes, and the deadline is what ends a rollout that gets no
//! pods. Quotas with scopes, affinities and spread constraints are left out, so it may also fit less than is said.

mod fit;
mod pods;
mod reader;

#[cfg(test)]
mod tests;

use api::ModelDeploymentStatus;

pub use fit::{Free, by_nodes, by_quotas};
pub use pods::{Amounts, Coming, coming, requests};
pub use reader::Reader;

/// What every text of a shortage begins with.
const SHORT: &str = "does not fit: ";

/// What is known of the room for what is planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// What does not fit: which quota or resource, how much is needed, how much is free.
    pub short: Option<String>,
    /// What could not be looked at, with the reason.
    pub unknown: Option<String>,
}

impl Room {
    /// Adds it to the condition that says what is waited for.
    pub fn tell(&self, status: &mut ModelDeploymentStatus) {
        let short = self.short.iter().map(|text| format!("{SHORT}{text}"));
        let Some(text) = short.chain(self.unknown.clone()).reduce(|a, b| format!("{a}; {b}")) else { return };
        if let Some(condition) = status.conditions.iter_mut().find(|c| c.type_ == "Progressing") {
            let before = std::mem::take(&mut condition.message);
            condition.message = if before.is_empty() { text } else { format!("{before}; {text}") };
        }
    }

    /// The shortage, unless people have heard of one before.
    #[must_use]
    pub fn is_news(&self, before: Option<&ModelDeploymentStatus>) -> Option<&str> {
        let progressing = before.and_then(|s| s.conditions.iter().find(|c| c.type_ == "Progressing"));
        let known = progressing.is_some_and(|c| c.message.contains(SHORT));
        self.short.as_deref().filter(|_| !known)
    }
}
