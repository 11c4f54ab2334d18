//! How many pods.

use e2e::trial::with;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{RUNTIME, create, valid};

#[rstest]
#[case("/min", json!(10), None)]
#[case("/min", json!(11), Some("autoscaling: min must not be above max"))]
#[case("/min", json!(0), Some("autoscaling.min"))]
#[case("/max", json!(1001), Some("autoscaling.max"))]
#[case("/max", json!(0), Some("autoscaling"))]
#[case("/target", json!({"requestsPerReplica": 0.1}), None)]
#[case("/target", json!({"requestsPerReplica": 0}), Some("requestsPerReplica: must be above 0 and at most 1000000"))]
#[case("/target", json!({"requestsPerReplica": 1_000_001}), Some("requestsPerReplica: must be above 0"))]
#[case("/target", json!({}), Some("requestsPerReplica"))]
#[case("/scaleOutCooldown", json!("0s"), None)]
#[case("/scaleOutCooldown", json!("61m"), Some("autoscaling.scaleOutCooldown: must be within 0s and 1h"))]
#[case("/scaleInCooldown", json!("24h"), None)]
#[case("/scaleInCooldown", json!("0s"), Some("autoscaling.scaleInCooldown: must be within 1s and 24h"))]
#[case("/suspended", json!(true), None)]
fn autoscaling_is_bounded(#[case] at: &str, #[case] value: Value, #[case] message: Option<&str>) {
    let autoscaling = json!({"max": 10, "target": {"requestsPerReplica": 50}});
    let object =
        with(valid(), &[("/spec/autoscaling", autoscaling), (&format!("/spec/autoscaling{at}"), value)]);
    match (RUNTIME.block_on(create(object)), message) {
        (Ok(()), None) => {}
        (Err(said), Some(message)) => assert!(said.contains(message), "{at} is refused with: {said}"),
        other => panic!("{at}: {other:?}"),
    }
}
