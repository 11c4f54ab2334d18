//! From a graph's outputs to an answer.

use std::sync::Once;

use serde::{Deserialize, Serialize};

/// How far from 1 the sum of probabilities may be for the rounding of 16-bit numbers.
const SUM: f64 = 0.02;
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
    /// Entropy of the probabilities over the logarithm of their number, 0..=1; `None` with a null output, and if they do not sum
    /// to about 1, as those of independent sigmoids.
    pub entropy: Option<f64>,
    /// -logsumexp of the logits; `None` with a null output, and where the model gives probabilities: what the logits had in common is
    /// gone, and nothing brings it back.
    pub energy: Option<f64>,
}

impl Answer {
    /// Reads the outputs for one image.
    #[must_use]
    pub fn from_outputs(outputs: &[f32], kind: Output) -> Self {
        let outputs = outputs.iter().map(|v| f64::from(*v));
        let (probabilities, energy): (Vec<f64>, _) = match kind {
            Output::Logits => {
                let (probabilities, log_sum) = softmax(outputs.collect());
                (probabilities, Some(-log_sum))
            }
            Output::Probabilities => (outputs.collect(), None),
        };
        let null = |probabilities| Self { probabilities, best: None, entropy: None, energy: None };
        if !probabilities.iter().all(|p| p.is_finite()) {
            return null(probabilities);
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
            return null(probabilities);
        }
        // The first of equals, so that an answer does not depend on how a sort treats ties.
        let best = probabilities.iter().enumerate().fold(None, |best: Option<(usize, f64)>, (class, &p)| {
            if best.is_some_and(|(_, highest)| highest >= p) { best } else { Some((class, p)) }
        });
        // As the header spells it: nine decimals, three more than the finest cell of the grid.
        let best = best.map(|(class, p)| (class, (p.clamp(0.0, 1.0) * 1e9).round() / 1e9));
        let (entropy, energy) = (entropy(&probabilities), energy.filter(|_| best.is_some()));
        Self { probabilities, best, entropy, energy }
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

/// Softmax, and logsumexp; the largest is subtracted first, so that large logits do not overflow.
fn softmax(mut logits: Vec<f64>) -> (Vec<f64>, f64) {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for value in &mut logits {
        *value = (*value - largest).exp();
    }
    let sum: f64 = logits.iter().sum();
    for value in &mut logits {
        *value /= sum;
    }
    (logits, largest + sum.ln())
}

/// See [`Answer::entropy`].
fn entropy(probabilities: &[f64]) -> Option<f64> {
    let sum: f64 = probabilities.iter().sum();
    if (sum - 1.0).abs() > SUM {
        return None;
    }
    let some = probabilities.iter().filter(|p| **p > 0.0);
    let nats: f64 = some.map(|p| -p * p.ln()).sum();
    // One class leaves nothing open.
    let most = (probabilities.len().max(2) as f64).ln();
    Some((nats / most).clamp(0.0, 1.0))
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

    #[test]
    fn entropy_and_energy_are_where_they_have_a_meaning() {
        let of = |outputs: &[f32], kind| {
            let Answer { entropy, energy, .. } = Answer::from_outputs(outputs, kind);
            (entropy, energy)
        };
        let near =
            |found: Option<f64>, expected: f64| found.is_some_and(|found| (found - expected).abs() < 1e-9);
        // Nothing is known: ln 4 of ln 4 nats, and energy follows what all logits have in common.
        let (entropy, energy) = of(&[3.0; 4], Output::Logits);
        assert!(near(entropy, 1.0) && near(energy, -3.0 - 4f64.ln()), "{entropy:?} {energy:?}");
        assert_eq!(of(&[-0.5], Output::Logits), (Some(0.0), Some(0.5)));
        assert_eq!(of(&[0.0, f32::NEG_INFINITY], Output::Logits), (Some(0.0), Some(-0.0)));
        assert_eq!(of(&[1.0, 0.0], Output::Probabilities), (Some(0.0), None));
        // Sigmoids: no distribution.
        assert_eq!(of(&[0.9, 0.8], Output::Probabilities), (None, None));
        for none in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2]] {
            assert_eq!(of(&none, Output::Logits), (None, None), "{none:?}");
        }
        assert_eq!(of(&[], Output::Logits), (None, None));
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
