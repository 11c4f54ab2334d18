//! Messages that two servers may read differently, by what hyper tells of their heads. What it does not tell, `listen::scan`
//! has seen. Pure.

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode, Version};

/// What is wrong with the head of a request, for its sender: whom it is for must be said once (RFC 9112 §3.2), and how long
/// it is at most once.
pub(crate) fn fault(parts: &Parts) -> Option<&'static str> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Some("Host is given twice");
    }
    if host.is_none() && parts.version == Version::HTTP_11 {
        return Some("Host is missing");
    }
    if host.is_some_and(|host| !host.is_empty() && !is_host(host.as_bytes())) {
        return Some("Host is neither a name nor an address, with or without a port");
    }
    let authority = parts.uri.authority();
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Some("the request's target names a user");
    }
    if parts.version < Version::HTTP_2 && authority.is_some() && parts.uri.scheme().is_none() {
        return Some("the request's target is a host: only CONNECT has such");
    }
    if parts.uri.path() == "*" && parts.method != Method::OPTIONS {
        return Some("the request's target is *: only OPTIONS has such");
    }
    is_given_twice(&parts.headers).then_some("the length of the body is given twice")
}

/// Whether the head of a server's answer by HTTP/1 may be read in two ways, or ends HTTP, which no request asked for.
pub(crate) fn is_ambiguous(status: StatusCode, headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let unknown = coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let twice =
        coding.is_some() && (codings.next().is_some() || headers.contains_key(header::CONTENT_LENGTH));
    status == StatusCode::SWITCHING_PROTOCOLS || unknown || twice || is_given_twice(headers)
}

fn is_given_twice(headers: &HeaderMap) -> bool {
    let several = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        values.next().is_some_and(|value| value.as_bytes().contains(&b',')) || values.next().is_some()
    };
    several(header::CONTENT_LENGTH)
}

/// Whether this is `host [":" port]`. A comma may stand in a name, but servers that join headers read two hosts.
fn is_host(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'@' | b',')) && Authority::try_from(value).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(head: http::request::Builder) -> Option<&'static str> {
        fault(&head.body(()).unwrap().into_parts().0)
    }

    proptest! {
        #[test]
        fn any_host_is_survived_and_only_what_can_name_one_is_taken(value in proptest::collection::vec(32u8..=255, 0..40)) {
            let Ok(host) = http::HeaderValue::from_bytes(&value) else { return Ok(()) };
            let head = http::Request::post("/p").header("host", host);
            if of(head).is_none() {
                prop_assert!(!value.iter().any(|b| b" @/?#\\,\"<>".contains(b)), "{:?}", value);
            }
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for host in ["d", "digits.default.svc:80", "10.0.0.1:8080", "[::1]:80", "my_service", ""] {
            assert_eq!(of(http::Request::post("/p").header("host", host)), None, "{host:?}");
        }
        for host in ["a b", "a@b", "a/b", "a,b", "http://a", "[::1", "a:b:c"] {
            assert!(of(http::Request::post("/p").header("host", host)).is_some(), "{host:?}");
        }
    }
}
