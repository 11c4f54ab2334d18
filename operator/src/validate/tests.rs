use evidence::{Harm, OnBreach};
use rstest::rstest;
use serde_json::{Value, json};

use rollout::Stage;

use super::*;

const DEFAULTS: Defaults = Defaults { interval: Duration::from_secs(15), pod_overlays: true };

fn spec(analysis: &Value, steps: &Value) -> ModelDeploymentSpec {
    serde_json::from_value(json!({
        "model": {"version": "1.0.0", "uri": "pvc://m/a"},
        "strategy": {"canary": {"steps": steps}},
        "analysis": analysis,
    }))
    .unwrap()
}

/// The state of a deployment that serves this intent.
pub(super) fn serving(intent: &str) -> State {
    let (stable, acted) = (Some(intent.to_owned()), Some(intent.to_owned()));
    State { stable, acted, ..State::default() }
}

fn check(analysis: &Value, steps: &Value) -> Valid {
    validate(&spec(analysis, steps), |_| "d-1".into(), &serving("d-0"), DEFAULTS)
}

#[test]
fn what_is_absent_has_the_documented_defaults() {
    // rule: J5
    let metric = json!({"name": "errors", "errorRate": {}, "max": 0.02});
    let valid = check(&json!({"metrics": [metric]}), &json!([{"weight": 10}]));
    assert_eq!(valid.refused(), None);
    let wanted = Wanted {
        revision: "d-1".into(),
        challengers: Vec::new(),
        stages: vec![Stage { weight: 10, ..Stage::default() }],
        then: rollout::Then::Promote,
        alone: false,
        judged: true,
        trip_wire: true,
        interval: Duration::from_secs(15),
        replicas: 1,
        keep_warm: Duration::from_secs(1800),
        holdback: 0,
        progress_deadline: Duration::from_secs(600),
        paused: None,
    };
    assert_eq!(valid.wanted, wanted);
    let expected = evidence::Metric::new("errors", evidence::Kind::ErrorRate, evidence::Bound::Max(0.02));
    assert_eq!(valid.metrics, [expected]);
    assert_eq!((valid.false_rollback, valid.routers, valid.history), (0.01, 2, 5));
}

#[test]
fn what_is_written_is_obeyed() {
    let metric = json!({
        "name": "confidence", "drift": {"feature": "confidence", "statistic": "ks", "against": "stable"},
        "max": 0.15, "window": "90s", "minSamples": 300, "consecutive": 2, "significance": 0.001,
        "onBreach": "alert", "onNoData": "pause", "noDataDeadline": "3m",
    });
    let valid =
        check(&json!({"interval": "1s", "falseRollback": 0, "metrics": [metric]}), &json!([{"weight": 1}]));
    let kind = evidence::Kind::Drift {
        series: evidence::Series::Confidence,
        statistic: evidence::Statistic::Ks,
        against: evidence::Against::Stable,
    };
    let expected = evidence::Metric {
        window: SignedDuration::from_secs(90),
        min_samples: 300,
        consecutive: 2,
        significance: Some(0.001),
        on_breach: Some(evidence::OnBreach::Alert),
        on_no_data: evidence::OnNoData::Pause,
        no_data_deadline: SignedDuration::from_mins(3),
        ..evidence::Metric::new("confidence", kind, evidence::Bound::Max(0.15))
    };
    assert_eq!(valid.metrics, [expected]);
    assert_eq!((valid.wanted.interval, valid.false_rollback), (Duration::from_secs(1), 0.0));
}

#[rstest]
#[case("psi", evidence::Statistic::Psi)]
#[case("ks", evidence::Statistic::Ks)]
#[case("chiSquare", evidence::Statistic::ChiSquare)]
#[case("g", evidence::Statistic::G)]
#[case("jensenShannon", evidence::Statistic::JensenShannon)]
#[case("wasserstein", evidence::Statistic::Wasserstein)]
#[case("hellinger", evidence::Statistic::Hellinger)]
#[case("lInfinity", evidence::Statistic::LInfinity)]
fn every_distance_may_be_judged_by_what_noise_reaches(
    #[case] name: &str,
    #[case] statistic: evidence::Statistic,
) {
    let drift = json!({"feature": "contrast", "statistic": name, "against": "stable"});
    let metric = json!({"name": "d", "drift": drift, "significance": 0.001, "lastRequests": 2000});
    let valid = check(&json!({"metrics": [metric]}), &json!([{"weight": 1}]));
    let kind = evidence::Kind::Drift {
        series: evidence::Series::Feature(wire::Feature::Contrast),
        statistic,
        against: evidence::Against::Stable,
    };
    let expected = evidence::Metric {
        significance: Some(0.001),
        last_requests: Some(2000),
        ..evidence::Metric::new("d", kind, evidence::Bound::Noise)
    };
    assert_eq!(valid.refused(), None);
    assert_eq!(valid.metrics, [expected]);
    assert_eq!(statistic.as_str(), name);
}

#[rstest]
#[case(
    json!({"metrics": [{"name": "a", "drift": {"feature": "class", "statistic": "psi", "against": "stable"}}]}),
    json!([{"weight": 1}]),
    "spec.analysis.metrics[0].significance: found absent, must be above 0 where there is no max"
)]
#[case(
    json!({"metrics": [{"name": "a", "errorRate": {}, "max": 0.1, "window": "5m", "lastRequests": 500}]}),
    json!([{"weight": 1}]),
    "spec.analysis.metrics[0].lastRequests: found 500, but window is set too: set one of them"
)]
#[case(
    json!({"metrics": [{"name": "a", "errorRate": {}, "max": 2.0}]}), json!([{"weight": 1}]),
    "spec.analysis.metrics[0].max: found 2, must lie within 0 and 1: the value is never more than 1"
)]
#[case(
    json!({"metrics": [{"name": "a", "errorRate": {}}]}), json!([{"weight": 1}]),
    "spec.analysis.metrics[0]: found no threshold, set max or maxRatio"
)]
#[case(
    json!({"metrics": [{"name": "a", "max": 1.0}]}), json!([{"weight": 1}]),
    "spec.analysis.metrics[0]: found 0 kinds, set exactly one of drift, errorRate, latency, invalidInputRate, nullOutputRate, \
     disagreement, accuracy"
)]
#[case(
    json!({"metrics": [
        {"name": "a", "errorRate": {}, "max": 0.1}, {"name": "a", "errorRate": {}, "max": 0.2}
    ]}), json!([{"weight": 1}]),
    "spec.analysis.metrics[1].name: found a, but another metric has that name"
)]
#[case(
    json!({}), json!([{"weight": 10}, {"weight": 10}]),
    "spec.strategy.canary.steps[1].weight: found 10, must be above 10, that of the step before"
)]
#[case(
    json!({"interval": "0s"}), json!([{"weight": 10}]),
    "spec.analysis.interval: found 0ns, must be within 1s and 1h"
)]
#[case(
    json!({"interval": "61m"}), json!([{"weight": 10}]),
    "spec.analysis.interval: found 3660s, must be within 1s and 1h"
)]
fn a_refusal_names_field_found_and_allowed(
    #[case] analysis: Value,
    #[case] steps: Value,
    #[case] message: &str,
) {
    let valid = check(&analysis, &steps);
    assert_eq!(valid.refused(), Some(&Pause::Refused(message.into())));
    // What serves goes on, and nothing starts.
    assert_eq!(valid.wanted.revision, "d-0");
}

#[test]
fn what_is_wrong_takes_nothing_from_what_is_right() {
    // rule: T4
    let metrics = json!([
        {"name": "a", "errorRate": {}, "max": 0.1}, {"name": "b", "errorRate": {}, "max": 3.0},
        {"name": "a", "errorRate": {}, "max": 0.2}, {"name": "c", "invalidInputRate": {}, "max": 0.1},
    ]);
    let analysis = json!({"interval": "2s", "falseRollback": 0.5, "metrics": metrics});
    let valid = check(&analysis, &json!([{"weight": 20}, {"weight": 10}]));
    let names: Vec<&str> = valid.metrics.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["a", "c"], "a wrong strategy drops no metric, nor does a wrong metric");
    assert_eq!(valid.metrics[0].bound, evidence::Bound::Max(0.1), "the first of two with one name");
    assert_eq!((valid.wanted.interval, valid.false_rollback), (Duration::from_secs(2), 0.01));
    assert!(valid.wanted.judged);
    let Some(Pause::Refused(why)) = valid.refused() else { panic!("{:?}", valid.wanted.paused) };
    let fields: Vec<&str> = why.split("; ").map(|one| one.split(':').next().unwrap()).collect();
    let wrong = [
        "spec.strategy.canary.steps[1].weight",
        "spec.analysis.falseRollback",
        "spec.analysis.metrics[1].max",
        "spec.analysis.metrics[2].name",
    ];
    assert_eq!(fields, wrong, "all of it is told");
}

#[test]
fn a_candidate_whose_metrics_are_all_refused_is_not_one_that_nothing_judges() {
    // rule: J1, T4
    let metrics = json!([{"name": "a", "errorRate": {}, "max": 3.0}]);
    let valid = check(&json!({"metrics": metrics}), &json!([{"weight": 1}]));
    assert_eq!((valid.metrics.len(), valid.wanted.judged), (0, true));
    let unjudged = json!({"falseRollback": 0});
    assert!(!check(&unjudged, &json!([{"weight": 1}])).wanted.judged);
    assert!(check(&json!({}), &json!([{"weight": 1}])).wanted.judged, "by the sequential tests");
}

#[test]
fn sequential_tests_are_on_unless_they_have_no_budget() {
    // rule: S1, S2
    let tests = |analysis: &Value| check(analysis, &json!([{"weight": 1}])).tests;
    assert_eq!(tests(&json!({})), Tests::default());
    assert_eq!(tests(&json!({"falseRollback": 0})), Tests::OFF);
    let written = json!({"sequential": {
        "errors": {"tolerance": 1.5, "onBreach": "pause"}, "latency": {"onBreach": "ignore"},
        "lowConfidence": {"onBreach": "alert"}, "change": {"onBreach": "ignore"},
    }});
    let harm = |tolerance, on_breach| Some(Harm { tolerance, on_breach });
    let expected = Tests {
        errors: harm(1.5, OnBreach::Pause),
        latency: None,
        low_confidence: harm(1.25, OnBreach::Alert),
        change: None,
        accuracy: None,
    };
    assert_eq!(tests(&written), expected);
    // rule: S1. By labels only where some are taken.
    let feedback = Some(serde_json::from_value(json!({"feedback": {"secretName": "labels"}})).unwrap());
    let labelled = |analysis: &Value| {
        let mut spec = spec(analysis, &json!([{"weight": 1}]));
        spec.router = feedback.clone();
        validate(&spec, |_| "d-1".into(), &serving("d-0"), DEFAULTS).tests
    };
    assert_eq!(labelled(&json!({})), Tests::default().with_labels());
    let accuracy = |test: Value| json!({"sequential": {"accuracy": test}});
    assert_eq!(
        labelled(&accuracy(json!({"tolerance": 1.3, "onBreach": "alert"}))).accuracy,
        harm(1.3, OnBreach::Alert)
    );
    assert_eq!(labelled(&accuracy(json!({"onBreach": "ignore"}))), Tests::default());
    assert_eq!(tests(&accuracy(json!({"onBreach": "ignore"}))), Tests::default());
    let wrong = check(&accuracy(json!({})), &json!([{"weight": 1}]));
    let why = "spec.analysis.sequential.accuracy: found accuracy, but nobody can say what was right: set spec.router.feedback";
    assert_eq!(wrong.refused(), Some(&Pause::Refused(why.into())));
    let wrong = check(&json!({"sequential": {"latency": {"tolerance": 0.9}}}), &json!([{"weight": 1}]));
    let why = "spec.analysis.sequential.latency.tolerance: found 0.9, must be within 1 and 10";
    assert_eq!(wrong.refused(), Some(&Pause::Refused(why.into())));
}

fn scaled(autoscaling: &Value) -> Valid {
    let mut spec = spec(&json!({"metrics": []}), &json!([{"weight": 10}]));
    spec.autoscaling = Some(serde_json::from_value(autoscaling.clone()).unwrap());
    validate(&spec, |_| "d-1".into(), &serving("d-0"), DEFAULTS)
}

#[test]
fn autoscaling_has_the_documented_defaults() {
    let settings = Settings {
        min: 1,
        max: 10,
        target: 50.0,
        scale_out: Duration::from_secs(60),
        scale_in: Duration::from_secs(300),
        suspended: false,
    };
    let least = json!({"max": 10, "target": {"requestsPerReplica": 50}});
    assert_eq!((scaled(&least).scaling, scaled(&least).refused()), (Some(settings), None));
    let all = json!({
        "min": 2, "max": 3, "target": {"requestsPerReplica": 0.5}, "scaleOutCooldown": "0s",
        "scaleInCooldown": "10m", "suspended": true,
    });
    let (scale_out, scale_in) = (Duration::ZERO, Duration::from_secs(600));
    let written = Settings { min: 2, max: 3, target: 0.5, scale_out, scale_in, suspended: true };
    assert_eq!(scaled(&all).scaling, Some(written));
}

#[rstest]
#[case(json!({"min": 4, "max": 3, "target": {"requestsPerReplica": 1}}), "spec.autoscaling.min: found 4")]
#[case(json!({"min": 0, "max": 3, "target": {"requestsPerReplica": 1}}), "spec.autoscaling.min: found 0")]
#[case(json!({"max": 1001, "target": {"requestsPerReplica": 1}}), "spec.autoscaling.max: found 1001")]
#[case(json!({"max": 3, "target": {"requestsPerReplica": 0}}), "target.requestsPerReplica: found 0")]
#[case(json!({"max": 3, "target": {"requestsPerReplica": 1}, "scaleOutCooldown": "2h"}), "scaleOutCooldown: found 7200s")]
#[case(json!({"max": 3, "target": {"requestsPerReplica": 1}, "scaleInCooldown": "0s"}), "scaleInCooldown: found 0ns")]
fn autoscaling_that_is_wrong_is_refused_and_changes_no_number(#[case] written: Value, #[case] message: &str) {
    let valid = scaled(&written);
    let why = valid.refused().map(ToString::to_string).unwrap_or_default();
    assert!(why.contains(message), "{why}");
    assert_eq!(valid.scaling, Some(Settings::HELD));
}
