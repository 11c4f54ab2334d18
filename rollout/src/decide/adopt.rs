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
        let Some(stable) = &self.state.stable else { return };
        if undo.sequence != self.state.sequence {
            return;
        }
        if *stable == undo.to {
            self.take_back(undo.outcome, undo.reason);
        } else {
            self.go_back(undo.to, undo.reason);
        }
    }

    /// A stage that was left: the route gives the next one's share.
    pub(super) fn adopt_raise(&mut self) {
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        let Some(route) = &self.observed.route else { return };
        let served = rolling.kind == Kind::Rollout && rolling.stage().is_some() && rolling.since().is_some();
        if !served || route.salt != self.salt() {
            return;
        }
        let next = rolling.next();
        if route.shares == self.shares_of(&next, self.target(&next)) {
            self.pass_stage(next);
        }
    }
}
