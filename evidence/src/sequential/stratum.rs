//! What one interval says of two arms.

use super::SequentialError;

/// Largest count that is taken: up to here an f64 holds every integer.
pub const MAX_COUNT: u64 = 1 << 53;

/// Events of candidate and of stable in one interval with constant shares (C4). What an event is, the caller
/// says: an error, a wrong label, an answer slower than some bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stratum {
    /// Events of the candidate, at most `n`.
    pub x: u64,
    /// Units of the candidate: requests, slots, labels.
    pub n: u64,
    /// Events of stable, at most `n_stable`.
    pub x_stable: u64,
    /// Units of stable.
    pub n_stable: u64,
    /// The candidate's share of the units of both arms, if each was drawn for its arm at random and
    /// independently with this probability, 0..=1. `None`: conditional on the counts (round robin, slots,
    /// labels, whatever decides who is counted).
    pub split: Option<f64>,
}

impl Stratum {
    /// # Errors
    /// More events than units, a count above [`MAX_COUNT`], or a split that is no share.
    pub fn check(&self) -> Result<(), SequentialError> {
        let arms = [("x", self.x, "n", self.n), ("x_stable", self.x_stable, "n_stable", self.n_stable)];
        for (field, found, most_field, most) in arms {
            if found > most {
                return Err(SequentialError::TooMany { field, found, most_field, most });
            }
            if most > MAX_COUNT {
                let allowed = "0..=2^53";
                return Err(SequentialError::OutOfRange { field: most_field, found: most as f64, allowed });
            }
        }
        match self.split {
            Some(found) if !(0.0..=1.0).contains(&found) => {
                Err(SequentialError::OutOfRange { field: "split", found, allowed: "0..=1" })
            }
            _ => Ok(()),
        }
    }

    /// The same interval, of units that chance alone put into their arm, whoever decided that they are counted: each
    /// event counts as if it had hit an arm in proportion to the arms' units.
    ///
    /// Given the counts of a harmless candidate x is hypergeometric, which is less spread than that in every convex
    /// function (Hoeffding, J. Am. Stat. Assoc. 58 (1963) 13, theorem 4), and a bet `a^x b^x_stable` is convex in x:
    /// so it is conservative, by little as long as events are rare. And it compares rates, as a known split does.
    #[must_use]
    pub fn by_units(self) -> Self {
        self.weighed([1.0, 1.0])
    }

    /// [`Stratum::by_units`], where a unit of the candidate and of stable weighs as much: the chances it had to have
    /// its event.
    pub(crate) fn weighed(self, [ours, theirs]: [f64; 2]) -> Self {
        let (ours, theirs) = (ours * self.n as f64, theirs * self.n_stable as f64);
        // With one arm alone there is nothing to compare.
        let share = if ours > 0.0 && theirs > 0.0 { ours / (ours + theirs) } else { 0.0 };
        Self { split: Some(share), ..self }
    }

    /// The same interval with the arms exchanged: the ratio becomes its reciprocal.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        Self {
            x: self.x_stable,
            n: self.n_stable,
            x_stable: self.x,
            n_stable: self.n,
            split: self.split.map(|share| 1.0 - share),
        }
    }

    /// Whether the interval can say anything of the ratio: an event, and two arms that it might have hit.
    pub(crate) fn informs(&self) -> bool {
        let x = self.x + self.x_stable;
        match self.split {
            Some(share) => x > 0 && share > 0.0 && share < 1.0,
            None => x > 0 && x < self.n + self.n_stable && self.n > 0 && self.n_stable > 0,
        }
    }
}
