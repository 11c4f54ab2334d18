//! The candidate's slow answers against stable's.

use serde::{Deserialize, Serialize};
use wire::Counts;

use super::reading::{Look, Proof};
use super::test::Totals;
use crate::text::{number, seconds};
use crate::{Exceedance, Interval, LatencyTest, Reading, Stratum};

/// The test of latency, and its totals beyond stable's 95th and 99th percentile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Slow {
    test: LatencyTest,
    totals: [Totals; 2],
}

impl Slow {
    pub(super) fn new(stable: &Counts, tolerance: f64) -> Option<Self> {
        let exceedance = Exceedance::freeze(&stable.latency, tolerance)?;
        Some(Self { test: LatencyTest::new(exceedance), totals: <[Totals; 2]>::default() })
    }

    pub(super) fn observe(&mut self, interval: &Interval) {
        let (ours, theirs) = (&interval.candidate.latency, &interval.stable.latency);
        let strata = self.test.exceedance().strata(ours, theirs);
        if self.test.observe(&strata).is_ok() {
            for (totals, stratum) in self.totals.iter_mut().zip(strata) {
                totals.add(stratum);
            }
        }
    }

    /// Slots are told apart by the lower percentile only.
    pub(super) fn observe_slots(&mut self, stratum: Stratum) {
        let nothing = Stratum { x: 0, n: 0, x_stable: 0, n_stable: 0, split: None };
        if self.test.observe(&[stratum, nothing]).is_ok() {
            self.totals[0].add_slots(stratum);
        }
    }

    pub(super) fn cells(&self) -> (usize, usize) {
        self.test.exceedance().cells()
    }

    /// Of the tail that says more.
    pub(super) fn reading(&self, look: &Look, tolerance: f64) -> Reading {
        let tails = self.test.tails();
        // The higher percentile has seen nothing under sticky routing.
        let has_seen = self.totals[1].n > 0;
        let worse = usize::from(has_seen && tails[1].log_e() > tails[0].log_e());
        let (ours, theirs) = self.test.exceedance().seconds()[worse];
        let percentile = ["95th", "99th"][worse];
        let counted = |totals: &Totals| {
            format!(
                "{} take longer than {}, {} times stable's {percentile} percentile; of stable's {} longer than {}",
                totals.ours("answers"),
                seconds(ours),
                number(tolerance),
                totals.theirs(),
                seconds(theirs),
            )
        };
        let proof = Proof { p: self.test.p_value(), proven: self.test.crossed(look.level) };
        look.proof(&tails[worse], &self.totals[worse], &proof, &counted)
    }
}
