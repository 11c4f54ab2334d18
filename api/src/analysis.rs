//! What a candidate is judged by.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// How often and by what a candidate is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.interval) || (duration(self.interval) >= duration('1s') && duration(self.interval) <= duration('1h'))")
        .message("analysis.interval: must be between 1s and 1h"),
    validation = Rule::new("!has(self.sequential) || !has(self.falseRollback) || self.falseRollback > 0.0")
        .message("analysis.sequential: its tests share falseRollback, which is 0; raise it or leave sequential out"),
    validation = Rule::new("!has(self.tripWire) || !self.tripWire || !has(self.falseRollback) || self.falseRollback > 0.0")
        .message("analysis.tripWire: it spends of falseRollback, which is 0; raise it or leave tripWire out")
)]
pub struct Analysis {
    /// Time between two readings of the routers, 1s to 1h. Default: 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Budget for ever rolling back a harmless candidate, 0..=0.2 (S2); 0 compares raw numbers. Default: 0.01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.2))]
    pub false_rollback: Option<f64>,
    /// The tests that compare the candidate with stable by themselves. On by default, unless `falseRollback` is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential: Option<Sequential>,
    /// Whether a router stops sending to a candidate by itself when 10 of its last 20 requests there failed while less
    /// than 5 % of stable's did; then the candidate is taken back. Default: true, unless nothing else judges it or
    /// `falseRollback` is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trip_wire: Option<bool>,
    /// The metrics, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub metrics: Vec<Metric>,
}

/// The sequential tests: each may be looked at as often as one likes without ever rolling back more harmless
/// candidates than its part of `falseRollback` (S1, S2). Settings act from the next rollout (I3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sequential {
    /// The candidate fails more often than stable. Default: tolerance 1.1, rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<HarmTest>,
    /// More of the candidate's answers are slower than what 95 % and 99 % of stable's are. Default: tolerance
    /// 1.5, rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<HarmTest>,
    /// More of the candidate's answers are unsure than on its reference profile, beyond what stable shows
    /// compared with its own. Default: tolerance 1.25, rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_confidence: Option<HarmTest>,
    /// More of the candidate's labelled answers are wrong. Needs `router.feedback`. Default: tolerance 1.1, rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<HarmTest>,
    /// Confidence, classes or inputs are distributed otherwise than stable's. Default: alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeTest>,
}

/// A one-sided test of harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HarmTest {
    /// Up to how many times stable's rate is no harm, 1..=10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0, max = 10.0))]
    pub tolerance: Option<f64>,
    /// What proven harm causes. Default: rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_breach: Option<OnHarm>,
}

/// A two-sided test of equality: a change is not a harm, so it never rolls back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeTest {
    /// What a proven change causes. Default: alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_breach: Option<OnChange>,
}

/// What proven harm causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnHarm {
    /// Back to stable.
    Rollback,
    /// Stay where it is until someone resumes.
    Pause,
    /// Condition and event only.
    Alert,
    /// The test does not run.
    Ignore,
}

/// What a proven change causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// Stay where it is until someone resumes.
    Pause,
    /// Condition and event only.
    Alert,
    /// The test does not run.
    Ignore,
}

/// One thing to watch and its threshold: exactly one kind, and `max` or `maxRatio` (for drift `max`, `significance`
/// or both; for accuracy `min` or `maxDrop`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.drift), has(self.errorRate), has(self.latency), has(self.invalidInputRate), has(self.nullOutputRate), has(self.disagreement), has(self.accuracy)].exists_one(x, x)")
        .message("metric: set exactly one of drift, errorRate, latency, invalidInputRate, nullOutputRate, disagreement, accuracy"),
    validation = Rule::new("!has(self.disagreement) || !has(self.maxRatio)")
        .message("metric: disagreement takes max, not maxRatio: it is a comparison already"),
    validation = Rule::new("[has(self.max), has(self.maxRatio), has(self.min), has(self.maxDrop)].exists_one(x, x) || (has(self.drift) && !has(self.max) && !has(self.maxRatio))")
        .message("metric: set exactly one of max, maxRatio, or for accuracy of min, maxDrop"),
    validation = Rule::new("has(self.accuracy) == (has(self.min) || has(self.maxDrop))")
        .message("metric: accuracy takes min or maxDrop, and nothing else does: more of it is better"),
    validation = Rule::new("!has(self.drift) || has(self.max) || has(self.maxRatio) || (has(self.significance) && self.significance > 0.0)")
        .message("metric: drift needs max, or a significance above 0 that says which distance is more than noise"),
    validation = Rule::new("!has(self.drift) || !has(self.maxRatio)")
        .message("metric: drift takes max, not maxRatio: it is a comparison already"),
    validation = Rule::new("!has(self.latency) || !has(self.max) || self.max > 0.0")
        .message("metric: latency max is in seconds and must be above 0"),
    validation = Rule::new("!(has(self.errorRate) || has(self.invalidInputRate) || has(self.nullOutputRate) || has(self.disagreement)) || !has(self.max) || self.max <= 1.0")
        .message("metric: a rate's max is between 0 and 1 (0.02 for 2 %)"),
    validation = Rule::new("!has(self.drift) || self.drift.statistic in ['psi', 'chiSquare', 'g'] || !has(self.max) || self.max <= 1.0")
        .message("metric: this statistic is never more than 1, so max must be between 0 and 1"),
    validation = Rule::new("!(has(self.window) && has(self.lastRequests))")
        .message("metric: set window or lastRequests, not both"),
    validation = Rule::new("!has(self.lastRequests) || self.lastRequests >= (has(self.minSamples) ? self.minSamples : 100)")
        .message("metric: lastRequests must be at least minSamples (default 100)"),
    validation = Rule::new("!has(self.window) || (duration(self.window) >= duration('1s') && duration(self.window) <= duration('24h'))")
        .message("metric: window must be between 1s and 24h")
)]
pub struct Metric {
    /// Name, unique among the metrics.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Distance of a distribution from the reference profile or from stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Share of requests that failed: overload, error, timeout, connect, fallback over all but cancelled (C2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<ErrorRate>,
    /// A latency quantile in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Share of requests that were refused because of their input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_input_rate: Option<InvalidInputRate>,
    /// Share of items whose answer was withheld or NaN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_output_rate: Option<NullOutputRate>,
    /// Share of copies whose class is another than that of the user's answer. Only measured in shadow stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<Disagreement>,
    /// Share of right answers, of those whose true labels arrived. Needs `router.feedback`. In shadow stages a label of
    /// stable's answer tells of the copy's too, where the router still remembers it. `minSamples` counts labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
    /// Largest value that passes. Drift may leave it out and set `significance` alone: then it passes up to what
    /// noise reaches for this number of samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub max: Option<f64>,
    /// Largest ratio of the candidate's value to stable's that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub max_ratio: Option<f64>,
    /// Smallest value that passes, of accuracy alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min: Option<f64>,
    /// How far below stable's value in the same window the candidate's may be, of accuracy alone: 0.02 is two points.
    /// Compared only while answers of both are labelled alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_drop: Option<f64>,
    /// How far back to look; extended to the stage's start until `minSamples` are there. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// In place of `window`: how many of the candidate's newest requests to look at, 1..=1000000 and at least
    /// `minSamples`; whole intervals, so it may be a few more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub last_requests: Option<u64>,
    /// Fewest of the candidate's samples (against stable: of both) that are judged. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: Option<u64>,
    /// How many checks in a row must be beyond the threshold. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub consecutive: Option<u32>,
    /// Level of each check, 0..=0.5, in place of the share of `falseRollback` (J3); 0 compares raw numbers. For
    /// drift it may stand alone, above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.5))]
    pub significance: Option<f64>,
    /// What a breach causes. Absent: rollback for harm and for drift of the candidate alone, alert for drift
    /// that both arms show (J5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_breach: Option<OnBreach>,
    /// What missing data cause after `noDataDeadline`. Default: hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoData>,
    /// How long data may be missing before `onNoData` acts. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data_deadline: Option<Duration>,
}

/// A distribution compared with another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(self.feature == 'class' && self.statistic in ['ks', 'wasserstein'])")
        .message("metric: ks and wasserstein need an order and classes have none; use psi for feature class")
)]
pub struct Drift {
    /// What is compared.
    pub feature: Series,
    /// By which distance.
    pub statistic: Statistic,
    /// With what.
    pub against: Against,
}

/// What drift is measured of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Series {
    /// Mean pixel value of the input.
    Brightness,
    /// Standard deviation of the input's pixels.
    Contrast,
    /// Strength of edges of the input.
    Sharpness,
    /// Mean saturation of the input's pixels.
    Saturation,
    /// Pixels of the image as it came.
    Size,
    /// Confidence of the answer.
    Confidence,
    /// Entropy of the answer's probabilities.
    Entropy,
    /// -logsumexp of the logits.
    Energy,
    /// Predicted class.
    Class,
}

/// A distance of two distributions, on ten groups of cells (classes as they are) unless it is said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Statistic {
    /// Population stability index, from 0 and unbounded.
    Psi,
    /// Kolmogorov-Smirnov distance on the grid's cells: largest difference of the cumulative shares, 0..=1.
    Ks,
    /// Pearson's chi-square; grows with the number of samples, so best with `significance` alone.
    ChiSquare,
    /// Likelihood ratio G; grows with the number of samples, so best with `significance` alone.
    G,
    /// Jensen-Shannon distance (base 2), 0..=1.
    JensenShannon,
    /// Wasserstein-1 distance on the grid's cells, in the feature's unit (size, energy: as a part of the grid), 0..=1.
    Wasserstein,
    /// Hellinger distance, 0..=1.
    Hellinger,
    /// Largest difference of a group's shares, 0..=1.
    LInfinity,
}

/// What a distribution is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Against {
    /// The reference profile in the artefact.
    Reference,
    /// The stable revision in the same window.
    Stable,
}

/// No settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorRate {}

/// No settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InvalidInputRate {}

/// No settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NullOutputRate {}

/// No settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disagreement {}

/// No settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accuracy {}

/// Which latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// The quantile, 0.5..=0.999.
    #[schemars(range(min = 0.5, max = 0.999))]
    pub quantile: f64,
}

/// What a breach causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBreach {
    /// Back to stable.
    Rollback,
    /// Stay where it is until someone resumes.
    Pause,
    /// Condition and event only.
    Alert,
}

/// What missing data cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnNoData {
    /// Wait.
    Hold,
    /// Stay where it is until someone resumes.
    Pause,
    /// Back to stable.
    Rollback,
}
