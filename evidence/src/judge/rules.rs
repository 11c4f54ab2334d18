//! What the judge is told.

use jiff::{SignedDuration, Timestamp};
use wire::Profile;

use crate::{Draw, Interval, Metric, Tests, Windows};

/// Margin of acceptance: a candidate that fails so many times as often as stable is not good enough. Proof of an equal
/// one takes about 70 failures of both arms at half of the traffic and in a full shadow, 200 at a share of 5 % (medians of
/// 101 simulated rollouts); with a margin of 1.5 it would be 175 and 790.
pub const ACCEPT_MARGIN: f64 = 2.0;

/// Probability that a candidate at the margin or beyond is ever accepted in a rollout.
pub const ACCEPT_LEVEL: f64 = 0.05;

/// What to judge by.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The metrics, with unique names.
    pub metrics: &'a [Metric],
    /// The sequential tests of a rollout that begins now; one that runs keeps those that it began with (I3).
    pub tests: &'a Tests,
    /// Budget of false rollbacks, 0..1; 0 compares raw values and runs no sequential test (S2).
    pub false_rollback: f64,
    /// Time between two samplings; windows whose newest interval is older than three of them are stale.
    pub interval: SignedDuration,
    /// The longest time from a request to its outcome. What fails slowly is counted that late, so in a stage's first
    /// intervals it lacks what fails at once does not: failures are compared with stable's only in intervals that
    /// began so long after the stage, in which both have come to flow evenly.
    pub timeout: SignedDuration,
    /// Whether a stage waits until the candidate is proven good enough (`advance: onEvidence`): less than
    /// [`ACCEPT_MARGIN`] times stable's rate of errors, at [`ACCEPT_LEVEL`]. It has no say in stages whose requests
    /// cannot be compared so.
    pub accept: bool,
    /// When comparing ends whatever it shows, in the watch after a promotion: readings say what can be noticed until
    /// then (S3).
    pub ends: Option<Timestamp>,
}

impl Rules<'_> {
    /// How long after a stage began failures may be compared. A copy is sent when stable's answer is there, and may
    /// take as long once more.
    pub(crate) fn delay(&self, newest: Option<&Interval>) -> SignedDuration {
        let copied = newest.is_some_and(|newest| newest.draw == Draw::Shadow);
        self.timeout.saturating_mul(if copied { 2 } else { 1 })
    }

    /// When failures of the stage in these windows may be compared.
    pub(crate) fn ripe(&self, windows: &Windows) -> Timestamp {
        let delay = self.delay(windows.newest());
        let ripe = windows.since().and_then(|since| since.checked_add(delay).ok());
        ripe.unwrap_or(Timestamp::MAX)
    }
}

/// The reference profiles, as far as they could be read from the revisions' servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct References<'a> {
    /// The candidate's.
    pub candidate: Option<&'a Profile>,
    /// Stable's own: its confidence and classes are compared with it, to tell a drifting world from a
    /// drifting candidate (J5).
    pub stable: Option<&'a Profile>,
}
