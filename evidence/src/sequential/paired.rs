//! Two answers to the same request: what the shadow is for.

use super::{MAX_COUNT, SequentialError};

/// Labelled requests that both models answered, in one interval. Mostly those that exactly one got right tell the two
/// apart (McNemar 1947).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pairs {
    /// Candidate wrong, stable right.
    pub worse: u64,
    /// Candidate right, stable wrong.
    pub better: u64,
    /// Both wrong.
    pub neither: u64,
    /// All labelled pairs.
    pub n: u64,
}

impl Pairs {
    /// # Errors
    /// More pairs with a wrong answer than pairs, or a count above [`MAX_COUNT`].
    pub fn check(&self) -> Result<(), SequentialError> {
        let found = self.worse.saturating_add(self.better).saturating_add(self.neither);
        if found > self.n {
            let field = "worse + better + neither";
            return Err(SequentialError::TooMany { field, found, most_field: "n", most: self.n });
        }
        if self.n > MAX_COUNT {
            let (field, allowed) = ("n", "0..=2^53");
            return Err(SequentialError::OutOfRange { field, found: self.n as f64, allowed });
        }
        Ok(())
    }
}

/// ln of what a bet on `ratio` makes of the pairs, where the null is "the candidate is wrong at most `tolerance` times as
/// often as stable".
///
/// A pair multiplies the stake by 1 + b (c - t s), where c and s are 1 for a wrong answer of the candidate and of stable, t
/// is the tolerance and b the bet. On average that is 1 at most if P(c) <= t P(s), however both depend on each other, and
/// from pair to pair whatever came before: an e-process (betting on a bounded mean; Waudby-Smith & Ramdas, J. R. Stat. Soc.
/// B 86 (2024) 1). With b = (w - t) / (t (w + 1)) for the ratio w it is, for pairs of which one is wrong, the likelihood ratio
/// of w and t: the sign test. What both get wrong pays for the tolerance, b (t - 1): candidates that share stable's
/// mistakes and add a few are within it, though among pairs that tell the two apart they lose by far.
pub(super) fn log_bet(pairs: &Pairs, tolerance: f64, ratio: f64) -> f64 {
    let bet = (ratio - tolerance) / (tolerance * (ratio + 1.0));
    pairs.worse as f64 * bet.ln_1p()
        + pairs.better as f64 * (-tolerance * bet).ln_1p()
        + pairs.neither as f64 * ((1.0 - tolerance) * bet).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Process, Stratum};

    #[test]
    fn pairs_that_agree_say_nothing_without_a_tolerance() {
        let mut process = Process::new(1.0).unwrap();
        process.observe_pairs(&Pairs { neither: 100, n: 500, ..Pairs::default() }).unwrap();
        assert!(process.log_e().abs() < 1e-12);
        process.observe_pairs(&Pairs { worse: 9, better: 3, neither: 0, n: 500 }).unwrap();
        assert_eq!((process.estimate().unwrap(), process.seen()), (109.0 / 103.0, (112, 1000)));
        assert_eq!(process.interval(0.01), (0.0, None), "none is known of pairs");
    }

    #[test]
    fn where_nobody_is_wrong_together_it_is_the_test_of_a_known_split() {
        let (mut pairs, mut split) = (Process::new(1.1).unwrap(), Process::new(1.1).unwrap());
        pairs.observe_pairs(&Pairs { worse: 30, better: 9, neither: 0, n: 400 }).unwrap();
        split.observe(&Stratum { x: 30, n: 400, x_stable: 9, n_stable: 400, split: Some(0.5) }).unwrap();
        assert!((pairs.log_e() - split.log_e()).abs() < 1e-9, "{} {}", pairs.log_e(), split.log_e());
    }

    #[test]
    fn a_bet_is_fair_at_the_tolerance_whatever_both_have_in_common() {
        // rule: S1
        for tolerance in [1.0f64, 1.1, 3.0] {
            for (stable, common) in [(0.1, 0.0), (0.1, 0.1), (0.3, 0.2), (0.01, 0.005)] {
                // P(candidate wrong) = tolerance * P(stable wrong).
                let (worse, better) = (tolerance * stable - common, stable - common);
                let rest = 1.0 - worse - better - common;
                for ratio in [1.2 * tolerance, 2.0 * tolerance, 20.0 * tolerance] {
                    let one = |worse, better, neither| {
                        log_bet(&Pairs { worse, better, neither, n: 1 }, tolerance, ratio).exp()
                    };
                    let mean = worse * one(1, 0, 0) + better * one(0, 1, 0) + common * one(0, 0, 1) + rest;
                    assert!((mean - 1.0).abs() < 1e-12, "{tolerance} {stable} {common} {ratio}: {mean}");
                }
            }
        }
    }

    #[test]
    fn more_than_there_are_is_refused() {
        let error = Pairs { worse: 3, better: 2, neither: 1, n: 5 }.check().unwrap_err();
        assert_eq!(error.to_string(), "worse + better + neither is 6; allowed is at most n = 5");
        assert!(Pairs { n: MAX_COUNT + 1, ..Pairs::default() }.check().is_err());
    }
}
