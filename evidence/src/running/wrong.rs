//! The candidate's labelled answers against stable's.

use serde::{Deserialize, Serialize};

use super::reading::{Look, Proof};
use super::test::Test;
use crate::text::count;
use crate::{ALERT_LEVEL, Interval, Mismatch, Pairs, Reading, Stratum};

/// The test of labelled accuracy: is the candidate wrong more often than the tolerance allows? Labels count in the interval
/// in which they arrive.
///
/// Labels of both arms are compared given their numbers. In a shadow stage they are of both answers to one request, which
/// says much more.
///
/// What labels say of the arms can be compared only if answers of both are labelled alike, which their numbers show: where
/// it is refuted that they arrive in the ratio of the shares, no further label counts, and nothing is proven while that
/// looks doubtful.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Wrong {
    test: Test,
    /// Part of the budget.
    level: f64,
    /// It reached its level while labels came as they should.
    proven: bool,
    /// Whether labels arrive in the ratio of the shares. If not, who is labelled depends on who answered.
    arrival: Mismatch,
    /// Labels of the candidate, those that it should have, and the variance of them.
    arrived: [f64; 3],
    /// Labelled pairs among them.
    pairs: u64,
}

/// How many standard deviations off the number of the candidate's labels looks doubtful: what is as it should be does once
/// in twenty looks.
const DOUBTFUL: f64 = 1.96;

impl Wrong {
    pub(super) fn new(tolerance: f64, level: f64) -> Self {
        let (test, arrival) = (Test::new(tolerance), Mismatch::default());
        Self { test, level, proven: false, arrival, arrived: [0.0; 3], pairs: 0 }
    }

    /// Takes the labels of an interval, of requests that were drawn with this share, or copied.
    pub(super) fn observe(&mut self, interval: &Interval, share: Option<f64>) {
        match share {
            Some(share) => self.observe_labels(interval, share),
            None => interval.pairs.iter().for_each(|pairs| self.observe_pairs(pairs)),
        }
        self.proven |= self.test.process.crossed(self.level) && !self.is_doubtful();
    }

    fn observe_labels(&mut self, interval: &Interval, share: f64) {
        let (ours, theirs) = (interval.labelled.candidate, interval.labelled.stable);
        // Counts of a page are consistent and below 2^53; otherwise the interval says nothing.
        if self.arrival.observe(ours.trials, theirs.trials, share).is_err() || self.is_skewed() {
            return;
        }
        let all = (ours.trials + theirs.trials) as f64;
        let more = [ours.trials as f64, share * all, share * (1.0 - share) * all];
        self.arrived.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        let (x, x_stable) = (ours.others(), theirs.others());
        let stratum = Stratum { x, n: ours.trials, x_stable, n_stable: theirs.trials, split: None };
        self.test.observe(stratum.by_units());
    }

    fn observe_pairs(&mut self, pairs: &wire::Pairs) {
        let [_, worse, better, neither] = pairs.labels;
        let pairs = Pairs { worse, better, neither, n: pairs.right().2 };
        if self.test.process.observe_pairs(&pairs).is_ok() {
            let (x, x_stable) = (worse + neither, better + neither);
            self.test.totals.add(Stratum { x, n: pairs.n, x_stable, n_stable: pairs.n, split: None });
            self.pairs += pairs.n;
        }
    }

    fn is_skewed(&self) -> bool {
        self.arrival.crossed(ALERT_LEVEL)
    }

    fn is_doubtful(&self) -> bool {
        let [found, expected, variance] = self.arrived;
        self.is_skewed() || (found - expected).abs() > DOUBTFUL * variance.sqrt()
    }

    /// `sticky` where users are drawn, by whom labels are not counted (C5).
    pub(super) fn reading(&self, look: &Look, sticky: bool) -> Reading {
        let Test { process, totals } = &self.test;
        let silent = |why: &str| look.silent(process.tolerance(), why);
        let is_reached = process.crossed(self.level);
        if !self.proven && (self.is_skewed() || is_reached) {
            let [found, expected, _] = self.arrived.map(|labels| count(labels as u64));
            return silent(&format!(
                "{found} labels are of the candidate's answers, {expected} would be in the ratio of the shares: who is \
                 labelled may depend on who answered"
            ));
        }
        if sticky && !totals.has_both_arms() {
            return silent("labels are not counted by user, and routing is sticky");
        }
        if !totals.has_both_arms() {
            let (ours, theirs) = (count(totals.n), count(totals.n_stable));
            return silent(&format!(
                "{ours} labels of the candidate's answers and {theirs} of stable's so far"
            ));
        }
        let pairs = match self.pairs {
            0 => String::new(),
            pairs => format!(" ({} to the same requests)", count(pairs)),
        };
        let proof = Proof { p: process.p_value(), proven: self.proven };
        look.proof(process, totals, &proof, &|totals| {
            format!("{} are wrong, of stable's {}{pairs}", totals.ours("labelled answers"), totals.theirs())
        })
    }
}
