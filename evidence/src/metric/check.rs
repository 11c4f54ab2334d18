//! Which metrics can be judged.

use super::{Bound, Kind, Metric, Series};

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
    use jiff::SignedDuration;

    use super::*;
    use crate::metric::{Against, Statistic};

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
}
