//! What labels say of both arms of an interval.

use serde::{Deserialize, Serialize};
use wire::{Feedback, Pairs};

use crate::{Share, clopper_pearson};

/// Probability that labels which arrive in the ratio of the arms' answers are called skewed by one look.
const SKEWED: f64 = 0.000_1;

/// Right answers out of those whose labels arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Labelled {
    /// Of the candidate's answers.
    pub candidate: Share,
    /// Of stable's.
    pub stable: Share,
}

/// Right answers of the state itself, and those of earlier states whose labels came late.
pub(crate) fn shares(feedback: &Feedback) -> [Share; 2] {
    [feedback.own(), feedback.earlier()].map(|(correct, all)| Share::new(correct, all))
}

impl Labelled {
    /// Of labelled pairs: the copies are the candidate's.
    pub(crate) fn of_pairs(pairs: &Pairs) -> Self {
        let (candidate, stable, all) = pairs.right();
        Self { candidate: Share::new(candidate, all), stable: Share::new(stable, all) }
    }

    /// Adds the labels of another pod or interval.
    pub fn add(&mut self, other: &Self) {
        self.candidate.add(other.candidate);
        self.stable.add(other.stable);
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether labels arrive otherwise than in the ratio of the arms' answers, of which `split` are the candidate's: who
    /// is labelled then depends on who answered, and what they say of the arms cannot be compared.
    pub(crate) fn is_skewed(&self, split: f64) -> bool {
        let all = self.candidate.trials + self.stable.trials;
        let (low, high) = clopper_pearson(self.candidate.trials, all, SKEWED);
        all > 0 && !(low..=high).contains(&split)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_one_arm_alone_are_skewed() {
        let labelled = |candidate, stable| Labelled {
            candidate: Share::new(0, candidate),
            stable: Share::new(0, stable),
        };
        assert!(!labelled(0, 0).is_skewed(0.1));
        // 100 of 1000 are expected, with a standard deviation of 9.5; 1 in 10,000 is 3.9 of them.
        assert!(!labelled(100, 900).is_skewed(0.1) && !labelled(130, 870).is_skewed(0.1));
        assert!(labelled(145, 855).is_skewed(0.1) && labelled(60, 940).is_skewed(0.1));
        assert!(labelled(400, 0).is_skewed(0.5));
        assert!(!labelled(5, 0).is_skewed(0.5), "too few to tell");
    }
}
