//! Shares of counted trials, values with limits, and the normal law they rest on.

use std::f64::consts::SQRT_2;

use serde::{Deserialize, Serialize};
use statrs::function::erf::{erfc, erfc_inv};

use crate::clopper_pearson;

/// A value with the limits of its confidence interval, low <= value <= high.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// The estimate.
    pub value: f64,
    /// Lower limit.
    pub low: f64,
    /// Upper limit.
    pub high: f64,
}

impl Measured {
    /// Limits that rounding put on the wrong side of the value are moved onto it.
    pub(crate) fn new(value: f64, low: f64, high: f64) -> Self {
        Self { value, low: low.min(value), high: high.max(value) }
    }
}

/// `events` out of `trials`, events <= trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// How often it happened.
    pub events: u64,
    /// How often it could have.
    pub trials: u64,
}

impl Share {
    /// More events than trials are taken as all of them.
    #[must_use]
    pub fn new(events: u64, trials: u64) -> Self {
        Self { events: events.min(trials), trials }
    }

    /// events / trials, 0..=1; `None` without trials.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        (self.trials > 0).then(|| self.events.min(self.trials) as f64 / self.trials as f64)
    }

    /// How often it did not happen.
    #[must_use]
    pub fn others(self) -> u64 {
        self.trials.saturating_sub(self.events)
    }

    /// With the [`wilson`] interval at two-sided `level`; `None` without trials.
    #[must_use]
    pub fn wilson(self, level: f64) -> Option<Measured> {
        let (low, high) = wilson(self.events, self.trials, level);
        self.value().map(|value| Measured::new(value, low, high))
    }

    /// With the exact interval ([`clopper_pearson`]) at two-sided `level`; `None` without trials.
    #[must_use]
    pub fn exact(self, level: f64) -> Option<Measured> {
        let (low, high) = clopper_pearson(self.events, self.trials, level);
        self.value().map(|value| Measured::new(value, low, high))
    }

    /// Adds the counts of another pod or interval.
    pub fn add(&mut self, other: Self) {
        self.events += other.events;
        self.trials += other.trials;
    }
}

/// Wilson's score interval of a share at two-sided `level`, 0 < level < 1: all p with
/// |x/n - p| <= z sqrt(p (1-p) / n), z exceeded with probability level/2 (Wilson, JASA 22 (1927) 209). Near
/// the level on average, where [`clopper_pearson`] is never above it and wider. (0, 1) without trials.
#[must_use]
pub fn wilson(events: u64, trials: u64, level: f64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (x, n, z) = (events.min(trials) as f64, trials as f64, normal_critical(level / 2.0));
    // The lower limit as a quotient, c / (a + b) in place of (a - b), loses no digits near 0.
    let lower = |x: f64| {
        let root = z * (x * (n - x) / n + z * z / 4.0).sqrt();
        x * x / n / (x + z * z / 2.0 + root)
    };
    (lower(x), 1.0 - lower(n - x))
}

/// The value that a standard normal exceeds with probability `tail`, 0 < tail < 1.
pub(crate) fn normal_critical(tail: f64) -> f64 {
    SQRT_2 * erfc_inv(2.0 * tail)
}

/// P(Z > z) of a standard normal.
pub(crate) fn normal_above(z: f64) -> f64 {
    0.5 * erfc(z / SQRT_2)
}
