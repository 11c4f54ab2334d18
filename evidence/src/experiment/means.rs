//! Two means, compared once.

use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

use super::{ExperimentError, Test, within};
use crate::Measured;
use crate::share::{normal_above, normal_critical};

/// Number, mean and variance of finite values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw", rename_all = "camelCase")]
pub struct Sample {
    n: u64,
    mean: f64,
    variance: f64,
}

/// As it is stored, before its numbers are checked.
#[derive(Serialize, Deserialize)]
struct Raw {
    n: u64,
    mean: f64,
    variance: f64,
}

impl TryFrom<Raw> for Sample {
    type Error = ExperimentError;

    fn try_from(raw: Raw) -> Result<Self, ExperimentError> {
        Self::new(raw.n, raw.mean, raw.variance)
    }
}

impl From<Sample> for Raw {
    fn from(Sample { n, mean, variance }: Sample) -> Self {
        Self { n, mean, variance }
    }
}

impl Sample {
    /// `variance` is the sample's, with n - 1 below; 0 for a single value. Refuses NaN and infinity.
    pub fn new(n: u64, mean: f64, variance: f64) -> Result<Self, ExperimentError> {
        within("mean", mean, mean.is_finite(), "a finite number")?;
        within("variance", variance, variance >= 0.0 && variance.is_finite(), "a finite number from 0")?;
        Ok(Self { n, mean, variance })
    }

    /// How many values.
    #[must_use]
    pub fn n(self) -> u64 {
        self.n
    }

    /// Their mean.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.mean
    }

    /// Their variance, with n - 1 below; 0 for a single value.
    #[must_use]
    pub fn variance(self) -> f64 {
        self.variance
    }

    /// Adds the values of another pod or interval (Chan, Golub & LeVeque 1979).
    pub fn add(&mut self, other: Self) {
        let (n, m) = (self.n as f64, other.n as f64);
        if other.n == 0 {
            return;
        }
        let (total, step) = (n + m, other.mean - self.mean);
        let squares = self.variance * (n - 1.0).max(0.0)
            + other.variance * (m - 1.0).max(0.0)
            + step * step * n * m / total;
        self.n += other.n;
        self.mean += step * m / total;
        self.variance = if self.n > 1 { squares / (total - 1.0) } else { 0.0 };
    }

    /// Squared standard error of the mean.
    pub(super) fn error(self) -> f64 {
        self.variance / self.n as f64
    }
}

/// Difference, squared standard error and Welch-Satterthwaite degrees of freedom.
fn parts(candidate: Sample, stable: Sample) -> Option<(f64, f64, f64)> {
    if candidate.n < 2 || stable.n < 2 {
        return None;
    }
    let (a, b) = (candidate.error(), stable.error());
    let freedom = (a + b).powi(2) / (a * a / (candidate.n - 1) as f64 + b * b / (stable.n - 1) as f64);
    (a + b > 0.0).then_some((candidate.mean - stable.mean, a + b, freedom))
}

/// Welch's t-test of two means without equal variances (Welch, Biometrika 34 (1947) 28). `None` with less than
/// two values in an arm, and when nothing varies in either.
#[must_use]
pub fn welch(candidate: Sample, stable: Sample) -> Option<Test> {
    let (difference, error, freedom) = parts(candidate, stable)?;
    let statistic = difference / error.sqrt();
    let (above, below) = (student_above(statistic, freedom), student_above(-statistic, freedom));
    Some(Test { statistic, freedom, above, below })
}

/// candidate - stable with Welch's interval at two-sided `level`; `None` as for [`welch`].
#[must_use]
pub fn welch_interval(candidate: Sample, stable: Sample, level: f64) -> Option<Measured> {
    let (value, error, freedom) = parts(candidate, stable)?;
    let width = student_critical(level / 2.0, freedom) * error.sqrt();
    Some(Measured::new(value, value - width, value + width))
}

/// Degrees of freedom above which Student's law is computed from the normal one; `beta_reg` loses digits there.
const NEARLY_NORMAL: f64 = 1e5;

/// P(T > t) with `freedom` degrees: I_x(freedom/2, 1/2) / 2, x = freedom / (freedom + t^2), for t >= 0
/// (Abramowitz & Stegun 26.7.1); for many degrees by their 26.7.8.
fn student_above(t: f64, freedom: f64) -> f64 {
    if t < 0.0 {
        return 1.0 - student_above(-t, freedom);
    }
    if freedom > NEARLY_NORMAL {
        return normal_above(t * (1.0 - 0.25 / freedom) / (1.0 + 0.5 * t * t / freedom).sqrt());
    }
    0.5 * beta_reg(0.5 * freedom, 0.5, freedom / (freedom + t * t))
}

/// The value that Student's t exceeds with probability `tail` < 1/2, by bisection.
fn student_critical(tail: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 2.0 * normal_critical(tail));
    while student_above(high, freedom) > tail {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if student_above(middle, freedom) > tail { low = middle } else { high = middle }
    }
    high
}
