//! What a new intent does (I2, I4).

use super::{Turn, list};
use crate::{Kind, Outcome, Phase, Reason, Rolling, Then};

impl Turn<'_> {
    /// A changed spec in mid-rollout: first back to stable, then anew; a half-rolled candidate never becomes
    /// stable, and new code never receives a share that other code earned (I4).
    pub(super) fn follow_intent(&mut self) {
        let wanted = &self.wanted.intent();
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        let reason = format!("the spec asks for {wanted} now");
        match rolling.kind {
            Kind::Rollout if self.state.acted.as_ref() == Some(wanted) => {}
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
        let intent = self.wanted.intent();
        let free = matches!(self.state.phase, Phase::Idle | Phase::Watching(_));
        if !free || self.state.acted.as_ref() == Some(&intent) {
            return;
        }
        if self.candidates().is_empty() {
            // rule: I2. Acted upon, so that the other revision may be tried again later.
            let message = format!("the spec asks for {intent}, which is stable");
            self.note(Reason::SpecReverted, self.state.sequence, message);
            self.state.acted = Some(intent);
        } else if self.barred().is_none() {
            self.open();
        }
    }

    /// What the spec asks for that does not serve yet.
    pub(super) fn candidates(&self) -> Vec<String> {
        self.wanted.candidates().filter(|c| self.state.stable.as_ref() != Some(c)).cloned().collect()
    }

    /// Opens a rollout of what the spec asks for. There is something that does not serve yet.
    pub(super) fn open(&mut self) {
        let mut candidates = self.candidates();
        let (to, mut rivals) = (candidates.remove(0), candidates);
        if let Phase::Watching(watch) = &self.state.phase {
            self.keep_warm(watch.clone());
        }
        self.end_halt();
        // Users were served by a warm revision minutes ago: going back to it skips the steps.
        let warm = rivals.is_empty() && self.state.warm.iter().any(|w| w.revision == to);
        self.state.warm.retain(|w| w.revision != to && !rivals.contains(&w.revision));
        let from = self.state.stable.clone();
        let at_once = if from.is_none() { !self.begins_alone(&to) } else { warm };
        let stages = if at_once { Vec::new() } else { self.wanted.stages.clone() };
        if stages.is_empty() {
            // Nobody to be compared with, or nothing to compare by.
            rivals.clear();
        }
        self.state.sequence += 1;
        self.state.acted = Some(self.wanted.intent());
        self.state.floor = self.stable_replicas();
        let names = list(&to, &rivals);
        let message = match &from {
            Some(from) if rivals.is_empty() => format!("{to} replaces {from} in {} steps", stages.len()),
            Some(from) => format!("{names} compete with {from}"),
            None if stages.is_empty() => format!("{to} is the first revision: 100 % once it is ready"),
            None => format!("{to} is the first revision: it gets copies, and answers nobody"),
        };
        self.note(Reason::RolloutStarted, self.state.sequence, message);
        // What was a report last time is one only if its stages run.
        let then = if stages.is_empty() { Then::Promote } else { self.wanted.then };
        let rolling = Rolling::new(self.state.sequence, self.now);
        self.state.phase = Phase::Rolling(Rolling { from, to, rivals, stages, then, ..rolling });
    }
}
