//! Does the candidate have more events than stable, by more than a tolerated ratio?

use serde::{Deserialize, Serialize};

use super::peak::Peak;
use super::ratios::{LOG_WEIGHTS, LOGS, OTHERS, RATIOS, SIDE};
use super::{Pairs, SequentialError, Stratum, bits, fisher, interval, log_sum_exp, paired, split};

/// What [`Process::detects`] tells apart: few enough that what is said of it does not change all the time.
pub const DETECTED: [f64; 10] = [1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0];

/// An e-process for the null "the ratio is at most `tolerance`", interval by interval.
///
/// The ratio is that of the rates if the split of an interval is known, else that of the odds. It keeps
/// ln L(w)/L(tolerance) on a grid of ratios w around the tolerance, where L is the likelihood of what arm each
/// event hit, given the events:
///
/// - split known, candidate's share pi: each event hits the candidate with probability pi w / (pi w + 1 - pi),
///   so that only events count, and rates may differ from request to request;
/// - else Fisher's noncentral hypergeometric distribution given the units of both arms, which assumes one
///   rate per arm within an interval, and nothing of how rates move from one to the next.
///
/// E = sum of weight(w) L(w)/L(tolerance) over the w above the tolerance. The likelihood ratio of an interval is
/// monotone in the candidate's events, and these are stochastically monotone in the true ratio; so its expectation is 1
/// at the tolerance and at most 1 below it, and E is an e-process for the whole null (*Safe tests for 2x2
/// contingency tables*, Turner, Ly, Grünwald 2024; the conditional form is that of Fisher's exact test).
/// Shares, rates and the events' number may depend on anything that happened before the interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Stored", into = "Stored")]
pub struct Process {
    tolerance: f64,
    /// ln L(w)/L(tolerance) for the other ratios, ascending.
    evidence: [f64; OTHERS],
    peak: Peak,
    /// Numerator and denominator of the Mantel-Haenszel estimate.
    pooled: [f64; 2],
    /// Events and units of both arms.
    events: u64,
    requests: u64,
    /// It has taken pairs.
    paired: bool,
}

impl Process {
    /// A test that has seen nothing: E = 1.
    ///
    /// # Errors
    /// A tolerance that is not a number in 0.01..=100. It is 1 or more for a test of harm: 1.1 tolerates ten
    /// percent more.
    pub fn new(tolerance: f64) -> Result<Self, SequentialError> {
        if !(0.01..=100.0).contains(&tolerance) {
            let allowed = "0.01..=100";
            return Err(SequentialError::OutOfRange { field: "tolerance", found: tolerance, allowed });
        }
        let (evidence, pooled) = ([0.0; OTHERS], [0.0; 2]);
        Ok(Self { tolerance, evidence, peak: Peak::default(), pooled, events: 0, requests: 0, paired: false })
    }

    /// The tolerated ratio.
    #[must_use]
    pub fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// Takes an interval. One that cannot say anything of the ratio changes nothing but the number of
    /// requests: no event, an arm without units (unless the split is known: there only events count), only
    /// events, a split of 0 or 1.
    ///
    /// # Errors
    /// [`Stratum::check`]; then nothing changes.
    pub fn observe(&mut self, stratum: &Stratum) -> Result<(), SequentialError> {
        stratum.check()?;
        self.requests = self.requests.saturating_add(stratum.n + stratum.n_stable);
        if !stratum.informs() {
            return Ok(());
        }
        let gained = match stratum.split {
            Some(share) => self.drawn([stratum.x as f64, stratum.x_stable as f64], share),
            None => self.conditional(stratum),
        };
        for (evidence, gained) in self.evidence.iter_mut().zip(gained) {
            *evidence += gained;
        }
        self.pool(stratum);
        self.peak.raise(self.log_e());
        Ok(())
    }

    /// Takes an interval of pairs, for the ratio of the rates at which both arms are wrong. Each pair is one unit, so that
    /// [`Process::forecast`] counts pairs.
    ///
    /// # Errors
    /// [`Pairs::check`]; then nothing changes.
    pub fn observe_pairs(&mut self, pairs: &Pairs) -> Result<(), SequentialError> {
        pairs.check()?;
        let Pairs { worse, better, neither, n } = *pairs;
        self.requests = self.requests.saturating_add(n);
        if worse + better + neither == 0 {
            return Ok(());
        }
        self.paired = true;
        for (evidence, ratio) in self.evidence.iter_mut().zip(*RATIOS) {
            *evidence += paired::log_bet(pairs, self.tolerance, self.tolerance * ratio);
        }
        // As two arms of as many requests each.
        self.pooled[0] += (worse + neither) as f64 / 2.0;
        self.pooled[1] += (better + neither) as f64 / 2.0;
        self.events = self.events.saturating_add(worse + better + neither);
        self.peak.raise(self.log_e());
        Ok(())
    }

    fn drawn(&self, [x, x_stable]: [f64; 2], share: f64) -> [f64; OTHERS] {
        let ratios = RATIOS.map(|ratio| self.tolerance * ratio);
        split::log_likelihoods(x, x_stable, share, (self.tolerance, &ratios), &LOGS)
    }

    fn conditional(&self, stratum: &Stratum) -> [f64; OTHERS] {
        let ratios = RATIOS.map(|ratio| self.tolerance * ratio);
        let log_tolerance = self.tolerance.ln();
        let logs = LOGS.map(|log| log_tolerance + log);
        fisher::log_likelihoods(stratum, (self.tolerance, &ratios), (log_tolerance, &logs))
    }

    fn pool(&mut self, s: &Stratum) {
        let (x, x_stable) = (s.x as f64, s.x_stable as f64);
        let [more, less] = if let Some(share) = s.split {
            [x * (1.0 - share), x_stable * share]
        } else {
            let (n, n_stable) = (s.n as f64, s.n_stable as f64);
            [x * (n_stable - x_stable) / (n + n_stable), x_stable * (n - x) / (n + n_stable)]
        };
        self.pooled[0] += more;
        self.pooled[1] += less;
        self.events = self.events.saturating_add(s.x + s.x_stable);
    }

    /// ln E: how much the events speak against the null by now.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        mixture(&self.evidence)
    }

    /// The largest ln E so far, at least 0.
    #[must_use]
    pub fn log_peak(&self) -> f64 {
        self.peak.log_e()
    }

    /// The always-valid p-value: 1 / the largest E so far. Under the null it is ever at most p with
    /// probability p, for any p.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        self.peak.p_value()
    }

    /// Whether E ever reached 1/level: the null is refuted at this level.
    #[must_use]
    pub fn crossed(&self, level: f64) -> bool {
        self.peak.crossed(level)
    }

    /// The pooled ratio of Mantel & Haenszel (J. Natl. Cancer Inst. 22 (1959) 719): of the odds, or of the
    /// rates where the split is known. `None` while stable has no event to compare with.
    #[must_use]
    pub fn estimate(&self) -> Option<f64> {
        let [more, less] = self.pooled;
        (less > 0.0).then(|| more / less)
    }

    /// The confidence sequence for the ratio: lower and upper end, which hold the true ratio (if it is the same
    /// in all intervals) at all times at once with probability 1 - `level`. 0 and `None` where an end lies
    /// outside of the grid, which spans a factor of 20 around the tolerance; near it, the width does not fall
    /// below the grid's steps of about ten percent.
    ///
    /// None at all once there are pairs: a bet on them is no likelihood, but for pairs of which one is wrong.
    #[must_use]
    pub fn interval(&self, level: f64) -> (f64, Option<f64>) {
        if self.paired {
            return (0.0, None);
        }
        let (low, high) = interval::bounds(&self.evidence, level);
        let ratio = |log: f64| self.tolerance * log.exp();
        (low.map_or(0.0, ratio), high.map(ratio))
    }

    /// How many more requests of both arms it takes to cross at `level`, if evidence goes on growing as it
    /// has so far: (ln(1/level) - ln E) / growth, where growth is the best alternative's log-likelihood ratio
    /// per request, the rate at which ln E grows in the end. 0 once crossed; `None` as long as no alternative is
    /// likelier than the tolerance, that is when nothing says that it will ever cross.
    ///
    /// A guess, not a bound: with few events it is off by a large factor either way, and a change of shares or
    /// rates changes it.
    #[must_use]
    pub fn forecast(&self, level: f64) -> Option<u64> {
        if self.crossed(level) {
            return Some(0);
        }
        let best = self.evidence[SIDE..].iter().copied().fold(0.0, f64::max);
        let growth = best / self.requests as f64;
        (growth > 0.0).then(|| ((-level.ln() - self.log_e()) / growth).ceil() as u64)
    }

    /// The smallest of [`DETECTED`] times stable's rate that is more likely noticed at `level` than not within so
    /// many more requests of both arms, if it sets in now: adding the *expected* events makes E cross (of simulated runs
    /// 63 to 90 % did, `tests/sequential_power.rs`). `None` if not even the largest is. `share` is the candidate's of the requests, `rate` that of events among stable's, 0..=1.
    ///
    /// What was seen before counts: evidence for equal rates has to be made up for.
    #[must_use]
    pub fn detects(&self, level: f64, requests: u64, share: f64, rate: f64) -> Option<f64> {
        let crosses = |ratio: f64| {
            let [ours, theirs] = [share * (rate * ratio).min(1.0), (1.0 - share) * rate];
            let mut evidence = self.evidence;
            let gained = self.drawn([ours, theirs].map(|events| requests as f64 * events), share);
            evidence.iter_mut().zip(gained).for_each(|(evidence, gained)| *evidence += gained);
            mixture(&evidence) >= -level.ln()
        };
        DETECTED.into_iter().filter(|ratio| *ratio > self.tolerance).find(|ratio| crosses(*ratio))
    }

    /// Events and requests of both arms that it has seen.
    #[must_use]
    pub fn seen(&self) -> (u64, u64) {
        (self.events, self.requests)
    }
}

/// ln E of the logarithms of the likelihood ratios.
fn mixture(evidence: &[f64; OTHERS]) -> f64 {
    let weights = &*LOG_WEIGHTS;
    log_sum_exp((0..SIDE).map(|i| weights[i] + evidence[SIDE + i]))
}

/// As it is serialised: all that is f64 bit by bit.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    /// Tolerance, largest ln E, and the two pooled sums.
    #[serde(with = "bits")]
    state: [f64; 4],
    #[serde(with = "bits")]
    evidence: [f64; OTHERS],
    events: u64,
    requests: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    paired: bool,
}

impl From<Process> for Stored {
    fn from(p: Process) -> Self {
        let state = [p.tolerance, p.peak.log_e(), p.pooled[0], p.pooled[1]];
        Self { state, evidence: p.evidence, events: p.events, requests: p.requests, paired: p.paired }
    }
}

impl TryFrom<Stored> for Process {
    type Error = SequentialError;

    fn try_from(stored: Stored) -> Result<Self, SequentialError> {
        let [tolerance, log_peak, more, less] = stored.state;
        let Stored { evidence, events, requests, paired, .. } = stored;
        Ok(Self {
            evidence,
            peak: Peak::at(log_peak),
            pooled: [more, less],
            events,
            requests,
            paired,
            ..Self::new(tolerance)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stratum(x: u64, n: u64, x_stable: u64, n_stable: u64, split: Option<f64>) -> Stratum {
        Stratum { x, n, x_stable, n_stable, split }
    }

    #[test]
    fn more_events_speak_against_and_fewer_for_the_candidate() {
        // rule: S1
        for split in [Some(0.5), None] {
            let mut worse = Process::new(1.1).unwrap();
            let mut better = worse.clone();
            for _ in 0..20 {
                worse.observe(&stratum(10, 200, 4, 200, split)).unwrap();
                better.observe(&stratum(4, 200, 10, 200, split)).unwrap();
            }
            assert!(worse.crossed(0.01) && worse.p_value() < 0.01, "{}", worse.log_e());
            assert!(!better.crossed(0.999) && better.p_value() == 1.0, "{}", better.log_e());
            assert!((worse.estimate().unwrap() - 2.5).abs() < 0.1);
            assert_eq!(worse.seen(), (280, 8000));
        }
    }

    #[test]
    fn what_says_nothing_of_the_ratio_changes_nothing() {
        let mut process = Process::new(1.1).unwrap();
        let silent = [
            stratum(0, 100, 0, 100, None),
            stratum(0, 0, 0, 0, Some(0.5)),
            stratum(5, 100, 0, 0, None),
            stratum(0, 0, 5, 100, None),
            stratum(7, 7, 9, 9, None),
            stratum(3, 100, 0, 0, Some(1.0)),
            stratum(0, 0, 3, 100, Some(0.0)),
        ];
        for silent in silent {
            process.observe(&silent).unwrap();
            assert_eq!((process.log_e().abs() < 1e-12, process.estimate()), (true, None), "{silent:?}");
        }
    }

    #[test]
    fn bad_input_names_its_field() {
        let mut process = Process::new(1.1).unwrap();
        let cases = [
            (stratum(3, 2, 0, 2, None), "x is 3; allowed is at most n = 2"),
            (stratum(0, 2, 3, 2, None), "x_stable is 3; allowed is at most n_stable = 2"),
            (stratum(1, 2, 1, 2, Some(f64::NAN)), "split is NaN; allowed is 0..=1"),
            (stratum(1, 2, 1, 2, Some(-0.1)), "split is -0.1; allowed is 0..=1"),
            (stratum(1, u64::MAX, 1, 2, None), "n is 18446744073709552000; allowed is 0..=2^53"),
        ];
        for (bad, message) in cases {
            assert_eq!(process.observe(&bad).unwrap_err().to_string(), message);
        }
        assert_eq!(process, Process::new(1.1).unwrap(), "nothing changes");
        let refused = Process::new(f64::NAN).unwrap_err().to_string();
        assert_eq!(refused, "tolerance is NaN; allowed is 0.01..=100");
    }

    #[test]
    fn the_interval_holds_the_estimate_and_closes() {
        let mut process = Process::new(1.1).unwrap();
        assert_eq!(process.interval(0.01), (0.0, None), "nothing is known yet");
        let mut width = f64::INFINITY;
        for _ in 0..6 {
            for _ in 0..10 {
                process.observe(&stratum(20, 500, 10, 500, None)).unwrap();
            }
            let ((low, high), estimate) = (process.interval(0.01), process.estimate().unwrap());
            let high = high.unwrap();
            assert!(low < estimate && estimate < high && high - low < width, "{low} {estimate} {high}");
            width = high - low;
        }
        assert!(width < 1.0, "{width}");
    }

    #[test]
    fn a_forecast_needs_growth() {
        let mut process = Process::new(1.1).unwrap();
        assert_eq!(process.forecast(0.01), None);
        process.observe(&stratum(5, 500, 10, 500, None)).unwrap();
        assert_eq!(process.forecast(0.01), None);
        for _ in 0..3 {
            process.observe(&stratum(20, 500, 10, 500, None)).unwrap();
        }
        let (more, seen) = (process.forecast(0.01).unwrap(), process.seen().1);
        let mut intervals = 0;
        while !process.crossed(0.01) {
            process.observe(&stratum(20, 500, 10, 500, None)).unwrap();
            intervals += 1;
        }
        let needed = 1000 * intervals;
        assert!(more > needed / 2 && more < needed * 3, "{more} forecast at {seen}, {needed} needed");
        assert_eq!(process.forecast(0.01), Some(0));
    }

    #[test]
    fn it_is_resumed_bit_by_bit() {
        let mut process = Process::new(1.2).unwrap();
        for i in 0..50 {
            process.observe(&stratum(i % 7, 90 + i, i % 5, 410, None)).unwrap();
            let json = serde_json::to_string(&process).unwrap();
            assert_eq!(serde_json::from_str::<Process>(&json).unwrap(), process);
            assert!(json.len() < 1024, "{}", json.len());
        }
    }
}
