//! Bodies that are sent compressed (`Content-Encoding`), unpacked within the limits of those that are not.

use std::io::Read;

use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, StatusCode};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::Problem;
use super::text::short;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    /// zlib's format (RFC 9110 §8.4.1.2).
    Deflate,
}

impl Encoding {
    /// That of a request with these headers; `None` if it is sent as it is.
    ///
    /// # Errors
    /// For any other, also for several.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut all = headers.get_all(CONTENT_ENCODING).iter();
        let (first, second) = (all.next(), all.next());
        let text = first.map_or(Ok("identity"), |value| value.to_str()).unwrap_or("not text").trim();
        match (text.to_ascii_lowercase().as_str(), second) {
            ("identity" | "", None) => Ok(None),
            ("gzip" | "x-gzip", None) => Ok(Some(Self::Gzip)),
            ("deflate", None) => Ok(Some(Self::Deflate)),
            _ => {
                let message = format!(
                    "Content-Encoding is {:?}, allowed: gzip, deflate, identity, one of them",
                    short(text)
                );
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
            }
        }
    }

    /// Unpacks what must not be more than `max` bytes; `room` is asked for room for so many before they are taken.
    pub(super) fn unpack(
        self,
        packed: &[u8],
        max: usize,
        mut room: impl FnMut(usize) -> Result<(), Problem>,
    ) -> Result<Vec<u8>, Problem> {
        let mut reader: Box<dyn Read + '_> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Deflate => Box::new(ZlibDecoder::new(packed)),
        };
        let mut bytes = Vec::new();
        loop {
            if bytes.len() > max {
                let message = format!("the body unpacks to more than {max} bytes, allowed: {max}");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message));
            }
            // One byte beyond the limit shows that it is passed.
            let next = (bytes.len() * 2).max(16 << 10).min(max + 1);
            room(next)?;
            bytes.reserve_exact(next - bytes.len());
            let more = (next - bytes.len()) as u64;
            let read = reader.by_ref().take(more).read_to_end(&mut bytes);
            let read = read.map_err(|error| {
                let reason: String = error.to_string().chars().take(100).collect();
                Problem::bad(format!("the body cannot be unpacked: {reason}"))
            })?;
            if (read as u64) < more {
                return Ok(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_compressed_is_named_once() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            Encoding::of(&headers).map_err(|problem| (problem.status.as_u16(), problem.message))
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["identity"]), Ok(None));
        assert_eq!(of(&["GZip"]), Ok(Some(Encoding::Gzip)));
        assert_eq!(of(&["deflate"]), Ok(Some(Encoding::Deflate)));
        for wrong in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"]] {
            let (status, message) = of(wrong).unwrap_err();
            assert!(status == 415 && message.contains("allowed: gzip, deflate, identity"), "{message}");
        }
    }

    #[test]
    fn a_bomb_is_refused_when_it_passes_the_limit_and_takes_no_more_room() {
        let bomb = gzip(&vec![0; 50 << 20]);
        let mut most = 0;
        let room = |bytes: usize| {
            most = most.max(bytes);
            Ok(())
        };
        let problem = Encoding::Gzip.unpack(&bomb, 1 << 20, room).unwrap_err();
        assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(most, (1 << 20) + 1);
        let full = |_| Err(Problem::busy("full"));
        assert_eq!(Encoding::Gzip.unpack(&bomb, 1 << 20, full).unwrap_err().status, 429);
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_out_and_what_is_broken_does_not(
            bytes in proptest::collection::vec(any::<u8>(), 0..100_000), zlib: bool, cut in 1usize..20,
        ) {
            let (encoding, packed) = if zlib {
                let mut encoder = ZlibEncoder::new(vec![], Compression::fast());
                encoder.write_all(&bytes).unwrap();
                (Encoding::Deflate, encoder.finish().unwrap())
            } else {
                (Encoding::Gzip, gzip(&bytes))
            };
            prop_assert_eq!(encoding.unpack(&packed, bytes.len(), |_| Ok(())), Ok(bytes.clone()));
            let broken = encoding.unpack(&packed[..packed.len().saturating_sub(cut)], bytes.len(), |_| Ok(()));
            prop_assert_eq!(broken.unwrap_err().status, 400);
            if !bytes.is_empty() {
                let small = encoding.unpack(&packed, bytes.len() - 1, |_| Ok(()));
                prop_assert_eq!(small.unwrap_err().status, 413);
            }
        }
    }
}
