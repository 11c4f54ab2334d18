//! What a new intent does (I2, I4).

use super::Turn;
use crate::{Kind, Outcome, Phase, Reason, Rolling};

impl Turn<'_> {
    /// A changed spec in mid-rollout: first back to stable, then anew; a half-rolled candidate never becomes
    /// stable, and new code never receives a share that other code earned (I4).
    pub(super) fn follow_intent(&mut self) {
        let wanted = &self.wanted.revision;
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        let reason = format!("the spec asks for {wanted} now");
        match rolling.kind {
            Kind::Rollout if rolling.to == *wanted => {}
            Kind::Rollout if rolling.from.is_some() => self.take_back(Outcome::Superseded, reason),
            Kind::Rollout => self.replace_first(&rolling.clone(), &reason),
            // Going back comes first, unless it cannot even begin: then the way out may be forward.
            Kind::Rollback => {
                let stuck = rolling.missed && self.weight_of(&rolling.to) == 0;
                if stuck && self.state.acted.as_ref() != Some(wanted) {
                    self.take_back(Outcome::Superseded, reason);
                }
            }
        }
    }

    /// Without a stable the new revision takes the place of the candidate; who answers users by now goes on
    /// until it is ready (I4).
    fn replace_first(&mut self, rolling: &Rolling, reason: &str) {
        let message = format!("{} is replaced: {reason}", rolling.to);
        self.note(Reason::Superseded, rolling.sequence, message);
        self.end(rolling, Outcome::Superseded, reason);
        self.state.acted = None;
        self.state.phase = Phase::Idle;
    }

    /// Opens a rollout of an intent that was not acted upon yet. Each intent is carried out once.
    pub(super) fn start(&mut self) {
        let wanted = self.wanted.revision.clone();
        let free = matches!(self.state.phase, Phase::Idle | Phase::Watching(_));
        if !free || self.state.acted.as_ref() == Some(&wanted) {
            return;
        }
        if self.state.stable.as_ref() == Some(&wanted) {
            // rule: I2. Acted upon, so that the other revision may be tried again later.
            let message = format!("the spec asks for {wanted}, which is stable");
            self.note(Reason::SpecReverted, self.state.sequence, message);
            self.state.acted = Some(wanted);
        } else if self.barred().is_none() {
            self.open(wanted);
        }
    }

    /// Opens a rollout of the spec's revision.
    pub(super) fn open(&mut self, wanted: String) {
        if let Phase::Watching(watch) = &self.state.phase {
            self.keep_warm(watch.clone());
        }
        self.end_halt();
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
            evicting: None,
        });
    }
}
