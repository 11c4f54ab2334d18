//! What a new intent does (I2, I4).

use super::Turn;
use crate::{Kind, Outcome, Phase, Reason, Rolling, Warm};

impl Turn<'_> {
    /// A changed spec in mid-rollout: first back to stable, then anew; a half-rolled candidate never becomes
    /// stable, and new code never receives a share that other code earned (I4).
    pub(super) fn follow_intent(&mut self) {
        let wanted = &self.wanted.revision;
        if self.state.stable.as_ref() == Some(wanted) && self.state.acted.as_ref() != Some(wanted) {
            // rule: I2. Acted upon, so that the other revision may be tried again later.
            self.state.acted = Some(wanted.clone());
            let message = format!("the spec asks for {wanted}, which is stable");
            self.note(Reason::SpecReverted, self.state.sequence, message);
        }
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        if rolling.kind == Kind::Rollback || rolling.to == *wanted {
            return;
        }
        let reason = format!("the spec asks for {wanted} now");
        if rolling.from.is_some() {
            self.take_back(Outcome::Superseded, reason);
        } else {
            let rolling = rolling.clone();
            let message = format!("{} is replaced before it served: {reason}", rolling.to);
            self.note(Reason::Superseded, rolling.sequence, message);
            self.end(&rolling, Outcome::Superseded, &reason);
            self.state.phase = Phase::Idle;
        }
    }

    /// Opens a rollout of an intent that was not acted upon yet. Each intent is carried out once.
    pub(super) fn start(&mut self) {
        let wanted = self.wanted.revision.clone();
        let free = matches!(self.state.phase, Phase::Idle | Phase::Watching(_));
        if !free || self.state.acted.as_ref() == Some(&wanted) || self.halted().is_some() {
            return;
        }
        self.open(wanted);
    }

    /// Opens a rollout of the spec's revision.
    pub(super) fn open(&mut self, wanted: String) {
        if let Phase::Watching(watch) = &self.state.phase {
            // rule: I4. The watch ends, the old revision stays warm for as long as it was promised.
            self.state.warm.push(Warm { revision: watch.old.clone(), until: watch.until });
        }
        // Users were served by a warm revision minutes ago: going back to it skips the steps.
        let warm = self.state.warm.iter().any(|w| w.revision == wanted);
        self.state.warm.retain(|w| w.revision != wanted);
        let from = self.state.stable.clone();
        let stages = if from.is_none() || warm { Vec::new() } else { self.wanted.stages.clone() };
        self.state.sequence += 1;
        self.state.acted = Some(wanted.clone());
        self.state.floor = self.stable_replicas();
        let message = match &from {
            Some(from) => format!("{wanted} replaces {from} in {} steps", stages.len()),
            None => format!("{wanted} is the first revision: 100 % once it is ready"),
        };
        self.note(Reason::RolloutStarted, self.state.sequence, message);
        self.state.phase = Phase::Rolling(Rolling {
            sequence: self.state.sequence,
            kind: Kind::Rollout,
            from,
            to: wanted,
            stages,
            index: 0,
            served: None,
            blocked: None,
            approved: false,
            missed: false,
            undo: None,
        });
    }
}
