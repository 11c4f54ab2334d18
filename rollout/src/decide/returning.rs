//! Taking a candidate back (R5).

use std::time::Duration;

use super::{Turn, later};
use crate::{Ended, Outcome, Phase, Reason, Returning};

/// Routers have this long to let go of a candidate before its pods are deleted.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

impl Turn<'_> {
    pub(super) fn step_returning(&mut self, mut returning: Returning) {
        if self.weight_is_zero() {
            self.end_returning(&returning, "served by every router");
            return;
        }
        if returning.evicting {
            let left = self.observed.workloads.get(&returning.candidate).map_or(0, |p| p.existing);
            if left == 0 {
                self.end_returning(&returning, "its pods were deleted, because not every router answered");
                return;
            }
        } else if later(returning.since, PATIENCE) <= self.now {
            returning.evicting = true;
            let behind = self.observed.route.as_ref().map(|r| r.behind.join(", ")).unwrap_or_default();
            let message =
                format!("deleting the pods of {}: not served within 5 s by {behind}", returning.candidate);
            self.note(Reason::Evicting, returning.undo.sequence, message);
        }
        self.state.phase = Phase::Returning(returning);
    }

    /// Every running router serves a table in which stable has everything.
    fn weight_is_zero(&self) -> bool {
        self.observed.route.as_ref().is_some_and(|r| r.served && r.shares == self.stable_only())
    }

    /// The phase says RolledBack only from here on.
    pub(super) fn end_returning(&mut self, returning: &Returning, how: &str) {
        let undo = &returning.undo;
        let reason = match undo.outcome {
            Outcome::Superseded => Reason::Superseded,
            _ => Reason::RolledBack,
        };
        let message = format!("{} has 0 %, {how}: {}", returning.candidate, undo.reason);
        self.note(reason, undo.sequence, message);
        self.state.last = Some(Ended {
            sequence: undo.sequence,
            kind: returning.kind,
            from: Some(undo.to.clone()),
            to: returning.candidate.clone(),
            outcome: undo.outcome,
            reason: undo.reason.clone(),
        });
        self.state.phase = Phase::Idle;
    }
}
