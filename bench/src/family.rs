//! Families of harmless rollouts: all that may differ between two models of which none is worse.

use std::time::Duration;

use evidence::{Against, Bound, Kind, Metric, OnBreach, Series, Statistic, Tests};
use jiff::SignedDuration;
use rollout::Stage;
use wire::Feature;

use crate::simulated::Settings;
use crate::traffic::Model;

/// Requests of both arms in a rollout.
pub const REQUESTS: u64 = 20_000;
/// Requests per second.
pub const RATE: f64 = 10.0;
/// Seconds between samplings.
pub const INTERVALS: [u32; 3] = [5, 15, 60];

/// What makes a family of rollouts hard to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Nothing: a canary by 5, 10, 25, 50 %, equal models.
    Steady,
    /// Errors of both arms swing from 10 to 190 % within the rollout.
    Diurnal,
    /// Shares move by up to 20 points every interval, as a bandit's do.
    Bandit,
    /// The candidate is surer of its equal answers, and its own profile says so.
    Calibrated,
    /// As bad as the tolerances allow: 1.1 times the errors, 1.25 times the seconds, a swing on top.
    AtTolerance,
    /// Stable's errors take as long as a request may, the candidate's come at once.
    Late,
    /// Stable fails in every second request, which is no merit of the candidate, and no fault.
    StableFails,
    /// Sticky users; a few are heavy, and some have bad inputs that always fail.
    Sticky,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Steady,
        Self::Diurnal,
        Self::Bandit,
        Self::Calibrated,
        Self::AtTolerance,
        Self::Late,
        Self::StableFails,
        Self::Sticky,
    ];

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady ramp 5-10-25-50 %",
            Self::Diurnal => "errors swing 10..190 %",
            Self::Bandit => "shares of a bandit",
            Self::Calibrated => "surer, equally good",
            Self::AtTolerance => "at the tolerances",
            Self::Late => "stable's errors come 30 s late",
            Self::StableFails => "stable fails in 50 %",
            Self::Sticky => "sticky, clustered users",
        }
    }

    /// Stable.
    pub fn stable(self) -> Model {
        match self {
            Self::StableFails => Model { errors: 0.5, ..Model::GOOD },
            _ => Model::GOOD,
        }
    }

    /// The candidate, where stable is [`Model::GOOD`].
    pub fn candidate(self) -> Model {
        match self {
            Self::Calibrated => Model { sure: 5.2, ..Model::GOOD },
            Self::AtTolerance => {
                Model { errors: 1.1 * Model::GOOD.errors, seconds: 1.25 * Model::GOOD.seconds, ..Model::GOOD }
            }
            _ => Model::GOOD,
        }
    }

    /// Factor of both arms' error rate after this part of the rollout, 0..=1.
    pub fn swing(self, done: f64) -> f64 {
        match self {
            Self::Diurnal | Self::AtTolerance => 1.0 + 0.9 * (std::f64::consts::TAU * done).sin(),
            _ => 1.0,
        }
    }
}

/// The metrics of design §3, with both layers at their defaults.
pub fn settings(interval: u32) -> Settings {
    let drift = |name: &str, series, statistic, against, max| {
        Metric::new(name, Kind::Drift { series, statistic, against }, Bound::Max(max))
    };
    let brightness = Series::Feature(Feature::Brightness);
    let metrics = vec![
        Metric {
            window: SignedDuration::from_mins(5),
            min_samples: 300,
            ..drift("input-drift", brightness, Statistic::Psi, Against::Reference, 0.2)
        },
        drift("confidence", Series::Confidence, Statistic::Ks, Against::Stable, 0.15),
        Metric::new("errors", Kind::ErrorRate, Bound::Max(0.02)),
        Metric::new("latency", Kind::Latency { quantile: 0.99 }, Bound::MaxRatio(1.3)),
        Metric {
            on_breach: Some(OnBreach::Alert),
            ..Metric::new("rejected", Kind::InvalidInputRate, Bound::Max(0.05))
        },
    ];
    // The first two also wait for the samples that `input-drift` asks for.
    let stage = |(weight, seconds)| Stage { weight, hold: Duration::from_secs(seconds), ..Stage::default() };
    Settings {
        stages: [(5, 120), (10, 120), (25, 300), (50, 600)].map(stage).to_vec(),
        metrics,
        tests: Tests::default(),
        false_rollback: 0.01,
        interval,
    }
}
