//! Which sequential tests run, what they cause, and what each may spend of the budget (S1, S2).

use serde::{Deserialize, Serialize};

use crate::OnBreach;

/// Part of `falseRollback` that the sequential tests which roll back may spend; thresholds have the rest (S2).
pub const SEQUENTIAL_SHARE: f64 = 0.7;

/// Level of the tests that never roll back: of change, and of the split between the arms. They spend nothing of the
/// budget.
pub const ALERT_LEVEL: f64 = 0.001;

/// Parts of errors, latency, low confidence and labelled accuracy, before they are scaled to those that roll back: to 0.4 and
/// 0.2 each where all do.
const WEIGHTS: [f64; HARMS] = [0.5, 0.25, 0.25, 0.25];

/// Tests of harm.
const HARMS: usize = 4;

/// A one-sided test of harm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Harm {
    /// How much worse than stable is no harm, at least 1.
    pub tolerance: f64,
    /// What proven harm causes.
    pub on_breach: OnBreach,
}

/// The sequential tests of a rollout; `None` is off. Frozen when the rollout begins (I3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tests {
    /// The candidate fails more often: tolerance times stable's rate is no harm.
    pub errors: Option<Harm>,
    /// The candidate's slow answers are slower: tolerance times stable's seconds is no harm.
    pub latency: Option<Harm>,
    /// The candidate is unsure more often than on its reference profile, beyond what stable shows compared with
    /// its own: tolerance times that is no harm.
    pub low_confidence: Option<Harm>,
    /// More of the candidate's labelled answers are wrong: tolerance times stable's rate is no harm. Absent where no
    /// labels are taken, and in rollouts of before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Harm>,
    /// Confidence, classes or inputs differ from stable's: what that causes, never a rollback (S1).
    pub change: Option<OnBreach>,
}

impl Default for Tests {
    fn default() -> Self {
        // rule: S1
        let harm = |tolerance| Some(Harm { tolerance, on_breach: OnBreach::Rollback });
        Self {
            errors: harm(1.1),
            latency: harm(1.5),
            low_confidence: harm(1.25),
            accuracy: None,
            change: Some(OnBreach::Alert),
        }
    }
}

impl Tests {
    /// None at all.
    pub const OFF: Self =
        Self { errors: None, latency: None, low_confidence: None, accuracy: None, change: None };

    /// The same with the test of accuracy, as it is where labels are taken.
    #[must_use]
    pub const fn with_labels(self) -> Self {
        // rule: S1
        Self { accuracy: Some(Harm { tolerance: 1.1, on_breach: OnBreach::Rollback }), ..self }
    }

    /// The tests of harm, in the order errors, latency, low confidence, accuracy.
    #[must_use]
    pub const fn harms(&self) -> [Option<Harm>; HARMS] {
        [self.errors, self.latency, self.low_confidence, self.accuracy]
    }

    /// Level of each test of harm, in the order of [`Tests::harms`]: those that roll back share
    /// [`SEQUENTIAL_SHARE`] of the budget by their weights, so that together they stay below it (union bound);
    /// the others spend nothing and are as strict as by default.
    #[must_use]
    pub fn levels(&self, false_rollback: f64) -> [f64; HARMS] {
        // rule: S2
        let budget = SEQUENTIAL_SHARE * false_rollback;
        let rolls_back = |h: Option<Harm>| h.is_some_and(|h| h.on_breach == OnBreach::Rollback);
        let spent: f64 =
            self.harms().into_iter().zip(WEIGHTS).filter(|(h, _)| rolls_back(*h)).map(|(_, w)| w).sum();
        let mut levels = WEIGHTS.map(|weight| weight * budget);
        for (level, harm) in levels.iter_mut().zip(self.harms()) {
            if rolls_back(harm) {
                *level /= spent;
            }
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rolls_back_shares_the_sequential_part_of_the_budget() {
        // rule: S2
        let close = |a: [f64; HARMS], b: [f64; HARMS]| {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-15), "{a:?} {b:?}");
        };
        close(Tests::default().levels(0.01), [0.0035, 0.001_75, 0.001_75, 0.001_75]);
        let labelled = Tests::default().with_labels();
        close(labelled.levels(0.01), [0.0028, 0.0014, 0.0014, 0.0014]);
        let spent: f64 = labelled.levels(0.01).into_iter().sum();
        assert!((spent - SEQUENTIAL_SHARE * 0.01).abs() < 1e-15, "{spent}");
        let alert = Some(Harm { tolerance: 2.0, on_breach: OnBreach::Alert });
        close(
            Tests { latency: alert, ..Tests::default() }.levels(0.01),
            [0.014 / 3.0, 0.001_75, 0.007 / 3.0, 0.001_75],
        );
        close(
            Tests { errors: None, latency: None, ..Tests::default() }.levels(0.01),
            [0.0035, 0.001_75, 0.007, 0.001_75],
        );
        close(Tests::OFF.levels(0.0), [0.0; HARMS]);
    }
}
