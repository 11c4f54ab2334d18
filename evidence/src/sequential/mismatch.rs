//! Do the arms get the units that the route table says? If not, no comparison of them can be trusted.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::peak::Peak;
use super::{MAX_COUNT, SequentialError, bits, log_sum_exp, split};

/// Factors by which the odds of the split may be off, each way, as logarithms: 1 % to a factor of 11.
const STEPS: [f64; SIDE] = [0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.4];
const SIDE: usize = 9;
const FACTORS: usize = 2 * SIDE;

static LOGS: LazyLock<[f64; FACTORS]> =
    LazyLock::new(|| std::array::from_fn(|i| if i < SIDE { -STEPS[i] } else { STEPS[i - SIDE] }));

/// An e-process for the null "each unit was drawn for the candidate with the expected share" (sample ratio
/// mismatch; Lindon & Malek, *Anytime-valid inference for multinomial count data*, 2022).
///
/// They mix over the share by a Dirichlet prior, which presumes one share for the whole experiment. Here shares
/// ramp, for a bandit even with each interval. So the mixture is over the factor by which the *odds* of
/// the split are off: what it learns in one stage holds in the next. For each factor the likelihood ratio of an
/// interval has expectation 1 given the past and the expected share, whatever that share is, as long as it was
/// fixed before the interval; so the products over intervals, and their mean over the factors, are e-processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mismatch {
    /// ln L(factor)/L(1).
    #[serde(with = "bits")]
    evidence: [f64; FACTORS],
    peak: Peak,
}

impl Default for Mismatch {
    fn default() -> Self {
        Self { evidence: [0.0; FACTORS], peak: Peak::default() }
    }
}

impl Mismatch {
    /// Takes an interval: units of candidate and stable, and the candidate's expected share of both. A share of
    /// 0 or 1 says nothing, because nothing was drawn.
    ///
    /// # Errors
    /// A share that is not a number in 0..=1, or counts above [`MAX_COUNT`]; then nothing changes.
    pub fn observe(&mut self, n: u64, n_stable: u64, expected: f64) -> Result<(), SequentialError> {
        if !(0.0..=1.0).contains(&expected) {
            let (field, allowed) = ("expected", "0..=1");
            return Err(SequentialError::OutOfRange { field, found: expected, allowed });
        }
        for (field, count) in [("n", n), ("n_stable", n_stable)] {
            if count > MAX_COUNT {
                return Err(SequentialError::OutOfRange { field, found: count as f64, allowed: "0..=2^53" });
            }
        }
        if expected == 0.0 || expected == 1.0 {
            return Ok(());
        }
        let factors = LOGS.map(f64::exp);
        let gained = split::log_likelihoods(n as f64, n_stable as f64, expected, (1.0, &factors), &LOGS);
        for (evidence, gained) in self.evidence.iter_mut().zip(gained) {
            *evidence += gained;
        }
        self.peak.raise(self.log_e());
        Ok(())
    }

    /// ln E by now.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_sum_exp(self.evidence.iter().copied()) - (FACTORS as f64).ln()
    }

    /// The always-valid p-value: 1 / the largest E so far.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        self.peak.p_value()
    }

    /// Whether E ever reached 1/level.
    #[must_use]
    pub fn crossed(&self, level: f64) -> bool {
        self.peak.crossed(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_split_is_found_although_shares_ramp() {
        let (mut right, mut wrong) = (Mismatch::default(), Mismatch::default());
        for percent in 1..=50u64 {
            let share = percent as f64 / 100.0;
            right.observe(percent * 10, 1000 - percent * 10, share).unwrap();
            // A fifth of the candidate's units is never counted.
            wrong.observe(percent * 8, 1000 - percent * 10, share).unwrap();
        }
        assert!(!right.crossed(0.9) && right.p_value() == 1.0);
        assert!(wrong.crossed(0.001), "{}", wrong.log_e());
    }

    #[test]
    fn bad_input_names_its_field_and_changes_nothing() {
        let mut mismatch = Mismatch::default();
        let message = |result: Result<(), SequentialError>| result.unwrap_err().to_string();
        assert_eq!(message(mismatch.observe(1, 1, f64::NAN)), "expected is NaN; allowed is 0..=1");
        assert!(message(mismatch.observe(1, u64::MAX, 0.5)).starts_with("n_stable is"));
        mismatch.observe(5, 0, 0.0).unwrap();
        assert_eq!(mismatch, Mismatch::default());
    }
}
