//! Several candidates at once: one that is bad goes, one that wins stands alone.

use super::Turn;
use crate::{Outcome, Phase, Reason, Rolling, Until};

impl Turn<'_> {
    /// Takes one candidate back, and the whole rollout with the last of them.
    pub(super) fn take_arm_back(&mut self, arm: &str, reason: String) {
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        if rolling.rivals.is_empty() {
            self.take_back(Outcome::RolledBack, reason);
        } else {
            self.drop_arm(arm, &reason);
        }
    }

    /// One of several candidates loses its share; the others go on.
    pub(super) fn drop_arm(&mut self, arm: &str, reason: &str) {
        let Phase::Rolling(rolling) = &mut self.state.phase else { return };
        if rolling.to == arm {
            rolling.to = rolling.rivals.remove(0);
        } else {
            rolling.rivals.retain(|rival| rival != arm);
        }
        if let Some(shares) = &mut rolling.shares {
            shares.remove(arm);
        }
        let (sequence, left) = (rolling.sequence, rolling.arms().count());
        let message = format!("{arm} goes to 0 %: {reason}; candidates left: {left}");
        self.note(Reason::Dropped, sequence, message);
    }

    /// One of the candidates leaves the stage, alone if that was the last one.
    pub(super) fn win(&mut self, rolling: &Rolling, arm: &str, reason: &str) {
        // Whoever only had to pass won nothing.
        if rolling.stage().is_some_and(|stage| stage.until != Until::Passed) {
            self.note(Reason::Won, rolling.sequence, format!("{arm} wins: {reason}"));
        }
        self.pass_stage(rolling.led_by(arm).next());
    }
}
