//! A client of a classification service that checks every answer.
//!
//! Real images at a set rate, over fresh and kept connections mixed. Nothing is ever sent twice: each request
//! is counted once, as right or as one kind of failure. An answer is right when it is a 200 and its
//! prediction is the one that the version named in `x-model-version` gives offline. Bounded in number, rate
//! and time, and only towards this machine: loopback and 198.18.0.0/15.

mod connection;
mod images;
mod summary;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

pub use summary::{Failure, Summary, VersionSummary};

use images::{Image, Images};

use connection::{Answer, Connection};

/// Requests per second, at most.
const MAX_RATE: u32 = 5000;
/// How a withheld answer is spelt, as in the header `x-prediction`.
const NULL: &str = "-";
/// Workers, at most.
const MAX_WORKERS: u32 = 256;

/// What to send where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Base address such as `http://198.19.12.7` or `http://127.0.0.1:8080`.
    pub address: String,
    /// Folder of images, as `model-server data images` writes it.
    pub images: PathBuf,
    /// What each model version answers offline, as `model-server evaluate --predictions` writes it.
    pub predictions: BTreeMap<String, PathBuf>,
    /// Requests per second of all workers together, 1..=5000.
    pub rate: u32,
    /// Requests that may be on their way at one time, 1..=256. Every other worker opens a fresh connection
    /// for each of its requests.
    pub workers: u32,
    /// The revision that every request asks for: `candidate`, `stable`, or a name.
    pub target: Option<HeaderValue>,
    /// Longest time for one request.
    pub timeout: Duration,
    /// Requests, at most.
    pub max_requests: u64,
    /// Time, at most.
    pub max_time: Duration,
}

impl Settings {
    /// Eight workers, 10 s per request, at most 2,000,000 requests and one hour.
    #[must_use]
    pub fn new(
        address: &str,
        images: impl AsRef<Path>,
        predictions: BTreeMap<String, PathBuf>,
        rate: u32,
    ) -> Self {
        Self {
            address: address.to_owned(),
            images: images.as_ref().to_owned(),
            predictions,
            rate,
            workers: 8,
            target: None,
            timeout: Duration::from_secs(10),
            max_requests: 2_000_000,
            max_time: Duration::from_secs(3600),
        }
    }

    fn check(&self) -> Result<SocketAddr, LoadError> {
        let limit = |field, found: u32, max| {
            if (1..=max).contains(&found) { Ok(()) } else { Err(LoadError::Limit { field, found, max }) }
        };
        limit("rate", self.rate, MAX_RATE)?;
        limit("workers", self.workers, MAX_WORKERS)?;
        parse_address(&self.address)
    }
}

/// Why there is no load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not an address that may be loaded.
    #[error(
        "address {found:?} is refused: http://<ip>[:<port>] within 127.0.0.0/8, ::1 or 198.18.0.0/15 is allowed"
    )]
    Address {
        /// What was found.
        found: String,
    },
    /// Beyond a limit.
    #[error("{field} is {found}, allowed: 1..={max}")]
    Limit {
        /// Which setting.
        field: &'static str,
        /// What was found.
        found: u32,
        /// What is allowed.
        max: u32,
    },
    /// A file cannot be used.
    #[error("{path} cannot be used: {reason}")]
    File {
        /// The file or folder.
        path: String,
        /// Why.
        reason: String,
    },
}

/// A running load; it ends when this is dropped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    settings: Settings,
    images: Images,
    /// Classes in the order of the images, by version.
    predictions: BTreeMap<String, Vec<String>>,
    summary: Mutex<Summary>,
    next: AtomicU64,
    stop: AtomicBool,
    started: Instant,
}

impl Shared {
    fn summary(&self) -> MutexGuard<'_, Summary> {
        // Every change is a few additions: a panic elsewhere cannot leave it useless.
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Reads images and predictions, and begins to send.
    ///
    /// # Errors
    /// When the address is not one of this machine, a limit is exceeded, or a file cannot be used.
    #[expect(clippy::unused_async, reason = "tasks are spawned: only from within a runtime")]
    pub async fn start(settings: Settings) -> Result<Self, LoadError> {
        let address = settings.check()?;
        let images = Images::read(&settings.images)?;
        let read = |(version, path): (&String, &PathBuf)| Ok((version.clone(), images::predictions(path)?));
        let predictions = settings.predictions.iter().map(read).collect::<Result<_, LoadError>>()?;
        let workers = settings.workers;
        let shared = Arc::new(Shared {
            address,
            settings,
            images,
            predictions,
            summary: Mutex::default(),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            started: Instant::now(),
        });
        let mut tasks = JoinSet::new();
        for worker in 0..workers {
            tasks.spawn(work(worker, shared.clone()));
        }
        Ok(Self { shared, workers: tasks })
    }

    /// What was counted so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = self.shared.summary().clone();
        summary.seconds = self.shared.started.elapsed().as_secs_f64();
        summary
    }

    /// Sends nothing more, waits for the answers on their way, and says what was counted.
    pub async fn stop(self) -> Summary {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits until the limits of number or time are reached.
    pub async fn finish(mut self) -> Summary {
        while let Some(ended) = self.workers.join_next().await {
            // A worker that died would hide the request that it was counting.
            ended.expect("a worker of the load does not panic");
        }
        self.summary()
    }
}

/// One worker: its share of the rate, one request at a time.
async fn work(worker: u32, shared: Arc<Shared>) {
    let settings = &shared.settings;
    let period = Duration::from_secs_f64(f64::from(settings.workers) / f64::from(settings.rate));
    // Evenly spread, so that the workers together keep the rate and not the beat.
    let first = shared.started + period.mul_f64(f64::from(worker) / f64::from(settings.workers));
    let mut ticks = interval_at(first, period);
    // A slow answer is not followed by a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let keeps = worker.is_multiple_of(2);
    let mut kept: Option<Connection> = None;
    loop {
        ticks.tick().await;
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let over = shared.started.elapsed() >= settings.max_time || number >= settings.max_requests;
        if over || shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let image = shared.images.pick(number);
        let start = Instant::now();
        let result = request(&shared, image, number, &mut kept).await;
        if !keeps || result.is_err() {
            kept = None;
        }
        let verdict = result.and_then(|answer| check(&shared.predictions, image, answer));
        shared.summary().add(start.elapsed(), verdict);
    }
}

/// Sends one request, over the connection that was kept if it is still open.
async fn request(
    shared: &Shared,
    image: &Image,
    number: u64,
    kept: &mut Option<Connection>,
) -> Result<Answer, Failure> {
    let deadline = Instant::now() + shared.settings.timeout;
    let connection = if let Some(connection) = kept.take().filter(Connection::is_open) {
        connection
    } else {
        shared.summary().connects += 1;
        Connection::open(shared.address, deadline).await?
    };
    // Both ways of sending an image.
    let mut request = if number.is_multiple_of(4) {
        image.as_json(&shared.settings.address)
    } else {
        image.as_form(&shared.settings.address)
    };
    if let Some(target) = &shared.settings.target {
        request.headers_mut().insert(wire::header::TARGET, target.clone());
    }
    kept.insert(connection).send(request, deadline).await
}

/// Compares an answer with what its version says offline.
fn check(
    predictions: &BTreeMap<String, Vec<String>>,
    image: &Image,
    answer: Answer,
) -> Result<(String, bool), Failure> {
    if answer.status != 200 {
        return Err(Failure::Status(answer.status, answer.text));
    }
    let wrong = |what: String| Failure::Wrong(format!("{}: {what}", image.name));
    let version = answer.version.ok_or_else(|| wrong("no x-model-version".into()))?;
    let expected = predictions.get(&version).and_then(|answers| answers.get(image.index));
    let expected = expected.ok_or_else(|| wrong(format!("version {version} is unknown")))?;
    let body: serde_json::Value =
        serde_json::from_str(&answer.text).map_err(|error| wrong(format!("the body is no JSON: {error}")))?;
    let said = body.get("prediction").and_then(|p| p.as_str()).unwrap_or(NULL);
    if said != expected {
        return Err(wrong(format!("version {version} says {said:?}, offline {expected:?}")));
    }
    if body.get("version").and_then(|v| v.as_str()) != Some(version.as_str()) {
        return Err(wrong(format!(
            "the body names another version than x-model-version, which is {version}"
        )));
    }
    let correct = said == image.label;
    Ok((version, correct))
}

fn parse_address(text: &str) -> Result<SocketAddr, LoadError> {
    let refused = || LoadError::Address { found: text.to_owned() };
    let host = text.strip_prefix("http://").ok_or_else(refused)?.trim_end_matches('/');
    let address: SocketAddr = host
        .parse()
        .or_else(|_| host.parse().map(|ip: IpAddr| SocketAddr::new(ip, 80)))
        .map_err(|_| refused())?;
    let ours = match address.ip() {
        ip if ip.is_loopback() => true,
        IpAddr::V4(ip) => ip.octets()[0] == 198 && ip.octets()[1] & 0xfe == 18,
        IpAddr::V6(_) => false,
    };
    if ours { Ok(address) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loaded() {
        for good in
            ["http://127.0.0.1:8080", "http://127.8.9.1", "http://198.18.0.9:80/", "http://198.19.255.1"]
        {
            assert!(parse_address(good).is_ok(), "{good}");
        }
        for bad in
            ["http://10.0.0.1", "https://127.0.0.1", "http://198.20.0.1", "http://localhost", "127.0.0.1"]
        {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_named() {
        let settings =
            Settings { workers: 0, ..Settings::new("http://127.0.0.1:1", "/", BTreeMap::new(), 10) };
        assert_eq!(settings.check().unwrap_err().to_string(), "workers is 0, allowed: 1..=256");
    }
}
