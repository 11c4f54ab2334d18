//! A table of requests that mean no good, over the real port. Each is answered as the table says, in JSON; the server
//! answers the next one, and its memory does not grow.
#![allow(clippy::unwrap_used, reason = "a test program")]
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../hostile/mod.rs"]
mod hostile;
mod table;

use std::time::Duration;

use common::{LIMITS, Server, base64, png, start};
use model_server::http::Limits;
use serde_json::{Value, json};
use table::{Answer, Case};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const MIB: usize = 1 << 20;
/// Memory that the whole table may leave behind: what the allocator keeps of a few large requests.
const LEFT: usize = 48 * MIB;

/// Memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Sends a request, in its parts, and reads until the server closes.
async fn ask(server: &Server, case: &Case) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for (i, part) in case.parts.iter().enumerate() {
        if i > 0 {
            tokio::time::sleep(case.pause).await;
        }
        // Who was answered already may be cut off.
        if stream.write_all(part).await.is_err() {
            break;
        }
    }
    if case.closes {
        stream.shutdown().await.unwrap();
    }
    let mut answer = vec![];
    match timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await {
        Ok(read) => drop(read.unwrap_or_else(|error| panic!("{}: {error}", case.what))),
        Err(_) => answer.extend_from_slice(b" AND NO END"),
    }
    answer
}

/// What is wrong with an answer.
fn wrong(case: &Case, answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).unwrap_or_default();
    let is = |expected: u16| status == expected.to_string();
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let error = json["error"].as_str().unwrap_or_default();
    let good = match case.answer {
        Answer::Refused(expected, says) => {
            is(expected)
                && head.to_ascii_lowercase().lines().any(|line| line == "content-type: application/json")
                && json.as_object().is_some_and(|fields| fields.len() == 1)
                && !error.is_empty()
                && error.contains(says)
                && error.len() < 600
        }
        // What is no HTTP is nobody's request: hyper answers it, without a body.
        Answer::NoHttp(expected) => is(expected) && body.is_empty(),
        Answer::Closed => !answer.starts_with(b"HTTP") && !answer.ends_with(b"NO END"),
        // A frame of type 7, and the end.
        Answer::GoAway => {
            answer.windows(9).any(|w| w[..2] == [0, 0] && w[3..] == [7, 0, 0, 0, 0, 0])
                && !answer.ends_with(b"NO END")
        }
        Answer::Fine => is(200),
    };
    (!good).then(|| {
        format!(
            "{}: {:?} expected, found {}",
            case.what,
            case.answer,
            text.chars().take(700).collect::<String>()
        )
    })
}

#[tokio::test]
async fn whatever_is_sent_the_server_answers_and_lives() {
    let limits = Limits {
        body_time: Duration::from_millis(700),
        body_bytes: 2 * MIB,
        buffered_bytes: 4 * MIB,
        ..LIMITS
    };
    let server = start(limits, 8, Duration::from_secs(1)).await;
    let good = json!({"image": base64(&png(4, 4, 255))}).to_string();
    let good = table::json("the next one", &good, Answer::Fine);
    let cases = table::cases();
    assert!(cases.len() >= 100, "{}", cases.len());
    let mut wrongs = vec![];
    assert_eq!(wrong(&good, &ask(&server, &good).await), None);
    let before = resident();
    for case in &cases {
        wrongs.extend(wrong(case, &ask(&server, case).await));
        wrongs.extend(wrong(&good, &ask(&server, &good).await));
    }
    let grown = resident().saturating_sub(before);
    println!("{} cases, {} KiB more", cases.len(), grown >> 10);
    assert!(wrongs.is_empty(), "{} of {}:\n{}", wrongs.len(), cases.len(), wrongs.join("\n"));
    assert!(grown < LEFT, "{grown} bytes");
    server.stop.cancel();
    assert_eq!(server.task.await.unwrap(), 0, "a connection was still held");
}
