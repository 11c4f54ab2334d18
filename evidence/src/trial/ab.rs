//! A/B: one candidate against stable, by intervals.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::SlotSet;

use super::Measure;
use crate::experiment::{
    Baseline, Conclusion, Direction, ExperimentError, ExperimentReading, Hypothesis, Mode, Observed,
};
use crate::slots::Once;
use crate::text::count;
use crate::{Draw, Interval, Mismatch, Share, SlotRound};

/// Units of stable from which it is learnt what to expect of it, before anything is counted.
const LEARNT: u64 = 20;

/// Under sticky routing every tenth slot only teaches that: what is expected must not come from what is counted.
const TEACHERS: u16 = 10;

/// Of the sample size that a sentence names as planned.
const POWER: f64 = 0.8;

/// Distance that what is expected keeps from the ends.
const EDGE: f64 = 0.001;

/// What is to be shown of a candidate, by any number of looks ([`crate::experiment`]).
///
/// With several candidates each is compared with stable at this significance: the probability that any of k without a
/// gain wins is k times that at most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// By what.
    pub measure: Measure,
    /// Which way is better.
    pub direction: Direction,
    /// The smallest difference of the shares that matters, above 0; 0.01 is one point. Under sticky routing of the
    /// shares of slots.
    pub minimum_effect: f64,
    /// Probability that a candidate without gain ever wins, and that one with a gain of `minimum_effect` ever loses;
    /// 0..0.5 without the ends.
    pub significance: f64,
}

/// What a trial has seen. About 600 bytes as JSON, 1.7 KiB more under sticky routing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrialState {
    /// End of the newest interval, so that it is taken once.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<Timestamp>,
    /// What was drawn, and with which share for the candidate: that of the first interval that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    drawn: Option<Drawn>,
    /// Units of stable that taught what to expect.
    learnt: Share,
    /// What is expected of stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<f64>,
    candidate: Share,
    stable: Share,
    mismatch: Mismatch,
    #[serde(skip_serializing_if = "Once::is_empty")]
    slots: Once,
    /// Intervals that were drawn otherwise.
    other: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<TrialVerdict>,
}

/// A unit and the candidate's share of both arms' units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Drawn {
    Requests(f64),
    Slots(f64),
}

impl Drawn {
    const fn split(self) -> f64 {
        match self {
            Self::Requests(split) | Self::Slots(split) => split,
        }
    }
}

/// Where a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrialVerdict {
    /// A gain is shown. Final.
    Won,
    /// A gain that matters is ruled out. Final.
    Lost,
    /// Time is out, and neither is shown.
    Undecided,
    /// Neither is shown yet.
    Running,
    /// The arms did not get their shares of the traffic, so that no comparison is fair. Final.
    Frozen,
}

/// A verdict with its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialReading {
    /// Where it stands.
    pub verdict: TrialVerdict,
    /// Candidate - stable, -1..=1; absent while there is too little to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Lower limit of it, ever wrong with probability `significance` at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper limit of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Units of the candidate: requests, or slots under sticky routing.
    pub n: u64,
    /// Units of stable.
    pub n_stable: u64,
    /// Always-valid p-value of "no gain", 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// One sentence for people.
    pub reason: String,
}

impl Trial {
    /// Refuses numbers outside the ranges that the fields name.
    ///
    /// # Errors
    /// Names the first field that is wrong, what was found and what is allowed.
    pub fn check(&self) -> Result<(), ExperimentError> {
        self.hypothesis(Drawn::Requests(0.5), 0.5).check()
    }

    fn hypothesis(&self, drawn: Drawn, expected: f64) -> Hypothesis {
        // An effect that would leave 0..1 cannot be had; then the nearest that can is expected.
        let (least, most) = match self.direction {
            Direction::Increase => (EDGE, 1.0 - EDGE - self.minimum_effect),
            Direction::Decrease => (EDGE + self.minimum_effect, 1.0 - EDGE),
        };
        let of = if matches!(drawn, Drawn::Slots(_)) { " by slot" } else { "" };
        Hypothesis {
            metric: format!("{}{of}", self.measure.as_str()),
            direction: self.direction,
            minimum_effect: self.minimum_effect,
            significance: self.significance,
            power: POWER.min(1.0 - self.significance),
            mode: Mode::Sequential,
            split: drawn.split(),
            baseline: Baseline::Share(expected.min(most).max(least)),
        }
    }
}

impl TrialState {
    /// Takes the newest interval of candidate and stable, once. The first ones, up to `ripe`, are not counted: until a
    /// request's timeout after the shares were set, what fails slowly lacks (C2). Nor are intervals of other shares
    /// than the first that counted: a trial has one split.
    pub fn observe(&mut self, trial: &Trial, interval: &Interval, ripe: Timestamp) {
        // rule: C4
        let is_new = self.counted.replace(interval.to) != Some(interval.to);
        if !is_new || self.ended.is_some() || interval.draw != Draw::Split {
            return;
        }
        let is_ripe = interval.from >= ripe;
        match (interval.split, &interval.slots) {
            (Some(split), _) => self.by_requests(trial, interval, split, is_ripe),
            // rule: C5. What is shown of slots lacks nothing later.
            (None, Some(slots)) if is_ripe => self.by_slots(trial, slots),
            _ => {}
        }
        let found = self.judge(trial, false).map(|found| found.conclusion);
        self.ended = match found {
            Some(Conclusion::Win) => Some(TrialVerdict::Won),
            Some(Conclusion::Lose) => Some(TrialVerdict::Lost),
            Some(Conclusion::Frozen) => Some(TrialVerdict::Frozen),
            Some(Conclusion::Undecided) | None => None,
        };
    }

    fn by_requests(&mut self, trial: &Trial, interval: &Interval, split: f64, is_ripe: bool) {
        let arms = [
            (&interval.candidate, interval.labelled.candidate),
            (&interval.stable, interval.labelled.stable),
        ];
        let [ours, theirs] = arms.map(|(counts, labelled)| trial.measure.of(counts, labelled));
        if self.expected.is_none() || !is_ripe {
            self.learnt.add(theirs);
            self.learn(self.learnt);
        } else if self.is_drawn(Drawn::Requests(split)) {
            let drawn = match trial.measure {
                // Who is labelled must not depend on who answered.
                Measure::Accuracy => [ours.trials, theirs.trials],
                Measure::SuccessRate | Measure::HighConfidence => arms.map(|(counts, _)| counts.requests()),
            };
            self.add([ours, theirs], drawn, split);
        }
    }

    fn by_slots(&mut self, trial: &Trial, round: &SlotRound) {
        let teachers: SlotSet = (0..wire::SLOTS).step_by(TEACHERS.into()).collect();
        let mut slots = self.slots.clone();
        let [ours, theirs] = slots.take(round);
        let share = |slots: &SlotSet| trial.measure.of_slots(round, slots);
        if self.expected.is_none() {
            let Some(learnt) = share(&theirs.and(&teachers)) else { return };
            self.learn(learnt);
        }
        let counts = [&ours, &theirs].map(|slots| slots.without(&teachers));
        let [Some(candidate), Some(stable)] = [share(&counts[0]), share(&counts[1])] else { return };
        let [owned, others] = round.apart().map(|slots| slots.without(&teachers).len());
        let split = owned as f64 / (owned + others).max(1) as f64;
        // Until it is known what to expect, the slots wait.
        if self.expected.is_some() && self.is_drawn(Drawn::Slots(split)) {
            self.slots = slots;
            self.add([candidate, stable], counts.map(|slots| slots.len()), split);
        }
    }

    fn learn(&mut self, learnt: Share) {
        if self.expected.is_none() && learnt.trials >= LEARNT {
            self.learnt = learnt;
            self.expected = Some((learnt.events + 1) as f64 / (learnt.trials + 2) as f64);
        }
    }

    /// Whether an interval belongs to the trial; one without draw does not.
    fn is_drawn(&mut self, drawn: Drawn) -> bool {
        let split = drawn.split();
        let is_of_trial = split > 0.0 && split < 1.0 && *self.drawn.get_or_insert(drawn) == drawn;
        self.other += u64::from(!is_of_trial);
        is_of_trial
    }

    fn add(&mut self, [ours, theirs]: [Share; 2], [n, n_stable]: [u64; 2], split: f64) {
        self.candidate.add(ours);
        self.stable.add(theirs);
        // Counts of a page are below 2^53 and the split is a share; otherwise they say nothing.
        let _ = self.mismatch.observe(n, n_stable, split);
    }

    /// `None` while nothing was counted, or for settings that [`Trial::check`] refuses.
    fn judge(&self, trial: &Trial, over: bool) -> Option<ExperimentReading> {
        let (drawn, expected) = (self.drawn?, self.expected?);
        let observed = Observed::Shares { candidate: self.candidate, stable: self.stable };
        let mismatch = self.mismatch.p_value().recip();
        trial.hypothesis(drawn, expected).judge(&observed, over, mismatch).ok()
    }

    /// Where it stands; `time_is_out` ends it.
    #[must_use]
    pub fn reading(&self, trial: &Trial, time_is_out: bool) -> TrialReading {
        let open = if time_is_out { TrialVerdict::Undecided } else { TrialVerdict::Running };
        let verdict = self.ended.unwrap_or(open);
        let found = self.judge(trial, time_is_out);
        let difference = found.as_ref().and_then(|found| found.difference);
        let said = match &found {
            Some(found) => found.reason.clone(),
            None => format!("{}: {}", trial.measure.as_str(), self.lack(trial)),
        };
        let other = match self.other {
            0 => String::new(),
            n => format!("; {} intervals with other shares are not counted", count(n)),
        };
        let out = match (verdict, trial.measure) {
            (TrialVerdict::Undecided, _) => "; time is out",
            (TrialVerdict::Frozen, Measure::Accuracy) => "; answers of both arms must be labelled alike",
            _ => "",
        };
        TrialReading {
            verdict,
            value: difference.map(|d| d.value),
            low: difference.map(|d| d.low),
            high: difference.map(|d| d.high),
            n: self.candidate.trials,
            n_stable: self.stable.trials,
            p_value: found.and_then(|found| found.p),
            reason: said + &other + out,
        }
    }

    /// Why nothing was counted.
    fn lack(&self, trial: &Trial) -> String {
        match trial.check() {
            Err(error) => error.to_string(),
            Ok(()) if self.expected.is_none() => {
                format!(
                    "nothing was counted yet: what stable does is learnt first, from {LEARNT} of its units"
                )
            }
            Ok(()) => "nothing was counted yet".to_owned(),
        }
    }
}
