//! Has the candidate been proven good enough?

use serde::{Deserialize, Serialize};

use super::{Process, SequentialError, Stratum};

/// An e-process for the reversed null, "the ratio is `margin` or more": once it crosses 1/level, the candidate
/// is harmless within the margin, and who promotes then promotes a model that is not with probability `level` at most.
///
/// It is the [`Process`] of the arms exchanged: "stable's ratio to the candidate is at most 1/margin".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    mirrored: Process,
}

impl Promotion {
    /// A test that has seen nothing.
    ///
    /// # Errors
    /// A margin that is not a number in 1.01..=100: at 1 not even an equal candidate could prove anything.
    pub fn new(margin: f64) -> Result<Self, SequentialError> {
        if !(1.01..=100.0).contains(&margin) {
            let allowed = "1.01..=100";
            return Err(SequentialError::OutOfRange { field: "margin", found: margin, allowed });
        }
        Ok(Self { mirrored: Process::new(margin.recip())? })
    }

    /// Takes an interval, as [`Process::observe`] does.
    ///
    /// # Errors
    /// [`Stratum::check`]; then nothing changes.
    pub fn observe(&mut self, stratum: &Stratum) -> Result<(), SequentialError> {
        // Checked as given, so that the message names the field of the caller.
        stratum.check()?;
        self.mirrored.observe(&stratum.mirrored())
    }

    /// ln E: how much speaks against "`margin` times worse or more".
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.mirrored.log_e()
    }

    /// The always-valid p-value of the reversed null.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        self.mirrored.p_value()
    }

    /// Whether the candidate is proven better than the margin at this level.
    #[must_use]
    pub fn crossed(&self, level: f64) -> bool {
        self.mirrored.crossed(level)
    }

    /// The pooled ratio of the candidate's rate to stable's ([`Process::estimate`]). `None` while either has no event.
    #[must_use]
    pub fn estimate(&self) -> Option<f64> {
        self.mirrored.estimate().filter(|ratio| *ratio > 0.0).map(f64::recip)
    }

    /// How many more requests of both arms the proof takes at the present pace ([`Process::forecast`]).
    #[must_use]
    pub fn forecast(&self, level: f64) -> Option<u64> {
        self.mirrored.forecast(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_candidate_is_proven_and_a_worse_one_is_not() {
        for split in [None, Some(0.2)] {
            let (mut equal, mut worse) = (Promotion::new(1.5).unwrap(), Promotion::new(1.5).unwrap());
            for _ in 0..100 {
                equal.observe(&Stratum { x: 4, n: 200, x_stable: 16, n_stable: 800, split }).unwrap();
                worse.observe(&Stratum { x: 6, n: 200, x_stable: 16, n_stable: 800, split }).unwrap();
            }
            assert!(equal.crossed(0.05) && equal.p_value() < 0.05, "{}", equal.log_e());
            assert!(!worse.crossed(0.5) && worse.forecast(0.05).is_none(), "{}", worse.log_e());
        }
    }

    #[test]
    fn bad_input_names_the_callers_field() {
        assert!(Promotion::new(1.0).unwrap_err().to_string().starts_with("margin is 1;"));
        let mut promotion = Promotion::new(2.0).unwrap();
        let bad = Stratum { x: 3, n: 2, x_stable: 0, n_stable: 2, split: None };
        assert!(promotion.observe(&bad).unwrap_err().to_string().starts_with("x is 3;"));
    }
}
