//! As much of a request's head as the played servers need.

use super::DIGEST;

/// A head that is here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Its length.
    pub(super) bytes: usize,
    /// The length of the body.
    pub(super) body: usize,
    /// Whether the request is a copy.
    pub(super) copy: bool,
    /// Whether the body's digest is wanted.
    pub(super) digest: bool,
    /// The path, if it is the benchmark that asks.
    pub(super) question: Option<String>,
}

impl Head {
    /// The head that a buffer begins with, once it is complete.
    pub(super) fn find(buffer: &[u8]) -> Option<Self> {
        let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut head = Self { bytes: end + 4, ..Self::default() };
        let mut lines = buffer[..end].split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        head.question = question(first);
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                head.body = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok())?;
            } else if name.eq_ignore_ascii_case(wire::header::SHADOW.as_bytes()) {
                head.copy = true;
            } else if name.eq_ignore_ascii_case(DIGEST.as_bytes()) {
                head.digest = true;
            }
        }
        Some(head)
    }
}

fn question(line: &[u8]) -> Option<String> {
    let path = line.split(|byte| *byte == b' ').nth(1)?;
    path.starts_with(b"/bench/").then(|| String::from_utf8_lossy(path).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let text = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nX-Sluice-Shadow: 1\r\n\r\nhello";
        let head = Head { bytes: text.len() - 5, body: 12, copy: true, ..Head::default() };
        assert_eq!(Head::find(text), Some(head));
        assert_eq!(Head::find(&text[..40]), None);
        let asked = Head::find(b"GET /bench/seen HTTP/1.1\r\nx-bench-digest: 1\r\n\r\n").unwrap();
        assert_eq!((asked.question.as_deref(), asked.digest, asked.body), (Some("/bench/seen"), true, 0));
    }
}
