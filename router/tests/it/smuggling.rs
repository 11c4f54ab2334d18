//! Requests and answers that two servers may read differently: refused, or passed on in one way only.

mod h2;
mod table;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::rig::{Rig, ready, route};
use crate::servers::{Server, ok};
use crate::wire_http::{Message, Wire, post};
use table::Expected;

/// What comes back until the connection is closed; a panic if it is not.
async fn all(address: SocketAddr, bytes: &[u8], name: &str) -> String {
    let mut wire = Wire::connect(address).await.unwrap();
    // The router may close before it was given everything.
    let _ = wire.send(bytes).await;
    let mut text = vec![];
    let read = timeout(Duration::from_secs(5), wire.stream.read_to_end(&mut text)).await;
    assert!(read.is_ok(), "{name}: the connection is open: {:?}", String::from_utf8_lossy(&text));
    String::from_utf8_lossy(&text).into_owned()
}

/// The status of each answer but 100.
fn statuses(text: &str) -> Vec<u16> {
    let heads = text.split("HTTP/1.").skip(1);
    let found = heads.filter_map(|head| head.split(' ').nth(1)?.parse().ok());
    found.filter(|status| *status != 100).collect()
}

fn framing(message: &Message) -> String {
    let named =
        |(name, _): &&(String, String)| ["content-length", "transfer-encoding"].contains(&name.as_str());
    let found: Vec<_> = message.headers.iter().filter(named).map(|(n, v)| format!("{n}: {v}")).collect();
    found.join(", ")
}

/// Each is followed by a request that nobody may see if it is refused, and that is the next one if it is not.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_refused_or_passed_on_in_one_way() {
    let a = Server::start(|_, _| ok()).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    let cases = table::cases();
    assert!(cases.len() >= 100, "{}", cases.len());
    let mut wrong = vec![];
    for (name, mut bytes, expected) in cases {
        let before = a.seen().len();
        bytes += "GET /next HTTP/1.1\r\nhost: d\r\nconnection: close\r\n\r\n";
        let text = all(rig.address, bytes.as_bytes(), name).await;
        let seen = a.seen().split_off(before);
        let good = match expected {
            Expected::Refused(status) => statuses(&text) == [status] && seen.is_empty(),
            Expected::One(first, lengths, body) => {
                let (one, rest) =
                    seen.split_first().map(|(one, rest)| (one.clone(), rest)).unwrap_or_default();
                let same = (&*one.first, framing(&one).as_str(), &*one.text()) == (first, lengths, body);
                let next = rest.iter().all(|next| next.first == "GET /next HTTP/1.1") && rest.len() <= 1;
                let hosts = one.headers.iter().filter(|(name, value)| name == "host" && value == "d").count();
                let old = bytes.contains("HTTP/1.0\r\n");
                same && next
                    && (old || (hosts == 1 && rest.len() == 1))
                    && statuses(&text) == vec![200; seen.len()]
            }
        };
        if !good {
            wrong.push(format!("{name}: {expected:?}, got {:?} {seen:?}", statuses(&text)));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_in_the_target_counts() {
    let a = Server::start(|_, _| ok()).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    let request = "GET http://d/p HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n";
    assert_eq!(statuses(&all(rig.address, request.as_bytes(), "absolute").await), [200]);
    assert_eq!(a.seen()[0].header("host"), Some("d"));
}

const FRESH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfresh";

/// A server that answers its first request with these bytes and keeps the connection, and all others properly.
async fn answering(first: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = first;
        while let Ok((stream, _)) = listener.accept().await {
            let mine = std::mem::replace(&mut bytes, FRESH);
            tokio::spawn(async move {
                let (mut wire, mut bytes) = (Wire::new(stream), mine);
                while wire.read().await.is_ok() && wire.send(bytes).await.is_ok() {
                    bytes = FRESH;
                    // An answer without a length ends with its connection.
                    if mine.contains("until the end") {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// What a server answers, what the client gets, and with which length; the next client gets its own answer.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_refused_or_passed_on_in_one_way() {
    let chunked = "transfer-encoding: chunked";
    for (name, bytes, status, body) in [
        (
            "both lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            502,
            "",
        ),
        (
            "both, otherwise",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            502,
            "",
        ),
        (
            "different lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 2\r\n\r\nhello",
            502,
            "",
        ),
        ("equal lengths", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello", 502, ""),
        ("a list of lengths", "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello", 502, ""),
        (
            "gzip, chunked",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            502,
            "",
        ),
        ("identity", "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nhello", 502, ""),
        (
            "chunks in HTTP/1.0",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            502,
            "",
        ),
        ("101", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", 502, ""),
        (
            "101 and more",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale",
            502,
            "",
        ),
        (
            "a folded header",
            "HTTP/1.1 200 OK\r\nx: 1\r\n content-length: 2\r\ncontent-length: 5\r\n\r\nhello",
            502,
            "",
        ),
        ("a negative length", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nhello", 502, ""),
        (
            "100 first",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            200,
            "hello",
        ),
        (
            "103 first",
            "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            200,
            "hello",
        ),
        (
            "one answer too many",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale",
            200,
            "hello",
        ),
        (
            "one too many behind chunks",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale",
            200,
            "hello",
        ),
        (
            "a body behind 204",
            "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale",
            204,
            "",
        ),
        (
            "no length",
            "HTTP/1.1 200 OK\r\n\r\nuntil the end HTTP/1.1 200 OK\r\n\r\n",
            200,
            "until the end HTTP/1.1 200 OK\r\n\r\n",
        ),
    ] {
        let rig = Rig::start(route(0), ready(&[answering(bytes).await]), vec![]).await;
        let answer = post(rig.address, "", b"x").await.unwrap();
        assert_eq!(answer.status(), status, "{name}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.text(), body, "{name}");
            assert!(
                [chunked, "content-length: 5"].contains(&framing(&answer).as_str()),
                "{name}: {answer:?}"
            );
        }
        for _ in 0..3 {
            let next = post(rig.address, "", b"x").await.unwrap();
            assert_eq!((next.status(), next.text().as_str()), (200, "fresh"), "{name}");
        }
    }
}

/// A server that answers before it has the body: what it did not take of it is no request.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_leaves_nothing_behind() {
    let rig = Rig::start(route(0), ready(&[answering_early().await]), vec![]).await;
    let hidden = b"GET /hidden HTTP/1.1\r\nhost: d\r\n\r\n".repeat(60_000);
    let answer = post(rig.address, "", &hidden).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| [200, 502].contains(&answer.status())));
    for _ in 0..3 {
        let next = post(rig.address, "x-next: 1\r\n", b"x").await.unwrap();
        assert_eq!((next.status(), next.text().as_str()), (200, "POST /predict HTTP/1.1"));
    }
}

/// Answers as soon as it has a head, with its first line, and then reads on as if there were no body of 1 MB or more.
async fn answering_early() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut wire = Wire::new(stream);
                while let Ok(first) = wire.read_head().await {
                    let length = first.header("content-length").unwrap_or("0");
                    if length == "1" {
                        let _ = wire.exactly(1).await;
                    }
                    let text = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
                        first.first.len(),
                        first.first
                    );
                    if wire.send(text).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}
