//! Tells the receivers of `spec.notifications` what was decided.
//!
//! What is told is what a ModelRollout records: the entry and the count of those that are not told yet (`untold`)
//! are stored in one write, and the count goes back once every receiver has its letter or was given up. So a letter
//! is delivered at least once over restarts, always with the same id. What is in no record (a condition that turned
//! bad, a retraining) is told at most once.
//!
//! Nothing waits for a receiver: a reconcile hands letters over, and a task per receiver delivers them.

mod courier;
mod letter;
mod mail;
mod metrics;
mod post;

#[cfg(test)]
mod tests;

pub use courier::{Courier, Timing};
pub use letter::{Address, Letter};
pub use mail::Mail;
pub use post::PostError;
