//! What clients of routers send, and which answers are good.

use super::model::{self, VERSIONS};
use crate::http::{self, Connection, Failure};

/// Header that names the user, by whom requests are sticky.
pub(super) const USER: &str = "x-user-id";

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Revision {
    Stable,
    Candidate,
}

/// A request, spelt once; only the user in it changes.
#[derive(Debug, Clone)]
pub(super) struct Request {
    bytes: Vec<u8>,
    /// Where the user's digits are, if it has one.
    user: Option<usize>,
}

const DIGITS: usize = 8;

impl Request {
    /// A POST with a body of so many bytes, of user 0.
    pub(super) fn of_users(body: usize) -> Self {
        let mut request = Self::new(body, &format!("{USER}: u{}\r\n", "0".repeat(DIGITS)));
        let at = request.bytes.windows(USER.len()).position(|window| window == USER.as_bytes());
        request.user = at.map(|at| at + USER.len() + ": u".len());
        request
    }

    /// One with other headers, each line with its end.
    pub(super) fn new(body: usize, headers: &str) -> Self {
        let head = format!(
            "POST /predict HTTP/1.1\r\nhost: digits\r\ncontent-type: application/json\r\n{headers}content-length: {body}\r\n\r\n"
        );
        let mut bytes = head.into_bytes();
        bytes.resize(bytes.len() + body, b'A');
        Self { bytes, user: None }
    }

    /// Makes it the request of another user.
    pub(super) fn set_user(&mut self, user: u64) {
        let Some(at) = self.user else { return };
        let text = format!("{user:0DIGITS$}");
        self.bytes[at..at + DIGITS].copy_from_slice(&text.as_bytes()[text.len() - DIGITS..]);
    }

    /// Sends it and reads the answer, which must be one of the two that the servers give.
    pub(super) fn ask(&self, connection: &mut Connection) -> Result<Answer, Failure> {
        let http::Answer { status, head, body } = connection.send(&self.bytes)?;
        if status != 200 {
            return Err(Failure::Status(status));
        }
        let version = http::header(head, wire::header::MODEL_VERSION).ok_or(Failure::Wrong("no version"))?;
        let revision = match VERSIONS.iter().position(|known| *known == version) {
            Some(0) => Revision::Stable,
            Some(_) => Revision::Candidate,
            None => return Err(Failure::Wrong("unknown version")),
        };
        if body != model::body(version) {
            return Err(Failure::Wrong("another body"));
        }
        Ok(Answer { revision, last: http::is_last(head) })
    }
}

/// A good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) revision: Revision,
    /// Whether the connection takes no further request.
    pub(super) last: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_changes_its_user_only() {
        let mut request = Request::of_users(3);
        let before = request.bytes.clone();
        request.set_user(1_234);
        let text = String::from_utf8(request.bytes.clone()).unwrap();
        assert!(
            text.contains("x-user-id: u00001234\r\n") && text.ends_with("content-length: 3\r\n\r\nAAA"),
            "{text}"
        );
        request.set_user(0);
        assert_eq!(request.bytes, before);
    }
}
