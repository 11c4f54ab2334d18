//! The decision, as an ordered list of small steps over one working copy of the state.
//!
//! Order matters: what takes a share away comes before what may give one. A step that has nothing to say
//! leaves the state as it is.

mod intent;
mod judge;
mod returning;
mod rolling;
mod shape;
mod verbs;
mod watching;

use jiff::{SignedDuration, Timestamp};

use crate::{
    Ended, Kind, Note, Observed, Outcome, Phase, Plan, Reason, Returning, Rolling, State, Undo, Wanted,
};

/// Decides what is to be.
///
/// Pure: the same arguments give the same plan. A plan that has been applied and is decided again from its
/// own state gives the same plan without notes.
#[must_use]
pub fn decide(wanted: &Wanted, state: &State, observed: &Observed, now: Timestamp) -> Plan {
    let mut turn = Turn { wanted, observed, now, state: state.clone(), notes: Vec::new() };
    turn.adopt_undo();
    turn.obey_verb();
    turn.obey_pin();
    turn.follow_intent();
    turn.heed_readings();
    turn.step();
    turn.start();
    turn.into_plan()
}

/// One decision in the making.
struct Turn<'a> {
    wanted: &'a Wanted,
    observed: &'a Observed,
    now: Timestamp,
    state: State,
    notes: Vec<Note>,
}

impl Turn<'_> {
    /// The progress of the present phase.
    fn step(&mut self) {
        match self.state.phase.clone() {
            Phase::Idle => {}
            Phase::Rolling(rolling) => self.step_rolling(rolling),
            Phase::Returning(returning) => self.step_returning(returning),
            Phase::Watching(watching) => self.step_watching(&watching),
        }
        self.drop_cold();
    }

    /// The route carries a decision to go back that the state does not know: the operator died between the
    /// two writes. Abort always wins, so the route is right.
    fn adopt_undo(&mut self) {
        let Some(undo) = self.observed.route.as_ref().and_then(|r| r.undo.clone()) else { return };
        match &self.state.phase {
            Phase::Rolling(r) if r.kind == Kind::Rollout && r.sequence == undo.sequence => {
                if r.from.as_ref() == Some(&undo.to) {
                    self.take_back(undo.outcome, undo.reason);
                } else {
                    self.go_back(undo.to, undo.reason);
                }
            }
            Phase::Watching(w) if w.sequence == undo.sequence => self.go_back(undo.to, undo.reason),
            _ => {}
        }
    }

    /// A pin to stable is an abort (R8).
    fn obey_pin(&mut self) {
        let Some(pin) = self.pin() else { return };
        if let Phase::Rolling(r) = &self.state.phase
            && r.kind == Kind::Rollout
            && r.from.as_deref() == Some(pin)
        {
            let reason = format!("the route is pinned to the stable revision {pin}");
            self.take_back(Outcome::RolledBack, reason);
        }
    }

    fn pin(&self) -> Option<&str> {
        self.observed.route.as_ref().and_then(|r| r.pin.as_deref())
    }

    /// Why no share may be raised, no stage left and no rollout started now, if so (T4, R8).
    fn halted(&self) -> Option<String> {
        if self.wanted.paused {
            return Some("spec.paused is true".into());
        }
        if let Some(halt) = &self.state.halt {
            return Some(halt.reason.clone());
        }
        self.pin().map(|pin| format!("the route is pinned to {pin}"))
    }

    /// Takes the running candidate's share away; stable serves. Needs nothing but the decision (R5).
    fn take_back(&mut self, outcome: Outcome, reason: String) {
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        let (sequence, candidate, kind) = (rolling.sequence, rolling.to.clone(), rolling.kind);
        let Some(to) = rolling.from.clone() else { return };
        self.note(Reason::RollingBack, sequence, format!("{candidate} goes back to 0 %: {reason}"));
        let undo = Undo { sequence, to, outcome, reason };
        self.state.halt = None;
        self.state.phase =
            Phase::Returning(Returning { candidate, kind, undo, since: self.now, evicting: false });
    }

    /// Opens the way back to an earlier revision, from whatever is going on.
    fn go_back(&mut self, to: String, reason: String) {
        let undone = self.state.sequence;
        match &self.state.phase {
            Phase::Rolling(rolling) => self.end(&rolling.clone(), Outcome::RolledBack, &reason),
            Phase::Returning(returning) => {
                let returning = returning.clone();
                self.end_returning(&returning, "");
            }
            Phase::Watching(_) | Phase::Idle => {
                if let Some(last) = self.state.last.as_mut().filter(|l| l.outcome == Outcome::Promoted) {
                    (last.outcome, last.reason) = (Outcome::RolledBack, reason.clone());
                }
            }
        }
        self.state.sequence += 1;
        self.state.halt = None;
        self.state.floor = self.stable_replicas();
        self.state.warm.retain(|w| w.revision != to);
        self.note(Reason::RollbackStarted, self.state.sequence, format!("back to {to}: {reason}"));
        let undo = Undo { sequence: undone, to: to.clone(), outcome: Outcome::RolledBack, reason };
        self.state.phase = Phase::Rolling(Rolling {
            sequence: self.state.sequence,
            kind: Kind::Rollback,
            from: self.state.stable.clone(),
            to,
            stages: Vec::new(),
            index: 0,
            served: None,
            blocked: None,
            approved: false,
            missed: false,
            undo: Some(undo),
        });
    }

    /// Remembers how a rollout ended.
    fn end(&mut self, rolling: &Rolling, outcome: Outcome, reason: &str) {
        self.state.last = Some(Ended {
            sequence: rolling.sequence,
            kind: rolling.kind,
            from: rolling.from.clone(),
            to: rolling.to.clone(),
            outcome,
            reason: reason.to_owned(),
        });
    }

    /// Pods that stable has, or should have.
    fn stable_replicas(&self) -> u32 {
        let stable = self.state.stable.as_ref();
        let has = stable.and_then(|s| self.observed.workloads.get(s)).map_or(0, |p| p.replicas);
        has.max(self.wanted.replicas)
    }

    fn note(&mut self, reason: Reason, sequence: u64, message: String) {
        self.notes.push(Note { reason, message, sequence });
    }
}

/// `at + after`, or the end of time.
fn later(at: Timestamp, after: std::time::Duration) -> Timestamp {
    SignedDuration::try_from(after).ok().and_then(|d| at.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}
