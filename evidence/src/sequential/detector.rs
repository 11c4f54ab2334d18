//! Has one stream become worse than it was? For after promotion, where there is nothing to compare with.

use serde::{Deserialize, Serialize};

use super::{SequentialError, bits};
use crate::clopper_pearson;

/// Odds, as multiples of those of the limit, that are bet on.
const BETS: [f64; 8] = [1.15, 1.3, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];
/// Level of the upper limit that a baseline gives.
const BASELINE_LEVEL: f64 = 0.001;
/// Above this nothing is added: every alarm has long been raised, and f64 ends at 1.8e308.
const CEILING: f64 = 1e300;

/// A Shiryaev-Roberts e-detector for the null "the rate of events is at most `limit`" (Shin, Ramdas, Rinaldo,
/// *E-detectors*, 2024).
///
/// R = (R + n) e with each interval of n units, where e is the likelihood ratio of the interval's events for
/// a rate above the limit: a bet opened at every unit, all carried on. R minus the units seen is a
/// supermartingale while the rate is at most the limit, so that R first reaches A after A units at least on average,
/// for all time: A is the *average run length* in units, and also for the mean of several R.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detector {
    #[serde(with = "bits")]
    limit: [f64; 1],
    #[serde(with = "bits")]
    sums: [f64; BETS.len()],
}

impl Detector {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// A limit that is not a number within 0 and 1, both exclusive.
    pub fn new(limit: f64) -> Result<Self, SequentialError> {
        if !(limit > 0.0 && limit < 1.0) {
            let allowed = "between 0 and 1, both exclusive";
            return Err(SequentialError::OutOfRange { field: "limit", found: limit, allowed });
        }
        Ok(Self { limit: [limit], sums: [0.0; BETS.len()] })
    }

    /// Limits the rate by what the stream has shown: the upper Clopper-Pearson limit at 99.9 %, so that with
    /// probability 0.999 the run length holds for the stream as it was.
    ///
    /// # Errors
    /// A baseline of events only, or of nothing: it limits nothing.
    pub fn from_baseline(events: u64, units: u64) -> Result<Self, SequentialError> {
        Self::new(clopper_pearson(events, units, 2.0 * BASELINE_LEVEL).1)
    }

    /// The rate that it guards.
    #[must_use]
    pub fn limit(&self) -> f64 {
        self.limit[0]
    }

    /// Takes the events and units of an interval.
    ///
    /// # Errors
    /// More events than units; then nothing changes.
    pub fn observe(&mut self, events: u64, units: u64) -> Result<(), SequentialError> {
        if events > units {
            let (field, most_field) = ("events", "units");
            return Err(SequentialError::TooMany { field, found: events, most_field, most: units });
        }
        for (sum, odds) in self.sums.iter_mut().zip(BETS) {
            // Odds w times those of the limit: rate w m / (1 + m (w - 1)), against m.
            let log_e = events as f64 * odds.ln() - units as f64 * (self.limit[0] * (odds - 1.0)).ln_1p();
            *sum = ((*sum + units as f64) * log_e.exp()).min(CEILING);
        }
        Ok(())
    }

    /// The mean of the sums: what is compared with the average run length.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.sums.iter().map(|sum| sum / BETS.len() as f64).sum()
    }

    /// Whether it alarms *now*, if false alarms may come once in `run_length` units on average (1e6 or more).
    #[must_use]
    pub fn alarms(&self, run_length: f64) -> bool {
        self.value() >= run_length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tripled_rate_is_found_and_the_old_one_is_not() {
        let mut detector = Detector::from_baseline(350, 5000).unwrap();
        assert!(detector.limit() > 0.07 && detector.limit() < 0.085, "{}", detector.limit());
        for _ in 0..1000 {
            detector.observe(7, 100).unwrap();
            assert!(!detector.alarms(1e5), "{}", detector.value());
        }
        detector.observe(21, 100).unwrap();
        detector.observe(21, 100).unwrap();
        assert!(detector.alarms(1e6), "{}", detector.value());
    }

    #[test]
    fn huge_counts_stay_finite_and_can_be_stored() {
        let mut detector = Detector::new(0.01).unwrap();
        detector.observe(500_000_000, 1_000_000_000).unwrap();
        detector.observe(1, 1).unwrap();
        let json = serde_json::to_string(&detector).unwrap();
        assert_eq!(serde_json::from_str::<Detector>(&json).unwrap(), detector);
        detector.observe(0, 1_000_000_000).unwrap();
        assert!(detector.value() < 1.0, "and it forgets");
    }

    #[test]
    fn bad_input_names_its_field() {
        assert!(Detector::new(f64::NAN).unwrap_err().to_string().starts_with("limit is NaN;"));
        assert!(Detector::from_baseline(0, 0).is_err() && Detector::from_baseline(9, 9).is_err());
        let error = Detector::new(0.1).unwrap().observe(3, 2).unwrap_err();
        assert_eq!(error.to_string(), "events is 3; allowed is at most units = 2");
    }
}
