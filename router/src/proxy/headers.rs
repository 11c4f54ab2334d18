//! What is passed on of a head.

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Uri, Version};

use crate::{grpc, mirror};

/// Names one request in the logs of everything that it passes.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// See [`wire::header::TICKET`].
pub(crate) const TICKET: HeaderName = HeaderName::from_static(wire::header::TICKET);
const AUTOMATION: HeaderName = HeaderName::from_static(wire::automation::HEADER);

/// Headers that belong to one connection (RFC 9110 §7.6.1), and the ones that only older software sends.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes what belongs to one connection, also what the sender says belongs to it.
pub(crate) fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .filter_map(|name| name.trim().parse().ok())
            // How long the body is belongs to the message, whatever the sender says.
            .filter(|name| name != header::CONTENT_LENGTH && name != header::HOST)
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    // Most heads have none of them, and to compare names is less than to look up nine.
    if headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

/// The id of a request: its own, if it is not absurd, or a random one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers.get(REQUEST_ID).filter(|id| (1..=128).contains(&id.len())).cloned().unwrap_or_else(|| {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(rand::random::<[u8; 16]>()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        HeaderValue::from_bytes(&text).expect("hex digits are a header value")
    })
}

/// Makes the head of a client's request that of a server's: by HTTP/1, and gRPC by HTTP/2. How much the model decides is
/// not the client's to say, nor what its answer is called.
pub(crate) fn pass_on(parts: &mut Parts, id: &HeaderValue, automation: Option<&HeaderValue>) {
    let grpc = is_grpc(parts);
    strip(&mut parts.headers);
    // Answered by our own server already; a server behind would only delay its answer.
    parts.headers.remove(header::EXPECT);
    parts.headers.remove(mirror::SHADOW);
    set(parts, TICKET, None);
    parts.headers.insert(REQUEST_ID, id.clone());
    set(parts, AUTOMATION, automation);
    if grpc {
        // Whoever asks this way can read trailers, and says so.
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        return;
    }
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    // HTTP/2 names the host in the URI, and where a URI names one it is the one that counts (RFC 9112 §3.2.2).
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    parts.uri = origin_form(&parts.uri);
    parts.version = Version::HTTP_11;
}

/// Tells a server what only a router may say, or nothing.
pub(crate) fn set(parts: &mut Parts, name: HeaderName, value: Option<&HeaderValue>) {
    match value {
        Some(value) => drop(parts.headers.insert(name, value.clone())),
        None => drop(parts.headers.remove(name)),
    }
}

/// Makes one header of the cookies, which HTTP/2 may send in several (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let all: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if all.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Whether a request is gRPC, and came in a way in which its answer can be given.
pub(crate) fn is_grpc(parts: &Parts) -> bool {
    parts.version == Version::HTTP_2 && grpc::is_grpc(&parts.headers)
}

/// The path and query: what a server expects, also when the client spoke to us as to a forward proxy.
fn origin_form(uri: &Uri) -> Uri {
    match uri.path_and_query() {
        Some(path) => Uri::from(path.clone()),
        None => Uri::from_static("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_one_connection_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-secret"),
            ("connection", "Content-Length, keep-alive"),
            ("x-secret", "1"),
            ("content-length", "5"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "content-length"]);
    }

    #[test]
    fn how_much_the_model_decides_is_not_the_client_s_to_say() {
        let told = |policy: Option<&'static str>| {
            let request =
                http::Request::post("/predict").header(wire::automation::HEADER, "full").body(()).unwrap();
            let (mut parts, ()) = request.into_parts();
            let policy = policy.map(HeaderValue::from_static);
            pass_on(&mut parts, &HeaderValue::from_static("id"), policy.as_ref());
            parts.headers.get_all(wire::automation::HEADER).iter().cloned().collect::<Vec<_>>()
        };
        assert!(told(None).is_empty());
        assert_eq!(told(Some("partial 0.7")), ["partial 0.7"]);
    }

    #[test]
    fn only_the_path_is_passed_on() {
        let form = |uri: &'static str| origin_form(&Uri::from_static(uri)).to_string();
        assert_eq!(form("http://digits.default/predict?x=1"), "/predict?x=1");
        assert_eq!(form("/predict"), "/predict");
        assert_eq!(form("http://digits.default"), "/");
    }
}
