//! From a test to its reading and its sentence.

use jiff::Timestamp;

use super::test::{Test, Totals};
use crate::text::{count, number};
use crate::{Layer, OnBreach, Process, Reading, Verdict};

/// What a reading needs besides the test.
pub(super) struct Look {
    pub(super) name: &'static str,
    pub(super) level: f64,
    pub(super) on_breach: OnBreach,
    pub(super) span: (Timestamp, Timestamp),
    pub(super) intervals: u64,
}

impl Look {
    /// Of a test that has nothing to look at.
    pub(super) fn silent(&self, threshold: f64, why: &str) -> Reading {
        // rule: J1
        let silent = (Verdict::NoData, self.on_breach);
        Reading {
            threshold: Some(threshold),
            level: self.level,
            check: self.intervals,
            ..Reading::unmeasured(self.name, Layer::Sequential, silent, self.span, why)
        }
    }

    /// What its process counts.
    fn unit(&self) -> &'static str {
        if self.name == super::ACCURACY { "labels" } else { "requests" }
    }

    /// Of a test of harm that is one process; `counted` says the totals.
    pub(super) fn harm(&self, test: &Test, counted: &dyn Fn(&Totals) -> String) -> Reading {
        let Test { process, totals } = test;
        let proof = Proof { p: process.p_value(), proven: process.crossed(self.level) };
        self.proof(process, totals, &proof, counted)
    }

    /// Of a test of harm, by the process that shows it best.
    pub(super) fn proof(
        &self,
        process: &Process,
        totals: &Totals,
        Proof { p, proven }: &Proof,
        counted: &dyn Fn(&Totals) -> String,
    ) -> Reading {
        let silent = self.silent(process.tolerance(), "");
        let silent = Reading { n: totals.n, n_stable: Some(totals.n_stable), ..silent };
        if !totals.has_both_arms() {
            let (ours, theirs) = (count(totals.n), count(totals.n_stable));
            let asked = format!("the candidate was asked {ours} times, stable {theirs} times");
            let reason = format!("{}: {asked} so far", self.name);
            return Reading { reason, ..silent };
        }
        let value = process.estimate();
        let (low, high) = process.interval(self.level);
        let low = (low > 0.0).then_some(low);
        let forecast = process.forecast(self.level).filter(|_| !proven);
        let times = value.map(|value| format!(", {} times the rate{}", number(value), limits(low, high)));
        let more =
            forecast.map(|n| format!("; about {} more {} like these would prove it", count(n), self.unit()));
        Reading {
            // A crossing is a proof: what comes later does not take it back.
            verdict: if *proven { Verdict::Fail } else { Verdict::Pass },
            value,
            low,
            high,
            p_value: Some(*p),
            forecast,
            reason: format!(
                "{}: {}{}; more than {} times is {} (p {}, level {}){}",
                self.name,
                counted(totals),
                times.unwrap_or_default(),
                number(process.tolerance()),
                if *proven { "proven" } else { "not proven" },
                number(*p),
                number(self.level),
                more.unwrap_or_default(),
            ),
            ..silent
        }
    }
}

/// What a whole test says, which may be more than one process.
pub(super) struct Proof {
    pub(super) p: f64,
    pub(super) proven: bool,
}

fn limits(low: Option<f64>, high: Option<f64>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!(" ({}..{})", number(low), number(high)),
        (Some(low), None) => format!(" (at least {})", number(low)),
        (None, Some(high)) => format!(" (at most {})", number(high)),
        (None, None) => String::new(),
    }
}
