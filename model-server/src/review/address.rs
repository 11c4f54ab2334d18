//! Where another program is.

use std::fmt;
use std::str::FromStr;

use axum::http::Uri;

/// `http(s)://<host>[:<port>][/<path>]`, without a query, a user or a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// What is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("http://<host>[:<port>] or https://… is meant, without a query and a password")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let uri: Uri = text.parse().map_err(|_| AddressError)?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !is_web || !is_plain || uri.query().is_some() || text.contains('#') {
            return Err(AddressError);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl Address {
    /// A path below it, and a query that is encoded already.
    pub(super) fn at(&self, path: &str) -> Uri {
        format!("{}{path}", self.0).parse().expect("an address and a path of ours are an address")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, at) in [
            ("http://digits:8081", "http://digits:8081/feedback"),
            ("https://digits/", "https://digits/feedback"),
            ("http://10.0.0.1/below/", "http://10.0.0.1/below/feedback"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().at("/feedback").to_string(), at);
        }
        for wrong in [
            "",
            "digits",
            "digits:8081",
            "ftp://digits",
            "http://",
            "http://me:secret@digits",
            "http://a?b=c",
            "http://a/#b",
        ] {
            assert_eq!(wrong.parse::<Address>(), Err(AddressError), "{wrong}");
        }
    }
}
