//! The scanner that looks on at a client's connection, beside the parser that hyper uses. It must say the same however the
//! bytes are cut; no head that is read in two ways may pass; and behind one that passes, it must know where its body ends.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The file alone, with nothing of the router around it.
#[allow(dead_code, reason = "its tests and the router use the rest")]
#[path = "../../router/src/listen/scan.rs"]
mod scan;

use scan::Scan;

fuzz_target!(|input: (&[u8], u16)| {
    let (bytes, cut) = input;
    let mut whole = Scan::default();
    let ambiguous = whole.feed(bytes);
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let mut cut = Scan::default();
    let in_parts = cut.feed(first) | cut.feed(second);
    assert_eq!(in_parts, ambiguous);
    let mut one_by_one = Scan::default();
    assert_eq!(bytes.chunks(1).fold(false, |found, byte| one_by_one.feed(byte) | found), ambiguous);
    if !ambiguous {
        assert_eq!((cut.in_head(), one_by_one.in_head()), (whole.in_head(), whole.in_head()));
    }
    head(bytes);
});

/// Compares the first head with what hyper's parser makes of it.
fn head(bytes: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(end)) = request.parse(bytes) else { return };
    let mut scan = Scan::default();
    let ambiguous = scan.feed(&bytes[..end]);
    let of = |name: &str| -> Vec<&[u8]> {
        let found = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.trim_ascii()).collect()
    };
    let (lengths, codings) = (of("content-length"), of("transfer-encoding"));
    if ambiguous {
        return;
    }
    assert!(!scan.in_head(), "the head is over");
    assert!(bytes[..end].windows(2).all(|two| two[1] != b'\n' || two[0] == b'\r'), "a line feed alone");
    assert!(lengths.len() + codings.len() <= 1, "two lengths");
    assert!(codings.iter().all(|coding| coding.eq_ignore_ascii_case(b"chunked")), "another coding");
    let length = lengths.first().map_or(0, |length| {
        assert!(length.iter().all(u8::is_ascii_digit), "not a number");
        std::str::from_utf8(length).expect("digits").parse::<usize>().expect("a number of 64 bits")
    });
    if codings.is_empty() && length < 1 << 16 {
        assert!(!scan.feed(&vec![b'\n'; length]), "a body is not looked into");
        assert!(!scan.in_head());
        scan.feed(b"G");
        assert!(scan.in_head(), "the next request begins behind the body");
    }
}
