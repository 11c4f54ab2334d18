//! What the server does when it is asked for too much, too slowly, or to stop.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{LIMITS, Server, base64, error_of, png, start, start_with};
use model_server::http::Limits;
use model_server::{Engine, EngineError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DRAIN: Duration = Duration::from_secs(4);

async fn predict(server: &Server, client: &reqwest::Client) -> reqwest::Response {
    let ask = json!({"image": base64(&png(4, 4, 255))});
    client.post(server.url("/predict")).json(&ask).send().await.unwrap()
}

/// Sends raw bytes, and reads what comes until the server closes or a second is over.
async fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const HEAD: &str = "POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn a_large_body_is_refused_by_its_head_and_a_growing_one_at_the_limit() {
    let server = start(LIMITS, 8, DRAIN).await;
    // Nothing of the body was sent: the head alone is enough.
    let answer = raw(&server, format!("{HEAD}content-length: 100001\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("the body has 100001 bytes, allowed: 100000"), "{answer}");
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "a".repeat(60_000));
    let answer =
        raw(&server, format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("the body has more than 100000 bytes, allowed: 100000"), "{answer}");
}

#[tokio::test]
async fn who_is_refused_while_sending_reads_the_answer() {
    let server = start(LIMITS, 8, DRAIN).await;
    let heads = [
        (HEAD.to_owned(), "413"),
        (HEAD.replace("application/json", "text/plain"), "415"),
        (HEAD.replace("/predict", "/nowhere"), "404"),
        (HEAD.replace("POST", "PUT"), "405"),
    ];
    let body = vec![b'a'; 8 * MIB];
    for (head, status) in heads {
        for chunked in [false, true] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let length = if chunked { "transfer-encoding: chunked" } else { "content-length: 8388608" };
            stream.write_all(format!("{head}{length}\r\n\r\n").as_bytes()).await.unwrap();
            if chunked {
                stream.write_all(b"800000\r\n").await.unwrap();
            }
            // A client that looks at nothing before it has sent all; it takes its time.
            for part in body.chunks(MIB) {
                stream.write_all(part).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains("connection: close") && answer.ends_with("\"}"), "{answer}");
        }
    }
    // Nobody is waited for who sent all.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(format!("{HEAD}connection: close\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes())
        .await
        .unwrap();
    let start = Instant::now();
    stream.read_to_string(&mut String::new()).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(500));
}

/// Sends the head of a body and `sent` of its bytes, and waits until the server has them.
async fn begin(server: &Server, announced: usize, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("{HEAD}content-length: {announced}\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(&vec![b'a'; sent]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stream
}

async fn status(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_slow_body_ends_with_408() {
    let limits = Limits { body_time: Duration::from_millis(400), ..LIMITS };
    let server = start(limits, 8, DRAIN).await;
    let mut slow = begin(&server, 90_000, 1).await;
    assert_eq!(status(&mut slow).await, "HTTP/1.1 408");
}

#[tokio::test]
async fn what_is_announced_takes_no_memory_and_what_arrives_does() {
    // What arrives takes 16 KiB at first.
    let limits = Limits { body_bytes: 2 * MIB, buffered_bytes: 2 * MIB + 8 * (16 << 10), ..LIMITS };
    let server = start(limits, 8, DRAIN).await;
    // Eight heads announce eight times the memory.
    let mut heads = Vec::new();
    for _ in 0..8 {
        heads.push(begin(&server, 2 * MIB, 1).await);
    }
    // This one arrives, and now the memory is taken: the next large one does not fit, small ones do.
    let mut large = begin(&server, 2 * MIB, 2 * MIB - 1000).await;
    let next = format!("{HEAD}content-length: {MIB}\r\n\r\na");
    let answer = raw(&server, next.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 1"), "{answer}");
    assert_eq!(predict(&server, &reqwest::Client::new()).await.status(), 200);
    // Its end is not JSON; its memory comes back.
    large.write_all(&[b'a'; 1000]).await.unwrap();
    assert_eq!(status(&mut large).await, "HTTP/1.1 400");
    let mut next = begin(&server, 2 * MIB, 2 * MIB).await;
    assert_eq!(status(&mut next).await, "HTTP/1.1 400");
    drop(heads);
}

#[tokio::test]
async fn a_body_that_is_not_announced_moves_to_the_memory_of_large_ones() {
    let limits = Limits { body_bytes: MIB, buffered_bytes: MIB, ..LIMITS };
    let server = start(limits, 8, DRAIN).await;
    let mut large = begin(&server, MIB, MIB - 1000).await;
    let chunk = |bytes: usize| format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", "a".repeat(bytes));
    let chunked = format!("{HEAD}transfer-encoding: chunked\r\n\r\n");
    let answer = raw(&server, format!("{chunked}{}", chunk((256 << 10) + 1)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    let answer = raw(&server, format!("{chunked}{}", chunk(256 << 10)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    large.write_all(&[b'a'; 1000]).await.unwrap();
    assert_eq!(status(&mut large).await, "HTTP/1.1 400");
    let answer = raw(&server, format!("{chunked}{}", chunk((256 << 10) + 1)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// Waits for a word before each answer.
struct Held(Receiver<()>);

impl Engine for Held {
    fn run(&mut self, _: &[f32], images: usize) -> Result<Vec<f32>, EngineError> {
        self.0.recv().map_err(|error| EngineError::Run(error.to_string()))?;
        Ok([0.0, 1.0, 0.0].repeat(images))
    }
}

#[tokio::test]
async fn a_full_queue_refuses_with_429_and_says_when_to_come_back() {
    let (go, word) = channel();
    let server = start_with(|| Ok(Box::new(Held(word)) as Box<dyn Engine>), LIMITS, 1, DRAIN).await;
    let client = reqwest::Client::new();
    let first = predict(&server, &client);
    let refused = async {
        loop {
            let response = predict(&server, &client).await;
            // Until the first one has taken the room, this one would take it: then it is the first.
            if response.status() == 429 {
                return response;
            }
        }
    };
    let (first, refused) = tokio::join!(first, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let refused = refused.await;
        go.send(()).unwrap();
        refused
    });
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(error_of(refused).await, (429, "the queue of 1 images is full".into()));
    assert_eq!(first.status(), 200);
}

#[tokio::test]
async fn a_request_has_the_time_that_it_is_given() {
    let (go, word) = channel();
    let server = start_with(|| Ok(Box::new(Held(word)) as Box<dyn Engine>), LIMITS, 8, DRAIN).await;
    let client = reqwest::Client::new();
    let given = async |time: &str| {
        let body = serde_json::json!({"image": base64(&png(4, 4, 9))});
        let request = client.post(server.url("/predict")).json(&body).header("x-request-timeout", time);
        error_of(request.send().await.unwrap()).await
    };
    assert_eq!(given("50ms").await, (504, "the request's time was over before the model was free".into()));
    let message = "x-request-timeout is \"soon\", it must be a time such as 2.5 (seconds), 500ms or 1m30s";
    assert_eq!(given("soon").await, (400, message.into()));
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    assert_eq!(given("10").await, (200, String::new()));
}

struct Broken;

impl Engine for Broken {
    fn run(&mut self, _: &[f32], images: usize) -> Result<Vec<f32>, EngineError> {
        Ok([f32::NAN, 0.0, 0.0].repeat(images))
    }
}

// rule: C3
#[tokio::test]
async fn an_answer_that_is_none_is_told_as_such() {
    let server = start_with(|| Ok(Box::new(Broken) as Box<dyn Engine>), LIMITS, 8, DRAIN).await;
    let response = predict(&server, &reqwest::Client::new()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        (&response.headers()["x-prediction"], &response.headers()["x-confidence"]),
        (&"-".parse().unwrap(), &"NaN".parse().unwrap())
    );
    assert!(!response.headers().contains_key("x-output-stats"), "NaN has no entropy");
    let body: serde_json::Value = response.json().await.unwrap();
    assert!(body["prediction"].is_null() && body["confidence"].is_null());
}

// rule: R6
#[tokio::test]
async fn a_drain_answers_known_and_new_connections_and_ends_once_all_is_quiet() {
    let server = start(LIMITS, 8, Duration::from_secs(4)).await;
    let known = reqwest::Client::new();
    let before = predict(&server, &known).await;
    assert!(before.headers().get("connection").is_none());
    before.bytes().await.unwrap();
    let start = Instant::now();
    server.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for client in [known, reqwest::Client::new()] {
        let response = predict(&server, &client).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["connection"]),
            (200, &"close".parse().unwrap())
        );
        response.bytes().await.unwrap();
    }
    let address = server.address;
    assert_eq!(server.task.await.unwrap(), 0);
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(3)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    assert!(TcpStream::connect(address).await.is_err());
}

// rule: R6
#[tokio::test]
async fn a_drain_waits_for_an_answer_on_its_way_but_not_beyond_its_deadline() {
    let (go, word) = channel();
    let make = || Ok(Box::new(Held(word)) as Box<dyn Engine>);
    let server = start_with(make, LIMITS, 8, Duration::from_secs(2)).await;
    let answer = tokio::spawn({
        let url = server.url("/predict");
        async move {
            let ask = json!({"image": base64(&png(4, 4, 255))});
            reqwest::Client::new().post(url).json(&ask).send().await.map(|r| r.status().as_u16())
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop.cancel();
    // Longer than the quiet time: it is not quiet while an answer is on its way.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    go.send(()).unwrap();
    assert_eq!(answer.await.unwrap().unwrap(), 200);
    assert_eq!(server.task.await.unwrap(), 0);

    let (held, word) = channel();
    let make = || Ok(Box::new(Held(word)) as Box<dyn Engine>);
    let server = start_with(make, LIMITS, 8, Duration::from_millis(500)).await;
    let url = server.url("/predict");
    let stuck = tokio::spawn(async move {
        let ask = json!({"image": base64(&png(4, 4, 255))});
        reqwest::Client::new().post(url).json(&ask).send().await.is_err()
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    server.stop.cancel();
    assert_eq!(server.task.await.unwrap(), 1);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    drop(held);
    stuck.abort();
}

/// What is sent compressed has the limits of what it unpacks to.
#[tokio::test]
async fn compressed_bodies_are_unpacked_within_the_limits() {
    use std::io::Write;
    let server = start(LIMITS, 8, Duration::from_secs(1)).await;
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let post = async |encoding: &str, body: Vec<u8>| {
        let request =
            reqwest::Client::new().post(server.url("/predict")).header("content-encoding", encoding);
        request.header("content-type", "application/json").body(body).send().await.unwrap()
    };
    let good = format!(r#"{{"image": "{}"}}"#, base64(&png(4, 4, 255)));
    assert_eq!(post("gzip", gzip(&good)).await.status(), 200);
    let bomb = format!(r#"{{"image": "{}"}}"#, "A".repeat(LIMITS.body_bytes));
    let (status, message) = error_of(post("gzip", gzip(&bomb)).await).await;
    assert_eq!((status, &*message), (413, "the body unpacks to more than 100000 bytes, allowed: 100000"));
    assert_eq!(error_of(post("gzip", good.clone().into()).await).await.0, 400);
    assert_eq!(error_of(post("br", good.into()).await).await.0, 415);
}
