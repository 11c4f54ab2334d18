//! Follows the framing of the requests on a connection, to see what hyper hides: it takes the chunked length
//! of a head with both `Transfer-Encoding` and `Content-Length` and drops the other silently, it takes off codings
//! that it does not know, and a line feed alone ends its lines. A proxy in front that reads any of this otherwise would
//! see other requests than we do (request smuggling). Pure.

/// Longest part of a line that is looked at.
const LINE: usize = 64;

/// Where on the connection the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first line of a request, or empty lines before it.
    First,
    /// The headers.
    Headers,
    /// This many bytes of a body or chunk.
    Body { left: u64, chunked: bool },
    /// The line that gives the length of a chunk.
    ChunkLength,
    /// The line end behind a chunk.
    ChunkEnd,
    /// Headers behind the last chunk.
    Trailers,
    /// Something that hyper refuses: nothing is followed any more.
    Lost,
}

/// What was seen of a connection so far.
#[derive(Debug)]
pub(super) struct Scan {
    place: Place,
    /// The beginning of the current line.
    line: Vec<u8>,
    /// Bytes of the current line.
    length: usize,
    /// Whether the last byte before was a carriage return.
    returned: bool,
    content_length: Option<u64>,
    /// How often the length of the body was given, in whichever way.
    lengths: u32,
    chunked: bool,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            place: Place::First,
            line: Vec::with_capacity(LINE),
            length: 0,
            returned: false,
            content_length: None,
            lengths: 0,
            chunked: false,
        }
    }
}

impl Scan {
    /// Whether a head has begun and not ended.
    pub(super) fn in_head(&self) -> bool {
        match self.place {
            Place::First => self.length > 0,
            place => place == Place::Headers,
        }
    }

    /// Whether the last request has ended and no other one has begun.
    pub(super) fn is_between(&self) -> bool {
        self.place == Place::First && self.length == 0
    }

    /// Reads on. True when a head gives the length of its body twice, or not as a number or by another coding than
    /// `chunked`, and when a line ends without a carriage return.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        let mut ambiguous = false;
        while !bytes.is_empty() {
            match self.place {
                Place::Lost => return ambiguous,
                Place::Body { left, chunked } => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[taken..];
                    self.place = match (left - taken as u64, chunked) {
                        (0, true) => Place::ChunkEnd,
                        (0, false) => Place::First,
                        (left, chunked) => Place::Body { left, chunked },
                    };
                }
                _ => {
                    let end = bytes.iter().position(|b| *b == b'\n');
                    let part = &bytes[..end.unwrap_or(bytes.len())];
                    let room = LINE.saturating_sub(self.line.len());
                    self.line.extend_from_slice(&part[..part.len().min(room)]);
                    self.length += part.len();
                    self.returned = part.last().map_or(self.returned, |last| *last == b'\r');
                    bytes = &bytes[end.map_or(bytes.len(), |e| e + 1)..];
                    if end.is_some() {
                        ambiguous |= self.line_ended();
                        self.line.clear();
                        (self.length, self.returned) = (0, false);
                    }
                }
            }
        }
        ambiguous
    }

    fn line_ended(&mut self) -> bool {
        if !self.returned {
            return self.lost();
        }
        let cut = self.length > self.line.len();
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let empty = line.is_empty();
        match self.place {
            Place::First if empty => {}
            Place::First => self.place = Place::Headers,
            Place::Headers if empty => return self.head_ended(),
            Place::Headers => return self.header(cut),
            Place::ChunkLength => {
                let number = line.split(|b| *b == b';').next().unwrap_or_default();
                // hyper reads on where the line was cut.
                if cut && number.len() == line.len() {
                    return self.lost();
                }
                self.place = match digits(number.trim_ascii(), 16) {
                    Some(0) => Place::Trailers,
                    Some(left) => Place::Body { left, chunked: true },
                    None => Place::Lost,
                };
            }
            Place::ChunkEnd => self.place = if empty { Place::ChunkLength } else { Place::Lost },
            Place::Trailers if empty => self.place = Place::First,
            Place::Trailers | Place::Body { .. } | Place::Lost => {}
        }
        false
    }

    /// Reads a header, of which `cut` says that its end is not there.
    fn header(&mut self, cut: bool) -> bool {
        let Some(colon) = self.line.iter().position(|b| *b == b':') else { return false };
        let (name, value) = (self.line[..colon].trim_ascii(), self.line[colon + 1..].trim_ascii());
        let is = |known: &[u8]| {
            let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-');
            name.len() == known.len() && name.iter().zip(known).all(same)
        };
        let (coding, length) = (is(b"transfer-encoding"), is(b"content-length"));
        if !coding && !length {
            return false;
        }
        // Servers that make variables of headers take an underscore for a hyphen.
        if cut || name.contains(&b'_') {
            return self.lost();
        }
        self.lengths += 1;
        if coding {
            self.chunked = true;
            return !value.eq_ignore_ascii_case(b"chunked") && self.lost();
        }
        self.content_length = digits(value, 10);
        self.content_length.is_none() && self.lost()
    }

    /// Nothing behind this can be read with any certainty.
    fn lost(&mut self) -> bool {
        self.place = Place::Lost;
        true
    }

    fn head_ended(&mut self) -> bool {
        let ambiguous = self.lengths > 1;
        self.place = match (self.chunked, self.content_length) {
            (true, _) => Place::ChunkLength,
            (false, Some(left @ 1..)) => Place::Body { left, chunked: false },
            (false, _) => Place::First,
        };
        (self.lengths, self.content_length, self.chunked) = (0, None, false);
        ambiguous
    }
}

/// A number of digits only: signs and blanks are read differently by different servers.
fn digits(text: &[u8], radix: u32) -> Option<u64> {
    if text.is_empty() || !text.iter().all(|b| char::from(*b).is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(text).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: [&str; 5] = [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /p HTTP/1.1\r\nContent-Length: 34\r\n\r\ntransfer-encoding: a\r\n\r\ncontent-le",
        "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1b;x=y\r\ncontent-length: 1\r\n\r\nabcdef\r\n0\r\nt: 1\r\n\r\n",
        "\r\nPOST /p HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
        "POST /p HTTP/1.1\r\ncontent-length: 5\r\n\r\n\r\n\r\n\n",
    ];
    const BAD: [&str; 13] = [
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:                                                      5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent_Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\n\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nt: 1\n\nGET / HTTP/1.1\r\n\r\n",
        // Five bytes for hyper, and the end for whoever reads 64 digits.
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000000000000000000000000000000000000000000000000000005\r\n",
    ];

    fn feed(scan: &mut Scan, text: &str, cuts: &[usize]) -> bool {
        let mut ambiguous = false;
        let mut from = 0;
        for cut in cuts.iter().copied().chain([text.len()]).filter(|c| *c <= text.len()) {
            if cut >= from {
                ambiguous |= scan.feed(&text.as_bytes()[from..cut]);
                from = cut;
            }
        }
        ambiguous
    }

    proptest! {
        #[test]
        fn twofold_lengths_are_seen_wherever_the_bytes_are_cut(
            good in proptest::collection::vec(0usize..5, 0..6),
            bad in proptest::option::of(0..BAD.len()),
            mut cuts in proptest::collection::vec(0usize..500, 0..20),
        ) {
            let mut text: String = good.iter().map(|i| GOOD[*i]).collect();
            let before = text.len();
            text.extend(bad.map(|i| BAD[i]));
            cuts.sort_unstable();
            let mut scan = Scan::default();
            prop_assert!(!feed(&mut scan, &text[..before], &cuts));
            prop_assert!(!scan.in_head());
            prop_assert_eq!(feed(&mut scan, &text[before..], &cuts), bad.is_some());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            Scan::default().feed(&bytes);
        }
    }

    #[test]
    fn a_head_lasts_from_its_first_byte_to_its_empty_line() {
        let mut scan = Scan::default();
        assert!(!scan.in_head());
        for part in ["G", "ET / HTTP/1.1\r", "\nhost: a\r\n", "\r"] {
            scan.feed(part.as_bytes());
            assert!(scan.in_head(), "{part:?}");
        }
        scan.feed(b"\n");
        assert!(!scan.in_head());
    }
}
