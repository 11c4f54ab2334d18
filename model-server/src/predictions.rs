//! The prediction log: one line of JSON for each image that was answered, for error analysis and retraining.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use admin::Lines;
use jiff::Timestamp;
use prometheus::IntCounter;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

/// Where lines of the prediction log go.
pub type PredictionLog = Lines<Prediction>;

/// What was said of an image.
#[derive(Debug, Serialize)]
pub struct Prediction {
    timestamp: Timestamp,
    model_version: String,
    revision: String,
    /// `x-request-id`, by which the router's access log and the client know the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Which image of its request.
    index: usize,
    /// Absent for a null output.
    prediction: Option<String>,
    /// 0..=1; absent for a null output.
    confidence: Option<f64>,
    /// From the head of the request to its outputs.
    latency_ms: f64,
    input_hash: String,
}

/// Everything in a line but what the model said.
#[derive(Debug, Clone)]
pub(crate) struct About<'a> {
    pub(crate) version: &'a str,
    pub(crate) revision: &'a str,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) latency: std::time::Duration,
}

impl Prediction {
    /// A line of an image whose bytes have this hash.
    pub(crate) fn new(about: &About<'_>, index: usize, hash: u64, said: Option<(&str, f64)>) -> Self {
        Self {
            timestamp: Timestamp::now(),
            model_version: about.version.to_owned(),
            revision: about.revision.to_owned(),
            request_id: about.request_id.map(str::to_owned),
            index,
            prediction: said.map(|(class, _)| class.to_owned()),
            confidence: said.map(|(_, confidence)| confidence),
            latency_ms: about.latency.as_micros() as f64 / 1e3,
            input_hash: format!("{hash:016x}"),
        }
    }
}

/// What tells equal images: XXH3 of their bytes as they came, 64 bits.
pub(crate) fn hash(image: &[u8]) -> u64 {
    xxh3_64(image)
}

/// Starts the log; `path` is a file, or `-` for stdout.
///
/// # Errors
/// When the file cannot be opened, or there is no thread to be had.
pub fn start(path: &str) -> io::Result<PredictionLog> {
    let what =
        "Lines of the prediction log that were not written, because the output did not keep up or broke.";
    let dropped =
        IntCounter::new("sluice_server_prediction_log_dropped_total", what).expect("the names are constants");
    match path {
        "-" => Lines::start("predictions", io::stdout(), dropped),
        path => Lines::start("predictions", Rotating::open(Path::new(path), MOST)?, dropped),
    }
}

/// Largest file of a log, in bytes; there are two at most.
const MOST: u64 = 64 << 20;

/// A file that is renamed to `….1` when it is full, over the one before.
struct Rotating {
    path: PathBuf,
    file: File,
    length: u64,
    most: u64,
}

impl Rotating {
    fn open(path: &Path, most: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, most })
    }
}

impl Write for Rotating {
    /// What is written at once are whole lines: they stay together.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.length > 0 && self.length + lines.len() as u64 > self.most {
            let mut full = self.path.clone().into_os_string();
            full.push(".1");
            std::fs::rename(&self.path, full)?;
            *self = Self::open(&self.path, self.most)?;
        }
        self.file.write_all(lines)?;
        self.length += lines.len() as u64;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_makes_place_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let mut file = Rotating::open(&path, 10).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n", "longer than a file\n", "six\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(
            (read("predictions.jsonl"), read("predictions.jsonl.1")),
            ("six\n".into(), "longer than a file\n".into())
        );
        // It goes on where it was left.
        Rotating::open(&path, 10).unwrap().write_all(b"seven\n").unwrap();
        assert_eq!(read("predictions.jsonl"), "six\nseven\n");
    }

    #[test]
    fn a_line_says_what_was_said_of_which_image() {
        let about = About {
            version: "1.0.0",
            revision: "digits-1",
            request_id: Some("a\"b"),
            latency: std::time::Duration::from_micros(1500),
        };
        let line = |said| serde_json::to_value(Prediction::new(&about, 1, hash(b"image"), said)).unwrap();
        let mut some = line(Some(("seven", 0.93)));
        let time: Timestamp = some["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(Timestamp::now().as_second() - time.as_second() < 60);
        some["timestamp"] = serde_json::Value::Null;
        let expected = serde_json::json!({
            "timestamp": null, "model_version": "1.0.0", "revision": "digits-1", "request_id": "a\"b", "index": 1,
            "prediction": "seven", "confidence": 0.93, "latency_ms": 1.5,
            "input_hash": format!("{:016x}", hash(b"image")),
        });
        assert_eq!(some, expected);
        assert_eq!(line(None)["prediction"], serde_json::Value::Null);
        assert_ne!(hash(b"image"), hash(b"imagf"));
    }
}
