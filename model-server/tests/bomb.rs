//! Images that unpack to a thousand times their size. A program of its own with one test: it
//! measures the memory of its process.
#![allow(clippy::unwrap_used, reason = "a test program")]
#![cfg(target_os = "linux")]

mod common;
mod hostile;

use std::time::{Duration, Instant};

use common::{LIMITS, base64, error_of, png, start};
use hostile::MIB;
use model_server::http::Limits;
use serde_json::{Value, json};

/// The most memory that this process ever had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn an_image_that_unpacks_to_much_takes_neither_memory_nor_time() {
    let limits = Limits { body_bytes: 8 * MIB, buffered_bytes: 8 * MIB, ..LIMITS };
    let server = start(limits, 8, Duration::from_secs(1)).await;
    let client = reqwest::Client::new();
    let ask = |image: &[u8]| {
        let ask = json!({"image": base64(image)}).to_string();
        client.post(server.url("/predict")).header("content-type", "application/json").body(ask).send()
    };
    // 2000 MiB in less than 5 MiB: the profile is not unpacked, as it is not used; the pixels are good.
    let bomb = hostile::png_with(&[(b"iCCP", &[b"icc\0\0".as_slice(), &hostile::zlib(2000)].concat())]);
    assert!(bomb.len() > MIB, "{}", bomb.len());
    // A lossless WebP of 4x4 pixels whose codes would take 1.7 GiB.
    let codes = hostile::codes(5 * MIB);
    let plain: Value = ask(&png(4, 4, 255)).await.unwrap().json().await.unwrap();
    let (before, start) = (peak(), Instant::now());
    let answer = ask(&bomb).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap(), plain);
    let (status, message) = error_of(ask(&codes).await.unwrap()).await;
    assert_eq!(status, 422);
    assert_eq!(message, "the WebP image is broken: its codes need more than 2097280 bytes");
    let (grown, took) = (peak() - before, start.elapsed());
    assert!(grown < 40 * MIB, "{grown} bytes");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
