//! What the user asked to be watched, validated.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use wire::Feature;

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
    /// Measured where users get the candidate's answers: not in shadow stages.
    Accuracy,
}

/// What a drift statistic looks at, per item of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Series {
    /// A statistic of the input image.
    Feature(Feature),
    /// Confidence of the predicted class; null outputs are excluded (C3).
    Confidence,
    /// The predicted class.
    Class,
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
    /// Wasserstein-1: how far an item must be moved on average, in the unit of the series, 0..=1
    /// ([`crate::wasserstein`]).
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

/// Why a metric cannot be judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("metric {metric}: {field} is {found}, {allowed}")]
pub struct MetricError {
    /// Name of the metric.
    pub metric: String,
    /// The field, spelt as in the manifest.
    pub field: &'static str,
    /// What was found.
    pub found: String,
    /// What is allowed, as the end of a sentence.
    pub allowed: &'static str,
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

    /// Checks everything that [`crate::judge`] relies on.
    ///
    /// # Errors
    /// Names the first field that is wrong, what was found and what is allowed.
    pub fn check(&self) -> Result<(), MetricError> {
        let refuse = |field, found: &dyn std::fmt::Display, allowed| {
            Err(MetricError { metric: self.name.clone(), field, found: found.to_string(), allowed })
        };
        if let Some((field, found, allowed)) = self.wrong_kind() {
            return refuse(field, &found, allowed);
        }
        match (self.bound, self.kind) {
            (Bound::Max(max), _) if !max.is_finite() || max < 0.0 => {
                refuse("max", &max, "must be a finite number of at least 0")
            }
            (Bound::Max(max), Kind::Latency { .. }) if max == 0.0 => {
                refuse("max", &max, "must be a duration above 0 s")
            }
            (Bound::Max(max), kind) if max > 1.0 && !kind.is_unbounded() => {
                refuse("max", &max, "must lie within 0 and 1: the value is never more than 1")
            }
            (Bound::MaxRatio(ratio), _) if !ratio.is_finite() || ratio <= 0.0 => {
                refuse("maxRatio", &ratio, "must be a finite number above 0")
            }
            (Bound::MaxRatio(ratio), Kind::Drift { .. }) => {
                refuse("maxRatio", &ratio, "but a drift is one distance, not two values: use max")
            }
            (Bound::MaxRatio(ratio), Kind::Disagreement) => {
                refuse("maxRatio", &ratio, "but a disagreement is one share, not two values: use max")
            }
            (Bound::Min(bound) | Bound::MaxDrop(bound), Kind::Accuracy) if !(0.0..=1.0).contains(&bound) => {
                refuse(self.bound.field(), &bound, "must lie within 0 and 1")
            }
            (Bound::Min(bound) | Bound::MaxDrop(bound), kind) if kind != Kind::Accuracy => {
                refuse(self.bound.field(), &bound, "but that is for accuracy alone: use max or maxRatio")
            }
            (Bound::Max(bound) | Bound::MaxRatio(bound), Kind::Accuracy) => refuse(
                self.bound.field(),
                &bound,
                "but more accuracy is better: use min, or maxDrop for how far below stable it may be",
            ),
            (Bound::Noise, Kind::Drift { .. }) if self.significance.is_none_or(|level| level == 0.0) => {
                let found = if self.significance.is_some() { "0" } else { "absent" };
                refuse("significance", &found, "must be above 0 where there is no max")
            }
            (Bound::Noise, kind) if !matches!(kind, Kind::Drift { .. }) => refuse(
                "max",
                &"absent",
                "but significance alone is a bound for drift only: set max or maxRatio",
            ),
            _ if self.last_requests.is_some_and(|requests| requests < self.min_samples) => {
                refuse("lastRequests", &self.last_requests.unwrap_or(0), "must be at least minSamples")
            }
            _ if !self.window.is_positive() => refuse("window", &self.window, "must be above 0 s"),
            _ if self.min_samples == 0 => {
                refuse("minSamples", &0, "must be at least 1: no data is never a pass")
            }
            _ if self.consecutive == 0 => refuse("consecutive", &0, "must be at least 1"),
            _ if self.no_data_deadline.is_negative() => {
                refuse("noDataDeadline", &self.no_data_deadline, "must not be negative")
            }
            _ => match self.significance {
                Some(level) if !(0.0..1.0).contains(&level) => {
                    refuse("significance", &level, "must be at least 0 and below 1")
                }
                _ => Ok(()),
            },
        }
    }

    fn wrong_kind(&self) -> Option<(&'static str, String, &'static str)> {
        match self.kind {
            // rule: J4
            Kind::Drift { series: Series::Class, statistic, .. } if statistic.needs_order() => {
                Some(("drift.statistic", statistic.as_str().into(), "but classes have no order: use psi"))
            }
            Kind::Latency { quantile } if !(quantile > 0.0 && quantile < 1.0) => {
                Some(("latency.quantile", quantile.to_string(), "must lie between 0 and 1, for example 0.99"))
            }
            _ => None,
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
            // Nobody gets the answers to copies, so nobody labels them.
            Kind::Accuracy if interval.draw == Draw::Shadow => false,
            _ => interval.compares_stable() || !self.compares_stable(),
        }
    }

    /// Whether a breach may roll the candidate back.
    #[must_use]
    pub fn rolls_back(&self) -> bool {
        self.on_breach.unwrap_or_default() == OnBreach::Rollback
    }
}

impl Bound {
    /// The field, spelt as in the manifest.
    const fn field(self) -> &'static str {
        match self {
            Self::Max(_) | Self::Noise => "max",
            Self::MaxRatio(_) => "maxRatio",
            Self::Min(_) => "min",
            Self::MaxDrop(_) => "maxDrop",
        }
    }
}

impl Kind {
    const fn is_unbounded(self) -> bool {
        match self {
            Self::Latency { .. } => true,
            Self::Drift { statistic, .. } => statistic.is_unbounded(),
            Self::ErrorRate
            | Self::InvalidInputRate
            | Self::NullOutputRate
            | Self::Disagreement
            | Self::Accuracy => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: Kind =
        Kind::Drift { series: Series::Class, statistic: Statistic::Ks, against: Against::Stable };
    const KS: Kind =
        Kind::Drift { series: Series::Confidence, statistic: Statistic::Ks, against: Against::Stable };

    fn field(metric: &Metric) -> &'static str {
        metric.check().unwrap_err().field
    }

    #[test]
    fn every_refusal_names_its_field() {
        // rule: J4
        assert_eq!(
            Metric::new("c", CLASS, Bound::Max(0.1)).check().unwrap_err().to_string(),
            "metric c: drift.statistic is ks, but classes have no order: use psi"
        );
        assert_eq!(Metric::new("c", KS, Bound::Max(0.1)).check(), Ok(()));
        let noise = Metric::new("c", KS, Bound::Noise);
        for (level, refused) in [(None, true), (Some(0.0), true), (Some(1e-4), false)] {
            let error = Metric { significance: level, ..noise.clone() }.check().err();
            assert_eq!(error.map(|error| error.field), refused.then_some("significance"));
        }
        assert_eq!(field(&Metric::new("c", KS, Bound::Max(f64::NAN))), "max");
        assert_eq!(field(&Metric::new("c", KS, Bound::Max(1.5))), "max");
        assert_eq!(field(&Metric::new("c", KS, Bound::MaxRatio(1.5))), "maxRatio");
        assert_eq!(field(&Metric::new("e", Kind::ErrorRate, Bound::MaxRatio(f64::INFINITY))), "maxRatio");
        assert_eq!(
            Metric::new("d", Kind::Disagreement, Bound::MaxRatio(1.5)).check().unwrap_err().to_string(),
            "metric d: maxRatio is 1.5, but a disagreement is one share, not two values: use max"
        );
        assert_eq!(field(&Metric::new("d", Kind::Disagreement, Bound::Max(1.5))), "max");
        for quantile in [0.0, 1.0, f64::NAN] {
            assert_eq!(
                field(&Metric::new("l", Kind::Latency { quantile }, Bound::Max(1.0))),
                "latency.quantile"
            );
        }
        let good = Metric::new("l", Kind::Latency { quantile: 0.99 }, Bound::Max(2.5));
        assert_eq!(good.check(), Ok(()));
        assert_eq!(field(&Metric { bound: Bound::Max(0.0), ..good.clone() }), "max");
        assert_eq!(field(&Metric { window: SignedDuration::ZERO, ..good.clone() }), "window");
        assert_eq!(field(&Metric { min_samples: 0, ..good.clone() }), "minSamples");
        assert_eq!(field(&Metric { consecutive: 0, ..good.clone() }), "consecutive");
        assert_eq!(
            field(&Metric { no_data_deadline: SignedDuration::from_secs(-1), ..good.clone() }),
            "noDataDeadline"
        );
        for level in [1.0, -0.1, f64::NAN] {
            assert_eq!(field(&Metric { significance: Some(level), ..good.clone() }), "significance");
        }
        assert_eq!(field(&Metric { last_requests: Some(99), ..good.clone() }), "lastRequests");
        assert_eq!(field(&Metric { bound: Bound::Noise, significance: Some(0.01), ..good }), "max");
    }

    #[test]
    fn accuracy_has_lower_bounds_and_nothing_else_has() {
        for (kind, bound, refused) in [
            (Kind::Accuracy, Bound::Min(0.9), None),
            (Kind::Accuracy, Bound::MaxDrop(0.02), None),
            (Kind::Accuracy, Bound::Min(1.1), Some("min")),
            (Kind::Accuracy, Bound::MaxDrop(f64::NAN), Some("maxDrop")),
            (Kind::Accuracy, Bound::Max(0.9), Some("max")),
            (Kind::Accuracy, Bound::MaxRatio(1.1), Some("maxRatio")),
            (Kind::Accuracy, Bound::Noise, Some("max")),
            (Kind::ErrorRate, Bound::Min(0.9), Some("min")),
            (KS, Bound::MaxDrop(0.1), Some("maxDrop")),
        ] {
            let error = Metric::new("a", kind, bound).check().err();
            assert_eq!(error.map(|error| error.field), refused, "{kind:?} {bound:?}");
        }
    }

    #[test]
    fn a_breach_rolls_back_unless_the_user_says_otherwise() {
        // rule: J5
        let mut metric = Metric::new("e", Kind::ErrorRate, Bound::Max(0.02));
        assert!(metric.rolls_back());
        metric.on_breach = Some(OnBreach::Alert);
        assert!(!metric.rolls_back());
    }
}
