//! The table: what it is, what is sent, what is answered.

use std::time::Duration;

use super::common::{base64, png};
use super::hostile;

/// What is expected.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// This status, and a message that has this text.
    Refused(u16, &'static str),
    /// This status, from what reads HTTP.
    NoHttp(u16),
    /// Nothing of HTTP/1, and an end.
    Closed,
    /// HTTP/2 says that it is over, and ends.
    GoAway,
    /// It is good.
    Fine,
}

use Answer::{Closed, GoAway, NoHttp, Refused};

/// A line of the table.
pub(crate) struct Case {
    pub what: String,
    pub parts: Vec<Vec<u8>>,
    /// Time between two parts.
    pub pause: Duration,
    /// Whether the client closes its side when all is sent.
    pub closes: bool,
    pub answer: Answer,
}

fn raw(what: &str, request: impl AsRef<[u8]>, answer: Answer) -> Case {
    let parts = vec![request.as_ref().to_vec()];
    Case { what: what.into(), parts, pause: Duration::ZERO, closes: false, answer }
}

/// A request with a body of this type.
fn post(what: &str, path: &str, kind: &str, body: &[u8], answer: Answer) -> Case {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    raw(what, [head.as_bytes(), body].concat(), answer)
}

/// A body of `/predict`.
pub(crate) fn json(what: &str, body: &str, answer: Answer) -> Case {
    post(what, "/predict", "application/json", body.as_bytes(), answer)
}

/// An image for `/predict`.
fn image(what: &str, image: &[u8], status: u16, says: &'static str) -> Case {
    json(what, &format!(r#"{{"image": "{}"}}"#, base64(image)), Refused(status, says))
}

/// A body of `/v2/…/infer`.
fn infer(what: &str, body: &str, says: &'static str) -> Case {
    post(what, "/v2/models/light/infer", "application/json", body.as_bytes(), Refused(400, says))
}

/// An input of `/v2/…/infer` with these fields.
fn input(what: &str, fields: &str, says: &'static str) -> Case {
    infer(what, &format!(r#"{{"inputs": [{{{fields}}}]}}"#), says)
}

/// An input that is right but for its shape.
fn shape(what: &str, shape: &str, says: &'static str) -> Case {
    let data = vec!["0"; 48].join(",");
    input(what, &format!(r#""name": "input", "datatype": "FP32", "shape": {shape}, "data": [{data}]"#), says)
}

/// An input that is right but for its numbers.
fn data(what: &str, data: &str, says: &'static str) -> Case {
    input(what, &format!(r#""name": "input", "datatype": "FP32", "shape": [1,3,4,4], "data": {data}"#), says)
}

/// A tensor as bytes behind the JSON, with this header.
fn binary(what: &str, length: &str, size: &str, bytes: &[u8], says: &'static str) -> Case {
    let json = format!(
        r#"{{"inputs": [{{"name": "input", "datatype": "FP32", "shape": [1,3,4,4], "parameters": {{"binary_data_size": {size}}}}}]}}"#
    );
    let body = [json.as_bytes(), bytes].concat();
    let length = if length == "right" { json.len().to_string() } else { length.to_owned() };
    let head = format!(
        "POST /v2/models/light/infer HTTP/1.1\r\nhost: a\r\nconnection: close\r\ninference-header-content-length: {length}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    raw(what, [head.as_bytes(), &body].concat(), Refused(400, says))
}

/// A form of these parts (a part's head, its content).
fn form(what: &str, parts: &[(&str, &[u8])], status: u16, says: &'static str) -> Case {
    let mut body = vec![];
    for (head, content) in parts {
        body.extend_from_slice(format!("--b\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    post(what, "/predict-file", "multipart/form-data; boundary=b", &body, Refused(status, says))
}

/// A form as it is.
fn form_text(what: &str, body: &str, says: &'static str) -> Case {
    post(what, "/predict-file", "multipart/form-data; boundary=b", body.as_bytes(), Refused(400, says))
}

fn get(what: &str, path: &str, status: u16, says: &'static str) -> Case {
    raw(what, format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"), Refused(status, says))
}

/// A head of `/predict` with these lines, and what follows it.
fn head(what: &str, lines: &str, body: &[u8], answer: Answer) -> Case {
    let head =
        format!("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{lines}\r\n\r\n");
    raw(what, [head.as_bytes(), body].concat(), answer)
}

fn slow(mut case: Case, parts: usize, pause: u64) -> Case {
    let whole = case.parts.concat();
    case.parts = whole.chunks(whole.len().div_ceil(parts)).map(<[u8]>::to_vec).collect();
    Case { pause: Duration::from_millis(pause), ..case }
}

/// The same by a client that closes its side.
fn leaving(case: Case) -> Case {
    Case { closes: true, ..case }
}

const FILE: &str = "content-disposition: form-data; name=\"file\"; filename=\"a.png\"";
const TOP_K: &str = "content-disposition: form-data; name=\"top_k\"";
const NOT_JSON: &str = "the body is not the JSON that was expected";

pub(crate) fn cases() -> Vec<Case> {
    let hostile =
        hostile::images().into_iter().filter(|(_, bytes, says)| !says.is_empty() && bytes.len() < 1_500_000);
    let hostile = hostile.map(|(what, bytes, says)| {
        image(what, &bytes, if says.contains("pixels, allowed") { 413 } else { 422 }, says)
    });
    let ours = [bodies(), base64_texts(), images(), tensors(), forms(), heads(), paths()];
    ours.into_iter().flatten().chain(hostile).collect()
}

#[rustfmt::skip]
fn bodies() -> Vec<Case> {
    let (deep, wide) = ("[".repeat(200_000), format!(r#"{{"images": [{}]}}"#, vec![r#""""#; 300_000].join(",")));
    vec![
        json("no body", "", Refused(400, "the body is empty")),
        json("a brace", "{", Refused(400, "EOF while parsing")),
        json("a word", "image", Refused(400, NOT_JSON)),
        json("nothing", "null", Refused(400, NOT_JSON)),
        json("a list", "[]", Refused(400, "expected an object with image or images")),
        json("two objects", "{} {}", Refused(400, "trailing characters")),
        json("no field", "{}", Refused(400, "image is missing")),
        json("an unknown field", r#"{"imge": ""}"#, Refused(400, "unknown field `imge`")),
        json("a field with a NUL", r#"{"im\u0000age": ""}"#, Refused(400, "unknown field")),
        json("a proto", r#"{"__proto__": {}}"#, Refused(400, "unknown field `__proto__`")),
        json("a field of 300 kB", &format!(r#"{{"{}": 1}}"#, "a".repeat(300_000)), Refused(400, "unknown field")),
        json("image twice", r#"{"image": "", "image": ""}"#, Refused(400, "duplicate field `image`")),
        json("top_k twice", r#"{"top_k": 1, "top_k": 1}"#, Refused(400, "duplicate field `top_k`")),
        json("image and images", r#"{"image": "", "images": []}"#, Refused(400, "image and images are both there")),
        json("image is a number", r#"{"image": 1}"#, Refused(400, "expected a string")),
        json("image is a list", r#"{"image": [""]}"#, Refused(400, "expected a string")),
        json("image is an object", r#"{"image": {"b64": ""}}"#, Refused(400, "expected a string")),
        json("images is a text", r#"{"images": ""}"#, Refused(400, "expected a list of base64 texts")),
        json("images of numbers", r#"{"images": [1, 2]}"#, Refused(400, "expected a string")),
        json("images in images", r#"{"images": [[""]]}"#, Refused(400, "expected a string")),
        json("no images", r#"{"images": []}"#, Refused(400, "the request has 0 images, allowed: 1..=4")),
        json("300,000 images", &wide, Refused(400, "the request has 300000 images, allowed: 1..=4")),
        json("a negative top_k", r#"{"image": "", "top_k": -1}"#, Refused(400, "invalid value")),
        json("half a top_k", r#"{"image": "", "top_k": 1.5}"#, Refused(400, "invalid type")),
        json("top_k of 2^64", r#"{"image": "", "top_k": 18446744073709551616}"#, Refused(400, NOT_JSON)),
        json("top_k of 2^63", r#"{"image": "", "top_k": 9223372036854775808}"#, Refused(400, "top_k is 9223372036854775808")),
        json("top_k of 0", r#"{"image": "", "top_k": 0}"#, Refused(400, "top_k is 0, allowed: 1..=3")),
        json("top_k as text", r#"{"image": "", "top_k": "3"}"#, Refused(400, "invalid type: string")),
        json("deep lists", &deep, Refused(400, NOT_JSON)),
        json("a deep image", &format!(r#"{{"image": {deep}"#), Refused(400, NOT_JSON)),
        json("a deep unknown field", &format!(r#"{{"a": {deep}"#), Refused(400, "unknown field")),
        json("a lone surrogate", r#"{"image": "\ud800"}"#, Refused(400, NOT_JSON)),
        json("a raw line end", "{\"image\": \"a\nb\"}", Refused(400, NOT_JSON)),
        json("a comment", r#"{/*a*/"image": ""}"#, Refused(400, NOT_JSON)),
        json("a byte order mark", "\u{feff}{}", Refused(400, NOT_JSON)),
        post("no UTF-8", "/predict", "application/json", b"{\"image\": \"\xff\xfe\"}", Refused(400, NOT_JSON)),
        post("UTF-16", "/predict", "application/json", b"{\0}\0", Refused(400, NOT_JSON)),
        post("gzip", "/predict", "application/json", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0], Refused(400, NOT_JSON)),
    ]
}

#[rustfmt::skip]
fn base64_texts() -> Vec<Case> {
    let text = |what: &str, text: &str, says| json(what, &format!(r#"{{"image": "{text}"}}"#), Refused(400, says));
    let list = json("a bad one of two", r#"{"images": ["", "*"]}"#, Refused(400, "images[1]: the image is not base64: '*' at 0"));
    vec![
        text("a space within", "QUJD REVG", "' ' at 4"),
        text("both alphabets", "+-+-", "'-' at 1, allowed: one alphabet"),
        text("padding within", "QQ==QQ==", "'Q' at 4, allowed: nothing behind the padding"),
        text("one character", "Q", "the last character, at 0, is one too many"),
        text("only padding", "====", "wrong padding at 0"),
        text("an escape", "QU\\u0000D", "'\\0' at 2"),
        text("a path", "file:///etc/passwd", "':' at 4"),
        text("a data URL that is not base64", "data:image/svg+xml,QUJD", "a data: URL that is not base64"),
        text("a data URL without an end", &format!("data:{}", "a".repeat(500_000)), "without a comma in its first 200"),
        text("line ends of all kinds, and one wrong byte", &format!("{}~", "QUJD\\r\\n".repeat(50_000)), "'~' at 300000"),
        list,
    ]
}

#[rustfmt::skip]
fn images() -> Vec<Case> {
    let png = png(50, 50, 9);
    let with = |at: usize, byte: u8| { let mut png = png.clone(); png[at] = byte; png };
    vec![
        image("no bytes", b"", 422, "the image is empty (0 bytes)"),
        image("a GIF", b"GIF89a\x01\0\x01\0\0\0\0;", 422, "accepted: PNG, JPEG, WebP"),
        image("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "accepted: PNG, JPEG, WebP"),
        image("a TIFF", b"II*\0\x08\0\0\0", 422, "accepted: PNG, JPEG, WebP"),
        image("a ZIP", b"PK\x03\x04", 422, "accepted: PNG, JPEG, WebP"),
        image("an ELF", b"\x7fELF", 422, "accepted: PNG, JPEG, WebP"),
        image("a sound", b"RIFF\x04\0\0\0WAVE", 422, "accepted: PNG, JPEG, WebP"),
        image("a PNG's signature", &png[..8], 422, "the PNG image is broken: it ends before"),
        image("half a PNG", &png[..png.len() / 2], 422, "the PNG image is broken"),
        image("a PNG without its end", &png[..png.len() - 12], 422, "the PNG image is broken: it ends before"),
        image("a PNG of another checksum", &with(40, 1), 422, "the PNG image is broken"),
        image("a PNG of 77 bits", &with(24, 77), 422, "the PNG image is broken"),
        image("a JPEG's start", b"\xff\xd8\xff", 422, "the JPEG image is broken"),
        image("a JPEG of fill bytes", &[b"\xff\xd8".as_slice(), &[0xff; 200_000]].concat(), 422, "the JPEG image is broken"),
        image("a WebP's start", b"RIFF\xff\xff\xff\x7fWEBP", 422, "the WebP image is broken: it ends before"),
        image("a WebP of nothing", b"RIFF\x04\0\0\0WEBP", 422, "the WebP image is broken: it has no picture"),
        image("201 x 200 pixels", &super::png(201, 200, 1), 413, "201x200 pixels, allowed: 40000 in all"),
        json("large together", &format!(r#"{{"images": ["{0}", "{0}"]}}"#, base64(&super::png(150, 150, 3))), Refused(413, "the images have 45000 pixels together")),
    ]
}

#[rustfmt::skip]
fn tensors() -> Vec<Case> {
    let deep = format!("{}0{}", "[".repeat(100_000), "]".repeat(100_000));
    let zeros = |n: usize| format!("[{}]", vec!["0"; n].join(","));
    let with = |last: &str| format!("[{}, {last}]", vec!["0"; 47].join(","));
    vec![
        infer("no inputs", "{}", "missing field `inputs`"),
        infer("an empty list", r#"{"inputs": []}"#, "the request has 0 inputs, allowed: 1"),
        infer("two inputs", r#"{"inputs": [{"name":"input","shape":[],"datatype":"FP32"},{"name":"input","shape":[],"datatype":"FP32"}]}"#, "the request has 2 inputs"),
        infer("inputs is a text", r#"{"inputs": "input"}"#, NOT_JSON),
        infer("inputs twice", r#"{"inputs": [], "inputs": []}"#, "duplicate field `inputs`"),
        infer("id is a number", r#"{"id": 1, "inputs": []}"#, NOT_JSON),
        infer("deep", &deep, NOT_JSON),
        input("no name", r#""shape": [1], "datatype": "FP32""#, "missing field `name`"),
        input("another name", r#""name": "../input", "shape": [1], "datatype": "FP32""#, "the input is called \"../input\""),
        input("bytes", r#""name": "input", "shape": [1,3,4,4], "datatype": "BYTES", "data": []"#, "the input's datatype is \"BYTES\""),
        input("no data", r#""name": "input", "shape": [1,3,4,4], "datatype": "FP32""#, "the input has no data"),
        shape("no shape", "[]", "the input's shape is []"),
        shape("no images", "[0,3,4,4]", "the input's shape is [0, 3, 4, 4]"),
        shape("5 images", "[5,3,4,4]", "n in 1..=4"),
        shape("2^40 images", "[1099511627776,3,4,4]", "the input's shape is [1099511627776, 3, 4, 4]"),
        shape("2^63 + 1 images", "[9223372036854775809,3,4,4]", "the input's shape is [9223372036854775809, 3, 4, 4]"),
        shape("2^64 images", "[18446744073709551616,3,4,4]", NOT_JSON),
        shape("sides whose product is 2^64", "[1,4294967296,4294967296,1]", "the input's shape is"),
        shape("a negative side", "[1,3,-4,4]", NOT_JSON),
        shape("half a side", "[1,3,4.5,4]", NOT_JSON),
        shape("a side as text", r#"[1,3,"4",4]"#, NOT_JSON),
        shape("100,000 sides", &zeros(100_000), "the input's shape is [0, 0, 0, 0, 0, 0, 0, 0]"),
        shape("channels last", "[1,4,4,3]", "the input's shape is [1, 4, 4, 3]"),
        data("too few numbers", "[0]", "the input has 1 numbers, its shape says 48"),
        data("too many numbers", &zeros(10_000), "the input has 10000 numbers, its shape says 48"),
        data("NaN", &with("NaN"), NOT_JSON),
        data("Infinity", &with("-Infinity"), NOT_JSON),
        data("1e39", &with("1e39"), "a number is too large for 32 bits"),
        data("1e400", &with("1e400"), NOT_JSON),
        data("null", &with("null"), NOT_JSON),
        data("true", &with("true"), NOT_JSON),
        data("a text", &with("\"0\""), NOT_JSON),
        data("an object", "{}", NOT_JSON),
        data("deep numbers", &deep, NOT_JSON),
        binary("NaN as bytes", "right", "192", &[&[0; 188][..], &f32::NAN.to_le_bytes()].concat(), "data[47] is NaN, allowed: finite numbers"),
        binary("infinity as bytes", "right", "192", &[&f32::INFINITY.to_le_bytes()[..], &[0; 188]].concat(), "data[0] is inf"),
        binary("fewer bytes", "right", "192", &[0; 100], "binary_data_size is 192, and 100 bytes follow"),
        binary("2^63 + 1 bytes", "right", "9223372036854775809", &[0; 192], "binary_data_size is 9223372036854775809"),
        binary("-1 bytes", "right", "-1", &[0; 192], NOT_JSON),
        binary("no multiple of 4", "right", "191", &[0; 191], "allowed: a multiple of 4"),
        binary("JSON of 2^40 bytes", "1099511627776", "192", &[0; 192], "Inference-Header-Content-Length is \"1099511627776\""),
        binary("JSON of -1 bytes", "-1", "192", &[0; 192], "Inference-Header-Content-Length is \"-1\""),
        binary("JSON of no bytes", "0", "192", &[0; 192], NOT_JSON),
    ]
}

#[rustfmt::skip]
fn forms() -> Vec<Case> {
    let png = png(4, 4, 255);
    let other = |name: &str| format!("content-disposition: form-data; name=\"{name}\"");
    let kind = |kind: &str, status, says| post(kind, "/predict-file", kind, b"--b--\r\n", Refused(status, says));
    vec![
        form("no file", &[], 400, "field file is missing"),
        form("a file that is none", &[(FILE, b"hello")], 422, "not an image of an accepted format"),
        form("an empty file", &[(FILE, b"")], 422, "the image is empty"),
        form("five files", &[(FILE, &png[..]); 5], 400, "the request has 5 images, allowed: 1..=4"),
        form("a thousand files", &vec![(FILE, &b""[..]); 1000], 400, "the request has 1000 images"),
        form("a bad one of two", &[(FILE, &png), (FILE, b"GIF89a")], 422, "images[1]: not an image"),
        form("another field", &[(&other("image"), &png)], 400, "field \"image\" is unknown or there twice"),
        form("a field of traversal", &[(&other("../../etc/passwd"), &png)], 400, "field \"../../etc/passwd\" is unknown"),
        form("a field with escapes", &[(&other("%00\u{1b}[31m"), &png)], 400, "the form is broken: failed to read headers"),
        form("a field of 50 kB", &[(&other(&"a".repeat(50_000)), &png)], 400, ""),
        form("top_k twice", &[(TOP_K, b"1"), (TOP_K, b"1"), (FILE, &png)], 400, "field \"top_k\" is unknown or there twice"),
        form("top_k is no number", &[(TOP_K, b"all"), (FILE, &png)], 400, "top_k is \"all\", allowed: a number"),
        form("top_k of 2^64", &[(TOP_K, b"18446744073709551616"), (FILE, &png)], 400, "top_k is \"18446744073709551616\""),
        form("top_k of 500 kB", &[(TOP_K, &[b'9'; 500_000]), (FILE, &png)], 400, "top_k is \"999"),
        form("top_k of 4", &[(TOP_K, b"4"), (FILE, &png)], 400, "top_k is 4, allowed: 1..=3"),
        form("a part without a name", &[("content-disposition: form-data", &png)], 400, "field \"\" is unknown"),
        form("a part without a head", &[("x: y", &png)], 400, ""),
        form("many heads", &[(&"x: y\r\n".repeat(5000), &png)], 400, ""),
        form_text("no boundary in it", "hello", "the form is broken"),
        form_text("a form that is cut", "--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nabc", "the form is broken"),
        form_text("another boundary", "--c\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nabc\r\n--c--\r\n", "the form is broken"),
        form_text("a head without an end", &format!("--b\r\n{}", "a".repeat(300_000)), "the form is broken"),
        kind("multipart/form-data", 400, "the form is broken"),
        kind("multipart/form-data; boundary=", 400, "the form is broken"),
        kind("multipart/form-data; boundary=\"", 400, "the form is broken"),
        kind("multipart/mixed; boundary=b", 415, "Content-Type is \"multipart/mixed; boundary=b\""),
        kind("application/x-www-form-urlencoded", 415, "allowed: multipart/form-data"),
    ]
}

#[rustfmt::skip]
fn heads() -> Vec<Case> {
    let kind = |kind: &str, says| post(kind, "/predict", kind, b"{}", Refused(415, says));
    let body = [b'a'; 1000];
    vec![
        kind("text/plain", "Content-Type is \"text/plain\", allowed: application/json"),
        kind("application/jsonp", "Content-Type is \"application/jsonp\""),
        kind("application/json/../xml", "allowed: application/json"),
        kind("image/png", "Content-Type is \"image/png\""),
        kind(&"a".repeat(10_000), "Content-Type is \"aaaa"),
        raw("no type", "POST /predict HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}", Refused(415, "Content-Type is missing")),
        raw("no length", "POST /predict HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n", Refused(400, "the body is empty")),
        head("2^40 bytes announced", "content-length: 1099511627776", b"", Refused(413, "the body has 1099511627776 bytes, allowed: 2097152")),
        head("2^63 + 1 bytes announced", "content-length: 9223372036854775809", b"", Refused(413, "the body has 9223372036854775809 bytes")),
        head("2^64 bytes announced", "content-length: 18446744073709551616", b"", NoHttp(400)),
        head("-1 bytes announced", "content-length: -1", b"", NoHttp(400)),
        head("two lengths", "content-length: 2\r\ncontent-length: 3", b"{}", NoHttp(400)),
        head("a length and chunks, of which the chunks count (RFC 9112)", "connection: close\r\ncontent-length: 2\r\ntransfer-encoding: chunked", b"0\r\n\r\n", Refused(400, "the body is empty")),
        head("another coding", "transfer-encoding: gzip", b"", NoHttp(400)),
        head("a chunk that is none", "connection: close\r\ntransfer-encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n", Refused(400, "the body broke off")),
        head("a chunk of 2^64", "connection: close\r\ntransfer-encoding: chunked", b"10000000000000000\r\n", Refused(400, "the body broke off")),
        head("a chunk of 2^63", "connection: close\r\ntransfer-encoding: chunked", b"7fffffffffffffff\r\na", Refused(408, "did not arrive")),
        head("chunks without an end", "connection: close\r\ntransfer-encoding: chunked", b"2\r\n{}\r\n", Refused(408, "the body did not arrive within 0.7 s")),
        head("many small chunks", "connection: close\r\ntransfer-encoding: chunked", &[&b"1\r\na\r\n".repeat(5000)[..], b"0\r\n\r\n"].concat(), Refused(400, NOT_JSON)),
        head("2 MiB and one byte in chunks", "connection: close\r\ntransfer-encoding: chunked", &[b"200001\r\n".as_slice(), &vec![b'a'; 0x20_0001]].concat(), Refused(413, "more than 2097152 bytes")),
        slow(head("a slow body", "connection: close\r\ncontent-length: 1000", &body, Refused(408, "the body did not arrive within 0.7 s")), 20, 100),
        leaving(head("a body that ends early", "connection: close\r\ncontent-length: 1000", &body[..10], Refused(400, "the body broke off"))),
        leaving(raw("half a head", "POST /predict HTTP/1.1\r\nhost: a\r\n", Closed)),
        raw("another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n", NoHttp(400)),
        raw("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", NoHttp(400)),
        raw("HTTP/2, and then something else", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n", GoAway),
        raw("HTTP/2 with a frame of 16 MB", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\0\0\0\0\0\0", GoAway),
        raw("HTTP/3.7", "GET /ping HTTP/3.7\r\n\r\n", NoHttp(400)),
        raw("a head of 1 MB", format!("GET /ping HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(1_000_000)), NoHttp(431)),
        raw("a path of 60 kB", format!("GET /{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "a".repeat(60_000)), Refused(404, "there is no /aaaa")),
        raw("a thousand headers", format!("GET /ping HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(1000)), NoHttp(431)),
        raw("a header with a NUL", "GET /ping HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", NoHttp(400)),
        raw("a header without a name", "GET /ping HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n", NoHttp(400)),
        head("no time", "connection: close\r\nx-request-timeout: soon\r\ncontent-length: 2", b"{}", Refused(400, "x-request-timeout is \"soon\"")),
        head("a time of 40 digits", "connection: close\r\nx-request-timeout: 9999999999999999999999999999999999999999\r\ncontent-length: 2", b"{}", Refused(400, "")),
        head("two times", "connection: close\r\nx-request-timeout: 1\r\nx-request-timeout: 2\r\ncontent-length: 2", b"{}", Refused(400, "x-request-timeout is there twice")),
    ]
}

#[rustfmt::skip]
fn paths() -> Vec<Case> {
    let put = |path: &str, says| raw(path, format!("PUT {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"), Refused(405, says));
    let infer = |path: &str, says| post(path, path, "application/json", b"{}", Refused(404, says));
    vec![
        get("another path", "/predictions", 404, "there is no /predictions"),
        get("upwards", "/../../etc/passwd", 404, "there is no /../../etc/passwd"),
        get("upwards in escapes", "/%2e%2e/%2e%2e/etc/passwd", 404, "there is no /%2e%2e/"),
        get("upwards in a model", "/v2/models/../../etc/passwd", 404, "there is no"),
        get("upwards in a model's name", "/v2/models/..%2f..%2fetc%2fpasswd", 404, "\"../../etc/passwd\""),
        get("a model of no text", "/v2/models/%ff%fe", 404, "\"\""),
        get("a model with a NUL", "/v2/models/light%00", 404, "\"light\\0\""),
        get("a version upwards", "/v2/models/light/versions/..%2f1.0.0", 404, "\"../1.0.0\""),
        get("GET of a POST", "/predict", 405, "/predict does not take GET, allowed: POST"),
        infer("/v2/models/other/infer", "\"other\""),
        infer("/v2/models/light%2f..%2flight/infer", "\"light/../light\""),
        infer("/v2/models/light/versions/9.9.9/infer", "9.9.9"),
        put("/predict", "does not take PUT, allowed: POST"),
        put("/ping", "does not take PUT, allowed: GET"),
        put("/v2/models/light/infer", "allowed: POST"),
        raw("TRACE", "TRACE /ping HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", Refused(405, "does not take TRACE")),
        raw("CONNECT", "CONNECT example.org:443 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", Refused(404, "there is no")),
        raw("a method of 1 kB", format!("{} /ping HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "A".repeat(1000)), Refused(405, "does not take AAA")),
    ]
}
