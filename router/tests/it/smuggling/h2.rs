//! The same by HTTP/2, whose heads become those of HTTP/1. Frames by hand (RFC 9113 §4.1, RFC 7541 §6.2.2), because no
//! client library sends such.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::rig::{Rig, ready, route};
use crate::servers::{Server, ok};
use crate::wire_http::Wire;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` in the static table, as the first byte of an answer.
const OK: u8 = 0x88;

type Fields<'a> = &'a [(&'a str, &'a str)];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literals that are not indexed; shorter than 127 bytes each.
fn block(fields: Fields<'_>) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// Whether the request is answered with 200; false for another status, and when the stream or connection is ended.
async fn is_served(rig: &Rig, fields: Fields<'_>, body: &[u8]) -> bool {
    let mut wire = Wire::connect(rig.address).await.unwrap();
    let bytes = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &block(fields)),
        frame(DATA, END_STREAM, 1, body),
    ];
    let _ = wire.send(bytes.concat()).await;
    let answer = async {
        loop {
            let mut head = [0; 9];
            if wire.stream.read_exact(&mut head).await.is_err() {
                return false;
            }
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            if wire.stream.read_exact(&mut payload).await.is_err() {
                return false;
            }
            match head[3] {
                HEADERS => return payload.first() == Some(&OK),
                // RST_STREAM, GOAWAY.
                3 | 7 => return false,
                _ => {}
            }
        }
    };
    timeout(Duration::from_secs(5), answer).await.expect("an answer, or the end")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_by_http2_are_refused_or_passed_on_in_one_way() {
    let a = Server::start(|_, _| ok()).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    let head = [(":method", "POST"), (":scheme", "http"), (":authority", "d"), (":path", "/p")];
    for (name, more, served) in [
        ("plain", &[][..], true),
        ("the right length", &[("content-length", "5")], true),
        ("TE: trailers", &[("te", "trailers")], true),
        ("another host", &[("host", "other")], true),
        ("too short", &[("content-length", "4")], false),
        ("too long", &[("content-length", "6")], false),
        ("no number", &[("content-length", "+5")], false),
        ("a list", &[("content-length", "5, 5")], false),
        ("twice", &[("content-length", "5"), ("content-length", "5")], false),
        ("different", &[("content-length", "5"), ("content-length", "4")], false),
        ("chunks", &[("transfer-encoding", "chunked")], false),
        ("connection", &[("connection", "content-length")], false),
        ("keep-alive", &[("keep-alive", "1")], false),
        ("upgrade", &[("upgrade", "h2c")], false),
        ("TE: chunked", &[("te", "chunked")], false),
        ("capitals", &[("Content-Length", "5")], false),
        ("a line end in a value", &[("x", "a\r\ntransfer-encoding: chunked")], false),
        ("a line feed in a value", &[("x", "a\nb: c")], false),
        ("NUL in a value", &[("x", "a\0b")], false),
        ("a line end in a name", &[("x: a\r\ny", "b")], false),
        ("a colon in a name", &[("x:y", "b")], false),
        ("a path behind the headers", &[("x", "1"), (":path", "/q")], false),
        ("an unknown pseudo header", &[(":x", "1")], false),
        ("two hosts", &[("host", "d"), ("host", "e")], false),
    ] {
        let before = a.seen().len();
        assert_eq!(is_served(&rig, &[&head[..], more].concat(), b"hello").await, served, "{name}");
        let seen = a.seen().split_off(before);
        assert_eq!(seen.len(), usize::from(served), "{name}: {seen:?}");
        for seen in seen {
            let framing = super::framing(&seen);
            assert_eq!((seen.text().as_str(), framing.as_str()), ("hello", "content-length: 5"), "{name}");
            let hosts: Vec<_> = seen.headers.iter().filter(|(name, _)| name == "host").collect();
            assert_eq!(hosts, [&("host".to_owned(), "d".to_owned())], "{name}");
        }
    }
    for (name, field, value) in [
        ("a line end in the path", 3, "/p HTTP/1.1\r\nx: 1"),
        ("a space in the path", 3, "/p q"),
        ("no path", 3, ""),
        ("a line end in the method", 0, "GET /p HTTP/1.1\r\n"),
        ("a space in the method", 0, "GET /"),
        ("a line end in the host", 2, "d\r\nx: 1"),
        ("a user in the host", 2, "e@d"),
    ] {
        let mut head = head;
        head[field].1 = value;
        assert!(!is_served(&rig, &head, b"hello").await, "{name}");
    }
    assert_eq!(a.seen().len(), 4);
}
