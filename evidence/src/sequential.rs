//! Tests that may be looked at after every interval, for ever, and still hold their level (S1, S2).
//!
//! Each test keeps an e-process: a number that starts at 1 and whose expectation, as long as the candidate is
//! harmless, never grows, whatever happened before. By Ville's inequality it then ever reaches 1/level with
//! probability `level` at most (Ville 1939; Ramdas, Grünwald, Vovk, Shafer, *Game-theoretic statistics and safe
//! anytime-valid inference*, 2023). All of it is in log space, and all of it is arithmetic on counts of one interval at a
//! time, so that the state is small and the same intervals give the same bits.
//!
//! [`Process`] is the workhorse: events of two arms, null "ratio at most the tolerance". It takes the labelled [`Pairs`]
//! of shadow answers too, [`LatencyTest`] with slow ones, [`Promotion`] turns its null around. [`Tree`] compares whole
//! histograms, [`Mismatch`] the split with what it should be, [`Detector`] one stream with its own past,
//! [`DriftAlarm`] one with the reference profile.
//! [`crate::Tests`] says at which level each may roll back.

mod alarm;
pub(crate) mod bits;
mod detector;
mod fisher;
mod interval;
pub(crate) mod latency;
mod mismatch;
mod paired;
pub(crate) mod peak;
mod process;
mod promotion;
mod ratios;
mod split;
mod stratum;
mod tree;

pub use alarm::{AlarmError, DriftAlarm};
pub use detector::Detector;
pub use latency::{Exceedance, LatencyTest};
pub use mismatch::Mismatch;
pub use paired::Pairs;
pub use process::{DETECTED, Process};
pub use promotion::Promotion;
pub use stratum::{MAX_COUNT, Stratum};
pub use tree::{Leaves, Tree};

/// What a sequential test refuses.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SequentialError {
    /// A number outside of its range.
    #[error("{field} is {found}; allowed is {allowed}")]
    OutOfRange {
        /// Name of the field or argument.
        field: &'static str,
        /// What it held.
        found: f64,
        /// What it may hold.
        allowed: &'static str,
    },
    /// More events than units.
    #[error("{field} is {found}; allowed is at most {most_field} = {most}")]
    TooMany {
        /// Name of the field with the events.
        field: &'static str,
        /// How many it held.
        found: u64,
        /// Name of the field with the units.
        most_field: &'static str,
        /// How many those are.
        most: u64,
    },
}

/// ln of the sum of the exponentials, without overflow; -inf for nothing.
pub(crate) fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + terms.map(|term| (term - largest).exp()).sum::<f64>().ln()
}
