//! Strategies.

use rstest::rstest;
use serde_json::{Value, json};

use crate::check;

fn step(weight: u32) -> Value {
    json!({"weight": weight})
}

// rule: K8
#[rstest]
#[case(json!({}), Some("strategy: set exactly one of canary, blueGreen, shadow, abTest, bandit"))]
#[case(json!({"canary": {"steps": []}}), Some("spec.strategy.canary.steps"))]
#[case(json!({"canary": {"steps": [step(1)]}}), None)]
#[case(json!({"canary": {"steps": (1..=20).map(step).collect::<Vec<_>>()}}), None)]
#[case(json!({"canary": {"steps": (1..=21).map(step).collect::<Vec<_>>()}}), Some("spec.strategy.canary.steps"))]
#[case(json!({"canary": {"steps": [step(0)]}}), Some("weight"))]
#[case(json!({"canary": {"steps": [step(99)]}}), None)]
#[case(json!({"canary": {"steps": [step(100)]}}), Some("weight"))]
#[case(json!({"canary": {"steps": [step(50), step(10)]}}), Some("strategy.canary.steps: weights must rise from step to step"))]
#[case(json!({"canary": {"steps": [step(10), step(10)]}}), Some("strategy.canary.steps: two steps have the same weight"))]
#[case(json!({"canary": {"steps": [{"weight": 10, "hold": "2 minutes"}]}}), Some("hold"))]
#[case(json!({"canary": {"steps": [{"weight": 10, "minRequests": -1}]}}), Some("minRequests"))]
#[case(json!({"canary": {"steps": [{"hold": "1s"}]}}), Some("weight"))]
fn steps_rise(#[case] strategy: Value, #[case] message: Option<&str>) {
    check("/spec/strategy", strategy, message);
}

#[rstest]
#[case(json!({"canary": {"steps": [{"shadow": 100}, step(5)]}}), None)]
#[case(json!({"canary": {"steps": [step(5), {"shadow": 100}]}}), Some("shadow steps come first"))]
#[case(json!({"canary": {"steps": [{"weight": 5, "shadow": 100}]}}), Some("each step sets exactly one of weight, shadow"))]
#[case(json!({"canary": {"steps": [{"shadow": 101}]}}), Some("shadow"))]
#[case(json!({"canary": {"steps": [step(5)], "onInconclusive": "promote"}}), Some("onInconclusive: acts after maxStageDuration"))]
#[case(json!({"canary": {"steps": [step(5)], "onInconclusive": "promote", "maxStageDuration": "1h"}}), None)]
#[case(json!({"canary": {"steps": [step(5)], "advance": "onEvidence"}}), None)]
#[case(json!({"canary": {"steps": [step(5)], "advance": "soon"}}), Some("advance"))]
#[case(json!({"blueGreen": {}}), None)]
#[case(json!({"blueGreen": {"switch": {"gradual": {"steps": [step(5), step(50)]}}}}), None)]
#[case(json!({"blueGreen": {"switch": {"gradual": {"steps": [step(50), step(5)]}}}}), Some("gradual.steps: weights must rise"))]
#[case(json!({"shadow": {"percent": 100}}), None)]
#[case(json!({"shadow": {"percent": 0}}), Some("percent"))]
#[case(json!({"shadow": {"percent": 5, "then": "celebrate"}}), Some("then"))]
#[case(ab(&json!({})), None)]
#[case(ab(&json!({"weight": 100})), Some("weight"))]
#[case(ab(&json!({"challengers": [challenger("a"), challenger("b")]})), None)]
#[case(ab(&json!({"challengers": [challenger("a"), challenger("a")]})), Some("Duplicate value"))]
#[case(ab(&json!({"challengers": [challenger("A")]})), Some("name"))]
#[case(ab(&json!({"onWin": "rollback"})), Some("onWin"))]
#[case(json!({"bandit": {"reward": "successRate"}}), None)]
#[case(json!({"bandit": {"reward": "profit"}}), Some("reward"))]
#[case(json!({"bandit": {"reward": "successRate", "floor": 21}}), Some("floor"))]
#[case(json!({"bandit": {"reward": "successRate"}, "shadow": {"percent": 5}}), Some("set exactly one of canary, blueGreen"))]
fn each_strategy_is_bounded(#[case] strategy: Value, #[case] message: Option<&str>) {
    check("/spec/strategy", strategy, message);
}

fn ab(changes: &Value) -> Value {
    let mut test = json!({
        "weight": 20, "maxDuration": "1h",
        "hypothesis": {"metric": "successRate", "direction": "increase", "minimumEffect": 0.01},
    });
    test.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json!({"abTest": test})
}

fn challenger(name: &str) -> Value {
    json!({"name": name, "model": {"version": "2.0.0", "uri": "pvc://models/x"}})
}
