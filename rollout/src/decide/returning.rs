//! Taking a candidate back (R5).

use std::time::Duration;

use jiff::Timestamp;

use super::{Turn, alone, later};
use crate::{Kind, Outcome, Phase, Reason, Returning, Rolling};

/// Routers have this long to let go of a candidate before its pods are deleted.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

impl Turn<'_> {
    pub(super) fn step_returning(&mut self, mut returning: Returning) {
        if self.weight_is_zero(&returning) {
            self.end_returning(&returning, "served by every router");
            return;
        }
        let overdue = later(returning.since, PATIENCE) <= self.now;
        if returning.evicting {
            if returning.candidates().all(|r| self.pods(r).existing == 0) {
                self.end_returning(&returning, "its pods were deleted, because not every router answered");
                return;
            }
        } else if overdue && !self.is_pinned_to(&returning) {
            returning.evicting = true;
            let names: Vec<&str> = returning.candidates().map(String::as_str).collect();
            self.note_eviction(&names.join(" and "), returning.undo.sequence);
        }
        self.state.phase = Phase::Returning(returning);
    }

    /// A rollback that found a candidate on its way: the same patience for those who do not let go of it.
    pub(super) fn evict_stray(&mut self, rolling: &mut Rolling, blocked: Timestamp) {
        let released = self.observed.route.as_ref().is_some_and(|r| r.served);
        if rolling.kind != Kind::Rollback || released || later(blocked, PATIENCE) > self.now {
            return;
        }
        let ours = |revision: &str| {
            let warm = self.state.warm.iter().any(|w| w.revision == revision);
            let named = [Some(&rolling.to), rolling.from.as_ref(), self.state.stable.as_ref()];
            warm || self.pin() == Some(revision) || named.into_iter().flatten().any(|n| n == revision)
        };
        let stray = self.observed.workloads.iter().find(|(r, pods)| pods.existing > 0 && !ours(r));
        let Some(stray) = stray.map(|(revision, _)| revision.clone()) else { return };
        if rolling.evicting.as_ref() != Some(&stray) {
            self.note_eviction(&stray, rolling.sequence);
            rolling.evicting = Some(stray);
        }
    }

    fn note_eviction(&mut self, candidate: &str, sequence: u64) {
        let behind = self.observed.route.as_ref().map(|r| r.behind.join(", ")).unwrap_or_default();
        let message = format!("deleting the pods of {candidate}: not served within 5 s by {behind}");
        self.note(Reason::Evicting, sequence, message);
    }

    /// Every running router serves a table in which stable has everything. A person's pin to the candidate
    /// overrides the table, and only a person removes it (R8).
    fn weight_is_zero(&self, returning: &Returning) -> bool {
        let served = self.observed.route.as_ref().is_some_and(|r| r.served);
        served && self.gives(&self.back()) && !self.is_pinned_to(returning)
    }

    fn is_pinned_to(&self, returning: &Returning) -> bool {
        returning.candidates().any(|candidate| self.pin() == Some(candidate))
    }

    /// The phase says RolledBack only from here on.
    fn end_returning(&mut self, returning: &Returning, how: &str) {
        let undo = &returning.undo;
        let reason = match undo.outcome {
            Outcome::Superseded => Reason::Superseded,
            Outcome::Reported => Reason::Reported,
            Outcome::RolledBack | Outcome::Promoted => Reason::RolledBack,
        };
        let what = if undo.to.is_some() { "has 0 %" } else { alone::NO_COPIES };
        let message = format!("{} {what}, {how}: {}", returning.candidate, undo.reason);
        self.note(reason, undo.sequence, message);
        self.state.last = Some(returning.ended());
        self.state.phase = Phase::Idle;
    }
}
