//! Requests that servers have been known to read differently, and what the router makes of each.

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// It is answered with this status, the connection is closed, and nobody sees anything of it.
    Refused(u16),
    /// The server sees one request with this first line, this framing, and this body.
    One(&'static str, &'static str, &'static str),
}

use Expected::{One, Refused};

const P: &str = "POST /p HTTP/1.1";
const G: &str = "GET /p HTTP/1.1";
const FIVE: Expected = One(P, "content-length: 5", "hello");
const NONE: Expected = One(G, "", "");
const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";
const TE: &str = "Transfer-Encoding: chunked\r\n";

/// A name, the bytes, and what becomes of them.
pub(crate) type Case = (&'static str, String, Expected);

fn post(headers: &str, body: &str) -> String {
    format!("{P}\r\nhost: d\r\n{headers}\r\n{body}")
}

fn get(headers: &str) -> String {
    format!("{G}\r\n{headers}\r\n")
}

fn line(line: &str) -> String {
    format!("{line}\r\nhost: d\r\n\r\n")
}

pub(crate) fn cases() -> Vec<Case> {
    [lengths(), codings(), chunks(), lines(), targets(), hosts(), hops()].concat()
}

fn lengths() -> Vec<Case> {
    let of = |name, headers: &str, expected| (name, post(headers, "hello"), expected);
    vec![
        of("one length", "Content-Length: 5\r\n", FIVE),
        of("length in capitals", "CONTENT-LENGTH: 5\r\n", FIVE),
        of("equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n", Refused(400)),
        of("different lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", Refused(400)),
        of("zero, then a length", "Content-Length: 0\r\nContent-Length: 5\r\n", Refused(400)),
        of("a list of lengths", "Content-Length: 5, 5\r\n", Refused(400)),
        of("a list of different lengths", "Content-Length: 5, 6\r\n", Refused(400)),
        of("plus", "Content-Length: +5\r\n", Refused(400)),
        of("minus", "Content-Length: -5\r\n", Refused(400)),
        of("space within", "Content-Length: 0 5\r\n", Refused(400)),
        of("underscore within", "Content-Length: 0_5\r\n", Refused(400)),
        of("underscore in the name", "Content_Length: 5\r\n", Refused(400)),
        of("underscore in the name of another", "Content-Length: 5\r\nContent_Length: 0\r\n", Refused(400)),
        of("hex", "Content-Length: 0x5\r\n", Refused(400)),
        of("a fraction", "Content-Length: 5.0\r\n", Refused(400)),
        of("a quoted length", "Content-Length: \"5\"\r\n", Refused(400)),
        of("no number", "Content-Length:\r\n", Refused(400)),
        // Decimal to everybody who follows RFC 9110; octal to nobody known.
        of("leading zeros", "Content-Length: 005\r\n", One(P, "content-length: 005", "hello")),
        of("beyond 64 bits", "Content-Length: 18446744073709551621\r\n", Refused(400)),
        of("beyond 63 bits", "Content-Length: 18446744073709551615\r\n", Refused(431)),
        of("beyond what is allowed", "Content-Length: 4194305\r\n", Refused(413)),
        of("space before the colon", "Content-Length : 5\r\n", Refused(400)),
        of("vertical tab before the length", "Content-Length: \x0b5\r\n", Refused(400)),
        of("folded", "Content-Length:\r\n 5\r\n", Refused(400)),
        (
            "a GET with a body",
            format!("{G}\r\nhost: d\r\nContent-Length: 5\r\n\r\nhello"),
            One(G, "content-length: 5", "hello"),
        ),
    ]
}

fn codings() -> Vec<Case> {
    let of = |name, headers: &str, expected| (name, post(headers, CHUNKS), expected);
    vec![
        of("chunks", TE, FIVE),
        of("chunks in capitals", "TRANSFER-ENCODING: CHUNKED\r\n", FIVE),
        of("tab before the coding", "Transfer-Encoding:\tchunked\r\n", FIVE),
        of("length, then chunks", &format!("Content-Length: 5\r\n{TE}"), Refused(400)),
        of("chunks, then length", &format!("{TE}Content-Length: 5\r\n"), Refused(400)),
        of("chunks, and no length at all", &format!("{TE}Content-Length: 0\r\n"), Refused(400)),
        of("chunks, and a length by an underscore", &format!("{TE}Content_Length: 5\r\n"), Refused(400)),
        of("a coding by an underscore", "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", Refused(400)),
        of("xchunked", "Transfer-Encoding: xchunked\r\n", Refused(400)),
        of("chunkedx", "Transfer-Encoding: chunkedx\r\n", Refused(400)),
        of("quoted", "Transfer-Encoding: \"chunked\"\r\n", Refused(400)),
        of("chunked, identity", "Transfer-Encoding: chunked, identity\r\n", Refused(400)),
        of("identity, chunked", "Transfer-Encoding: identity, chunked\r\n", Refused(400)),
        of("identity", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n", Refused(400)),
        of("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n", Refused(400)),
        of("chunked, gzip", "Transfer-Encoding: chunked, gzip\r\n", Refused(400)),
        of("gzip", "Transfer-Encoding: gzip\r\n", Refused(400)),
        of("trailing comma", "Transfer-Encoding: chunked,\r\n", Refused(400)),
        of("leading comma", "Transfer-Encoding: ,chunked\r\n", Refused(400)),
        of("a parameter", "Transfer-Encoding: chunked;q=1\r\n", Refused(400)),
        of("no coding", "Transfer-Encoding:\r\nContent-Length: 5\r\n", Refused(400)),
        of("twice", &format!("{TE}{TE}"), Refused(400)),
        of("twice, and once not", &format!("Transfer-Encoding: cow\r\n{TE}"), Refused(400)),
        of("vertical tab before the coding", "Transfer-Encoding: \x0bchunked\r\n", Refused(400)),
        of("space before the colon", "Transfer-Encoding : chunked\r\n", Refused(400)),
        of("folded", "Transfer-Encoding:\r\n chunked\r\n", Refused(400)),
        of("behind a bare CR", "x: y\rTransfer-Encoding: chunked\r\n", Refused(400)),
        of("behind a bare LF", "x: y\nTransfer-Encoding: chunked\r\n", Refused(400)),
        of("far to the right", &format!("Transfer-Encoding:{}chunked\r\n", " ".repeat(60)), Refused(400)),
        ("in HTTP/1.0", format!("POST /p HTTP/1.0\r\nhost: d\r\n{TE}\r\n{CHUNKS}"), Refused(400)),
    ]
}

fn chunks() -> Vec<Case> {
    let of = |name, body: &str, expected| (name, post(TE, body), expected);
    let zeros = "0".repeat(70);
    vec![
        of("two chunks", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", FIVE),
        of("a leading zero", "005\r\nhello\r\n0\r\n\r\n", FIVE),
        of("seventy leading zeros", &format!("{zeros}5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        of("an extension", "5;a=\"b\"\r\nhello\r\n0\r\n\r\n", FIVE),
        of("an extension of 20 KB", &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000)), Refused(400)),
        of("a line feed in an extension", "5;a\nhello\r\n0\r\n\r\n", Refused(400)),
        of("0x", "0x5\r\nhello\r\n0\r\n\r\n", Refused(400)),
        of("plus", "+5\r\nhello\r\n0\r\n\r\n", Refused(400)),
        of("minus", "-5\r\nhello\r\n0\r\n\r\n", Refused(400)),
        of("leading space", " 5\r\nhello\r\n0\r\n\r\n", Refused(400)),
        of("underscore", "0_5\r\nhello\r\n0\r\n\r\n", Refused(400)),
        of("beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n", Refused(400)),
        of("no size", "\r\nhello\r\n0\r\n\r\n", Refused(400)),
        of("line feeds alone", "5\nhello\n0\n\n", Refused(400)),
        of("a line feed behind a chunk", "5\r\nhello\n0\r\n\r\n", Refused(400)),
        of("longer than it says", "5\r\nhello!\r\n0\r\n\r\n", Refused(400)),
        of("bare CR behind the size", "5\rhello\r\n0\r\n\r\n", Refused(400)),
        // The next request is read as a trailer, which it cannot be.
        of("no end", "5\r\nhello\r\n0\r\n", Refused(400)),
        of("trailers are not passed on", "5\r\nhello\r\n0\r\ncontent-length: 9\r\nhost: e\r\n\r\n", FIVE),
        of(
            "a trailer that ends by line feeds",
            "5\r\nhello\r\n0\r\nx: 1\n\nGET /hidden HTTP/1.1\r\nhost: d\r\n\r\n",
            Refused(400),
        ),
    ]
}

fn lines() -> Vec<Case> {
    let of = |name, headers: &str, expected| (name, get(&format!("host: d\r\n{headers}")), expected);
    vec![
        of("plain", "x: 1\r\n", NONE),
        ("line feeds alone", "GET /p HTTP/1.1\nhost: d\n\n".into(), Refused(400)),
        of("a line feed behind a header", "x: 1\ny: 2\r\n", Refused(400)),
        of("a line feed at the end", "x: 1\r\n\nz", Refused(400)),
        of("NUL in a value", "x: a\0b\r\n", Refused(400)),
        of("NUL in a name", "x\0: a\r\n", Refused(400)),
        of("no colon", "nothing\r\n", Refused(400)),
        of("an empty name", ": a\r\n", Refused(400)),
        of("a space in a name", "x y: a\r\n", Refused(400)),
        of("a bracket in a name", "x[0]: a\r\n", Refused(400)),
        of("a folded value", "x: a\r\n b\r\n", Refused(400)),
        ("white space before the first header", get(" x: 1\r\nhost: d\r\n"), Refused(400)),
        ("a tab before the first header", get("\thost: d\r\n"), Refused(400)),
        ("two spaces", line("GET  /p HTTP/1.1"), Refused(400)),
        ("a tab", line("GET\t/p\tHTTP/1.1"), Refused(400)),
        ("a leading space", line(" GET /p HTTP/1.1"), Refused(400)),
        ("a trailing space", line("GET /p HTTP/1.1 "), Refused(400)),
        ("a space in the target", line("GET /p q HTTP/1.1"), Refused(400)),
        ("HTTP/0.9", line("GET /p"), Refused(400)),
        ("HTTP/1.2", line("GET /p HTTP/1.2"), Refused(400)),
        ("HTTP/2.0", line("GET /p HTTP/2.0"), Refused(400)),
        ("http/1.1", line("GET /p http/1.1"), Refused(400)),
        ("HTTP/1.1 in other digits", line("GET /p HTTP/01.1"), Refused(400)),
        ("a method with a colon", line("GET: /p HTTP/1.1"), Refused(400)),
        ("empty lines ahead", format!("\r\n\r\n{}", line(G)), NONE),
    ]
}

fn targets() -> Vec<Case> {
    vec![
        ("absolute", line("GET http://d/p HTTP/1.1"), NONE),
        ("absolute without a path", line("GET http://d HTTP/1.1"), One("GET / HTTP/1.1", "", "")),
        ("absolute with a user", line("GET http://e@d/p HTTP/1.1"), Refused(400)),
        ("two slashes", line("GET //e/p HTTP/1.1"), One("GET //e/p HTTP/1.1", "", "")),
        ("a fragment", line("GET /p#/q HTTP/1.1"), NONE),
        ("a host", line("GET e:80 HTTP/1.1"), Refused(400)),
        ("no slash", line("GET p HTTP/1.1"), Refused(400)),
        ("asterisk", line("GET * HTTP/1.1"), Refused(400)),
        ("OPTIONS asterisk", line("OPTIONS * HTTP/1.1"), One("OPTIONS * HTTP/1.1", "", "")),
        ("an encoded line end", line("GET /p%0d%0aX:1 HTTP/1.1"), One("GET /p%0d%0aX:1 HTTP/1.1", "", "")),
    ]
}

fn hosts() -> Vec<Case> {
    vec![
        ("no host", get(""), Refused(400)),
        ("no host in HTTP/1.0", "GET /p HTTP/1.0\r\n\r\n".into(), NONE),
        ("two hosts", get("host: d\r\nhost: e\r\n"), Refused(400)),
        ("the same host twice", get("host: d\r\nHost: d\r\n"), Refused(400)),
        ("a list of hosts", get("host: d, e\r\n"), Refused(400)),
        ("a host with a user", get("host: d@e\r\n"), Refused(400)),
        ("a host with a path", get("host: d/e\r\n"), Refused(400)),
        ("a host with a space", get("host: d e\r\n"), Refused(400)),
        ("a host with a space before the colon", get("host : d\r\n"), Refused(400)),
    ]
}

fn hops() -> Vec<Case> {
    let hello = |name, headers: &str| (name, post(&format!("Content-Length: 5\r\n{headers}"), "hello"), FIVE);
    vec![
        hello("Connection names Content-Length", "Connection: content-length\r\n"),
        hello("Connection names Host", "Connection: host\r\n"),
        hello("Connection names a header of ours", "Connection: x-request-id, x-sluice-target\r\n"),
        hello(
            "h2c",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
        ),
        hello("websocket", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        hello("Expect", "Expect: 100-continue\r\n"),
        hello("Expect in capitals, twice", "Expect: 100-CONTINUE\r\nExpect: 100-continue\r\n"),
        hello("Expect something else", "Expect: 200-ok\r\n"),
        ("Expect without a body", get("host: d\r\nExpect: 100-continue\r\n"), NONE),
        (
            "Expect with two lengths",
            post(&format!("Expect: 100-continue\r\nContent-Length: 5\r\n{TE}"), CHUNKS),
            Refused(400),
        ),
        hello("TE", "TE: trailers, chunked\r\n"),
        hello("Trailer", "Trailer: content-length\r\n"),
        ("CONNECT", "CONNECT d:80 HTTP/1.1\r\nhost: d:80\r\n\r\n".into(), Refused(405)),
    ]
}
