//! The decision, as an ordered list of small steps over one working copy of the state.
//!
//! Order matters: what takes a share away comes before what may give one. A step that has nothing to say
//! leaves the state as it is. Verbs and what a crash left behind are read once; the rest goes on until nothing
//! more follows, so that a decision never waits for the next one.

mod adopt;
mod alone;
mod arms;
mod intent;
mod judge;
mod leave;
mod returning;
mod rolling;
mod shape;
mod traffic;
mod verbs;
mod watching;

use jiff::{SignedDuration, Timestamp};

use crate::{
    Ended, Halt, Kind, Note, Observed, Outcome, Phase, Plan, Pods, Reason, Returning, Rolling, State, Undo,
    Wanted, Warm, Watching,
};

/// Decides what is to be.
///
/// Pure: the same arguments give the same plan. Deciding again from the plan's own state, with nothing new
/// to see, gives the same plan without notes.
#[must_use]
pub fn decide(wanted: &Wanted, state: &State, observed: &Observed, now: Timestamp) -> Plan {
    let mut turn = Turn { wanted, observed, now, state: state.clone(), notes: Vec::new() };
    turn.obey_verb();
    turn.adopt_undo();
    turn.adopt_dropped();
    turn.adopt_raise();
    turn.obey_pin();
    turn.settle();
    turn.into_plan()
}

/// What a plan waits for, as one sentence for people; `None` when nothing is under way. `state` is the plan's.
#[must_use]
pub fn waiting(wanted: &Wanted, state: &State, observed: &Observed, now: Timestamp) -> Option<String> {
    Turn { wanted, observed, now, state: state.clone(), notes: Vec::new() }.waiting()
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
    /// Goes on until nothing more follows from what is seen: every pass that changes something comes nearer
    /// to the end of a rollout, or opens the one that the spec asks for.
    fn settle(&mut self) {
        loop {
            let before = self.state.clone();
            self.follow_intent();
            self.heed_readings();
            self.step();
            self.start();
            if self.state == before {
                return;
            }
        }
    }

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

    /// The pinned revision; one without pods is in no table, so routers ignore it (R8).
    fn pin(&self) -> Option<&str> {
        let pin = self.observed.route.as_ref()?.pin.as_deref()?;
        self.observed.workloads.contains_key(pin).then_some(pin)
    }

    /// Why no share may be raised and no stage left now, if so (T4, R8).
    fn halted(&self) -> Option<String> {
        self.stands_still(|_| true)
    }

    /// Why no rollout may start now, if so (T4, R8). A breach holds up the rollout that it belongs to, or its
    /// watch, and no other.
    fn barred(&self) -> Option<String> {
        self.stands_still(|halt| halt.sequence.is_none())
    }

    fn stands_still(&self, counts: impl Fn(&Halt) -> bool) -> Option<String> {
        if let Some(why) = &self.wanted.paused {
            return Some(why.to_string());
        }
        if let Some(halt) = self.state.halt.as_ref().filter(|halt| counts(halt)) {
            return Some(halt.reason.clone());
        }
        self.pin().map(|pin| format!("the route is pinned to {pin}"))
    }

    /// Takes the running candidate's share away; stable serves, or nobody as before where nothing is stable. Needs
    /// nothing but the decision (R5).
    fn take_back(&mut self, outcome: Outcome, reason: String) {
        let Phase::Rolling(rolling) = &self.state.phase else { return };
        let (sequence, candidate, kind) = (rolling.sequence, rolling.to.clone(), rolling.kind);
        let rivals = rolling.rivals.clone();
        let to = self.state.stable.clone();
        if to.is_none() && !self.gets_only_copies(rolling) {
            return;
        }
        if let Some(undo) = rolling.undo.clone() {
            self.mark_kept(&undo, &reason);
        }
        let word = if outcome == Outcome::Reported { Reason::Concluding } else { Reason::RollingBack };
        let what = if to.is_some() { "goes back to 0 %" } else { alone::NO_COPIES };
        self.note(word, sequence, format!("{} {what}: {reason}", list(&candidate, &rivals)));
        let undo = Undo { sequence, to, outcome, reason };
        if outcome == Outcome::Superseded {
            // rule: I2. Another intent came between: this one may be tried anew after it.
            self.state.acted = None;
        }
        self.end_halt();
        self.state.phase =
            Phase::Returning(Returning { candidate, rivals, kind, undo, since: self.now, evicting: false });
    }

    /// Opens the way back to an earlier revision, from whatever is going on.
    fn go_back(&mut self, to: String, reason: String) {
        let undone = self.state.sequence;
        let from = self.bearer();
        match self.state.phase.clone() {
            Phase::Rolling(rolling) => self.end(&rolling, Outcome::RolledBack, &reason),
            Phase::Returning(returning) => self.state.last = Some(returning.ended()),
            Phase::Watching(watch) => self.keep_warm(watch),
            Phase::Idle => {}
        }
        self.state.sequence += 1;
        self.end_halt();
        self.state.floor = self.stable_replicas();
        self.state.warm.retain(|w| w.revision != to);
        self.note(Reason::RollbackStarted, self.state.sequence, format!("back to {to}: {reason}"));
        let undo = Undo { sequence: undone, to: Some(to.clone()), outcome: Outcome::RolledBack, reason };
        self.state.phase = Phase::Rolling(Rolling {
            kind: Kind::Rollback,
            from,
            to,
            undo: Some(undo),
            ..Rolling::new(self.state.sequence, self.now)
        });
    }

    /// Who answers users until the way back is open: stable, or the revision that a rollback has already
    /// moved them to. They do not return to the one that is being left.
    fn bearer(&self) -> Option<String> {
        match &self.state.phase {
            Phase::Rolling(r) if r.kind == Kind::Rollback && self.weight_of(&r.to) == 100 => {
                Some(r.to.clone())
            }
            _ => self.state.stable.clone(),
        }
    }

    /// The promoted rollout is being undone: the way back takes its share.
    fn mark_undone(&mut self, undo: &Undo) {
        let undone = |l: &&mut Ended| l.sequence == undo.sequence && l.outcome == Outcome::Promoted;
        if let Some(last) = self.state.last.as_mut().filter(undone) {
            (last.outcome, last.reason) = (Outcome::RolledBack, undo.reason.clone());
        }
    }

    /// The way back is called off: the rollout that it was to undo stays promoted.
    fn mark_kept(&mut self, undo: &Undo, reason: &str) {
        let stable = self.state.stable.as_ref();
        let kept =
            |l: &&mut Ended| l.sequence == undo.sequence && l.kind == Kind::Rollout && stable == Some(&l.to);
        if let Some(last) = self.state.last.as_mut().filter(kept) {
            (last.outcome, last.reason) = (Outcome::Promoted, format!("going back was called off: {reason}"));
        }
    }

    /// The watch ends; its old revision stays warm until its keepWarm is over (I4).
    fn keep_warm(&mut self, watch: Watching) {
        self.state.warm.retain(|w| w.revision != watch.old);
        self.state.warm.push(Warm { revision: watch.old, since: watch.since });
    }

    /// A halt by a breach ends with its rollout; a person's pause goes on (T4).
    fn end_halt(&mut self) {
        if self.state.halt.as_ref().is_some_and(|h| h.sequence.is_some()) {
            self.state.halt = None;
        }
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
            undo: rolling.undo.clone().filter(|_| outcome == Outcome::Promoted),
        });
    }

    /// Pods that stable has, or should have.
    fn stable_replicas(&self) -> u32 {
        let Some(stable) = &self.state.stable else { return 0 };
        self.pods(stable).replicas.max(self.wanted.replicas)
    }

    fn pods(&self, revision: &str) -> Pods {
        self.observed.workloads.get(revision).copied().unwrap_or_default()
    }

    fn note(&mut self, reason: Reason, sequence: u64, message: String) {
        self.notes.push(Note { reason, message, sequence });
    }
}

/// Names all candidates.
fn list(candidate: &str, rivals: &[String]) -> String {
    std::iter::once(candidate).chain(rivals.iter().map(String::as_str)).collect::<Vec<_>>().join(" and ")
}

/// `at + after`, or the end of time.
pub(crate) fn later(at: Timestamp, after: std::time::Duration) -> Timestamp {
    SignedDuration::try_from(after).ok().and_then(|d| at.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}
