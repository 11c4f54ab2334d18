//! What people are told of it. Pure.

use api::ModelDeploymentStatus;
use jiff::Timestamp;

use super::{Scaled, Standing};
use crate::status;

/// Condition: whether the number of model servers follows the requests.
const AUTOSCALING: &str = "Autoscaling";
/// Reason of an event: there are to be more model servers.
pub const SCALED_OUT: &str = "ScaledOut";
/// Reason of an event: there are to be fewer.
pub const SCALED_IN: &str = "ScaledIn";

/// Puts it into a status; without autoscaling nothing of it stays.
pub fn tell(
    scaled: Option<&Scaled>,
    status: &mut ModelDeploymentStatus,
    generation: Option<i64>,
    now: Timestamp,
) {
    status.autoscaling = scaled.map(|scaled| scaled.status.clone());
    let Some(scaled) = scaled else {
        status.conditions.retain(|condition| condition.type_ != AUTOSCALING);
        return;
    };
    let before = status.conditions.iter().find(|condition| condition.type_ == AUTOSCALING);
    let standing = scaled.standing.unwrap_or(match before.map(|condition| condition.reason.as_str()) {
        Some("NoData") => Standing::NoData,
        _ => Standing::Following,
    });
    let reason = &scaled.status.reason;
    let (is, word, message) = match (standing, scaled.ignored) {
        (Standing::Suspended, _) => {
            let message = "the number stays: spec.autoscaling is suspended, or cannot be carried out";
            ("False", "Suspended", message.to_owned())
        }
        (Standing::NoData, _) => {
            let message =
                "the counters of a router are missing: there may be more model servers, never fewer";
            ("False", "NoData", message.to_owned())
        }
        (Standing::Following, Some(replicas)) => {
            // An autoscaler of Kubernetes, or `kubectl scale`, writes it through the scale subresource.
            let message = format!(
                "{reason}; spec.replicas was set to {replicas}, which spec.autoscaling overrules: remove one of both, \
                 and a HorizontalPodAutoscaler if one sets it"
            );
            ("True", "ReplicasIgnored", message)
        }
        (Standing::Following, None) => ("True", "Following", reason.clone()),
    };
    status::set(&mut status.conditions, (AUTOSCALING, is, word), message, generation, now);
}
