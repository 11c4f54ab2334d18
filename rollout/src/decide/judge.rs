//! What the readings of the judged stage cause.

use evidence::{OnBreach, OnNoData, Reading, Verdict};

use jiff::Timestamp;

use super::{Turn, later};
use crate::{Allotment, Halt, Phase, Reason, Rolling, StageEvidence};

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
    /// The evidence of a candidate in the stage that is judged now, if there is any.
    pub(super) fn evidence(&self, arm: &str) -> Option<&StageEvidence> {
        let (key, _) = self.state.judged_stage()?;
        self.observed.evidence.get(arm).filter(|e| e.key == key)
    }

    /// What a bandit says in the stage that is judged now.
    pub(super) fn allotment(&self) -> Option<&Allotment> {
        let (key, _) = self.state.judged_stage()?;
        self.observed.allotment.as_ref().filter(|a| a.key == key)
    }

    /// Whether numbers are new enough to act on.
    pub(super) fn is_fresh(&self, at: Timestamp) -> bool {
        later(at, 3 * self.wanted.interval) >= self.now
    }

    /// Who is judged now.
    fn judged(&self) -> Vec<String> {
        match &self.state.phase {
            Phase::Rolling(rolling) => rolling.arms().cloned().collect(),
            Phase::Watching(_) => self.state.stable.iter().cloned().collect(),
            Phase::Idle | Phase::Returning(_) => Vec::new(),
        }
    }

    /// A breach takes the share away, paused or not (T4).
    pub(super) fn heed_readings(&mut self) {
        for arm in self.judged() {
            let Some((effect, reason)) = self.worst(&arm) else { continue };
            match (effect, self.state.phase.clone()) {
                (Effect::Rollback, Phase::Rolling(_)) => self.take_arm_back(&arm, reason),
                (Effect::Rollback, Phase::Watching(watch)) => self.go_back(watch.old, reason),
                (Effect::Pause, _) if self.state.halt.is_none() => {
                    self.note(Reason::Paused, self.state.sequence, reason.clone());
                    self.state.halt = Some(Halt { reason, sequence: Some(self.state.sequence) });
                }
                _ => {}
            }
        }
        self.heed_trials();
    }

    /// The reading that asks for the most, and its reason.
    fn worst(&self, arm: &str) -> Option<(Effect, String)> {
        let readings = &self.evidence(arm)?.readings;
        // rule: S3. A promoted revision has passed every stage. Without a holdback the old one answers nobody,
        // so whatever compares with it has no data for ever: that is no reason to take a good model back.
        let lack_counts = !matches!(self.state.phase, Phase::Watching(_));
        let asks = |r| Some((breach(r).max(lack(r).filter(|_| lack_counts))?, r));
        let (effect, reading) = readings.iter().filter_map(asks).max_by_key(|(e, _)| *e)?;
        Some((effect, reading.reason.clone()))
    }

    /// Why `resume` would be followed by the next pause at once, if so.
    pub(super) fn pausing(&self) -> Option<String> {
        let asks = |arm: String| self.worst(&arm).filter(|(effect, _)| *effect == Effect::Pause);
        self.judged().into_iter().find_map(asks).map(|(_, reason)| reason)
    }

    /// Why the evidence of this candidate does not let the stage be left, if so. No data is never a pass (J1).
    pub(super) fn gate(&self, arm: &str) -> Option<String> {
        self.gate_but(arm, |verdict| verdict == Verdict::Pass)
    }

    /// The same, when other verdicts are good enough as well.
    pub(super) fn gate_but(&self, arm: &str, passes: impl Fn(Verdict) -> bool) -> Option<String> {
        if !self.wanted.judged {
            return None;
        }
        let Some(evidence) = self.evidence(arm) else { return Some("no evidence of this stage yet".into()) };
        if evidence.readings.is_empty() && !self.is_previewed() {
            return Some("no reading of this stage yet".into());
        }
        if !self.is_fresh(evidence.at) {
            return Some(format!("the newest evidence is of {}", evidence.at));
        }
        let holds = |r: &&Reading| r.holds() && !passes(r.verdict);
        evidence.readings.iter().find(holds).map(|r| r.reason.clone())
    }

    /// What compares with stable says nothing of a preview: then there may be nothing that judges it.
    fn is_previewed(&self) -> bool {
        let Phase::Rolling(rolling) = &self.state.phase else { return false };
        let served = rolling.served.and_then(|served| rolling.stages.get(served.index));
        served.is_some_and(|stage| stage.preview)
    }

    /// A gate that a person does not override.
    pub(super) fn failing_gate(&self, rolling: &Rolling) -> Option<String> {
        let fails = |r: &&Reading| r.verdict == Verdict::Fail && r.on_breach != OnBreach::Alert;
        let evidence = self.evidence(&rolling.to)?;
        evidence.readings.iter().find(fails).map(|r| r.reason.clone())
    }

    /// The candidate's own requests in this stage (T2).
    pub(super) fn requests(&self, arm: &str) -> u64 {
        self.evidence(arm).map_or(0, |e| e.requests)
    }
}
