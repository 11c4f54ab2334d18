//! A server on loopback around the tiny engine, and where the digits are.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part of this module")]

use std::io::Cursor;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use model_server::http::{Limits, Service};
use model_server::load::{Settings, Wanted};
use model_server::models::Models;
use model_server::queue::{Queue, Room};
use model_server::serve::{Keep, Options, What};
use model_server::served::{Identity, Served};
use model_server::{Engine, EngineError, Metadata, Metrics, Output, Precision, Reference, listen};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the tests ask of the limits: small enough to be reached.
pub const LIMITS: Limits = Limits {
    body_bytes: 100_000,
    buffered_bytes: 1_000_000,
    pixels: 40_000,
    images: 4,
    decoders: 2,
    body_time: Duration::from_secs(5),
};

/// A model of 4x4 pixels that says how bright an image is.
pub fn metadata() -> Metadata {
    let json = json!({
        "version": "1.0.0", "architecture": "reference", "classes": ["dark", "grey", "bright, or white"],
        "output": "logits",
        "preprocessing": {
            "width": 4, "height": 4, "channels": 3, "scale": 1.0 / 255.0,
            "mean": [0, 0, 0], "std": [1, 1, 1], "resize": "bilinear",
        },
        "training": {
            "dataDigest": "00", "images": 1, "seed": 1, "epochs": 1, "batchSize": 1, "learningRate": 0.001,
            "shift": 0, "folds": 5, "heldOutAccuracy": 0.9, "testAccuracy": 0.9,
        },
    });
    Metadata::parse(json.to_string().as_bytes()).unwrap()
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub task: JoinHandle<usize>,
}

/// Starts one on a free port of loopback.
pub async fn start(limits: Limits, capacity: usize, drain: Duration) -> Server {
    let make = || Ok(Box::new(Reference { classes: 3, sharp: 4.0 }) as Box<dyn Engine>);
    start_with(make, limits, capacity, drain).await
}

/// As [`start`], with an engine of the caller's.
pub async fn start_with<M>(make: M, limits: Limits, capacity: usize, drain: Duration) -> Server
where
    M: FnOnce() -> Result<Box<dyn Engine>, EngineError> + Send + 'static,
{
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let room = Room { capacity, batch: 4, delay: Duration::ZERO };
    let queue = Queue::start(vec![make], room, &metrics).unwrap();
    serve(light(queue), limits, metrics, drain).await
}

/// The model of tests, behind a queue.
pub fn light(queue: Queue) -> Models {
    let identity = Identity {
        metadata: metadata(),
        digest: "d".repeat(64),
        revision: "light-1".into(),
        name: "light".into(),
        platform: "sluice_torchscript",
        infer_output: Output::Probabilities,
    };
    Models::One(Arc::new(Served::new(identity, queue, None)))
}

/// Serves models on a free port of loopback.
pub async fn serve(models: Models, limits: Limits, metrics: Metrics, drain: Duration) -> Server {
    let service = Arc::new(Service::new(models, limits, metrics));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let task = tokio::spawn(async move { listen::serve(listener, &service, 64, drain, stopped).await });
    Server { address, stop, task }
}

impl Server {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Serves an artefact that `train` or `make.py` wrote, on loopback.
pub fn options(model: &Path, digest: &str, listen: u16, admin: u16) -> Options {
    let wanted = Wanted {
        folder: model.to_owned(),
        name: "digits".into(),
        version: "1.0.0".into(),
        revision: Some("digits-1".into()),
        sha256: Some(digest.to_owned()),
    };
    let settings = Settings {
        workers: 2,
        threads: 1,
        queue: Room { capacity: 64, batch: 8, delay: Duration::ZERO },
        precision: Precision::Fp32,
        infer_output: Output::Probabilities,
    };
    Options {
        what: What::Model(wanted),
        settings,
        listen: ([127, 0, 0, 1], listen).into(),
        admin: ([127, 0, 0, 1], admin).into(),
        drain: Duration::from_secs(2),
        max_connections: 64,
        limits: LIMITS,
        prediction_log: None,
        keep: Keep::default(),
    }
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until a server is ready, at most 10 s. The address of its admin port.
pub async fn ready(admin: u16) -> String {
    let admin = format!("http://127.0.0.1:{admin}");
    for _ in 0..500 {
        if reqwest::get(format!("{admin}/readyz")).await.is_ok_and(|r| r.status() == 200) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    admin
}

/// A PNG of one colour.
pub fn png(width: u32, height: u32, value: u8) -> Vec<u8> {
    encode(&RgbImage::from_pixel(width, height, Rgb([value; 3])).into(), ImageFormat::Png)
}

pub fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

pub fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub async fn error_of(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["error"].as_str().unwrap_or_default().to_owned())
}

/// The digits: `SLUICE_DIGITS`, else where `hack/digits` puts them.
pub fn digits() -> PathBuf {
    let path = std::env::var_os("SLUICE_DIGITS").map_or_else(
        || {
            let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
            let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
            cache.join("sluice/data/digits.csv.gz")
        },
        PathBuf::from,
    );
    assert!(path.is_file(), "{} is missing: run hack/digits (or set SLUICE_DIGITS)", path.display());
    path
}
