//! What a request is let in by.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

/// The token of `Authorization: Bearer`; empty without one.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> &str {
    let written = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    written
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map_or("", |(_, token)| token.trim())
}
