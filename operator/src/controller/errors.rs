//! What a failed reconcile leads to, by class.

use std::time::Duration;

use kube::runtime::controller::Action;

use crate::observe::ObserveError;
use crate::write::WriteError;

/// Why a reconcile stopped.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum Error {
    /// The object is none of this release.
    #[error("the ModelDeployment cannot be read: {0}")]
    Unreadable(String),
    /// It was not observed.
    #[error("not observed: {0}")]
    Observe(#[from] ObserveError),
    /// A write of the plan was not made.
    #[error("not done: {0}")]
    Act(#[source] WriteError),
    /// Everything was done and told, but for a write that one object is in the way of.
    #[error("all done but this: {error}")]
    ButForOne {
        /// The first of such writes.
        #[source]
        error: WriteError,
        /// When the plan is to be looked at again.
        again: Option<Duration>,
    },
    /// A write that tells of the plan was not made.
    #[error("not reported: {0}")]
    Report(#[source] WriteError),
    /// A bug.
    #[error("the reconcile panicked")]
    Panicked,
}

/// Pause after a write was refused because the object had changed: the watch brings the change meanwhile.
const CONFLICT: Duration = Duration::from_millis(20);
/// First and longest pause after the API server failed.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Pause while people must change something that no watch shows.
const PEOPLE: Duration = Duration::from_secs(30);

impl Error {
    /// Name of the class, for metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Act(error) | Self::Report(error) | Self::ButForOne { error, .. } => match error {
                WriteError::NotLeading => "NotLeading",
                WriteError::Conflict { .. } => "Conflict",
                WriteError::NameTaken { .. } => "NameTaken",
                WriteError::Leaving { .. } => "Leaving",
                WriteError::Refused { .. } => "Refused",
                WriteError::Api { .. } | WriteError::Slow { .. } => "Api",
            },
            other => other.into(),
        }
    }

    /// What follows; `failures` counts those in a row.
    #[must_use]
    pub fn policy(&self, failures: u32) -> Action {
        match self {
            // Only a change of the object can help, and the watch brings it.
            Self::Unreadable(_) | Self::Observe(_) => Action::await_change(),
            Self::Act(error) | Self::Report(error) => match error {
                WriteError::NotLeading => Action::await_change(),
                WriteError::Conflict { .. } if failures < 20 => Action::requeue(CONFLICT),
                WriteError::NameTaken { .. } | WriteError::Refused { .. } => Action::requeue(PEOPLE),
                WriteError::Conflict { .. }
                | WriteError::Leaving { .. }
                | WriteError::Api { .. }
                | WriteError::Slow { .. } => Action::requeue(backoff(failures)),
            },
            // The clock of a rollout, and of a way back, waits neither for people nor for the garbage collector.
            Self::ButForOne { error, again } => {
                let leaving = matches!(error, WriteError::Leaving { .. });
                let pause = if leaving { backoff(failures) } else { PEOPLE };
                Action::requeue(again.unwrap_or(pause).min(pause))
            }
            Self::Panicked => Action::requeue(backoff(failures)),
        }
    }
}

fn backoff(failures: u32) -> Duration {
    let (first, longest) = BACKOFF;
    first.saturating_mul(1 << failures.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_decides_what_follows() {
        let object = || "ModelRoute x".to_owned();
        let conflict = Error::Act(WriteError::Conflict { object: object() });
        assert_eq!((conflict.class(), conflict.policy(1)), ("Conflict", Action::requeue(CONFLICT)));
        let refused = Error::Act(WriteError::Refused { object: object(), reason: String::new() });
        assert_eq!(refused.policy(1), Action::requeue(PEOPLE));
        assert_eq!(Error::Unreadable(String::new()).policy(1), Action::await_change());
        assert_eq!(Error::Panicked.policy(0), Action::requeue(Duration::from_millis(200)));
        assert_eq!(Error::Panicked.policy(40), Action::requeue(Duration::from_secs(10)));
        let soon = Duration::from_secs(1);
        let refused = || WriteError::Refused { object: object(), reason: String::new() };
        let part = Error::ButForOne { error: refused(), again: Some(soon) };
        assert_eq!((part.class(), part.policy(0)), ("Refused", Action::requeue(soon)));
        let leaving = || WriteError::Leaving { object: object() };
        let part = Error::ButForOne { error: leaving(), again: None };
        assert_eq!((part.class(), part.policy(1)), ("Leaving", Action::requeue(Duration::from_millis(400))));
        assert_eq!(Error::Act(leaving()).policy(40), Action::requeue(Duration::from_secs(10)));
    }
}
