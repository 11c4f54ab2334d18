//! The flags of `serve`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, value_parser};
use model_server::http::Limits;
use model_server::load::{Settings, Wanted};
use model_server::queue::Room;
use model_server::serve::{Keep, Options, What};
use model_server::{Output, Precision};
use sources::Uri;

use super::{at_least_one, version};

/// How long a client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Artefact directory.
    #[arg(long, env = "SLUICE_MODEL", required_unless_present = "repository", requires_all = ["version", "revision"])]
    model: Option<PathBuf>,
    /// Version that the artefact must have.
    #[arg(long, env = "SLUICE_VERSION", value_parser = version)]
    version: Option<String>,
    /// Name of the revision, told in answers.
    #[arg(long, env = "SLUICE_REVISION")]
    revision: Option<String>,
    /// Several models in place of one: a folder of artefacts, FOLDER/NAME/VERSION, each loaded when it is asked for under
    /// /v2/models/NAME. A new version takes over once it is loaded, without a failed request.
    #[arg(long, env = "SLUICE_REPOSITORY", conflicts_with_all = ["model", "version", "revision", "sha256"])]
    repository: Option<PathBuf>,
    /// Bytes of memory for the models of --repository. Each counts twice its file for each worker, and three times at least;
    /// those that were asked for longest ago make room.
    #[arg(long, env = "SLUICE_MEMORY", default_value_t = 1 << 30, conflicts_with = "model")]
    memory: u64,
    /// How often --repository is looked at.
    #[arg(long, env = "SLUICE_POLL", default_value = "2s", value_parser = pause, conflicts_with = "model")]
    poll: Duration,
    /// Models of --repository to load before the server is ready.
    #[arg(long, env = "SLUICE_LOAD", value_delimiter = ',', conflicts_with = "model")]
    load: Vec<String>,
    /// Lets clients load and unload models of --repository (POST /v2/repository/models/NAME/load).
    #[arg(long, env = "SLUICE_REPOSITORY_CONTROL", conflicts_with = "model")]
    repository_control: bool,
    /// Name of the model under /v2. [default: the name of the revision without its last part]. With --repository, the model
    /// that /predict asks. [default: none]
    #[arg(long, env = "SLUICE_NAME")]
    name: Option<String>,
    /// What /v2 answers with.
    #[arg(long, env = "SLUICE_INFER_OUTPUT", value_enum, default_value_t = Output::Probabilities)]
    infer_output: Output,
    /// Digest that the artefact must have.
    #[arg(long, env = "SLUICE_SHA256", value_parser = sha256)]
    sha256: Option<String>,
    /// Address of the public port.
    #[arg(long, env = "SLUICE_LISTEN", default_value_t = any(wire::endpoint::SERVER_PORT))]
    listen: SocketAddr,
    /// Address of the admin port: /livez, /readyz, /metrics, /profile.
    #[arg(long, env = "SLUICE_ADMIN", default_value_t = any(wire::endpoint::ADMIN_PORT))]
    admin: SocketAddr,
    /// Longest time from SIGTERM to the end, such as 20s; the default outlasts the router's request timeout (30 s).
    #[arg(long, env = "SLUICE_DRAIN", default_value = "31s", value_parser = duration)]
    drain: Duration,
    /// Threads that run the model. [default: number of cores]
    #[arg(long, env = "SLUICE_WORKERS", value_parser = at_least_one)]
    workers: Option<usize>,
    /// Threads of one operation within the model; more than one rarely pays beside several workers.
    #[arg(long, env = "SLUICE_THREADS", default_value_t = 1, value_parser = at_least_one)]
    threads: usize,
    /// Images that may wait or be worked on; beyond it, 429.
    #[arg(long, env = "SLUICE_QUEUE", default_value_t = 256, value_parser = at_least_one)]
    queue: usize,
    /// Images of one request; at most the queue.
    #[arg(long, env = "SLUICE_MAX_IMAGES", default_value_t = 32, value_parser = at_least_one)]
    max_images: usize,
    /// Most images that the model is given together, those of several requests: 1, 2, 3, 4, 6, 8, 12, … Each size is warmed up
    /// before the server is ready.
    #[arg(long, env = "SLUICE_MAX_BATCH", default_value_t = 16, value_parser = batch)]
    max_batch: usize,
    /// For how long a free model waits for a batch to fill, such as 2ms. Without, a batch is what came while it was busy.
    #[arg(long, env = "SLUICE_BATCH_DELAY", default_value = "0s", value_parser = duration)]
    batch_delay: Duration,
    /// Numbers in which the model computes. bf16 is faster on a processor with AMX, and is not used on others, nor where
    /// it changes a probability by more than 0.05.
    #[arg(long, env = "SLUICE_PRECISION", value_enum, default_value_t)]
    precision: Precision,
    /// Largest body, in bytes.
    #[arg(long, env = "SLUICE_MAX_BODY", default_value_t = 8 << 20, value_parser = at_least_one)]
    max_body: usize,
    /// Bodies above 256 KiB held at one time, in bytes; beyond it, 429. At least --max-body. Smaller bodies have
    /// 16 MiB of their own.
    #[arg(long, env = "SLUICE_MAX_BUFFERED", default_value_t = 64 << 20, value_parser = at_least_one)]
    max_buffered: usize,
    /// Pixels of all images of a request together.
    #[arg(long, env = "SLUICE_MAX_PIXELS", default_value_t = 4 << 20, value_parser = value_parser!(u64).range(1..=1 << 28))]
    max_pixels: u64,
    /// Requests with large images (above 65,536 pixels) that are decoded at one time; beyond it, 429.
    #[arg(long, env = "SLUICE_DECODERS", default_value_t = 4, value_parser = at_least_one)]
    decoders: usize,
    /// Writes a line of JSON for each image: a file, which makes place for the next at 64 MiB, or - for stdout. Lines that the
    /// output is too slow for are dropped and counted. [default: none]
    #[arg(long, env = "SLUICE_PREDICTION_LOG")]
    prediction_log: Option<String>,
    /// Keeps images of answers that the model does not decide (x-sluice-automation), for people to look at with `model-server
    /// review`: s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH or file:///PATH. Credentials as with `fetch`; an
    /// endpoint that is http:// needs AWS_ALLOW_HTTP=true (AZURE_…, GOOGLE_…). [default: none]
    #[arg(long, env = "SLUICE_REVIEW")]
    review: Option<Uri>,
    /// Keeps a sample of all images that were answered, with what the model said. Addresses as with --review. [default: none]
    #[arg(long, env = "SLUICE_CAPTURE", requires = "capture_percent")]
    capture: Option<Uri>,
    /// How much of them.
    #[arg(long, env = "SLUICE_CAPTURE_PERCENT", requires = "capture", value_parser = value_parser!(u8).range(1..=100))]
    capture_percent: Option<u8>,
    /// Open connections.
    #[arg(long, env = "SLUICE_MAX_CONNECTIONS", default_value_t = 1024, value_parser = at_least_one)]
    max_connections: usize,
}

impl Serve {
    /// What the server is started with; `cores` workers if nothing is said.
    ///
    /// # Errors
    /// If flags do not fit each other.
    pub(crate) fn options(self, cores: usize) -> Result<Options> {
        if self.max_images > self.queue {
            bail!("--max-images is {}, allowed: at most --queue ({})", self.max_images, self.queue);
        }
        if self.max_buffered < self.max_body {
            bail!(
                "--max-buffered is {}, allowed: at least --max-body ({})",
                self.max_buffered,
                self.max_body
            );
        }
        let settings = Settings {
            workers: self.workers.unwrap_or(cores),
            threads: self.threads,
            queue: Room { capacity: self.queue, batch: self.max_batch, delay: self.batch_delay },
            precision: self.precision,
            infer_output: self.infer_output,
        };
        let limits = Limits {
            body_bytes: self.max_body,
            buffered_bytes: self.max_buffered,
            pixels: self.max_pixels,
            images: self.max_images,
            decoders: self.decoders,
            body_time: BODY_TIME,
        };
        Ok(Options {
            settings,
            limits,
            listen: self.listen,
            admin: self.admin,
            drain: self.drain,
            max_connections: self.max_connections,
            prediction_log: self.prediction_log.clone(),
            keep: Keep {
                review: self.review.clone(),
                capture: self.capture.clone().zip(self.capture_percent),
                variables: super::variables(),
            },
            what: self.what(),
        })
    }

    fn what(self) -> What {
        match (self.model, self.version, self.revision, self.repository) {
            (Some(folder), Some(version), Some(revision), None) => What::Model(Wanted {
                folder,
                name: self.name.unwrap_or_else(|| model_of(&revision).to_owned()),
                version,
                revision: Some(revision),
                sha256: self.sha256,
            }),
            (.., folder) => What::Repository {
                folder: folder.expect("clap asks for a model or a repository"),
                memory: self.memory,
                poll: self.poll,
                load: self.load,
                unnamed: self.name,
                control: self.repository_control,
            },
        }
    }
}

/// The operator calls a revision by its ModelDeployment, a hyphen, and a digest.
fn model_of(revision: &str) -> &str {
    revision.rsplit_once('-').map_or(revision, |(model, _)| model)
}

pub(super) const fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

pub(crate) fn sha256(text: &str) -> Result<String, String> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() == 64 && text.bytes().all(hex) {
        return Ok(text.to_owned());
    }
    Err("64 lower-case hex digits are meant, as `model-server digest` prints".to_owned())
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
    let max = Duration::from_secs(3600);
    read.filter(|d| *d <= max).ok_or_else(|| "0s to 1h is meant, such as 20s or 1m30s".to_owned())
}

fn batch(text: &str) -> Result<usize, String> {
    // Each size is warmed up.
    text.parse().ok().filter(|n| (1..=256).contains(n)).ok_or_else(|| "1..=256 is meant".to_owned())
}

/// A folder is looked at between ten times a second and once an hour.
fn pause(text: &str) -> Result<Duration, String> {
    let least = Duration::from_millis(100);
    duration(text).ok().filter(|d| *d >= least).ok_or_else(|| "100ms to 1h is meant, such as 2s".to_owned())
}
