//! What can still be noticed before the watch after a promotion ends (S3).

use jiff::{Timestamp, Unit};

use super::{ERRORS, Running};
use crate::text::{count, number};
use crate::{DETECTED, Reading, Verdict};

/// What is to come until the watch ends.
pub(crate) struct Ahead {
    /// Requests of both arms, if they go on as they came.
    pub(crate) requests: u64,
    /// When it ends.
    pub(crate) ends: Timestamp,
    /// The promoted revision's share of them; absent under sticky routing.
    pub(crate) split: Option<f64>,
}

impl Running {
    /// Says in the reading of the test of errors what it can notice until then. The rate of errors is that of both
    /// arms since the rollout began: of a holdback of 1 % alone little is known.
    pub(crate) fn look_ahead(&self, ahead: &Ahead, readings: &mut [Reading]) {
        let told = |reading: &&mut Reading| reading.metric == ERRORS && reading.verdict == Verdict::Pass;
        let Some((test, reading)) = self.errors.as_ref().zip(readings.iter_mut().find(told)) else { return };
        let (events, seen) = test.process.seen();
        // None of a thousand is not a rate of 0.
        let rate = (events as f64 + 0.5) / (seen as f64 + 1.0);
        let share = ahead.split.filter(|_| !self.split.is_wrong());
        let detects = |share| test.process.detects(reading.level, ahead.requests, share, rate);
        reading.detects = share.and_then(detects);
        let ends = ahead.ends.round(Unit::Second).unwrap_or(ahead.ends);
        let more = format!("about {} more requests until {ends}", count(ahead.requests));
        let said = match (share, reading.detects) {
            (None, _) => "users are compared, not requests: what can be noticed is not foretold".to_owned(),
            (Some(1.0), _) => "without a holdback there is nothing to compare with from here on".to_owned(),
            (_, Some(ratio)) => format!("{more} would show {} times the rate", number(ratio)),
            (_, None) => {
                format!("{more} are too few to show even {} times the rate", DETECTED[DETECTED.len() - 1])
            }
        };
        reading.reason = format!("{}; {said}", reading.reason);
    }
}
