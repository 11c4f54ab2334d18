use api::ModelDeploymentSpec;
use rollout::{Limit, OnLimit, OnLose, OnWin, Pause, Stage, State, Then, Until};
use rstest::rstest;
use serde_json::{Value, json};

use super::super::tests::serving;
use super::super::{Defaults, Valid, validate};
use super::*;

fn strategy(strategy: &Value) -> Strategy {
    serde_json::from_value(strategy.clone()).unwrap()
}

fn spec(strategy: &Value, more: &Value) -> ModelDeploymentSpec {
    let mut spec = json!({"model": {"version": "2.0.0", "uri": "pvc://m/b"}, "strategy": strategy});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn check(strategy: &Value, more: &Value) -> Valid {
    let name = |asked: &crate::revision::Asked| format!("d-{}", asked.model.version);
    let defaults = Defaults { interval: Duration::from_secs(15), pod_overlays: true };
    validate(&spec(strategy, more), name, &serving("d-1.0.0"), defaults)
}

fn compiled(strategy: &Strategy) -> Compiled<'_> {
    compile(strategy, Labels::default()).unwrap()
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_canary_may_begin_with_copies() {
    let strategy = strategy(&json!({"canary": {
        "steps": [{"shadow": 100, "minRequests": 500}, {"weight": 5, "hold": "2m"}, {"weight": 50, "approval": true}],
        "advance": "onEvidence", "maxStageDuration": "2h", "onInconclusive": "rollback",
    }}));
    let base = Stage {
        accept: true,
        limit: Some(Limit { after: seconds(7200), then: OnLimit::Rollback }),
        ..Stage::default()
    };
    let expected = [
        Stage { mirror: 100, min_requests: 500, ..base },
        Stage { weight: 5, hold: seconds(120), ..base },
        Stage { weight: 50, approval: true, ..base },
    ];
    assert_eq!(compiled(&strategy).stages, expected);
}

#[test]
fn blue_green_is_a_preview_with_all_pods_and_then_the_switch() {
    let sudden = strategy(&json!({"blueGreen": {
        "preview": {"hold": "1m", "minRequests": 50}, "autoPromote": false, "keepBlue": "1h"
    }}));
    let green = Stage { capacity: 100, ..Stage::default() };
    let preview = Stage { preview: true, hold: seconds(60), min_requests: 50, approval: true, ..green };
    let found = compiled(&sudden);
    assert_eq!((found.stages, found.keep_warm), (vec![preview], Some(seconds(3600))));
    let gradual = strategy(&json!({"blueGreen": {
        "switch": {"gradual": {"steps": [{"weight": 20, "hold": "30s"}, {"weight": 60}]}}
    }}));
    let expected = [
        Stage { preview: true, ..green },
        Stage { weight: 20, hold: seconds(30), ..green },
        Stage { weight: 60, ..green },
    ];
    assert_eq!(compiled(&gradual).stages, expected);
}

#[test]
fn a_shadow_reports_unless_it_is_to_promote() {
    for (then, expected) in [(json!(null), Then::Report), (json!("promote"), Then::Promote)] {
        let strategy = strategy(&json!({"shadow": {"percent": 30, "hold": "1m", "then": then}}));
        let found = compiled(&strategy);
        assert_eq!(found.stages, [Stage { mirror: 30, hold: seconds(60), ..Stage::default() }]);
        assert_eq!(found.then, expected);
    }
}

#[test]
fn an_ab_test_is_one_stage_with_its_challengers() {
    let model = |v: &str| json!({"version": v, "uri": "pvc://m/x"});
    let written = json!({"abTest": {
        "weight": 20, "maxDuration": "1h", "onLose": "hold", "onUndecided": "promote",
        "hypothesis": {"metric": "successRate", "direction": "increase", "minimumEffect": 0.01},
        "challengers": [{"name": "x", "model": model("3.0.0")}, {"name": "y", "model": model("2.0.0")}],
    }});
    let valid = check(&written, &json!({}));
    assert_eq!(valid.refused(), None);
    let stage = Stage {
        weight: 20,
        limit: Some(Limit { after: seconds(3600), then: OnLimit::Promote }),
        until: Until::Shown { on_win: OnWin::Promote, on_lose: OnLose::Hold },
        ..Stage::default()
    };
    assert_eq!(valid.wanted.stages, [stage]);
    // y is not the same as spec.model (another uri), x is another version.
    assert_eq!(valid.wanted.intent(), "d-2.0.0+d-3.0.0");
}

#[test]
fn a_bandit_begins_at_its_floor() {
    let strategy =
        strategy(&json!({"bandit": {"reward": "highConfidence", "floor": 10, "maxDuration": "2h"}}));
    let limit = Some(Limit { after: seconds(7200), then: OnLimit::Rollback });
    let expected = Stage { weight: 10, limit, until: Until::Best, ..Stage::default() };
    assert_eq!(compiled(&strategy).stages, [expected]);
}

#[rstest]
#[case(json!({}), "spec.strategy: found no strategy, set exactly one of canary, blueGreen, shadow, abTest, bandit")]
#[case(
    json!({"shadow": {"percent": 5}, "bandit": {"reward": "successRate"}}),
    "spec.strategy: found 2 strategies, set exactly one of canary, blueGreen, shadow, abTest, bandit"
)]
#[case(
    json!({"canary": {"steps": [{"weight": 5}, {"shadow": 10}]}}),
    "spec.strategy.canary.steps[1]: found a shadow step after a weight, shadow steps come first"
)]
#[case(
    json!({"canary": {"steps": [{"hold": "1m"}]}}),
    "spec.strategy.canary.steps[0]: found neither weight nor shadow, set exactly one of weight, shadow"
)]
#[case(
    json!({"canary": {"steps": [{"shadow": 0}]}}),
    "spec.strategy.canary.steps[0].shadow: found 0, must be within 1 and 100"
)]
#[case(json!({"shadow": {"percent": 101}}), "spec.strategy.shadow.percent: found 101, must be within 1 and 100")]
#[case(
    json!({"bandit": {"reward": "accuracy"}}),
    "spec.strategy.bandit.reward: found accuracy, but nobody can say what was right: set spec.router.feedback"
)]
#[case(
    json!({"abTest": {
        "weight": 60, "maxDuration": "1h",
        "hypothesis": {"metric": "successRate", "direction": "increase", "minimumEffect": 0.01},
        "challengers": [{"name": "x", "model": {"version": "3.0.0", "uri": "pvc://m/x"}}],
    }}),
    "spec.strategy.abTest.weight: found 60, must be within 1 and 49 for 2 arms that each get it"
)]
fn a_refusal_names_field_found_and_allowed(#[case] strategy: Value, #[case] message: &str) {
    let valid = check(&strategy, &json!({}));
    assert_eq!(valid.refused(), Some(&Pause::Refused(message.into())));
    assert_eq!(valid.wanted.revision, "d-1.0.0", "what serves goes on");
}

#[test]
fn what_nothing_would_ever_be_compared_with_is_refused() {
    let metrics = json!({"analysis": {"metrics": [{"name": "e", "errorRate": {}, "maxRatio": 2.0}]}});
    let refused = check(&json!({"blueGreen": {}}), &metrics);
    let message = refused.refused().unwrap().to_string();
    assert!(message.contains("spec.analysis.metrics.e: found a comparison with stable"), "{message}");
    for strategy in [
        json!({"blueGreen": {"switch": {"gradual": {"steps": [{"weight": 50}]}}}}),
        json!({"shadow": {"percent": 10}}),
        json!({"canary": {"steps": [{"weight": 50}]}}),
    ] {
        assert_eq!(check(&strategy, &metrics).refused(), None, "{strategy}");
    }
    let mut kept = metrics;
    kept["rollback"] = json!({"holdback": 1});
    assert_eq!(check(&json!({"blueGreen": {}}), &kept).refused(), None);
}

#[test]
fn accuracy_needs_labels() {
    let metrics = |more: Value| {
        let mut spec = json!({"analysis": {"metrics": [{"name": "right", "accuracy": {}, "min": 0.9}]}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let refused = |strategy: &Value, more: Value| check(strategy, &more).refused().map(ToString::to_string);
    let taken = json!({"router": {"feedback": {"secretName": "digits-labels"}}});
    let sticky = json!({
        "router": {"feedback": {"secretName": "digits-labels"}}, "routing": {"sticky": {"header": "x-user-id"}},
    });
    let canary = json!({"canary": {"steps": [{"shadow": 50}, {"weight": 50}]}});
    let why = refused(&canary, metrics(json!({}))).unwrap();
    assert!(
        why.contains("spec.analysis.metrics[0]: found accuracy, but nobody can say what was right"),
        "{why}"
    );
    assert!(why.contains("set spec.router.feedback"), "{why}");
    for more in [&taken, &sticky] {
        assert_eq!(refused(&canary, metrics(more.clone())), None);
        assert_eq!(refused(&json!({"bandit": {"reward": "accuracy"}}), more.clone()), None);
    }
    // Labels of stable's answers tell of copies too.
    let shadow = json!({"shadow": {"percent": 50}});
    assert_eq!(refused(&shadow, metrics(taken.clone())), None);
    let hypothesis = json!({"metric": "accuracy", "direction": "increase", "minimumEffect": 0.02});
    let test = json!({"abTest": {"weight": 50, "maxDuration": "1h", "hypothesis": hypothesis}});
    assert_eq!(refused(&test, taken), None);
    let why = refused(&test, sticky).unwrap();
    assert!(
        why.contains("abTest.hypothesis.metric: found accuracy, but spec.routing.sticky draws users"),
        "{why}"
    );
    assert!(refused(&test, json!({})).unwrap().contains("set spec.router.feedback"));
}

#[test]
fn a_refused_spec_asks_for_all_that_was_acted_upon() {
    let name = |_: &crate::revision::Asked| "d-new".to_owned();
    let defaults = Defaults { interval: Duration::from_secs(15), pod_overlays: true };
    let valid = validate(&spec(&json!({}), &json!({})), name, &serving("d-1+d-2"), defaults);
    assert_eq!(valid.wanted.intent(), "d-1+d-2");
    assert!(valid.wanted.names("d-2"));
}

#[test]
fn every_example_can_be_carried_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let defaults = Defaults { interval: Duration::from_secs(15), pod_overlays: true };
    let mut strategies = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = <Value as serde::Deserialize>::deserialize(document).unwrap();
            if object["kind"] == "ModelDeployment" {
                let spec: ModelDeploymentSpec = serde_json::from_value(object["spec"].clone()).unwrap();
                let name = |asked: &crate::revision::Asked| format!("d-{}", asked.model.version);
                // Alone it has nobody to be compared with.
                let is_first = object["metadata"]["name"] != "shadow";
                let state = if is_first { State::default() } else { serving("d-1") };
                let valid = validate(&spec, name, &state, defaults);
                assert_eq!(valid.refused(), None, "{object}");
                strategies += 1;
            }
        }
    }
    assert!(strategies >= 10, "{strategies} ModelDeployments in {folder}");
}

#[test]
fn a_first_shadow_has_nobody_to_be_compared_with() {
    let name = |_: &crate::revision::Asked| "d-new".to_owned();
    let defaults = Defaults { interval: Duration::from_secs(15), pod_overlays: true };
    let shadow = json!({"shadow": {"percent": 100}});
    let judged = |strategy: &Value, metric: Value, state: &State| {
        let spec = spec(strategy, &json!({"analysis": {"metrics": [metric]}}));
        validate(&spec, name, state, defaults)
    };
    let drift = |against: &str| {
        let drift = json!({"feature": "confidence", "statistic": "ks", "against": against});
        json!({"name": "m", "drift": drift, "max": 0.2})
    };
    let compared = [
        json!({"name": "m", "errorRate": {}, "maxRatio": 2}),
        json!({"name": "m", "disagreement": {}, "max": 0.1}),
        drift("stable"),
    ];
    for metric in compared {
        let first = judged(&shadow, metric.clone(), &State::default());
        let why = first.refused().expect("nothing is stable").to_string();
        assert!(
            why.contains("spec.analysis.metrics.m: found a comparison with stable, but nothing is stable"),
            "{why}"
        );
        assert_eq!(judged(&shadow, metric.clone(), &serving("d-0")).refused(), None);
        // A first deployment by any other strategy is judged by nothing, and the next one by this.
        let canary = json!({"canary": {"steps": [{"shadow": 10}, {"weight": 10}]}});
        let canary = judged(&canary, metric, &State::default());
        assert_eq!((canary.refused(), canary.wanted.alone), (None, false));
    }
    for metric in [json!({"name": "m", "errorRate": {}, "max": 0.1}), drift("reference")] {
        let first = judged(&shadow, metric, &State::default());
        assert_eq!((first.refused(), first.wanted.alone), (None, true));
    }
    // Nobody gets an answer that could be labelled.
    let labelled = json!({
        "analysis": {"metrics": [{"name": "m", "accuracy": {}, "min": 0.9}]},
        "router": {"feedback": {"secretName": "digits-labels"}},
    });
    let judged = |state: &State| validate(&spec(&shadow, &labelled), name, state, defaults);
    let why = judged(&State::default()).refused().expect("nothing is stable").to_string();
    assert!(why.contains("spec.analysis.metrics.m: found accuracy, but nothing is stable yet"), "{why}");
    assert_eq!(judged(&serving("d-0")).refused(), None);
}
