//! When a stage is left, and what becomes of one that cannot be (T2).

use std::time::Duration;

use evidence::Verdict;
use jiff::Timestamp;

use super::{Turn, later};
use crate::{Limit, OnLimit, OnLose, OnWin, Outcome, Phase, Reason, Rolling, Standing, Then, Until};

impl Turn<'_> {
    /// Leaves the stage if it may be left.
    pub(super) fn leave(&mut self, mut rolling: Rolling) {
        self.count_standstill(&mut rolling);
        self.state.phase = Phase::Rolling(rolling.clone());
        // rule: T4
        if self.halted().is_some() {
            return;
        }
        let Some(stage) = rolling.stage().copied() else { return };
        match self.winner(&rolling) {
            Some((arm, reason)) => self.conclude(&rolling, &arm, &reason),
            None if stage.until == Until::Best => self.move_shares(rolling),
            None => self.heed_limit(rolling),
        }
    }

    /// The candidate that may leave the stage now, and why.
    fn winner(&self, rolling: &Rolling) -> Option<(String, String)> {
        let stage = rolling.stage()?;
        if rolling.approved || stage.until == Until::Passed {
            let passes = self.stays(rolling).is_none();
            return passes.then(|| (rolling.to.clone(), "it was approved".into()));
        }
        let wins = |arm: &String| {
            let reason = match stage.until {
                Until::Shown { on_win: OnWin::Promote, .. } => self.stands(arm, Standing::Shown)?,
                Until::Best => self.best().filter(|(best, _)| best == arm)?.1,
                Until::Shown { on_win: OnWin::Hold, .. } | Until::Passed => return None,
            };
            self.gate(arm).is_none().then(|| (arm.clone(), reason))
        };
        rolling.arms().find_map(wins)
    }

    /// Leaves the stage with this candidate: to the next one, or out of the rollout when that was the last one of
    /// a rollout that only reports.
    fn conclude(&mut self, rolling: &Rolling, arm: &str, reason: &str) {
        let is_last = rolling.index + 1 >= rolling.stages.len();
        if is_last && rolling.then == Then::Report {
            self.take_back(Outcome::Reported, "every stage passed; it was to be reported on".into());
        } else {
            self.win(rolling, arm, reason);
        }
    }

    /// How long the stage stood still: that does not count towards its limit (T4).
    fn count_standstill(&self, rolling: &mut Rolling) {
        if rolling.stage().is_none_or(|stage| stage.limit.is_none()) {
            return;
        }
        match (self.halted().is_some(), rolling.still) {
            (true, None) => rolling.still = Some(self.now),
            (false, Some(since)) => {
                let stood = self.now.duration_since(since);
                rolling.stood += Duration::try_from(stood).unwrap_or_default();
                rolling.still = None;
            }
            _ => {}
        }
    }

    /// When the stage has had its longest time, and what then.
    pub(super) fn limit(&self, rolling: &Rolling) -> Option<(Timestamp, OnLimit)> {
        let Limit { after, then } = rolling.stage()?.limit?;
        Some((later(rolling.since()?, after.saturating_add(rolling.stood)), then))
    }

    fn heed_limit(&mut self, mut rolling: Rolling) {
        let Some((_, then)) = self.limit(&rolling).filter(|(at, _)| *at <= self.now) else { return };
        let waits = self.stays(&rolling).unwrap_or_default();
        let longest =
            rolling.stage().and_then(|stage| stage.limit).map_or(Duration::ZERO, |limit| limit.after);
        let reason =
            format!("stage {} has lasted for {longest:?}, its longest time: {waits}", rolling.index + 1);
        match then {
            OnLimit::Rollback => self.take_back(Outcome::RolledBack, reason),
            OnLimit::Promote if self.may_pass_unproven(&rolling) => {
                let arm = rolling.to.clone();
                self.note(Reason::StageOverdue, rolling.sequence, reason.clone());
                self.conclude(&rolling, &arm, &reason);
            }
            OnLimit::Hold | OnLimit::Promote if !rolling.overdue => {
                self.note(Reason::StageOverdue, rolling.sequence, format!("{reason}; it waits on"));
                rolling.overdue = true;
                self.state.phase = Phase::Rolling(rolling);
            }
            OnLimit::Hold | OnLimit::Promote => {}
        }
    }

    /// Whether a stage that has had its longest time may be left: what is not proven may be, what fails, has no
    /// data or waits for a person may not (J1).
    fn may_pass_unproven(&self, rolling: &Rolling) -> bool {
        let Some(stage) = rolling.stage() else { return false };
        let held = later(rolling.since().unwrap_or(self.now), stage.hold) <= self.now;
        let seen = self.requests(&rolling.to) >= stage.min_requests;
        let proves = |verdict| matches!(verdict, Verdict::Pass | Verdict::Inconclusive);
        held && seen && !stage.approval && self.gate_but(&rolling.to, proves).is_none()
    }

    /// A bandit's shares follow its rewards. Without data they stay.
    fn move_shares(&mut self, mut rolling: Rolling) {
        let newest = self.allotment().filter(|a| self.is_fresh(a.at)).cloned();
        if let Some(allotment) = newest {
            let mut shares = allotment.shares;
            shares.retain(|arm, share| *share > 0 && rolling.arms().any(|a| a == arm));
            // Who has nothing in the route was dropped, so a restart would read it: an arm goes by name, never by share.
            let all = rolling.arms().all(|arm| shares.contains_key(arm));
            let sum: u32 = shares.values().map(|s| u32::from(*s)).sum();
            if all && sum <= 100 && shares != self.targets(&rolling) {
                self.note(Reason::SharesMoved, rolling.sequence, allotment.reason);
                rolling.shares = Some(shares);
                self.state.phase = Phase::Rolling(rolling.clone());
            }
        }
        self.heed_limit(rolling);
    }

    /// Candidates whose hypothesis is ruled out go back, also while everything else stands still (T4).
    pub(super) fn heed_trials(&mut self) {
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        let rolling = rolling.clone();
        // What was approved is a person's decision.
        if rolling.approved || rolling.since().is_none() {
            return;
        }
        let until = rolling.stage().map(|stage| stage.until);
        if until == Some(Until::Best)
            && let Some((best, reason)) = self.best()
            && rolling.from == Some(best)
        {
            self.take_back(Outcome::RolledBack, reason);
        }
        let Some(Until::Shown { on_lose: OnLose::Rollback, .. }) = until else { return };
        for arm in rolling.arms() {
            if let Some(reason) = self.stands(arm, Standing::RuledOut) {
                self.take_arm_back(arm, reason);
            }
        }
    }

    /// Why the stage is not left yet, if so.
    pub(super) fn stays(&self, rolling: &Rolling) -> Option<String> {
        let stage = rolling.stage()?;
        let since = rolling.since()?;
        if rolling.approved {
            return self.failing_gate(rolling);
        }
        if later(since, stage.hold) > self.now {
            return Some(format!("holds until {}", later(since, stage.hold)));
        }
        let requests = self.requests(&rolling.to);
        if requests < stage.min_requests {
            return Some(format!("{requests} of {} requests seen", stage.min_requests));
        }
        if stage.approval {
            return Some("waits for approval: sluice.dev/action=promote".into());
        }
        match stage.until {
            Until::Passed => self.gate(&rolling.to),
            Until::Shown { .. } => Some(self.trials(rolling)),
            Until::Best => {
                Some(self.allotment().map_or_else(|| "no reward counted yet".into(), |a| a.reason.clone()))
            }
        }
    }

    /// How the hypotheses stand, for people.
    fn trials(&self, rolling: &Rolling) -> String {
        let one = |arm: &String| {
            let trial = self.evidence(arm).and_then(|e| e.trial.as_ref());
            let gate = || self.gate(arm).map(|why| format!("; {why}")).unwrap_or_default();
            trial.map(|trial| format!("{}{}", trial.reason, gate()))
        };
        let all: Vec<String> = rolling.arms().filter_map(one).collect();
        if all.is_empty() { "no request of the test counted yet".into() } else { all.join("; ") }
    }

    /// The reason, if this candidate's hypothesis stands so, on fresh numbers.
    fn stands(&self, arm: &str, standing: Standing) -> Option<String> {
        let evidence = self.evidence(arm).filter(|e| self.is_fresh(e.at))?;
        let trial = evidence.trial.as_ref().filter(|trial| trial.standing == standing)?;
        Some(trial.reason.clone())
    }

    /// The best arm of a bandit, and the reason.
    fn best(&self) -> Option<(String, String)> {
        let allotment = self.allotment().filter(|a| self.is_fresh(a.at))?;
        Some((allotment.best.clone()?, allotment.reason.clone()))
    }
}
