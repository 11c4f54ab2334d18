//! Is the candidate slower, where it hurts: in the tail?

use serde::{Deserialize, Serialize};
use wire::{Grid, LATENCY_GROWTH};

use super::peak::Peak;
use super::{Process, SequentialError, Stratum};

/// Answers of stable from which bounds are frozen: ten of them lie above its 99th percentile.
pub(crate) const ENOUGH: u64 = 1000;
/// The percentiles of stable at whose bounds answers are called slow.
const TAILS: [f64; 2] = [0.95, 0.99];

/// Bounds on the latency grid, fixed before the test begins, beyond which an answer is slow: for stable its own
/// tail, for the candidate what tolerated slowness makes of it.
///
/// Tolerating a factor of the *seconds* and not of the rate of slow answers says what people mean by "1.5 times
/// slower is no harm" whatever the shape of the tail: a narrow distribution that shifts by a tenth exceeds its
/// old 95th percentile many times as often. And the null has no tolerance left: "the candidate exceeds its bound
/// no more often than stable does its own" is exact also where rates differ from request to request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exceedance {
    /// Last cell of [`Grid::Seconds`] that is not slow.
    cells: [usize; 2],
    /// Cells by which the candidate may be slower.
    slack: usize,
}

impl Exceedance {
    /// Freezes the upper edges of the cells that hold the 95th and the 99th percentile of stable. `None` with
    /// fewer than 1,000 answers.
    ///
    /// The candidate may be slower by `tolerance`, at least 1, rounded up to the grid's steps of ten percent.
    ///
    /// Intervals that it is frozen from must not be tested with it: the bounds would depend on what they judge.
    #[must_use]
    pub fn freeze(stable: &[u64], tolerance: f64) -> Option<Self> {
        let n: u64 = stable.iter().sum();
        if n < ENOUGH {
            return None;
        }
        let cell = |share: f64| {
            let rank = (share * n as f64).ceil() as u64;
            let mut below = 0;
            stable.iter().position(|count| {
                below += count;
                below >= rank
            })
        };
        // A factor that is a step of the grid is not rounded up by its last bits.
        let slack = (tolerance.max(1.0).ln() / LATENCY_GROWTH.ln() - 1e-9).ceil() as usize;
        Some(Self { cells: [cell(TAILS[0])?, cell(TAILS[1])?], slack })
    }

    /// The two bounds in seconds, each for candidate and stable; infinite if stable's tail lies in the grid's open cell
    /// (above 60 s), where nothing is ever slow.
    #[must_use]
    pub fn seconds(&self) -> [(f64, f64); 2] {
        self.cells.map(|cell| (Grid::Seconds.edge(cell + self.slack), Grid::Seconds.edge(cell)))
    }

    /// First slow cells at the lower percentile: the candidate's and stable's.
    #[must_use]
    pub fn cells(&self) -> (usize, usize) {
        (self.cells[0] + self.slack + 1, self.cells[0] + 1)
    }

    /// The slow answers of an interval, by latency counts on [`Grid::Seconds`]: one stratum per bound. Of answers, not
    /// of requests: a failing arm has fewer, which is no merit of its tail ([`Stratum::by_units`]).
    #[must_use]
    pub fn strata(&self, candidate: &[u64], stable: &[u64]) -> [Stratum; 2] {
        let total = |counts: &[u64]| counts.iter().sum();
        let (n, n_stable) = (total(candidate), total(stable));
        self.cells.map(|cell| {
            // Where the bound is the grid's open cell, there is nothing to exceed.
            let slow = |counts: &[u64], cell: usize| counts.iter().skip(cell + 1).sum();
            Stratum {
                x: slow(candidate, cell + self.slack),
                n,
                x_stable: slow(stable, cell),
                n_stable,
                split: None,
            }
            .by_units()
        })
    }
}

/// The mean of the two processes of an [`Exceedance`], which is an e-process too, for the null "at neither pair of
/// bounds does the candidate exceed its own more often than stable".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyTest {
    exceedance: Exceedance,
    tails: [Process; 2],
    peak: Peak,
}

impl LatencyTest {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(exceedance: Exceedance) -> Self {
        let tail = Process::new(1.0).expect("1 is a ratio");
        Self { exceedance, tails: [tail.clone(), tail], peak: Peak::default() }
    }

    /// The frozen bounds.
    #[must_use]
    pub fn exceedance(&self) -> Exceedance {
        self.exceedance
    }

    /// Takes what was slow in an interval, by bound: [`Exceedance::strata`], or the same of slots (C5).
    ///
    /// # Errors
    /// Those of [`Process::observe`]; then nothing changes.
    pub fn observe(&mut self, strata: &[Stratum; 2]) -> Result<(), SequentialError> {
        strata.iter().try_for_each(Stratum::check)?;
        for (tail, stratum) in self.tails.iter_mut().zip(strata) {
            tail.observe(stratum)?;
        }
        self.peak.raise(self.log_e());
        Ok(())
    }

    /// ln E by now.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        super::log_sum_exp(self.tails.iter().map(Process::log_e)) - (self.tails.len() as f64).ln()
    }

    /// The always-valid p-value: 1 / the largest E so far.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        self.peak.p_value()
    }

    /// Whether E ever reached 1/level.
    #[must_use]
    pub fn crossed(&self, level: f64) -> bool {
        self.peak.crossed(level)
    }

    /// The processes of the two bounds, for their estimates and intervals.
    #[must_use]
    pub fn tails(&self) -> &[Process; 2] {
        &self.tails
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::LATENCY_CELLS;

    fn even(from: usize, cells: usize, each: u64) -> Vec<u64> {
        (0..LATENCY_CELLS).map(|cell| if (from..from + cells).contains(&cell) { each } else { 0 }).collect()
    }

    #[test]
    fn bounds_are_the_edges_at_stables_tail_and_tolerated_slowness_beyond() {
        let stable = even(20, 100, 100);
        assert_eq!(Exceedance::freeze(&even(20, 100, 9), 1.0), None, "too few");
        let edge = |cell| Grid::Seconds.edge(cell);
        let bounds = Exceedance::freeze(&stable, 1.0).unwrap();
        assert_eq!(bounds.seconds(), [(edge(114), edge(114)), (edge(118), edge(118))]);
        let strata = bounds.strata(&even(25, 100, 1), &stable);
        assert_eq!(
            strata.map(|s| (s.x, s.n, s.x_stable, s.n_stable)),
            [(10, 100, 500, 10_000), (6, 100, 100, 10_000)]
        );
        let lenient = Exceedance::freeze(&stable, 1.21).unwrap();
        assert_eq!(lenient.seconds(), [(edge(116), edge(114)), (edge(120), edge(118))]);
        assert_eq!(lenient.strata(&even(25, 100, 1), &stable).map(|s| s.x), [8, 4]);
    }

    #[test]
    fn a_tail_in_the_open_cell_leaves_nothing_to_exceed() {
        let stable = even(LATENCY_CELLS - 1, 1, 5000);
        let bounds = Exceedance::freeze(&stable, 1.5).unwrap();
        assert!(bounds.strata(&stable, &stable).iter().all(|s| s.x == 0 && s.x_stable == 0));
    }

    #[test]
    fn a_slower_tail_is_found_and_tolerated_slowness_is_not() {
        // rule: S1
        let stable = even(20, 100, 1);
        let mut test = LatencyTest::new(Exceedance::freeze(&even(20, 100, 100), 1.25).unwrap());
        let mut tolerated = test.clone();
        for _ in 0..20 {
            test.observe(&test.exceedance().strata(&even(35, 100, 1), &stable)).unwrap();
            tolerated.observe(&tolerated.exceedance().strata(&even(22, 100, 1), &stable)).unwrap();
        }
        assert!(test.crossed(0.001) && test.p_value() < 0.001, "{}", test.log_e());
        assert!(!tolerated.crossed(0.99), "{}", tolerated.log_e());
        let json = serde_json::to_string(&test).unwrap();
        assert!(json.len() < 1024, "{}", json.len());
        assert_eq!(serde_json::from_str::<LatencyTest>(&json).unwrap(), test);
    }
}
