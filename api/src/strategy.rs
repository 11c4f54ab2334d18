//! How a new revision gets its share.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, Model};

/// How a changed model is rolled out: exactly one of the strategies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.canary), has(self.blueGreen), has(self.shadow), has(self.abTest), has(self.bandit)].exists_one(x, x)")
        .message("strategy: set exactly one of canary, blueGreen, shadow, abTest, bandit")
)]
pub struct Strategy {
    /// A growing share, judged at every step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The whole of the new version beside the old one, previewed, then switched to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue_green: Option<BlueGreen>,
    /// Copies of requests only: users never see the candidate's answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// A fixed split until a hypothesis is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ab_test: Option<AbTest>,
    /// Shares that follow the rewards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandit: Option<Bandit>,
}

/// Steps of rising weight, copies first. After the last step has been left the candidate is promoted to 100 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.onInconclusive) || has(self.maxStageDuration)")
        .message("strategy.canary.onInconclusive: acts after maxStageDuration; set that too")
)]
pub struct Canary {
    /// The steps, in order: shadow steps first, then rising weights.
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(
        validation = Rule::new("self.all(s, [has(s.weight), has(s.shadow)].exists_one(x, x))")
            .message("strategy.canary.steps: each step sets exactly one of weight, shadow"),
        validation = Rule::new("self.map(s, has(s.weight) ? s.weight : 0).isSorted()")
            .message("strategy.canary.steps: weights must rise from step to step, and shadow steps come first"),
        validation = Rule::new("self.all(s, !has(s.weight) || self.filter(t, has(t.weight) && t.weight == s.weight).size() == 1)")
            .message("strategy.canary.steps: two steps have the same weight")
    )]
    pub steps: Vec<Step>,
    /// What lets a step be left besides its conditions. Default: onHold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Advance>,
    /// Longest time in a step, from when every router serves it, time that it stands still left out; then
    /// `onInconclusive` acts. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stage_duration: Option<Duration>,
    /// What becomes of a step that cannot be left by then. Default: hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_inconclusive: Option<OnInconclusive>,
}

/// One step. It is left when its hold is over, its requests are seen, its approval is given and every metric
/// that is not only an alert passes (T2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Share of the candidate in percent, 1..=99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub weight: Option<u8>,
    /// In place of `weight`: percent of the requests that the candidate gets a copy of, 1..=100. Users never see
    /// its answers; they are compared with stable's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub shadow: Option<u8>,
    /// Least time at this weight, from when every router serves it (T1). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
    /// Least number of the candidate's own split requests in this step, of compared pairs in a shadow step. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub min_requests: Option<u64>,
    /// Wait for `promote` before leaving. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<bool>,
}

/// What lets a stage be left besides its conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Advance {
    /// Nothing: a sequential test that has not proven harm is a pass so far.
    OnHold,
    /// The sequential test of errors must prove that the candidate is good enough.
    OnEvidence,
}

/// What becomes of a stage that could not be left in its longest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnInconclusive {
    /// It waits on, and says so.
    Hold,
    /// It is left, unless a metric fails.
    Promote,
    /// The candidate is taken back.
    Rollback,
}

/// The new version with all its pods beside the old one; previewed by those who ask for it; then users are
/// switched to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.onInconclusive) || has(self.maxStageDuration)")
        .message("strategy.blueGreen.onInconclusive: acts after maxStageDuration; set that too")
)]
pub struct BlueGreen {
    /// The preview, at weight 0: requests that `routing.match` or targeting sends to the candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Switch without asking; false waits for `promote` at the end of the preview. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_promote: Option<bool>,
    /// How users are switched. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<Switch>,
    /// How long the old version keeps all its pods afterwards. Default: `rollback.keepWarm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_blue: Option<Duration>,
    /// As for canary. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stage_duration: Option<Duration>,
    /// As for canary. Default: hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_inconclusive: Option<OnInconclusive>,
}

/// Before the switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// Least time. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
    /// Least number of previewed requests. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub min_requests: Option<u64>,
}

/// How users are switched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Switch {
    /// By steps. Absent: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradual: Option<Gradual>,
}

/// A switch by steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gradual {
    /// Rising weights; the last step is followed by 100 %.
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(
        validation = Rule::new("self.map(s, s.weight).isSorted()")
            .message("strategy.blueGreen.switch.gradual.steps: weights must rise from step to step"),
        validation = Rule::new("self.all(s, self.filter(t, t.weight == s.weight).size() == 1)")
            .message("strategy.blueGreen.switch.gradual.steps: two steps have the same weight")
    )]
    pub steps: Vec<SwitchStep>,
}

/// One step of a switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwitchStep {
    /// Share of the new version in percent, 1..=99.
    #[schemars(range(min = 1, max = 99))]
    pub weight: u8,
    /// Least time. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
}

/// Copies of requests only; of a first deployment too, which then answers nobody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.onInconclusive) || has(self.maxStageDuration)")
        .message("strategy.shadow.onInconclusive: acts after maxStageDuration; set that too")
)]
pub struct Shadow {
    /// Percent of the requests that the candidate gets a copy of, 1..=100.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u8,
    /// Least time. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
    /// Least number of compared pairs; of copies where nothing is stable. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub min_requests: Option<u64>,
    /// What follows once every gate passes. Default: report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Then>,
    /// As for canary. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stage_duration: Option<Duration>,
    /// As for canary; `promote` ends the shadow as if it had passed. Default: hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_inconclusive: Option<OnInconclusive>,
}

/// What follows a shadow that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// The numbers stay in the ModelRollout; stable goes on, and the candidate's pods go.
    Report,
    /// The candidate gets 100 %.
    Promote,
}

/// A fixed split until a hypothesis is decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AbTest {
    /// Share of each candidate in percent; stable keeps at least 1.
    #[schemars(range(min = 1, max = 99))]
    pub weight: u8,
    /// What is to be shown.
    pub hypothesis: Hypothesis,
    /// When it is called undecided, from when every router serves the split, time that it stands still left out.
    pub max_duration: Duration,
    /// What follows when the hypothesis is shown. Default: promote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_win: Option<OnWin>,
    /// What follows when it is ruled out. Default: rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_lose: Option<OnLose>,
    /// What follows when time is out. Default: rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_undecided: Option<OnUndecided>,
    /// Further candidates beside `spec.model`, each compared with stable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub challengers: Vec<Challenger>,
}

/// What an A/B test is to show of a candidate against stable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hypothesis {
    /// By what the arms are compared.
    pub metric: Measure,
    /// Which way is better.
    pub direction: Direction,
    /// The smallest difference of the shares that matters: 0.01 is one point.
    #[schemars(range(min = 0.000_1, max = 0.5))]
    pub minimum_effect: f64,
    /// Probability of a wrong win, and of a wrong loss, however often one looks. Default: 0.05.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001, max = 0.4))]
    pub significance: Option<f64>,
}

/// By what arms are compared, and rewarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// Share of requests that were answered well: all but overload, error, timeout, connect and fallback (C2).
    SuccessRate,
    /// Share of requests that were answered with a confidence of 0.9 or more.
    HighConfidence,
    /// Share of right answers, of those whose true labels arrived. Needs `router.feedback`; an A/B test by it also
    /// requests that are drawn one by one, so no `routing.sticky`.
    Accuracy,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More.
    Increase,
    /// Less.
    Decrease,
}

/// What follows when the hypothesis is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnWin {
    /// The winner gets 100 %.
    Promote,
    /// The split stays until a person promotes or aborts.
    Hold,
}

/// What follows when the hypothesis is ruled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnLose {
    /// Stable gets 100 %.
    Rollback,
    /// The split stays until a person promotes or aborts.
    Hold,
}

/// What follows when time is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnUndecided {
    /// Stable gets 100 %.
    Rollback,
    /// The candidate gets 100 %.
    Promote,
    /// The split stays until a person promotes or aborts.
    Hold,
}

/// Shares that follow the rewards (Thompson sampling in batches).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bandit {
    /// What an arm is rewarded for.
    pub reward: Measure,
    /// Lowest share of an arm in percent. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub floor: Option<u8>,
    /// Most by which a share changes in one interval, in percent. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub max_step: Option<u8>,
    /// After which time a reward counts half. Default: all count alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_life: Option<Duration>,
    /// An arm that is the best with this probability wins, 0.5..0.9999. Default: 0.95.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.5, max = 0.9999))]
    pub stop_at: Option<f64>,
    /// When it is called undecided and stable gets 100 %. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// Further candidates beside `spec.model`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub challengers: Vec<Challenger>,
}

/// A further candidate: served like `spec.model`, by the same server settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Challenger {
    /// Name, unique among the challengers.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Its model.
    pub model: Model,
}
