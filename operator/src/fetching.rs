//! Why a pod has no model: what its container `fetch` said. Pure.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;

use crate::report::cut;
use crate::resources::FETCH;

/// Bytes of what is repeated.
const LENGTH: usize = 400;
/// How the last word of a failed command begins.
const ERROR: &str = "error: ";

/// Why the container `fetch` has not done its work; none while it works for the first time, and once it is done.
#[must_use]
pub(crate) fn failure(status: &ContainerStatus) -> Option<String> {
    if status.name != FETCH {
        return None;
    }
    let ended = |state: &Option<ContainerState>| state.as_ref().and_then(|state| state.terminated.clone());
    if let Some(ended) = ended(&status.state) {
        return (ended.exit_code != 0).then(|| said(&ended));
    }
    if let Some(before) = ended(&status.last_state).filter(|ended| ended.exit_code != 0) {
        return Some(said(&before));
    }
    // It cannot even start: no such image, no such Secret.
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| *reason != "PodInitializing")?;
    Some(cut(&format!("{reason}: {}", waiting.message.as_deref().unwrap_or_default()), LENGTH))
}

/// The error among its last lines, or how it ended.
fn said(ended: &ContainerStateTerminated) -> String {
    let lines = ended.message.as_deref().unwrap_or_default().lines();
    if let Some(error) = lines.rev().find_map(|line| line.trim().strip_prefix(ERROR)) {
        return cut(error, LENGTH);
    }
    format!("{}, exit code {}", ended.reason.as_deref().unwrap_or("Error"), ended.exit_code)
}

/// The first of these pods that cannot fetch its model, and why.
pub(crate) fn failing<'a>(pods: impl Iterator<Item = &'a Pod>) -> Option<(String, String)> {
    pods.filter(|pod| pod.metadata.deletion_timestamp.is_none()).find_map(|pod| {
        let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
        Some((pod.name_any(), statuses.iter().find_map(failure)?))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const LOG: &str =
        "{\"level\":\"WARN\",\"message\":\"it is asked for again\"}\nerror: s3://b/a is not given: 403\n";

    #[rstest]
    #[case(json!({"running": {}}), json!({}), None)]
    #[case(json!({"terminated": {"exitCode": 0, "message": LOG}}), json!({}), None)]
    #[case(json!({"terminated": {"exitCode": 0}}), json!({"terminated": {"exitCode": 1, "message": LOG}}), None)]
    #[case(json!({"waiting": {"reason": "PodInitializing"}}), json!({}), None)]
    #[case(json!({"terminated": {"exitCode": 3, "message": LOG}}), json!({}), Some("s3://b/a is not given: 403"))]
    #[case(
        json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}),
        json!({"terminated": {"exitCode": 3, "message": LOG}}),
        Some("s3://b/a is not given: 403")
    )]
    #[case(json!({"running": {}}), json!({"terminated": {"exitCode": 1, "message": LOG}}), Some("s3://b/a is not given: 403"))]
    #[case(
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), json!({}), Some("OOMKilled, exit code 137")
    )]
    #[case(
        json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"s3\" not found"}}),
        json!({}),
        Some("CreateContainerConfigError: secret \"s3\" not found")
    )]
    fn a_fetch_tells_why_it_failed(#[case] state: Value, #[case] last: Value, #[case] said: Option<&str>) {
        let status = json!({
            "name": "fetch", "image": "i", "imageID": "i", "ready": false, "restartCount": 1,
            "state": state, "lastState": last,
        });
        let mut status: ContainerStatus = serde_json::from_value(status).unwrap();
        assert_eq!(failure(&status).as_deref(), said);
        status.name = "other".into();
        assert_eq!(failure(&status), None);
    }
}
