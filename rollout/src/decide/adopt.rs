//! What a crash left behind. The route is written before the state, so it may carry a decision that the state
//! does not know. The route is right: going back always wins, and a share that was earned is not taken away
//! by a restart.

use super::Turn;
use crate::{Kind, Phase};

impl Turn<'_> {
    /// A decision to go back. Each one bears the number of the rollout that was the newest then, so one with
    /// another number is in the state already.
    pub(super) fn adopt_undo(&mut self) {
        let Some(undo) = self.observed.route.as_ref().and_then(|r| r.undo.clone()) else { return };
        if undo.sequence != self.state.sequence {
            return;
        }
        match undo.to {
            to if to == self.state.stable => self.take_back(undo.outcome, undo.reason),
            Some(to) if self.state.stable.is_some() => self.go_back(to, undo.reason),
            _ => {}
        }
    }

    /// A candidate that lost its share while others went on.
    pub(super) fn adopt_dropped(&mut self) {
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        if rolling.rivals.is_empty() || rolling.since().is_none() || !self.is_ours() {
            return;
        }
        let lost = |arm: &&String| self.target(rolling, arm) > 0 && self.weight_of(arm) == 0;
        let lost: Vec<String> = rolling.arms().filter(lost).cloned().collect();
        // A table without any of them is another stage's.
        if lost.len() > rolling.rivals.len() {
            return;
        }
        for arm in lost {
            self.drop_arm(&arm, "the route says so: it was decided before a restart");
        }
    }

    /// A stage that was left: the route gives the next one's traffic.
    pub(super) fn adopt_raise(&mut self) {
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        let served = rolling.kind == Kind::Rollout && rolling.stage().is_some() && rolling.since().is_some();
        // Where two stages have the same traffic the route says nothing of them.
        if !served || !self.is_ours() || self.gives(&self.traffic_of(rolling)) {
            return;
        }
        let after = rolling.arms().map(|arm| rolling.led_by(arm).next());
        let next = after.into_iter().find(|next| self.gives(&self.traffic_of(next)));
        if let Some(next) = next {
            self.pass_stage(next);
        }
    }
}
