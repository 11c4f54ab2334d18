//! Requests beside a shadow without a stable: taken, copied, and answered by nobody (ADR 13).

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::intake::Taken;
use super::{AnswerBody, Proxy, answer, headers};
use crate::board::Snapshot;
use crate::mirror::SHADOW;
use crate::upstream::PayloadError;

impl Proxy {
    /// Answers a request as soon as it is here, whatever becomes of its copy for `revision`. Whoever sends it asks
    /// somebody else for the answer, and must not be told to try again.
    pub(super) async fn acknowledge(
        &self,
        snapshot: &Snapshot,
        (revision, slot): (usize, u16),
        mut parts: Parts,
        mut taken: Taken,
        id: &HeaderValue,
    ) -> Response<AnswerBody> {
        let name = &snapshot.table.revisions[revision].name;
        headers::pass_on(&mut parts, id, snapshot.table.automation.as_ref());
        let mut draft = self.draft(snapshot, None, slot, &parts.method);
        if let Some(draft) = &mut draft {
            draft.set_head(&parts);
            taken.keep_for(draft.body());
        }
        let reason = if parts.method == Method::POST { "shadow" } else { "method" };
        match timeout(self.intake, drain(taken)).await {
            Ok(Ok(())) => {}
            Ok(Err(PayloadError::TooLarge)) => return self.too_large(true),
            Ok(Err(PayloadError::Client(_))) => {
                return self.refuse("client_gone", StatusCode::BAD_REQUEST, "the body broke off");
            }
            Err(_) => {
                let what = "the body did not arrive in time";
                return self.refuse("slow_body", StatusCode::REQUEST_TIMEOUT, what);
            }
        }
        if let Some(draft) = draft {
            draft.send(None);
        }
        self.unassigned(reason, taken_note(name))
    }
}

/// Reads what has not arrived yet; a draft keeps it as it passes.
async fn drain(taken: Taken) -> Result<(), PayloadError> {
    let Taken::Stream(mut payload, _fault, _held) = taken else { return Ok(()) };
    while let Some(frame) = payload.frame().await {
        frame?;
    }
    Ok(())
}

fn taken_note(revision: &str) -> Response<AnswerBody> {
    let what =
        "taken, and answered by nobody: no revision is stable, and this one only gets copies of requests";
    let mut response =
        answer::own(StatusCode::ACCEPTED, &serde_json::json!({ "shadow": revision, "message": what }));
    if let Ok(name) = HeaderValue::from_str(revision) {
        response.headers_mut().insert(SHADOW, name);
    }
    response
}
