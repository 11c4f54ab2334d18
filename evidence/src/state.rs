//! What must outlive the process: how often each metric was checked, and the stage's totals (C6).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Counts, Outcome, PairOutcome, Pairs};

use crate::running::{Ahead, Running};
use crate::{Interval, Layer, OnBreach, Reading, References, Rules, Tests, Verdict, Windows};

/// Checks that count as made where it is not known how many were: as many as 42 hours of 15 s.
const UNKNOWN_CHECKS: u64 = 10_000;

/// Evidence state of one rollout, a few hundred bytes per metric at most.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// When the present stage began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage: Option<Timestamp>,
    /// End of the newest interval in the totals, so that none is added twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted: Option<Timestamp>,
    /// What `minRequests` counts in this stage (T2): requests that the candidate itself answered or failed, none whose
    /// client left, and none that stable answered in its place. Split ones, or in a preview those that were sent to it.
    /// In a shadow stage the pairs that were compared, a copy that failed among them; without a stable the copies.
    pub candidate: u64,
    /// Split requests that stable itself answered or failed.
    pub stable: u64,
    /// Per metric name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tracks: BTreeMap<String, Track>,
    /// The rollout has begun: whether sequential tests run in it is settled (I3).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    begun: bool,
    /// It replaces a state that could not be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unreadable: bool,
    /// The sequential tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) running: Option<Running>,
}

/// Requests that the revision itself answered or failed: not those whose client left, and not those that
/// another one answered (C2).
pub(crate) fn own(counts: &Counts) -> u64 {
    counts.errors().1 - counts.outcome(Outcome::Fallback)
}

/// Pairs of which the user's half was a good answer that says its class, and the copy another, the same or none at all.
fn compared(pairs: &Pairs) -> u64 {
    pairs.disagreements().1 + pairs.outcome(PairOutcome::Failed)
}

/// Whether a rollout that begins now has sequential tests.
fn wants_tests(rules: &Rules<'_>) -> bool {
    // rule: S2
    rules.false_rollback > 0.0 && *rules.tests != Tests::OFF
}

/// The history of one metric.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Track {
    /// Comparisons made in this rollout (J3).
    pub checks: u64,
    /// Breaches in a row in this stage.
    pub breaches: u32,
    /// End of the newest interval of the last comparison: the same windows are checked once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Timestamp>,
    /// Since when it has been without data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_data: Option<Timestamp>,
}

impl State {
    /// The state to go on with where what was persisted cannot be read, such as that of another release. It
    /// spends no budget a second time (S2, J3): no sequential test runs in the rest of the rollout, and
    /// thresholds go on as if they had been checked 10,000 times. Acceptance, which spends none of that budget, begins
    /// anew. The levels of all later checks sum to the
    /// part 6/pi^2 (1/10,001^2 + 1/10,002^2 + ...) < 6/(10,000 pi^2) = 6.1e-5 of the metric's budget, which is all
    /// that it may spend beyond it. The totals of the stage begin anew.
    #[must_use]
    pub fn unreadable() -> Self {
        Self { begun: true, unreadable: true, ..Self::default() }
    }

    /// Whether it is, or goes on from, [`State::unreadable`].
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    /// Starts the totals of the stage that was acknowledged at `since`; nothing changes while it lasts, also
    /// after a restart. The numbers of checks go on: their levels belong to
    /// the rollout (J3).
    pub(crate) fn enter_stage(&mut self, since: Timestamp) {
        if self.stage == Some(since) {
            return;
        }
        (self.stage, self.candidate, self.stable) = (Some(since), 0, 0);
        for track in self.tracks.values_mut() {
            (track.breaches, track.without_data) = (0, None);
        }
    }

    /// Begins the rollout, once: with its sequential tests, unless none is wanted or there is no budget for them
    /// (S2). Tests that are switched on later run from the next rollout on (I3).
    pub(crate) fn begin(&mut self, rules: &Rules<'_>) {
        // rule: I3. One whose tests run has begun, also where an earlier release did not say so.
        if !std::mem::replace(&mut self.begun, true) && self.running.is_none() && wants_tests(rules) {
            self.running = Some(Running::new(rules.tests, rules.false_rollback));
        }
        if rules.accept {
            self.running.get_or_insert_with(|| Running::new(&Tests::OFF, 0.0)).begin_acceptance();
        }
        if self.unreadable {
            // rule: J3
            for metric in rules.metrics {
                let track = || Track { checks: UNKNOWN_CHECKS, ..Track::default() };
                self.tracks.entry(metric.name.clone()).or_insert_with(track);
            }
        }
    }

    /// Says why the sequential tests do not run, where they are wanted and the state could not be read.
    pub(crate) fn silence(&self, rules: &Rules<'_>, now: Timestamp) -> Option<Reading> {
        const WHY: &str = "the state that another release wrote cannot be read: sequential tests do not run in \
                           this rollout";
        (self.unreadable && wants_tests(rules)).then(|| {
            let window = (self.stage.unwrap_or(now), now);
            let silent = (Verdict::NoData, OnBreach::Alert);
            Reading::unmeasured("sequential", Layer::Sequential, silent, window, WHY)
        })
    }

    /// What the test of errors can notice before the watch ends, if requests go on as they came since it began (S3).
    pub(crate) fn look_ahead(&self, rules: &Rules<'_>, newest: Option<&Interval>, readings: &mut [Reading]) {
        let (Some(ends), Some(since), Some(newest)) = (rules.ends, self.stage, newest) else { return };
        let Some(running) = &self.running else { return };
        let (passed, left) = (newest.to.duration_since(since), ends.duration_since(newest.to));
        if passed.is_positive() && left.is_positive() {
            let pace = (self.candidate + self.stable) as f64 / passed.as_secs_f64();
            let ahead = Ahead { requests: (pace * left.as_secs_f64()) as u64, ends, split: newest.split };
            running.look_ahead(&ahead, readings);
        }
    }

    /// Adds the intervals of the stage to the totals and to the tests, each once: one that began before the last one that was
    /// added ended is ignored. Windows that end before it began anew, because the clock was set back: nothing
    /// in them was added yet.
    pub(crate) fn count(&mut self, rules: &Rules<'_>, windows: &Windows, references: References<'_>) {
        // rule: C4
        if windows.newest().is_some_and(|newest| self.counted.is_some_and(|counted| newest.to < counted)) {
            self.counted = None;
        }
        let ripe = rules.ripe(windows);
        for interval in windows.from(self.counted) {
            self.counted = Some(interval.to);
            // rule: T2, C2
            self.candidate += interval.pairs.as_deref().map_or_else(|| own(&interval.candidate), compared);
            self.stable += own(&interval.stable);
            if let Some(running) = &mut self.running {
                running.observe(&interval, references, ripe);
            }
        }
    }
}
