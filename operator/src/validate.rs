//! From what was written to what is wanted. Pure.
//!
//! The API server's rules refuse most mistakes before they are stored; what they cannot say is checked here,
//! and again what an object might hold that was stored under older rules.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use api::{Analysis, ModelDeploymentSpec};
use evidence::Tests;
use jiff::SignedDuration;
use rollout::{Pause, State, Wanted};

use crate::revision::Asked;
use crate::sampler::Contest;
use crate::scaling::Settings;
use labels::Labels;
use measured::{comparable, measurable};
use stages::Compiled;

mod labels;
mod measured;
mod overlay;
mod scaling;
mod sequential;
mod stages;

const KEEP_WARM: Duration = Duration::from_secs(30 * 60);
const PROGRESS_DEADLINE: Duration = Duration::from_secs(10 * 60);
const FALSE_ROLLBACK: f64 = 0.01;
const ROUTERS: u32 = 2;
const HISTORY: u32 = 5;
/// Time between two readings of the routers: shorter ones load them, longer ones leave a bad candidate alone for
/// too long. The schema says so too.
const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// A spec that can be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Valid {
    /// What the decision needs.
    pub wanted: Wanted,
    /// The revisions that are asked for, by name.
    pub asked: Vec<(String, Asked)>,
    /// By what a candidate is judged: every metric that is right, also of a spec that is refused (T4).
    pub metrics: Vec<evidence::Metric>,
    /// The sequential tests of a rollout that begins now (S1).
    pub tests: Tests,
    /// What the candidates of a rollout that begins now compete by.
    pub contest: Option<Contest>,
    /// Budget of false rollbacks (S2).
    pub false_rollback: f64,
    /// What the number of model servers follows; absent where the spec says the number itself.
    pub scaling: Option<Settings>,
    /// Routers.
    pub routers: u32,
    /// Rollouts and unused revisions that are kept.
    pub history: usize,
}

impl Valid {
    /// Why the spec cannot be carried out, if so: what runs goes on as it is, and only the way back is open.
    #[must_use]
    pub fn refused(&self) -> Option<&Pause> {
        self.wanted.paused.as_ref().filter(|why| matches!(why, Pause::Refused(_)))
    }

    /// What the check of the spec waits for, if it is not known yet whether it can be carried out.
    #[must_use]
    pub fn unchecked(&self) -> Option<&Pause> {
        self.wanted.paused.as_ref().filter(|why| matches!(why, Pause::Unchecked(_)))
    }

    /// Whether nothing is to be made of the spec, or not yet.
    #[must_use]
    pub fn is_put_off(&self) -> bool {
        self.refused().or(self.unchecked()).is_some()
    }

    /// Asks for what was acted upon last, standing still: a spec that cannot be carried out must be put right first,
    /// whatever else is asked for, and abort and rollback must work in every state.
    pub fn put_off(&mut self, why: Pause, state: &State) {
        if let Some(served) = state.acted.as_deref().or(state.stable.as_deref()) {
            (self.wanted.revision, self.wanted.challengers) = Wanted::of_intent(served);
        }
        self.wanted.paused = Some(why);
    }
}

/// Why a spec cannot be carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field}: found {found}, {allowed}")]
pub struct Invalid {
    /// The field, spelt as in the manifest.
    pub field: String,
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

fn invalid(field: impl Into<String>, found: impl Into<String>, allowed: impl Into<String>) -> Invalid {
    Invalid { field: field.into(), found: found.into(), allowed: allowed.into() }
}

/// Everything that is wrong with one spec.
#[derive(Default)]
struct Wrong(Vec<Invalid>);

impl Wrong {
    /// The value, or the other one if there is none.
    fn or<T>(&mut self, checked: Result<T, Invalid>, otherwise: T) -> T {
        checked.unwrap_or_else(|why| {
            self.0.push(why);
            otherwise
        })
    }

    /// All of it in one sentence.
    fn refused(&self) -> Option<String> {
        let all: Vec<String> = self.0.iter().map(Invalid::to_string).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// Defaults of the installation.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// Time between two readings of the routers.
    pub interval: Duration,
    /// Whether a spec may change the pods of its model servers.
    pub pod_overlays: bool,
}

/// Validates a spec. `name` gives the name of what is asked for, `state` tells of the intent that was acted upon last: a
/// spec that cannot be carried out asks for that ([`Valid::put_off`]). What is right in it acts all the same: a
/// candidate is never judged by less than what can be judged.
#[must_use]
pub fn validate(
    spec: &ModelDeploymentSpec,
    name: impl Fn(&Asked) -> String,
    state: &State,
    defaults: Defaults,
) -> Valid {
    let mut wrong = Wrong::default();
    let labels = Labels::of(spec);
    let Compiled { stages, then, alone, keep_warm, challengers, contest } =
        wrong.or(stages::compile(&spec.strategy, labels), Compiled::default());
    let asked = asked(spec, challengers, name);
    let analysis = spec.analysis.as_ref();
    let interval = wrong.or(interval(analysis, defaults), defaults.interval);
    let false_rollback = wrong.or(false_rollback(analysis), FALSE_ROLLBACK);
    let metrics = metrics(analysis, labels, &mut wrong);
    let rollback = spec.rollback.as_ref();
    let holdback = rollback.and_then(|r| r.holdback).unwrap_or(0).min(100);
    wrong.or(comparable(&stages, holdback, &metrics), ());
    wrong.or(measurable(alone && state.stable.is_none(), &metrics), ());
    // rule: S2. Without a budget there is nothing that they may spend.
    let tests = match analysis.and_then(|a| a.sequential.as_ref()) {
        _ if false_rollback == 0.0 => Tests::OFF,
        written => wrong.or(sequential::tests(written, labels), sequential::default(labels)),
    };
    // One that is wrong changes no number: `spec.replicas` was not what ran.
    let scaling =
        spec.autoscaling.as_ref().map(|written| wrong.or(scaling::settings(written), Settings::HELD));
    wrong.or(overlay::check(spec.server.as_ref().and_then(|s| s.template.as_ref()), defaults), ());
    let judged = analysis.is_some_and(|a| !a.metrics.is_empty()) || tests != Tests::OFF;
    let wired = analysis.and_then(|a| a.trip_wire).unwrap_or(true);
    let wanted = Wanted {
        revision: asked[0].0.clone(),
        challengers: asked[1..].iter().map(|(name, _)| name.clone()).collect(),
        stages,
        then,
        alone,
        judged,
        // rule: R7, S2. Who reads no pages never hears of it, and without a budget it may spend nothing.
        trip_wire: wired && judged && false_rollback > 0.0,
        interval,
        replicas: spec.replicas.max(1),
        keep_warm: keep_warm
            .or(rollback.and_then(|r| r.keep_warm).map(api::Duration::get))
            .unwrap_or(KEEP_WARM),
        holdback,
        progress_deadline: spec.progress_deadline.map_or(PROGRESS_DEADLINE, api::Duration::get),
        paused: spec.paused.then_some(Pause::Asked),
    };
    let router = spec.router.as_ref();
    let mut valid = Valid {
        wanted,
        asked,
        metrics,
        tests,
        contest,
        false_rollback,
        scaling,
        routers: router.and_then(|r| r.replicas).unwrap_or(ROUTERS).max(1),
        history: spec.revision_history_limit.unwrap_or(HISTORY).max(1) as usize,
    };
    if let Some(why) = wrong.refused() {
        valid.put_off(Pause::Refused(why), state);
    }
    valid
}

/// What is asked for, the spec's own model first. A challenger that is the same as one before it is no further one.
fn asked(
    spec: &ModelDeploymentSpec,
    challengers: &[api::Challenger],
    name: impl Fn(&Asked) -> String,
) -> Vec<(String, Asked)> {
    let mut all: Vec<(String, Asked)> = Vec::new();
    let models = std::iter::once(&spec.model).chain(challengers.iter().map(|c| &c.model));
    for model in models {
        let asked = Asked { model: model.clone(), server: spec.server.clone() };
        let name = name(&asked);
        if all.iter().all(|(known, _)| *known != name) {
            all.push((name, asked));
        }
    }
    all
}

fn interval(analysis: Option<&Analysis>, defaults: Defaults) -> Result<Duration, Invalid> {
    let interval = analysis.and_then(|a| a.interval).map_or(defaults.interval, api::Duration::get);
    check_interval("spec.analysis.interval", interval)
}

/// An interval that routers may be read in; `field` is where it was found.
pub(crate) fn check_interval(field: &str, interval: Duration) -> Result<Duration, Invalid> {
    if INTERVALS.contains(&interval) {
        return Ok(interval);
    }
    Err(invalid(field, format!("{interval:?}"), "must be within 1s and 1h"))
}

fn false_rollback(analysis: Option<&Analysis>) -> Result<f64, Invalid> {
    let budget = analysis.and_then(|a| a.false_rollback).unwrap_or(FALSE_ROLLBACK);
    if !(0.0..=0.2).contains(&budget) {
        return Err(invalid("spec.analysis.falseRollback", budget.to_string(), "must be within 0 and 0.2"));
    }
    Ok(budget)
}

/// Those that are right; one that is not does not keep the others from judging.
fn metrics(analysis: Option<&Analysis>, labels: Labels, wrong: &mut Wrong) -> Vec<evidence::Metric> {
    let mut names = BTreeSet::new();
    let mut right = Vec::new();
    for (i, metric) in analysis.iter().flat_map(|a| &a.metrics).enumerate() {
        let field = format!("spec.analysis.metrics[{i}]");
        let checked = if names.insert(&metric.name) {
            self::metric(&field, metric, labels)
        } else {
            Err(invalid(format!("{field}.name"), &metric.name, "but another metric has that name"))
        };
        right.extend(wrong.or(checked.map(Some), None));
    }
    right
}

fn metric(field: &str, metric: &api::Metric, labels: Labels) -> Result<evidence::Metric, Invalid> {
    if metric.accuracy.is_some() {
        labels.taken(field)?;
    }
    let mut judged = evidence::Metric::new(&metric.name, kind(field, metric)?, bound(field, metric)?);
    match (metric.window, metric.last_requests) {
        (Some(_), Some(requests)) => {
            let found = requests.to_string();
            return Err(invalid(
                format!("{field}.lastRequests"),
                found,
                "but window is set too: set one of them",
            ));
        }
        (None, requests) => judged.last_requests = requests,
        (Some(window), None) => judged.window = signed(window),
    }
    if let Some(deadline) = metric.no_data_deadline {
        judged.no_data_deadline = signed(deadline);
    }
    judged.min_samples = metric.min_samples.unwrap_or(judged.min_samples);
    judged.consecutive = metric.consecutive.unwrap_or(judged.consecutive);
    judged.significance = metric.significance;
    judged.on_breach = metric.on_breach.map(|b| match b {
        api::OnBreach::Rollback => evidence::OnBreach::Rollback,
        api::OnBreach::Pause => evidence::OnBreach::Pause,
        api::OnBreach::Alert => evidence::OnBreach::Alert,
    });
    judged.on_no_data = metric.on_no_data.map_or(evidence::OnNoData::Hold, |o| match o {
        api::OnNoData::Hold => evidence::OnNoData::Hold,
        api::OnNoData::Pause => evidence::OnNoData::Pause,
        api::OnNoData::Rollback => evidence::OnNoData::Rollback,
    });
    judged.check().map_err(|e| invalid(format!("{field}.{}", e.field), &e.found, e.allowed))?;
    Ok(judged)
}

fn bound(field: &str, metric: &api::Metric) -> Result<evidence::Bound, Invalid> {
    let mut bounds = Vec::new();
    bounds.extend(metric.max.map(|max| ("max", evidence::Bound::Max(max))));
    bounds.extend(metric.max_ratio.map(|ratio| ("maxRatio", evidence::Bound::MaxRatio(ratio))));
    bounds.extend(metric.min.map(|min| ("min", evidence::Bound::Min(min))));
    bounds.extend(metric.max_drop.map(|drop| ("maxDrop", evidence::Bound::MaxDrop(drop))));
    match bounds[..] {
        [(_, bound)] => Ok(bound),
        [] if metric.drift.is_some() => Ok(evidence::Bound::Noise),
        [] if metric.accuracy.is_some() => Err(invalid(field, "no threshold", "set min or maxDrop")),
        [] => Err(invalid(field, "no threshold", "set max or maxRatio")),
        _ => {
            let names: Vec<&str> = bounds.iter().map(|(name, _)| *name).collect();
            Err(invalid(field, names.join(" and "), "set one of them"))
        }
    }
}

fn kind(field: &str, metric: &api::Metric) -> Result<evidence::Kind, Invalid> {
    let mut kinds = Vec::new();
    kinds.extend(metric.drift.as_ref().map(drift));
    kinds.extend(metric.error_rate.as_ref().map(|_| evidence::Kind::ErrorRate));
    kinds.extend(metric.latency.as_ref().map(|l| evidence::Kind::Latency { quantile: l.quantile }));
    kinds.extend(metric.invalid_input_rate.as_ref().map(|_| evidence::Kind::InvalidInputRate));
    kinds.extend(metric.null_output_rate.as_ref().map(|_| evidence::Kind::NullOutputRate));
    kinds.extend(metric.disagreement.as_ref().map(|_| evidence::Kind::Disagreement));
    kinds.extend(metric.accuracy.as_ref().map(|_| evidence::Kind::Accuracy));
    match kinds[..] {
        [kind] => Ok(kind),
        _ => Err(invalid(
            field,
            format!("{} kinds", kinds.len()),
            "set exactly one of drift, errorRate, latency, invalidInputRate, nullOutputRate, disagreement, accuracy",
        )),
    }
}

fn drift(drift: &api::Drift) -> evidence::Kind {
    use api::Series::{
        Brightness, Class, Confidence, Contrast, Energy, Entropy, Saturation, Sharpness, Size,
    };
    use evidence::Series::Feature;
    evidence::Kind::Drift {
        series: match drift.feature {
            Brightness => Feature(wire::Feature::Brightness),
            Contrast => Feature(wire::Feature::Contrast),
            Sharpness => Feature(wire::Feature::Sharpness),
            Saturation => Feature(wire::Feature::Saturation),
            Size => Feature(wire::Feature::Size),
            Entropy => Feature(wire::Feature::Entropy),
            Energy => Feature(wire::Feature::Energy),
            Confidence => evidence::Series::Confidence,
            Class => evidence::Series::Class,
        },
        statistic: match drift.statistic {
            api::Statistic::Psi => evidence::Statistic::Psi,
            api::Statistic::Ks => evidence::Statistic::Ks,
            api::Statistic::ChiSquare => evidence::Statistic::ChiSquare,
            api::Statistic::G => evidence::Statistic::G,
            api::Statistic::JensenShannon => evidence::Statistic::JensenShannon,
            api::Statistic::Wasserstein => evidence::Statistic::Wasserstein,
            api::Statistic::Hellinger => evidence::Statistic::Hellinger,
            api::Statistic::LInfinity => evidence::Statistic::LInfinity,
        },
        against: match drift.against {
            api::Against::Reference => evidence::Against::Reference,
            api::Against::Stable => evidence::Against::Stable,
        },
    }
}

/// Longer than an `i64` of seconds means for ever.
fn signed(duration: api::Duration) -> SignedDuration {
    SignedDuration::try_from(duration.get()).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
