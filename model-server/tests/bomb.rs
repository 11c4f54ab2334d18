//! Images whose metadata unpacks to a thousand times its size. A program of its own with one test: it
//! measures the memory of its process.
#![allow(clippy::unwrap_used, reason = "a test program")]
#![cfg(target_os = "linux")]

mod common;

use std::io::Write;
use std::time::{Duration, Instant};

use common::{LIMITS, base64, error_of, png, start};
use flate2::{Compress, Compression, Crc, FlushCompress};
use model_server::http::Limits;
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

/// A PNG of 4x4 white pixels with a colour profile that unpacks to `mib` MiB.
fn bomb(mib: usize) -> Vec<u8> {
    // A full flush ends at a byte and forgets what was before, so that one piece can be repeated.
    let mut compress = Compress::new(Compression::best(), true);
    let zeros = vec![0; MIB];
    let mut piece = Vec::with_capacity(MIB);
    compress.compress_vec(&zeros, &mut piece, FlushCompress::Full).unwrap();
    assert_eq!(compress.total_in(), MIB as u64);
    let (head, piece) = piece.split_at(2);
    let data = [b"icc\0\0".as_slice(), head, &piece.repeat(mib)].concat();
    let mut crc = Crc::new();
    crc.update(b"iCCP");
    crc.update(&data);
    let image = png(4, 4, 255);
    // After the signature (8 bytes) and IHDR (25).
    let (start, end) = image.split_at(33);
    let mut bomb = start.to_vec();
    bomb.write_all(&(data.len() as u32).to_be_bytes()).unwrap();
    bomb.write_all(b"iCCP").unwrap();
    bomb.write_all(&data).unwrap();
    bomb.write_all(&crc.sum().to_be_bytes()).unwrap();
    bomb.write_all(end).unwrap();
    bomb
}

/// The most memory that this process ever had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn a_profile_that_unpacks_to_much_takes_neither_memory_nor_time() {
    let limits = Limits { body_bytes: 8 * MIB, buffered_bytes: 8 * MIB, ..LIMITS };
    let server = start(limits, 8, Duration::from_secs(1)).await;
    let client = reqwest::Client::new();
    let ask = |image: &[u8]| {
        let ask = json!({"image": base64(image)}).to_string();
        client.post(server.url("/predict")).header("content-type", "application/json").body(ask).send()
    };
    // 400 MiB in less than 1 MiB: the profile is left out, as it is not used; the pixels are good.
    let (small, large) = (bomb(400), bomb(2000));
    assert!(small.len() < MIB && large.len() > MIB, "{} {}", small.len(), large.len());
    let plain: Value = ask(&png(4, 4, 255)).await.unwrap().json().await.unwrap();
    let (before, start) = (peak(), Instant::now());
    let answer = ask(&small).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap(), plain);
    // The chunk itself is larger than what decoders may take beside the pixels.
    let (status, message) = error_of(ask(&large).await.unwrap()).await;
    assert_eq!(status, 422);
    assert_eq!(message, "the PNG image is broken: it needs more than 1048576 bytes beside its pixels");
    let (grown, took) = (peak() - before, start.elapsed());
    assert!(grown < 40 * MIB, "{grown} bytes");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
