//! Through the stages (T1-T3, R2, R4).

use super::shape::needed;
use super::{Turn, later};
use crate::{Kind, Outcome, Phase, Reason, Rolling, Served, Watching};

impl Turn<'_> {
    pub(super) fn step_rolling(&mut self, mut rolling: Rolling) {
        if let Some(undo) = &rolling.undo
            && self.not_ready(&rolling).is_none()
        {
            self.mark_undone(undo);
        }
        if let Some(missing) = self.waits_for(&rolling) {
            self.wait(rolling, &missing);
            return;
        }
        rolling.blocked = None;
        rolling.missed = false;
        if rolling.since().is_none() {
            rolling.served = Some(Served { index: rolling.index, since: self.now });
            let message = format!("{} has {} %, served by every router", rolling.to, self.target(&rolling));
            self.note(Reason::StageServed, rolling.sequence, message);
        }
        if rolling.stage().is_some() {
            self.leave(rolling);
        } else if rolling.kind == Kind::Rollout && self.halted().is_some() {
            // rule: T4, R8. Promotion is the last stage that is left.
            self.state.phase = Phase::Rolling(rolling);
        } else {
            self.promote(&rolling);
        }
    }

    /// What the stage still needs before it counts as served, if anything: capacity, readiness, the weight
    /// and its acknowledgement, in this order.
    fn waits_for(&self, rolling: &Rolling) -> Option<String> {
        if let Some(why) = self.not_ready(rolling) {
            return Some(why);
        }
        let Some(route) = &self.observed.route else { return Some("the route is being created".into()) };
        if route.shares != self.shares_of(rolling, self.target(rolling)) {
            return Some("the route is being written".into());
        }
        if !route.acknowledged {
            return Some(format!("not acknowledged by {}", list(&route.behind)));
        }
        None
    }

    /// What the present phase waits for, for people.
    pub(super) fn waiting(&self) -> Option<String> {
        match &self.state.phase {
            Phase::Rolling(r) => {
                let halted = self.halted().filter(|_| r.kind == Kind::Rollout);
                halted
                    .map(|why| format!("stands still: {why}"))
                    .or_else(|| self.waits_for(r))
                    .or_else(|| self.stays(r))
            }
            Phase::Returning(r) if r.evicting => {
                Some(format!("the pods of {} are being deleted", r.candidate))
            }
            Phase::Returning(_) => {
                let behind = self.observed.route.as_ref().map(|r| r.behind.as_slice()).unwrap_or_default();
                Some(format!("0 % is not served yet by {}", list(behind)))
            }
            Phase::Idle | Phase::Watching(_) => {
                let waits = self.state.acted.as_ref() != Some(&self.wanted.revision);
                self.barred().filter(|_| waits).map(|why| format!("no rollout starts: {why}"))
            }
        }
    }

    /// Why the candidate cannot have the stage's share yet, if so.
    pub(super) fn not_ready(&self, rolling: &Rolling) -> Option<String> {
        let pods = self.pods(&rolling.to);
        let needed = match rolling.kind {
            Kind::Rollout => needed(self.target(rolling), self.capacity()),
            // On call wants away from the bad revision: one ready pod is enough to move.
            Kind::Rollback => 1,
        };
        if pods.ready < needed {
            return Some(format!("{} has {} of {needed} ready pods", rolling.to, pods.ready));
        }
        // rule: I5. It speaks of candidates; a revision that served already is not one.
        let conflict = pods.conflict && rolling.kind == Kind::Rollout;
        conflict.then(|| format!("the pods of {} report different digests", rolling.to))
    }

    fn wait(&mut self, mut rolling: Rolling, missing: &str) {
        // rule: T3. Standing still by wish is no lack of progress.
        let by_wish = rolling.kind == Kind::Rollout && self.halted().is_some() && !self.granted(&rolling);
        if by_wish {
            rolling.blocked = None;
            self.state.phase = Phase::Rolling(rolling);
            return;
        }
        let blocked = *rolling.blocked.get_or_insert(self.now);
        self.evict_stray(&mut rolling, blocked);
        let overdue = later(blocked, self.wanted.progress_deadline) <= self.now;
        let returns = overdue && self.is_better_off_back(&rolling);
        let first = overdue && !rolling.missed;
        let sequence = rolling.sequence;
        rolling.missed |= overdue;
        self.state.phase = Phase::Rolling(rolling);
        let reason = format!("progressDeadline: {missing} for {:?}", self.wanted.progress_deadline);
        if first || returns {
            self.note(Reason::DeadlineExceeded, sequence, reason.clone());
        }
        if returns {
            self.take_back(Outcome::RolledBack, reason);
        }
    }

    /// Whether a missed deadline is a reason to return to stable: not from a rollback, which is the way out
    /// already, and not from a revision that answers to a stable that does not.
    fn is_better_off_back(&self, rolling: &Rolling) -> bool {
        let ready = |revision: &str| self.pods(revision).ready > 0;
        let stable = rolling.from.as_ref().is_some_and(|from| ready(from) || !ready(&rolling.to));
        rolling.kind == Kind::Rollout && stable
    }

    /// Leaves the stage if it may be left (T2).
    fn leave(&mut self, rolling: Rolling) {
        if self.halted().is_some() || self.stays(&rolling).is_some() {
            self.state.phase = Phase::Rolling(rolling);
        } else {
            self.pass_stage(rolling.next());
        }
    }

    pub(super) fn pass_stage(&mut self, next: Rolling) {
        let message = format!("stage {} of {} passed", next.index, next.stages.len());
        self.note(Reason::StagePassed, next.sequence, message);
        self.state.phase = Phase::Rolling(next);
    }

    /// Why the stage is not left yet, if so.
    pub(super) fn stays(&self, rolling: &Rolling) -> Option<String> {
        let stage = rolling.stage()?;
        let since = rolling.since()?;
        if rolling.approved {
            return self.failing_gate();
        }
        if later(since, stage.hold) > self.now {
            return Some(format!("holds until {}", later(since, stage.hold)));
        }
        if self.requests() < stage.min_requests {
            return Some(format!("{} of {} requests seen", self.requests(), stage.min_requests));
        }
        if stage.approval {
            return Some("waits for approval: sluice.dev/action=promote".into());
        }
        self.gate()
    }

    /// The last share is acknowledged: the candidate is stable now.
    fn promote(&mut self, rolling: &Rolling) {
        let stable = rolling.to.clone();
        let reason = rolling.undo.as_ref().map_or("every stage passed", |undo| &undo.reason);
        self.end(rolling, Outcome::Promoted, reason);
        self.note(Reason::Promoted, rolling.sequence, format!("{stable} is stable"));
        self.state.stable = Some(stable);
        self.state.phase = match &rolling.from {
            Some(old) if self.watches(rolling) => Phase::Watching(Watching {
                sequence: rolling.sequence,
                stages: rolling.stages.len(),
                old: old.clone(),
                since: self.now,
            }),
            _ => Phase::Idle,
        };
    }

    /// Whether the old revision is kept after this one.
    pub(super) fn watches(&self, rolling: &Rolling) -> bool {
        rolling.kind == Kind::Rollout && rolling.from.is_some() && !self.wanted.keep_warm.is_zero()
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "any router".into() } else { names.join(", ") }
}
