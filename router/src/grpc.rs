//! What of gRPC a router must know: requests by their content type, and what an answer's status means (C2). Pure.
//!
//! Open Inference Protocol clients speak it. A request comes by HTTP/2 and goes by HTTP/2 to the same port of the model
//! server; its messages are bytes to the router. Whether it went well is said by `grpc-status`, in the trailers, or in
//! the head of an answer that has nothing else.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use wire::Outcome;

/// The status, a number.
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The status in words, percent-encoded.
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Media type of requests and answers, to which a `+proto` may be added.
const MEDIA: &str = "application/grpc";

/// Codes that are used here.
mod code {
    pub(super) const CANCELLED: u8 = 1;
    pub(super) const INVALID_ARGUMENT: u8 = 3;
    pub(super) const DEADLINE_EXCEEDED: u8 = 4;
    pub(super) const RESOURCE_EXHAUSTED: u8 = 8;
    pub(super) const INTERNAL: u8 = 13;
    pub(super) const UNAVAILABLE: u8 = 14;
}

/// Whether a request or an answer with these headers is gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = media.and_then(|media| media.strip_prefix(MEDIA.as_bytes()));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// What the status in these headers or trailers counts as; `None` where they have none. One that cannot be read is an
/// error.
pub(crate) fn outcome(headers: &HeaderMap) -> Option<Outcome> {
    let status = headers.get(STATUS)?;
    let number = status.to_str().ok().and_then(|status| status.parse().ok());
    Some(number.map_or(Outcome::Error, of_code))
}

fn of_code(status: u8) -> Outcome {
    match status {
        0 => Outcome::Ok,
        code::CANCELLED => Outcome::Cancelled,
        // Invalid argument, not found, already exists, permission denied, failed precondition, out of range,
        // unauthenticated: about the request, like 4xx.
        code::INVALID_ARGUMENT | 5 | 6 | 7 | 9 | 11 | 16 => Outcome::Rejected,
        code::DEADLINE_EXCEEDED => Outcome::Timeout,
        code::RESOURCE_EXHAUSTED | code::UNAVAILABLE => Outcome::Overload,
        _ => Outcome::Error,
    }
}

/// The head of an answer of the router itself, in place of an HTTP status.
pub(crate) fn refusal(status: StatusCode, what: &str) -> HeaderMap {
    let code = match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => code::UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT => code::DEADLINE_EXCEEDED,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => code::RESOURCE_EXHAUSTED,
        StatusCode::REQUEST_TIMEOUT => code::CANCELLED,
        status if status.is_client_error() => code::INVALID_ARGUMENT,
        _ => code::INTERNAL,
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    headers.insert(STATUS, HeaderValue::from(u16::from(code)));
    // Our own words are ASCII without a percent sign.
    if let Ok(what) = HeaderValue::from_str(what) {
        headers.insert(MESSAGE, what);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn requests_are_told_by_their_media_type() {
        for (media, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&headers("content-type", media)), is, "{media}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    // rule: C2
    #[test]
    fn a_status_counts_as_the_http_status_of_the_same_meaning() {
        for (status, counts) in [
            ("0", Outcome::Ok),
            ("1", Outcome::Cancelled),
            ("3", Outcome::Rejected),
            ("4", Outcome::Timeout),
            ("8", Outcome::Overload),
            ("13", Outcome::Error),
            ("14", Outcome::Overload),
            ("99", Outcome::Error),
            ("none", Outcome::Error),
        ] {
            assert_eq!(outcome(&headers("grpc-status", status)), Some(counts), "{status}");
        }
        assert_eq!(outcome(&HeaderMap::new()), None);
    }

    #[test]
    fn an_answer_of_the_router_is_one_that_clients_read() {
        let refused = refusal(StatusCode::SERVICE_UNAVAILABLE, "no model server is ready to answer");
        assert_eq!(outcome(&refused), Some(Outcome::Overload));
        assert_eq!(refused["grpc-message"], "no model server is ready to answer");
        assert!(is_grpc(&refused));
        let code = |status| refusal(status, "")["grpc-status"].clone();
        assert_eq!(
            (code(StatusCode::GATEWAY_TIMEOUT), code(StatusCode::BAD_REQUEST)),
            ("4".parse().unwrap(), "3".parse().unwrap())
        );
    }
}
