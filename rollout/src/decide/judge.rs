//! What the readings of the judged stage cause.

use evidence::{OnBreach, OnNoData, Reading, Verdict};

use super::{Turn, later};
use crate::{Halt, Outcome, Phase, Reason, StageEvidence};

/// What a reading asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Pause,
    Rollback,
}

fn breach(reading: &Reading) -> Option<Effect> {
    match reading.on_breach {
        _ if reading.verdict != Verdict::Fail => None,
        OnBreach::Rollback => Some(Effect::Rollback),
        OnBreach::Pause => Some(Effect::Pause),
        OnBreach::Alert => None,
    }
}

/// A source that fails for too long is without data as well (J1, J5).
fn lack(reading: &Reading) -> Option<Effect> {
    match reading.overdue? {
        OnNoData::Rollback => Some(Effect::Rollback),
        OnNoData::Pause => Some(Effect::Pause),
        OnNoData::Hold => None,
    }
}

impl Turn<'_> {
    /// The evidence of the stage that is judged now, if there is any.
    fn evidence(&self) -> Option<&StageEvidence> {
        let (key, _) = self.state.judged_stage()?;
        self.observed.evidence.as_ref().filter(|e| e.key == key)
    }

    /// A breach takes the share away, paused or not (T4).
    pub(super) fn heed_readings(&mut self) {
        let Some((effect, reason)) = self.worst() else { return };
        match (effect, self.state.phase.clone()) {
            (Effect::Rollback, Phase::Rolling(_)) => self.take_back(Outcome::RolledBack, reason),
            (Effect::Rollback, Phase::Watching(watch)) => self.go_back(watch.old, reason),
            (Effect::Pause, _) if self.state.halt.is_none() => {
                self.note(Reason::Paused, self.state.sequence, reason.clone());
                self.state.halt = Some(Halt { reason, sequence: Some(self.state.sequence) });
            }
            _ => {}
        }
    }

    /// The reading that asks for the most, and its reason.
    fn worst(&self) -> Option<(Effect, String)> {
        let readings = &self.evidence()?.readings;
        // rule: S3. A promoted revision has passed every stage. Without a holdback the old one answers nobody,
        // so whatever compares with it has no data for ever: that is no reason to take a good model back.
        let lack_counts = !matches!(self.state.phase, Phase::Watching(_));
        let asks = |r| Some((breach(r).max(lack(r).filter(|_| lack_counts))?, r));
        let (effect, reading) = readings.iter().filter_map(asks).max_by_key(|(e, _)| *e)?;
        Some((effect, reading.reason.clone()))
    }

    /// Why `resume` would be followed by the next pause at once, if so.
    pub(super) fn pausing(&self) -> Option<String> {
        self.worst().filter(|(effect, _)| *effect == Effect::Pause).map(|(_, reason)| reason)
    }

    /// Why the evidence does not let the stage be left, if so. No data is never a pass (J1).
    pub(super) fn gate(&self) -> Option<String> {
        if !self.wanted.judged {
            return None;
        }
        let Some(evidence) = self.evidence() else { return Some("no evidence of this stage yet".into()) };
        if evidence.readings.is_empty() {
            return Some("no reading of this stage yet".into());
        }
        if later(evidence.at, 3 * self.wanted.interval) < self.now {
            return Some(format!("the newest evidence is of {}", evidence.at));
        }
        evidence.readings.iter().find(|r| r.holds()).map(|r| r.reason.clone())
    }

    /// A gate that a person's `promote` does not override.
    pub(super) fn failing_gate(&self) -> Option<String> {
        let evidence = self.evidence()?;
        let fails = |r: &&Reading| r.verdict == Verdict::Fail && r.on_breach != OnBreach::Alert;
        evidence.readings.iter().find(fails).map(|r| r.reason.clone())
    }

    /// The candidate's own split requests in this stage.
    pub(super) fn requests(&self) -> u64 {
        self.evidence().map_or(0, |e| e.requests)
    }
}
