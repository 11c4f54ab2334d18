//! Readiness that says what it waits for.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Whether the program wants traffic. Clones share one state; a fresh one is ready, so open every gate's
/// [`Readiness::wait_for`] before the admin port listens.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Open gates in the order in which they were asked for; the number tells equal names apart.
    waiting: Vec<(u64, String)>,
    next: u64,
    draining: bool,
}

/// Something that the program waits for. Dropped without [`Gate::done`] it keeps the program unready: a
/// task that died did not finish its work.
#[derive(Debug)]
#[must_use = "readiness waits until done() is called"]
pub struct Gate {
    readiness: Readiness,
    id: u64,
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether traffic is welcome.
    pub ready: bool,
    /// Whether the program is about to stop.
    pub draining: bool,
    /// What is still to come, in the order in which it was asked for.
    pub waiting_for: Vec<String>,
}

impl Readiness {
    /// Makes the program unready until the gate is done. May be called at any time, also after the program
    /// was ready.
    pub fn wait_for(&self, what: impl Into<String>) -> Gate {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.waiting.push((id, what.into()));
        drop(state);
        Gate { readiness: self.clone(), id }
    }

    /// Makes the program unready for good: it is about to stop. Calling it again changes nothing.
    pub fn drain(&self) {
        self.state().draining = true;
    }

    /// Whether nothing is waited for and no drain has begun.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.report().ready
    }

    /// The state now.
    #[must_use]
    pub fn report(&self) -> Report {
        let state = self.state();
        Report {
            ready: state.waiting.is_empty() && !state.draining,
            draining: state.draining,
            waiting_for: state.waiting.iter().map(|(_, what)| what.clone()).collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment: a panic elsewhere cannot leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// What was waited for is there.
    pub fn done(self) {
        self.readiness.state().waiting.retain(|(id, _)| *id != self.id);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.draining, self.waiting_for.as_slice()) {
            (true, _) => f.write_str("draining: about to stop"),
            (false, []) => f.write_str("ready"),
            (false, waiting) => write!(f, "waiting for {}", waiting.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_once_every_gate_is_done() {
        let readiness = Readiness::default();
        let (model, again) = (readiness.wait_for("model"), readiness.wait_for("model"));
        let route = readiness.wait_for("route table");
        assert_eq!(readiness.report().to_string(), "waiting for model, model, route table");
        model.done();
        route.done();
        assert_eq!(readiness.report().to_string(), "waiting for model");
        assert!(!readiness.is_ready());
        again.done();
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_gate_whose_owner_died_stays_shut() {
        let readiness = Readiness::default();
        drop(readiness.wait_for("model"));
        assert!(!readiness.is_ready());
    }

    #[test]
    fn a_drain_outlasts_everything() {
        let readiness = Readiness::default();
        let gate = readiness.wait_for("model");
        readiness.drain();
        gate.done();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.report().to_string(), "draining: about to stop");
    }
}
