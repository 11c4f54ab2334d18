//! Trials: a candidate that must prove to be better (A/B), and shares that follow what arms are worth (bandit).
//!
//! ```text
//! Interval of each candidate ─> TrialState::observe ─> TrialReading: Won, Lost, Undecided, Running, Frozen
//! Counts of all arms ─────────> Rewards::advance ────> Allotted: shares, lead, winner
//! ```
//!
//! Both ask by one [`Measure`]. The tests of harm run beside them (S1): a trial says who is better, they say who must
//! go.

mod ab;
mod measure;
mod rewards;

pub use ab::{Trial, TrialReading, TrialState, TrialVerdict};
pub use measure::Measure;
pub use rewards::{Allotted, HELD, Rewards};
