//! Two answers to the same request: what the shadow is for.

use super::{SequentialError, Stratum};

/// Labelled requests that both models answered, in one interval. Only those that exactly one got right tell
/// the two apart (McNemar 1947).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pairs {
    /// Candidate wrong, stable right.
    pub worse: u64,
    /// Candidate right, stable wrong.
    pub better: u64,
    /// All labelled pairs.
    pub n: u64,
}

impl Pairs {
    /// The interval for a [`crate::Process`], whose tolerance is then that of the ratio worse / better: given
    /// that exactly one was wrong, it was the candidate with odds of that ratio, so that each such pair is
    /// an event drawn for an arm with a known share of one half. Each pair is one unit, so that
    /// [`crate::Process::forecast`] counts pairs.
    ///
    /// # Errors
    /// More pairs that tell the two apart than pairs.
    pub fn stratum(&self) -> Result<Stratum, SequentialError> {
        let found = self.worse.saturating_add(self.better);
        if found > self.n {
            let field = "worse + better";
            return Err(SequentialError::TooMany { field, found, most_field: "n", most: self.n });
        }
        let Self { worse, better, n } = *self;
        Ok(Stratum { x: worse, n: n - better, x_stable: better, n_stable: better, split: Some(0.5) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Process;

    #[test]
    fn pairs_that_agree_say_nothing() {
        let mut process = Process::new(1.0).unwrap();
        process.observe(&Pairs { worse: 0, better: 0, n: 500 }.stratum().unwrap()).unwrap();
        assert!(process.log_e().abs() < 1e-12);
        process.observe(&Pairs { worse: 9, better: 3, n: 500 }.stratum().unwrap()).unwrap();
        assert_eq!((process.estimate(), process.seen()), (Some(3.0), (12, 1000)));
    }

    #[test]
    fn more_than_there_are_is_refused() {
        let error = Pairs { worse: 3, better: 3, n: 5 }.stratum().unwrap_err();
        assert_eq!(error.to_string(), "worse + better is 6; allowed is at most n = 5");
    }
}
