//! What an answer of the API server means: a mistake of the spec, or a server in trouble. Pure.
//!
//! In doubt it is trouble: then nothing starts, people read why, and it is asked again, which costs a request a
//! minute. A mistake that was none would stand until somebody changes the spec.

use std::fmt;

use kube::core::Status;

use super::Answer;

/// rule: K8. What an API server says, with status 500, of an object that it cannot read as its kind.
const UNREADABLE: [&str; 2] = ["failed to create typed patch object", "failed to convert new object"];
/// What it says, with status 403, of what is no property of the object: a role that is late or missing, a namespace
/// that goes, a quota of Deployments.
const NOT_OF_THE_SPEC: [&str; 4] =
    ["cannot patch resource", "cannot create resource", "being terminated", "exceeded quota"];

/// What an error means.
pub(super) fn of(error: &kube::Error) -> Answer {
    match error {
        kube::Error::Api(status) if is_of_the_spec(status) => Answer::Refused(status.message.clone()),
        kube::Error::Api(status) => Answer::Waiting(Some(format!("{}: {}", status.code, status.message))),
        // Not its text, which may differ each time: each news is written into the status.
        _ => Answer::Waiting(Some("it cannot be reached".into())),
    }
}

/// Whether the API server will answer the same until the spec changes.
pub(super) fn is_of_the_spec(status: &Status) -> bool {
    let says = |texts: &[&str]| texts.iter().any(|text| status.message.contains(text));
    match status.code {
        // A login that ran out, a namespace that is gone, too slow, changed meanwhile, too many requests.
        401 | 404 | 408 | 409 | 429 => false,
        // A policy: an admission webhook, a ValidatingAdmissionPolicy, a Pod Security Standard.
        403 => !says(&NOT_OF_THE_SPEC),
        400..=499 => true,
        // A webhook that does not answer and an etcd that does not are 500 too.
        500 => says(&UNREADABLE),
        _ => false,
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(_) => f.write_str("the API server takes it"),
            Self::Refused(why) => write!(f, "spec.server.template: the API server refuses it: {why}"),
            Self::Waiting(None) => {
                f.write_str("spec.server.template: the API server is asked whether it takes it")
            }
            Self::Waiting(Some(why)) => {
                write!(
                    f,
                    "spec.server.template: the API server does not say whether it takes it, it is asked again: {why}"
                )
            }
        }
    }
}
