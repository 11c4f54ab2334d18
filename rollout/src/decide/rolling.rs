//! Through the stages (T1-T3, R2, R4).

use super::{Turn, later};
use crate::{Kind, Outcome, Phase, Pods, Reason, Rolling, Served, Watching};

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
            if rolling.served.is_none() {
                self.remember_start(&rolling);
            }
            rolling.served = Some(Served { index: rolling.index, since: self.now });
            let message = format!("{}, served by every router", self.tell(&rolling));
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
        if !self.gives(&self.traffic_of(rolling)) {
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

    /// Why the candidates cannot have the stage's share yet, if so.
    pub(super) fn not_ready(&self, rolling: &Rolling) -> Option<String> {
        rolling.arms().find_map(|arm| self.arm_not_ready(rolling, arm))
    }

    fn arm_not_ready(&self, rolling: &Rolling, arm: &str) -> Option<String> {
        let pods = self.pods(arm);
        let needed = match rolling.kind {
            Kind::Rollout => self.pods_of(rolling, arm),
            // On call wants away from the bad revision: one ready pod is enough to move.
            Kind::Rollback => 1,
        };
        if pods.ready < needed {
            let why = self.observed.failing.get(arm).map_or_else(String::new, |why| format!(" ({why})"));
            return Some(format!("{arm} has {} of {needed} ready pods{why}", pods.ready));
        }
        // rule: I5. It speaks of candidates; a revision that served already is not one.
        let conflict = pods.conflict && rolling.kind == Kind::Rollout;
        conflict.then(|| format!("the pods of {arm} report different digests"))
    }

    /// What the present stage gives, for people.
    fn tell(&self, rolling: &Rolling) -> String {
        let traffic = self.traffic_of(rolling);
        if let Some(mirror) = &traffic.mirror {
            return format!("{} gets copies of {} %", mirror.revision, mirror.percent);
        }
        if rolling.stage().is_some_and(|stage| stage.preview) {
            return format!("{} is there to be previewed", rolling.to);
        }
        let one = |arm: &String| format!("{arm} has {} %", self.target(rolling, arm));
        rolling.arms().map(one).collect::<Vec<_>>().join(", ")
    }

    /// How long the pods took, for whoever asks how long going back to them would.
    fn remember_start(&mut self, rolling: &Rolling) {
        let Some(opened) = rolling.opened else { return };
        let took = std::time::Duration::try_from(self.now.duration_since(opened)).unwrap_or_default();
        let known = &self.observed.known;
        self.state.took.retain(|revision, _| known.contains(revision));
        self.state.took.insert(rolling.to.clone(), took);
    }

    fn wait(&mut self, mut rolling: Rolling, missing: &str) {
        // rule: T3. Standing still by wish is no lack of progress, and what a process that has just begun has not read
        // yet is not the pods' fault.
        let by_wish = rolling.kind == Kind::Rollout && self.halted().is_some() && !self.granted(&rolling);
        if by_wish || self.is_unheard(&rolling) {
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
            self.take_late_back(reason);
        }
    }

    /// Whether nothing is missing of the candidates but what their pods loaded.
    fn is_unheard(&self, rolling: &Rolling) -> bool {
        let short = |count: fn(Pods) -> u32| {
            rolling.arms().any(|arm| count(self.pods(arm)) < self.pods_of(rolling, arm))
        };
        rolling.kind == Kind::Rollout && short(|pods| pods.ready) && !short(|pods| pods.ready + pods.unheard)
    }

    /// Of several candidates only those that are late go.
    fn take_late_back(&mut self, reason: String) {
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        let late = |arm: &&String| self.arm_not_ready(rolling, arm).is_some();
        let late: Vec<String> = rolling.arms().filter(late).cloned().collect();
        if late.is_empty() || late.len() > rolling.rivals.len() {
            self.take_back(Outcome::RolledBack, reason);
            return;
        }
        for arm in late {
            self.drop_arm(&arm, &reason);
        }
        if let Phase::Rolling(rolling) = &mut self.state.phase {
            (rolling.blocked, rolling.missed) = (None, false);
        }
    }

    /// Whether a missed deadline is a reason to return to stable: not from a rollback, which is the way out
    /// already, and not from a revision that answers to a stable that does not.
    fn is_better_off_back(&self, rolling: &Rolling) -> bool {
        let ready = |revision: &str| self.pods(revision).ready > 0;
        let stable = rolling.from.as_ref().is_some_and(|from| ready(from) || !ready(&rolling.to));
        rolling.kind == Kind::Rollout && stable
    }

    pub(super) fn pass_stage(&mut self, next: Rolling) {
        let message = format!("stage {} of {} passed", next.index, next.stages.len());
        self.note(Reason::StagePassed, next.sequence, message);
        self.state.phase = Phase::Rolling(next);
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
