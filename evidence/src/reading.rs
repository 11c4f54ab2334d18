//! What one check of one metric said, for machines and for people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{OnBreach, OnNoData};

/// What a check says of the candidate (J1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The value lies within the bound, on enough samples.
    Pass,
    /// A breach: beyond the bound, distinguishable from noise, for `consecutive` checks in a row.
    Fail,
    /// Beyond the bound, but not (yet) a breach.
    Inconclusive,
    /// Fewer than `minSamples`, or nothing recent.
    NoData,
    /// The source of the comparison cannot be used.
    Error,
}

/// How a reading was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Layer {
    /// By comparing a window with the user's threshold.
    #[default]
    Threshold,
    /// By a sequential test of harm or change over the whole rollout.
    Sequential,
    /// By the sequential test that must prove the candidate good enough.
    Acceptance,
}

/// One metric at one check. Every number is finite or absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// Name of the metric.
    pub metric: String,
    /// What the check says.
    pub verdict: Verdict,
    /// What a Fail of this metric causes, resolved (J5). `alert` never holds a stage.
    pub on_breach: OnBreach,
    /// What to do about the lack of data; set once it lasted for the metric's deadline (J5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue: Option<OnNoData>,
    /// The value compared: a share, seconds, a distance, or a ratio; absent without enough data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The bound that it was or would be compared with; absent before a comparison whose bound is what noise
    /// reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Samples of the candidate: requests for rates and latency, items for drift, pairs for disagreement.
    pub n: u64,
    /// Samples of stable, where stable was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_stable: Option<u64>,
    /// Lower end of the value's confidence interval at `level`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// For distances: what a true distance at the bound shows with probability `level` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<f64>,
    /// Level of this check (J3); 0 for a raw comparison.
    pub level: f64,
    /// Number of this check within the rollout, from 1; 0 before the first comparison.
    pub check: u64,
    /// Start of the oldest interval in the comparison.
    pub window_from: Timestamp,
    /// End of the newest.
    pub window_to: Timestamp,
    /// Which layer it belongs to.
    #[serde(default)]
    pub layer: Layer,
    /// Of a sequential test: the always-valid p-value, 0..=1, that of its strongest moment so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// Of a sequential test: requests of both arms still needed until it is proven, if what was seen so far
    /// goes on; absent if that would never be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<u64>,
    /// Of the test of errors, in the watch after a promotion: how many times stable's rate would more likely be
    /// noticed than not before the watch ends, if it set in now; one of [`DETECTED`](crate::DETECTED). Absent if not
    /// even the largest would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detects: Option<f64>,
    /// For drift: where the distributions differ most, largest contribution first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
    /// One sentence for people, with value, bound, samples and window.
    pub reason: String,
}

/// A part of a distribution and what it contributes to a drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// Class name, or range of values.
    pub name: String,
    /// Its term of the distance, as the function of that distance says; for KS, Wasserstein and L-infinity the
    /// absolute difference of the shares.
    pub contribution: f64,
    /// Share of the candidate's items that lie in it, 0..=1.
    pub share: f64,
    /// Share of the items compared with.
    pub against: f64,
}

impl Reading {
    /// Of a metric or test that measured nothing in this window: no number, at level 0, before any check.
    #[must_use]
    pub fn unmeasured(
        metric: &str,
        layer: Layer,
        (verdict, on_breach): (Verdict, OnBreach),
        (window_from, window_to): (Timestamp, Timestamp),
        why: &str,
    ) -> Self {
        Self {
            metric: metric.to_owned(),
            verdict,
            on_breach,
            overdue: None,
            value: None,
            threshold: None,
            n: 0,
            n_stable: None,
            low: None,
            high: None,
            critical: None,
            level: 0.0,
            check: 0,
            window_from,
            window_to,
            layer,
            p_value: None,
            forecast: None,
            detects: None,
            cells: Vec::new(),
            reason: format!("{metric}: {why}"),
        }
    }

    /// Whether a stage must not be left because of it (T2). A sequential test that has proven nothing is a pass
    /// so far, also where it has nothing to look at: it is there to take back, the user's metrics to let pass. That of
    /// acceptance must have proven it.
    #[must_use]
    pub fn holds(&self) -> bool {
        let passes = match self.layer {
            Layer::Threshold | Layer::Acceptance => self.verdict == Verdict::Pass,
            Layer::Sequential => matches!(self.verdict, Verdict::Pass | Verdict::NoData),
        };
        !passes && self.on_breach != OnBreach::Alert
    }
}
