//! Whether each arm gets the requests that were drawn for it.

use serde::{Deserialize, Serialize};

use super::reading::Look;
use crate::text::{count, number};
use crate::{ALERT_LEVEL, Interval, Mismatch, Reading, Verdict};

/// The test of the sample ratio.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Split {
    test: Mismatch,
    n: u64,
    n_stable: u64,
    /// Requests that the candidate should have got.
    drawn: f64,
}

impl Split {
    pub(super) fn observe(&mut self, interval: &Interval, share: f64) {
        let (n, n_stable) = (interval.candidate.requests(), interval.stable.requests());
        if self.test.observe(n, n_stable, share).is_ok() {
            self.n += n;
            self.n_stable += n_stable;
            self.drawn += share * (n + n_stable) as f64;
        }
    }

    /// Whether it is refuted that requests are split as drawn.
    pub(super) fn is_wrong(&self) -> bool {
        self.test.crossed(ALERT_LEVEL)
    }

    /// Wrong is no fault of the candidate, so never a Fail; but no comparison can be trusted, so it holds the
    /// stage until a person says `promote`.
    pub(super) fn reading(&self, look: &Look) -> Reading {
        let all = self.n + self.n_stable;
        if all == 0 {
            return look.silent(look.level, "no request was drawn at random yet");
        }
        let p = self.test.p_value();
        let percent = |part: f64| number(100.0 * part / all as f64);
        let what = format!(
            "{}: the candidate got {} % of {} requests, {} % were drawn for it",
            look.name,
            percent(self.n as f64),
            count(all),
            percent(self.drawn),
        );
        let (verdict, rest) = if self.is_wrong() {
            (
                Verdict::Inconclusive,
                "requests are lost or counted for the wrong arm, so that no comparison can be trusted",
            )
        } else {
            (Verdict::Pass, "no sign that requests are lost")
        };
        Reading {
            verdict,
            value: Some(self.n as f64 / all as f64),
            n: self.n,
            n_stable: Some(self.n_stable),
            p_value: Some(p),
            reason: format!("{what}; {rest} (p {}, level {})", number(p), number(look.level)),
            ..look.silent(self.drawn / all as f64, "")
        }
    }
}
