//! The candidate must be proven good enough before a stage is left (T2).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Counts, Outcome};

use super::failing;
use super::test::Totals;
use crate::slots::Once;
use crate::text::{count, number};
use crate::{ACCEPT_LEVEL, ACCEPT_MARGIN, Layer, OnBreach, Promotion, Reading, SlotRound, Stratum, Verdict};

/// The test of acceptance: of the rate of errors alone. It spends nothing of the budget of false rollbacks, so it may
/// begin in mid-rollout. Whom it has accepted is accepted in all later stages, where the tests of harm go on.
///
/// Users are what counts under sticky routing: the share of slots that failed by when they are first seen ([`Once`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Accept {
    test: Promotion,
    totals: Totals,
    #[serde(default, skip_serializing_if = "Once::is_empty")]
    slots: Once,
}

impl Default for Accept {
    fn default() -> Self {
        let test = Promotion::new(ACCEPT_MARGIN).expect("it is a margin");
        Self { test, totals: Totals::default(), slots: Once::default() }
    }
}

impl Accept {
    pub(super) fn observe(&mut self, stratum: Stratum) {
        if self.test.observe(&stratum).is_ok() {
            self.totals.add(stratum);
        }
    }

    /// Takes copies, which are sent of what stable answers: where it gives no answer both might fail, and nobody would
    /// see it of the candidate. So that is no failure of stable's here: if the candidate fails `margin` times as often
    /// as stable, then so it does, or worse, among what stable answers. (With u of stable's requests unanswered, p and
    /// q the rates of failure among the others: u + (1 - u) p >= margin (u + (1 - u) q) gives p >= margin q.)
    pub(super) fn observe_copies(&mut self, stratum: Stratum, stable: &Counts) {
        let unanswered = stable.outcome(Outcome::Timeout) + stable.outcome(Outcome::Connect);
        let (x_stable, n_stable) = (stratum.x_stable - unanswered, stratum.n_stable - unanswered);
        self.observe(Stratum { x_stable, n_stable, ..stratum }.by_units());
    }

    pub(super) fn observe_slots(&mut self, round: &SlotRound) {
        let failed = round.ever(|slots| slots.failed().clone());
        let [ours, theirs] = self.slots.take(round);
        let [x, x_stable] = [&ours, &theirs].map(|slots| slots.and(&failed).len());
        let stratum = Stratum { x, n: ours.len(), x_stable, n_stable: theirs.len(), split: None };
        self.totals.slots = true;
        self.observe(stratum.by_units());
    }

    pub(super) fn reading(&self, window: (Timestamp, Timestamp), intervals: u64, unripe: &str) -> Reading {
        let metric = "sequential/accept";
        // It holds and never takes back: its verdict is never Fail.
        let holds = |verdict| (verdict, OnBreach::Pause);
        let reading = |verdict, why: &str| Reading {
            threshold: Some(ACCEPT_MARGIN),
            level: ACCEPT_LEVEL,
            check: intervals,
            n: self.totals.n,
            n_stable: Some(self.totals.n_stable),
            ..Reading::unmeasured(metric, Layer::Acceptance, holds(verdict), window, why)
        };
        let accepted = self.test.crossed(ACCEPT_LEVEL);
        if !accepted && !self.totals.has_both_arms() {
            return reading(Verdict::NoData, unripe);
        }
        let (value, p) = (self.test.estimate(), self.test.p_value());
        let forecast = self.test.forecast(ACCEPT_LEVEL).filter(|_| !accepted);
        let times = value.map(|value| format!(", {} times the rate", number(value))).unwrap_or_default();
        let finding = format!(
            "{}{times}; less than {} times is {} (p {}, level {})",
            failing(&self.totals),
            number(ACCEPT_MARGIN),
            if accepted { "proven" } else { "not proven" },
            number(p),
            number(ACCEPT_LEVEL),
        );
        let rest = match forecast {
            _ if accepted => String::new(),
            Some(n) => format!("; about {} more {} like these would prove it", count(n), self.unit()),
            None if self.totals.x + self.totals.x_stable == 0 => {
                "; without a failure in either arm there is nothing to compare".to_owned()
            }
            None => "; more like these would not prove it".to_owned(),
        };
        let verdict = if accepted { Verdict::Pass } else { Verdict::Inconclusive };
        Reading { value, p_value: Some(p), forecast, ..reading(verdict, &(finding + &rest)) }
    }

    const fn unit(&self) -> &'static str {
        if self.totals.slots { "slots" } else { "requests" }
    }
}
