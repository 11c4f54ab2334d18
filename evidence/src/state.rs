//! What must outlive the process: how often each metric was checked, and the stage's totals (C6).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Counts, Outcome};

use crate::running::Running;
use crate::{References, Rules, Tests, Windows};

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
    /// Split requests that the candidate itself answered or failed in this stage; what `minRequests` counts
    /// (T2): none whose client left, and none that stable answered in its place.
    pub candidate: u64,
    /// The same of stable.
    pub stable: u64,
    /// Per metric name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tracks: BTreeMap<String, Track>,
    /// The sequential tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) running: Option<Running>,
}

/// Requests that the revision itself answered or failed: not those whose client left, and not those that
/// another one answered (C2).
pub(crate) fn own(counts: &Counts) -> u64 {
    counts.errors().1 - counts.outcome(Outcome::Fallback)
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

    /// Starts the sequential tests of the rollout, unless they run (I3) or there is no budget for them (S2).
    pub(crate) fn begin(&mut self, rules: &Rules<'_>) {
        let wanted = rules.false_rollback > 0.0 && *rules.tests != Tests::OFF;
        if self.running.is_none() && wanted {
            self.running = Some(Running::new(rules.tests, rules.false_rollback));
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
        let ripe = windows.since().map_or(Timestamp::MAX, |since| rules.ripe(since));
        for interval in windows.from(self.counted) {
            self.counted = Some(interval.to);
            // rule: T2, C2
            self.candidate += own(&interval.candidate);
            self.stable += own(&interval.stable);
            if let Some(running) = &mut self.running {
                running.observe(&interval, references, ripe);
            }
        }
    }
}
