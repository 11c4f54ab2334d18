//! The sequential tests of a rollout that runs: settings frozen when it began, and what they have seen (I3, C6).

mod reading;
mod test;
mod unsure;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Interval, OnBreach, Reading, References, Rules, Tests};
use reading::Look;
use test::{Test, Totals};
use unsure::Unsure;

/// State of the sequential tests, of one rollout, over all of its stages and its watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Running {
    tests: Tests,
    false_rollback: f64,
    /// Start of the first interval and end of the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    span: Option<(Timestamp, Timestamp)>,
    intervals: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errors: Option<Test>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unsure: Option<Unsure>,
}

impl Running {
    /// Tests that have seen nothing.
    pub(crate) fn new(tests: &Tests, false_rollback: f64) -> Self {
        Self {
            tests: tests.clone(),
            false_rollback,
            span: None,
            intervals: 0,
            errors: tests.errors.map(|harm| Test::new(harm.tolerance)),
            unsure: None,
        }
    }

    /// Takes an interval, which must not have been taken before (C4).
    pub(crate) fn observe(&mut self, interval: &Interval, references: References<'_>) {
        let since = self.span.map_or(interval.from, |(since, _)| since);
        self.span = Some((since, interval.to));
        self.intervals += 1;
        if let Some(errors) = &mut self.errors {
            // rule: C2
            let ((x, n), (x_stable, n_stable)) = (interval.candidate.errors(), interval.stable.errors());
            errors.observe(Totals { x, n, x_stable, n_stable }, interval.split, 1.0);
        }
        if let Some(harm) = self.tests.low_confidence {
            let level = self.levels()[2];
            if self.unsure.is_none() {
                self.unsure = Unsure::new(references, harm.tolerance, level);
            }
            if let Some(unsure) = &mut self.unsure {
                unsure.observe(interval);
            }
        }
    }

    fn levels(&self) -> [f64; 3] {
        self.tests.levels(self.false_rollback)
    }

    /// One reading per test that is on.
    pub(crate) fn readings(
        &self,
        rules: &Rules<'_>,
        references: References<'_>,
        now: Timestamp,
    ) -> Vec<Reading> {
        let [errors, _latency, low_confidence] = self.levels();
        let [now_errors, _, now_low] = rules.tests.harms().map(|harm| harm.map(|h| h.on_breach));
        let look = |name, level, frozen: OnBreach, now_wanted| Look {
            name,
            level,
            on_breach: gentler(frozen, now_wanted),
            span: self.span.unwrap_or((now, now)),
            intervals: self.intervals,
        };
        let mut readings = Vec::new();
        if let (Some(test), Some(harm)) = (&self.errors, self.tests.errors) {
            let look = look("sequential/errors", errors, harm.on_breach, now_errors);
            readings.push(look.harm(test, "requests", &|totals| {
                format!("{} fail, of stable's {}", totals.ours(), totals.theirs())
            }));
        }
        if let Some(harm) = self.tests.low_confidence {
            let look = look("sequential/low-confidence", low_confidence, harm.on_breach, now_low);
            readings.push(match &self.unsure {
                Some(unsure) => unsure.reading(look),
                None => look.silent(harm.tolerance, unsure::lack(references)),
            });
        }
        readings
    }
}

/// The tests spend a budget that was split when the rollout began; so what a crossing causes may be made
/// gentler while it runs, never harsher (I3, S2). A test that was switched off meanwhile alerts.
fn gentler(frozen: OnBreach, wanted: Option<OnBreach>) -> OnBreach {
    const fn severity(on_breach: OnBreach) -> u8 {
        match on_breach {
            OnBreach::Alert => 0,
            OnBreach::Pause => 1,
            OnBreach::Rollback => 2,
        }
    }
    let wanted = wanted.unwrap_or(OnBreach::Alert);
    if severity(wanted) < severity(frozen) { wanted } else { frozen }
}
