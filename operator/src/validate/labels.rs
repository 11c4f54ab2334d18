//! Whether there are labels where something is judged by them.

use api::ModelDeploymentSpec;

use super::{Invalid, invalid};

/// What a spec says of labels.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Labels {
    taken: bool,
    sticky: bool,
}

impl Labels {
    pub(super) fn of(spec: &ModelDeploymentSpec) -> Self {
        Self {
            taken: spec.router.as_ref().is_some_and(|router| router.feedback.is_some()),
            sticky: spec.routing.as_ref().is_some_and(|routing| routing.sticky.is_some()),
        }
    }

    pub(super) const fn are_taken(self) -> bool {
        self.taken
    }

    /// Refuses to judge by labels that nobody can send.
    pub(super) fn taken(self, field: &str) -> Result<(), Invalid> {
        if self.taken {
            return Ok(());
        }
        Err(invalid(field, "accuracy", "but nobody can say what was right: set spec.router.feedback"))
    }

    /// Refuses to test by labels, where they are taken, unless each request is drawn by itself.
    pub(super) fn drawn_one_by_one(self, field: &str) -> Result<(), Invalid> {
        self.taken(field)?;
        if !self.sticky {
            return Ok(());
        }
        let why =
            "but spec.routing.sticky draws users, and labels are not counted by user: leave one of both out";
        Err(invalid(field, "accuracy", why))
    }
}
