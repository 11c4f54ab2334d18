//! Through the stages (T1-T3, R2, R4).

use super::shape::needed;
use super::{Turn, later};
use crate::{Kind, Outcome, Phase, Reason, Rolling, Served, Watching};

impl Turn<'_> {
    pub(super) fn step_rolling(&mut self, mut rolling: Rolling) {
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
        if rolling.stage().is_none() {
            self.promote(&rolling);
        } else {
            self.leave(rolling);
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

    /// Why the candidate cannot have the stage's share yet, if so.
    pub(super) fn not_ready(&self, rolling: &Rolling) -> Option<String> {
        let pods = self.observed.workloads.get(&rolling.to).copied().unwrap_or_default();
        let needed = match rolling.kind {
            Kind::Rollout => needed(self.target(rolling), self.wanted.replicas),
            // On call wants away from the bad revision: one ready pod is enough to move.
            Kind::Rollback => 1,
        };
        if pods.ready < needed {
            return Some(format!("{} has {} of {needed} ready pods", rolling.to, pods.ready));
        }
        // rule: I5
        (pods.conflict).then(|| format!("the pods of {} report different digests", rolling.to))
    }

    fn wait(&mut self, mut rolling: Rolling, missing: &str) {
        // rule: T3. Standing still by wish is no lack of progress.
        if self.halted().is_some() && !self.granted(&rolling) {
            rolling.blocked = None;
            self.state.phase = Phase::Rolling(rolling);
            return;
        }
        let blocked = *rolling.blocked.get_or_insert(self.now);
        let overdue = later(blocked, self.wanted.progress_deadline) <= self.now;
        let first = overdue && !rolling.missed;
        let reason = format!("progressDeadline: {missing} for {:?}", self.wanted.progress_deadline);
        let (sequence, from) = (rolling.sequence, rolling.from.clone());
        if first && from.is_none() {
            rolling.missed = true;
        }
        self.state.phase = Phase::Rolling(rolling);
        if first {
            self.note(Reason::DeadlineExceeded, sequence, reason.clone());
            self.take_back(Outcome::RolledBack, reason);
        }
    }

    /// Leaves the stage if it may be left (T2).
    fn leave(&mut self, mut rolling: Rolling) {
        if self.halted().is_some() || self.stays(&rolling).is_some() {
            self.state.phase = Phase::Rolling(rolling);
            return;
        }
        let message = format!("stage {} of {} passed", rolling.index + 1, rolling.stages.len());
        self.note(Reason::StagePassed, rolling.sequence, message);
        rolling.index += 1;
        rolling.approved = false;
        self.state.phase = Phase::Rolling(rolling);
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
        self.end(rolling, Outcome::Promoted, "every stage passed");
        self.note(Reason::Promoted, rolling.sequence, format!("{stable} is stable"));
        self.state.stable = Some(stable);
        self.state.phase = match &rolling.from {
            Some(old) if self.watches(rolling) => Phase::Watching(Watching {
                sequence: rolling.sequence,
                stages: rolling.stages.len(),
                old: old.clone(),
                since: self.now,
                until: later(self.now, self.wanted.keep_warm),
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
