//! What one interval says of two arms.

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
    /// independently with this probability, 0..=1. `None`: conditional on the counts.
    pub split: Option<f64>,
}
