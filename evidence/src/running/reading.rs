//! From a test to its reading and its sentence.

use jiff::Timestamp;

use super::test::{Test, Totals};
use crate::text::{count, number};
use crate::{Layer, OnBreach, Reading, Verdict};

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
        Reading {
            metric: self.name.to_owned(),
            layer: Layer::Sequential,
            // rule: J1
            verdict: Verdict::NoData,
            on_breach: self.on_breach,
            overdue: None,
            value: None,
            threshold,
            n: 0,
            n_stable: None,
            low: None,
            high: None,
            critical: None,
            level: self.level,
            check: self.intervals,
            window_from: self.span.0,
            window_to: self.span.1,
            p_value: None,
            forecast: None,
            cells: Vec::new(),
            reason: format!("{}: {why}", self.name),
        }
    }

    /// Of a test of harm; `counted` says the totals.
    pub(super) fn harm(&self, test: &Test, unit: &str, counted: &dyn Fn(&Totals) -> String) -> Reading {
        let Test { process, totals } = test;
        if totals.n == 0 || totals.n_stable == 0 {
            let why = format!(
                "{} of the candidate and {} of stable's {unit} so far",
                count(totals.n),
                count(totals.n_stable)
            );
            return Reading {
                n: totals.n,
                n_stable: Some(totals.n_stable),
                ..self.silent(process.tolerance(), &why)
            };
        }
        let proven = process.crossed(self.level);
        let value = process.estimate().filter(|ratio| ratio.is_finite());
        let (low, high) = process.interval(self.level);
        let finite = |limit: f64| (limit.is_finite() && limit > 0.0).then_some(limit);
        let forecast = process.forecast(self.level).filter(|_| !proven);
        let times = match value {
            Some(value) => {
                format!(", {} times stable's rate{}", number(value), limits(finite(low), finite(high)))
            }
            None => String::new(),
        };
        let more =
            forecast.map(|n| format!("; about {} more requests at this rate would prove it", count(n)));
        Reading {
            // A crossing is a proof: what comes later does not take it back.
            verdict: if proven { Verdict::Fail } else { Verdict::Pass },
            value,
            n: totals.n,
            n_stable: Some(totals.n_stable),
            low: finite(low),
            high: finite(high),
            p_value: Some(process.p_value()),
            forecast,
            reason: format!(
                "{}: {}{times}; more than {} times is {} (p {}, level {}){}",
                self.name,
                counted(totals),
                number(process.tolerance()),
                if proven { "proven" } else { "not proven" },
                number(process.p_value()),
                number(self.level),
                more.unwrap_or_default(),
            ),
            ..self.silent(process.tolerance(), "")
        }
    }
}

fn limits(low: Option<f64>, high: Option<f64>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!(" ({}..{})", number(low), number(high)),
        (Some(low), None) => format!(" (at least {})", number(low)),
        (None, Some(high)) => format!(" (at most {})", number(high)),
        (None, None) => String::new(),
    }
}
