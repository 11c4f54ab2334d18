//! From a graph's outputs to an answer.

use std::sync::Once;

use serde::{Deserialize, Serialize};

/// How far beyond 0..=1 a probability may be for the rounding of 32-bit numbers.
const ROUNDING: f64 = 1e-6;

/// What a graph's last layer gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(clap::ValueEnum)]
pub enum Output {
    /// Any numbers; softmax makes probabilities of them. What `train` writes.
    Logits,
    /// Probabilities already.
    Probabilities,
}

/// What a model says of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Probability of each class, in the order of the model's outputs.
    pub probabilities: Vec<f64>,
    /// The most probable class and its probability, 0..=1; `None` if the model gave a number that is none, or
    /// no probability where it should (a null output).
    pub best: Option<(usize, f64)>,
}

impl Answer {
    /// Reads the outputs for one image.
    #[must_use]
    pub fn from_outputs(outputs: &[f32], kind: Output) -> Self {
        let outputs = outputs.iter().map(|v| f64::from(*v));
        let probabilities: Vec<f64> = match kind {
            Output::Logits => softmax(outputs.collect()),
            Output::Probabilities => outputs.collect(),
        };
        if !probabilities.iter().all(|p| p.is_finite()) {
            return Self { probabilities, best: None };
        }
        // Also if only another class is out of range: then none of the numbers are probabilities.
        if let Some(found) = probabilities.iter().find(|p| !(-ROUNDING..=1.0 + ROUNDING).contains(*p)) {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(
                    found,
                    "metadata.json says that the model gives probabilities, but one is \
                    outside 0..=1: such answers are null outputs; does it give logits? (told once)"
                );
            });
            return Self { probabilities, best: None };
        }
        // The first of equals, so that an answer does not depend on how a sort treats ties.
        let best = probabilities.iter().enumerate().fold(None, |best: Option<(usize, f64)>, (class, &p)| {
            if best.is_some_and(|(_, highest)| highest >= p) { best } else { Some((class, p)) }
        });
        // As the header spells it: nine decimals, three more than the finest cell of the grid.
        let best = best.map(|(class, p)| (class, (p.clamp(0.0, 1.0) * 1e9).round() / 1e9));
        Self { probabilities, best }
    }

    /// The `k` most probable classes, best first.
    #[must_use]
    pub fn top(&self, k: usize) -> Vec<(usize, f64)> {
        let mut all: Vec<(usize, f64)> = self.probabilities.iter().copied().enumerate().collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }
}

/// Softmax; the largest is subtracted first, so that large logits do not overflow.
fn softmax(mut logits: Vec<f64>) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for value in &mut logits {
        *value = (*value - largest).exp();
    }
    let sum: f64 = logits.iter().sum();
    for value in &mut logits {
        *value /= sum;
    }
    logits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_that_are_none_give_no_answer() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert_eq!(Answer::from_outputs(&[0.0, bad], Output::Logits).best, None);
        }
        assert_eq!(Answer::from_outputs(&[], Output::Logits).best, None);
        assert_eq!(Answer::from_outputs(&[0.25, 0.75], Output::Probabilities).best, Some((1, 0.75)));
    }

    #[test]
    fn logits_that_are_declared_as_probabilities_give_no_answer() {
        for logits in [[0.2, 7.5], [-3.0, 0.9], [1.001, 0.0]] {
            assert_eq!(Answer::from_outputs(&logits, Output::Probabilities).best, None, "{logits:?}");
        }
        // Rounding is forgiven, and does not come out.
        let rounded = Answer::from_outputs(&[1.000_000_2, -0.000_000_1], Output::Probabilities);
        assert_eq!(rounded.best, Some((0, 1.0)));
    }

    proptest! {
        #[test]
        fn probabilities_sum_to_one_and_the_best_is_first(
            logits in proptest::collection::vec(-1e6f32..1e6, 2..20)
        ) {
            let answer = Answer::from_outputs(&logits, Output::Logits);
            prop_assert!((answer.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let (class, confidence) = answer.best.unwrap();
            let top = answer.top(2);
            prop_assert_eq!(top[0].0, class);
            prop_assert!(top[0].1 >= top[1].1 && (top[0].1 - confidence).abs() <= 1e-9);
            prop_assert!(logits.iter().all(|v| *v <= logits[class]));
        }
    }
}
