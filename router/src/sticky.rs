//! The key of sticky assignment (R3): from a header, or from a cookie that the router gives to whoever has none. Pure: random
//! bits are arguments.
//!
//! A cookie of any value is a key, so that one which an application sets already (a session, say) is never replaced. A new key
//! is drawn before the slot, so that the first request counts for the slot of all later ones (C5).

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Table;
use crate::choose::{slot_of, slot_of_key};

/// How long a browser keeps a key, in seconds: longer than rollouts last.
const MAX_AGE: u32 = 30 * 24 * 3600;

/// Where the key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StickyRule {
    /// In a header.
    Header(HeaderName),
    /// In a cookie of this name.
    Cookie(String),
}

impl StickyRule {
    /// The key of a request with these headers. An empty one is none.
    #[must_use]
    pub fn key<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        match self {
            Self::Header(name) => headers.get(name).map(HeaderValue::as_bytes).filter(|key| !key.is_empty()),
            Self::Cookie(name) => {
                headers.get_all(COOKIE).iter().find_map(|line| cookie(line.as_bytes(), name))
            }
        }
    }
}

/// The slot of a request for 128 random bits, and the cookie that its answer sets. Clients of gRPC keep no cookies: without
/// a key they are drawn one by one.
pub(crate) fn slot(
    table: &Table,
    headers: &HeaderMap,
    grpc: bool,
    random: u128,
) -> (u16, Option<HeaderValue>) {
    let at_random = slot_of((random >> 64) as u64);
    let Some(rule) = &table.sticky else { return (at_random, None) };
    match (rule.key(headers), rule) {
        (Some(key), _) => (slot_of_key(&table.salt, key), None),
        (None, StickyRule::Cookie(name)) if !grpc => {
            let key = format!("{random:032x}");
            let cookie = format!("{name}={key}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax");
            (slot_of_key(&table.salt, key.as_bytes()), HeaderValue::try_from(cookie).ok())
        }
        (None, _) => (at_random, None),
    }
}

/// Sets the cookie, unless the answer sets one of the same name: then that is what the client sends from now on.
pub(crate) fn set(headers: &mut HeaderMap, cookie: HeaderValue) {
    let name = |line: &HeaderValue| line.as_bytes().split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
    if !headers.get_all(SET_COOKIE).iter().any(|theirs| name(theirs) == name(&cookie)) {
        headers.append(SET_COOKIE, cookie);
    }
}

/// The first value that is not empty.
fn cookie<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    line.split(|byte| *byte == b';').find_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        let value = rest.strip_prefix(b"=")?.trim_ascii();
        (!value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let rule = StickyRule::Cookie("u".into());
        for (lines, key) in [
            (&["u=1"][..], Some("1")),
            (&["a=2; u=1;b=3"], Some("1")),
            (&["a=2", "b=3; u=1"], Some("1")),
            (&["u=\"a b\"; c=1"], Some("\"a b\"")),
            (&["u=; u=2; u=3"], Some("2")),
            (&["u=a=b"], Some("a=b")),
            (&["uu=1; xu=1; U=1"], None),
            (&["u", "u=", "u= ;", "", ";;=", "=u"], None),
            (&[], None),
        ] {
            let headers = headers(&COOKIE, lines);
            assert_eq!(rule.key(&headers), key.map(str::as_bytes), "{lines:?}");
        }
    }

    #[test]
    fn a_cookie_that_the_answer_sets_itself_is_left_alone() {
        let ours = || HeaderValue::from_static("u=1; Path=/");
        for (theirs, n) in [(&["uu=2", "a=u=3"][..], 3), (&["a=1", "u=2; Secure"], 2), (&[], 1)] {
            let mut headers = headers(&SET_COOKIE, theirs);
            set(&mut headers, ours());
            assert_eq!(headers.get_all(SET_COOKIE).iter().count(), n, "{theirs:?}");
        }
    }
}
