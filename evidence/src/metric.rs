//! What the user asked to be watched, validated.

mod check;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use wire::Feature;

pub use check::MetricError;

use crate::{Draw, Interval};

/// One threshold of the user's.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Unique name; the state of its checks is kept under it.
    pub name: String,
    /// What is measured.
    pub kind: Kind,
    /// What must not be exceeded.
    pub bound: Bound,
    /// How far back a comparison looks; it reaches further back, to the stage's start, until `min_samples`
    /// are seen (J5).
    pub window: SignedDuration,
    /// How many of the newest requests of the candidate a comparison looks at, in place of `window`, at least
    /// `min_samples`. Whole intervals are taken, so it may be a few more.
    pub last_requests: Option<u64>,
    /// Fewer split requests or items than this in either arm that is compared is no data (T2), >= 1.
    pub min_samples: u64,
    /// Checks in a row that must breach before the verdict is Fail, >= 1.
    pub consecutive: u32,
    /// What a breach causes; absent: the default, and see J5.
    pub on_breach: Option<OnBreach>,
    /// What being without data for `no_data_deadline` causes.
    pub on_no_data: OnNoData,
    /// How long a metric may be without data before `on_no_data` applies.
    pub no_data_deadline: SignedDuration,
    /// The level of every check, 0..1, in place of the part of `falseRollback` (J3); 0 compares the raw
    /// value with the bound. It leaves the promise of `falseRollback`.
    pub significance: Option<f64>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Distance between two distributions.
    Drift {
        /// Of what.
        series: Series,
        /// Which distance.
        statistic: Statistic,
        /// From what.
        against: Against,
    },
    /// Overload + error + timeout + connect + fallback over all requests but cancelled and drained (C2).
    ErrorRate,
    /// A quantile of the seconds that requests took.
    Latency {
        /// Which quantile, above 0 and below 1.
        quantile: f64,
    },
    /// Requests whose input was refused (4xx), over all but cancelled and drained.
    InvalidInputRate,
    /// Items whose answer was withheld or NaN, over all items (C3).
    NullOutputRate,
    /// Copies whose class differs from that of stable's answer, over all pairs of good answers whose classes could be
    /// compared. Measured in shadow stages with a stable alone.
    Disagreement,
    /// Labelled answers that were right, over all answers whose labels arrived. The one kind of which more is better.
    /// Measured where users get the candidate's answers, and in shadow stages where they get stable's to the same requests.
    Accuracy,
}

/// What a drift statistic looks at, per item of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Series {
    /// A statistic of the input image or of the answer.
    Feature(Feature),
    /// Confidence of the predicted class; null outputs are excluded (C3).
    Confidence,
    /// The predicted class.
    Class,
}

impl Series {
    /// Whether it is of the image, which the world sends; else it is of the model's answer.
    #[must_use]
    pub const fn is_input(self) -> bool {
        matches!(self, Self::Feature(feature) if feature.is_input())
    }

    /// The name in the manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Feature(feature) => feature.as_str(),
            Self::Confidence => "confidence",
            Self::Class => "class",
        }
    }
}

/// A distance between two distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Statistic {
    /// Population stability index: 0 for equal distributions, unbounded ([`crate::psi`]).
    Psi,
    /// Kolmogorov-Smirnov: largest difference of the cumulative shares, 0..=1 ([`crate::ks`]).
    Ks,
    /// Pearson's test of homogeneity; grows with the number of samples ([`crate::chi_square`]).
    ChiSquare,
    /// Likelihood ratio test of homogeneity; grows with the number of samples ([`crate::g_test`]).
    G,
    /// Jensen-Shannon distance, 0..=1 ([`crate::jensen_shannon`]).
    JensenShannon,
    /// Wasserstein-1: how far an item must be moved on average, in the unit of the series, for size and energy as a part
    /// of their grid, 0..=1 ([`crate::wasserstein`]).
    Wasserstein,
    /// Hellinger distance, 0..=1 ([`crate::hellinger`]).
    Hellinger,
    /// Largest difference of a group's shares, 0..=1 ([`crate::l_infinity`]).
    LInfinity,
}

impl Statistic {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Psi,
        Self::Ks,
        Self::ChiSquare,
        Self::G,
        Self::JensenShannon,
        Self::Wasserstein,
        Self::Hellinger,
        Self::LInfinity,
    ];

    /// The name in the manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::Ks => "ks",
            Self::ChiSquare => "chiSquare",
            Self::G => "g",
            Self::JensenShannon => "jensenShannon",
            Self::Wasserstein => "wasserstein",
            Self::Hellinger => "hellinger",
            Self::LInfinity => "lInfinity",
        }
    }

    /// Whether it compares cells by their order, so that it has no meaning for classes.
    #[must_use]
    pub const fn needs_order(self) -> bool {
        matches!(self, Self::Ks | Self::Wasserstein)
    }

    /// Whether it may exceed 1.
    const fn is_unbounded(self) -> bool {
        matches!(self, Self::Psi | Self::ChiSquare | Self::G)
    }
}

/// What a distribution is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Against {
    /// The reference profile in the candidate's artefact.
    Reference,
    /// The stable revision in the same window.
    Stable,
}

/// What must not be exceeded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// The value itself: a share for rates, seconds for latency, the distance for drift.
    Max(f64),
    /// The candidate's value over that of stable in the same window.
    MaxRatio(f64),
    /// What the value must reach: of [`Kind::Accuracy`] alone.
    Min(f64),
    /// How far the candidate's value may lie below that of stable in the same window, 0.01 is one point: of
    /// [`Kind::Accuracy`] alone.
    MaxDrop(f64),
    /// What noise alone reaches at the metric's own `significance`: for drift whose user names no distance. A fixed
    /// one is too small for few samples and too large for many.
    Noise,
}

/// What a breach causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBreach {
    /// The candidate is rolled back: for harm, and for drift of the candidate alone. Drift from the reference that
    /// stable shows as well becomes an alert when it is judged (J5).
    #[default]
    Rollback,
    /// The rollout pauses.
    Pause,
    /// It is reported, and stops nothing.
    Alert,
}

/// What lasting lack of data causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNoData {
    /// The stage waits.
    #[default]
    Hold,
    /// The rollout pauses.
    Pause,
    /// The candidate is rolled back.
    Rollback,
}

impl Metric {
    /// A metric with the defaults of J5: window 5m, minSamples 100, consecutive 1, hold without data and
    /// say so after 10m.
    #[must_use]
    pub fn new(name: &str, kind: Kind, bound: Bound) -> Self {
        // rule: J5
        Self {
            name: name.to_owned(),
            kind,
            bound,
            window: SignedDuration::from_mins(5),
            min_samples: 100,
            consecutive: 1,
            on_breach: None,
            on_no_data: OnNoData::Hold,
            no_data_deadline: SignedDuration::from_mins(10),
            significance: None,
            last_requests: None,
        }
    }

    /// Whether stable is part of the comparison itself, so that both arms need `min_samples` (T2).
    #[must_use]
    pub const fn compares_stable(&self) -> bool {
        matches!(self.bound, Bound::MaxRatio(_) | Bound::MaxDrop(_))
            || matches!(self.kind, Kind::Drift { against: Against::Stable, .. })
    }

    /// Whether it can be measured in the stage of this interval. Where it cannot, it has no reading.
    pub(crate) fn is_measured_in(&self, interval: &Interval) -> bool {
        match self.kind {
            Kind::Disagreement => interval.pairs.is_some(),
            // Nobody gets the answers to copies: they are labelled by those beside them.
            Kind::Accuracy if interval.draw == Draw::Shadow => interval.pairs.is_some(),
            _ => interval.compares_stable() || !self.compares_stable(),
        }
    }

    /// Whether a breach may roll the candidate back.
    #[must_use]
    pub fn rolls_back(&self) -> bool {
        self.on_breach.unwrap_or_default() == OnBreach::Rollback
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breach_rolls_back_unless_the_user_says_otherwise() {
        // rule: J5
        let mut metric = Metric::new("e", Kind::ErrorRate, Bound::Max(0.02));
        assert!(metric.rolls_back());
        metric.on_breach = Some(OnBreach::Alert);
        assert!(!metric.rolls_back());
    }
}
