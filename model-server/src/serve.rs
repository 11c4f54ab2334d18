//! `model-server serve`: load, verify, warm up, answer, drain.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use admin::Readiness;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use torchscript::Precision;
use wire::Profile;

use crate::http::{Identity, Limits, Service};
use crate::metrics::Metrics;
use crate::queue::{Queue, Room};
use crate::{
    Artefact, ArtefactError, Engine, EngineError, Metadata, ModelError, Output, Torch, listen, precision,
    predictions,
};

/// How long sizes of batches are tried, beside the smallest and the largest.
const WARM_UP: Duration = Duration::from_secs(5);

/// Longest time in which what is left of the prediction log is still written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What to serve, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Artefact directory.
    pub model: PathBuf,
    /// Version that its description must name.
    pub version: String,
    /// Name of the revision, told in answers.
    pub revision: String,
    /// Name of the model under `/v2`.
    pub name: String,
    /// What `/v2` answers with.
    pub infer_output: Output,
    /// Digest that it must have (I5), if known.
    pub sha256: Option<String>,
    /// Address of the public port.
    pub listen: SocketAddr,
    /// Address of the admin port.
    pub admin: SocketAddr,
    /// Longest drain.
    pub drain: Duration,
    /// Threads that run the model, at least 1.
    pub workers: usize,
    /// Threads of one operation within the model, at least 1.
    pub threads: usize,
    /// How many images may wait or be worked on, at least `limits.images`, and how many run together.
    pub queue: Room,
    /// Numbers in which the model computes.
    pub precision: Precision,
    /// Open connections, at least 1.
    pub max_connections: usize,
    /// What a request may ask for.
    pub limits: Limits,
    /// Where a line is written of each image: a file, or `-` for stdout.
    pub prediction_log: Option<String>,
}

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address is taken or not ours.
    #[error("cannot listen on {address} ({port}): {source}")]
    Listen {
        /// Which port.
        port: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why it failed.
        source: io::Error,
    },
    /// The artefact is not the one that was asked for.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    /// The file of the model is not what can be served.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model does not load or run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The prediction log cannot be written.
    #[error("--prediction-log {path} cannot be written: {source}")]
    Log {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A model that gives probabilities has no logits to answer with.
    #[error(
        "--infer-output is logits, allowed: probabilities: that is what the model gives (metadata.json, output)"
    )]
    NoLogits,
    /// Metrics cannot be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The loading thread is gone.
    #[error("loading broke off")]
    Loading,
}

/// Serves until `shutdown`, then drains. Returns after the drain.
///
/// # Errors
/// If the server cannot start. Once it serves, nothing but `shutdown` ends it.
pub async fn run(
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let start = Instant::now();
    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    let readiness = Readiness::default();
    let loading = readiness.wait_for(format!("model {}", options.model.display()));

    let profile = Arc::new(OnceLock::new());
    let stopped = CancellationToken::new();
    let admin = bind("admin", options.admin).await?;
    let pages = admin::routes(readiness.clone(), registry.clone()).merge(profile_page(profile.clone()));
    let admin = tokio::spawn(admin::serve(admin, pages, stopped.clone().cancelled_owned()));

    let stop = CancellationToken::new();
    tokio::spawn({
        let (stop, readiness) = (stop.clone(), readiness.clone());
        async move {
            shutdown.await;
            // Readiness first: who asks from now on is told to go elsewhere.
            readiness.drain();
            stop.cancel();
        }
    });

    let loaded = tokio::task::spawn_blocking({
        let (options, metrics) = (options.clone(), metrics.clone());
        move || load(&options, &metrics)
    });
    let Loaded { identity, profile: reference, queue } = tokio::select! {
        loaded = loaded => loaded.map_err(|_| ServeError::Loading)??,
        () = stop.cancelled() => {
            tracing::info!("stopped before the model was loaded");
            return Ok(());
        }
    };
    Metrics::describe(&registry, &options.version, &options.revision, &identity.digest)?;
    let page = serde_json::to_vec(&reference).expect("a profile is JSON");
    profile.set(Bytes::from(page)).expect("set once");
    let digest = identity.digest.clone();
    let mut service = Service::new(identity, queue, options.limits, metrics.clone());
    if let Some(path) = &options.prediction_log {
        let cannot = |source| ServeError::Log { path: path.clone(), source };
        let log = predictions::start(path).map_err(cannot)?;
        registry.register(Box::new(log.dropped().clone()))?;
        service = service.with_log(log);
    }
    let service = Arc::new(service);
    let listener = bind("public", options.listen).await?;
    let ready = start.elapsed();
    metrics.ready_seconds.set(ready.as_secs_f64());
    loading.done();
    let (version, revision) = (&options.version, &options.revision);
    tracing::info!(version, revision, digest, listen = %options.listen, admin = %options.admin,
        ms = ready.as_millis() as u64, "ready");

    let cut =
        listen::serve(listener, &service, options.max_connections, options.drain, stop.cancelled()).await;
    if cut > 0 {
        tracing::warn!(connections = cut, "cut at the end of the drain");
    }
    // An output that stands still does not hold the end up.
    let _ = tokio::time::timeout(LAST_WORDS, service.flush()).await;
    tracing::info!("drained");
    stopped.cancel();
    // Its own deadline ends it.
    let _ = admin.await;
    Ok(())
}

/// What is served once it is loaded.
struct Loaded {
    identity: Identity,
    profile: Profile,
    queue: Queue,
}

/// Verifies, loads and warms up; blocks.
fn load(options: &Options, metrics: &Metrics) -> Result<Loaded, ServeError> {
    let artefact = Artefact::read(&options.model)?;
    artefact.expect(Some(&options.version), options.sha256.as_deref())?;
    let Artefact { digest, metadata, profile, model } = artefact;
    if (options.infer_output, metadata.output) == (Output::Logits, Output::Probabilities) {
        return Err(ServeError::NoLogits);
    }
    // Neither is kept after this: the graphs have copies of their own.
    let archive: Arc<[u8]> = model.archive(&metadata)?.into();
    drop(model);
    let precision = precision::choose(options.precision, &archive, &metadata)?;
    let maker = || {
        let (archive, metadata) = (archive.clone(), metadata.clone());
        let Options { threads, queue: Room { batch, .. }, .. } = *options;
        move || {
            crate::limit_threads(threads);
            torchscript::flush_denormal();
            let mut engine = Torch::load(&archive, &metadata, precision)?;
            warm_up(&mut engine, &metadata, batch)?;
            Ok(Box::new(engine) as Box<dyn Engine>)
        }
    };
    let makers = (0..options.workers).map(|_| maker()).collect();
    let queue = Queue::start(makers, options.queue, metrics)?;
    let Options { revision, name, infer_output, .. } = options;
    let identity = Identity {
        metadata,
        digest,
        revision: revision.clone(),
        name: name.clone(),
        infer_output: *infer_output,
    };
    Ok(Loaded { identity, profile, queue })
}

/// Runs every size of a batch until libtorch has profiled and compiled the graph for it (it does so in the first two
/// runs), so that no client waits for it; the smallest and the largest first, which also proves that the graph fits its
/// description. Others are left out once it has taken [`WARM_UP`]: to a model that slow, a new size makes no difference.
fn warm_up(engine: &mut dyn Engine, metadata: &Metadata, largest: usize) -> Result<(), EngineError> {
    let (start, length) = (Instant::now(), metadata.preprocessing.input_len());
    let inputs = vec![0.0; largest * length];
    for images in [1, largest].into_iter().chain(2..largest) {
        if images != largest && start.elapsed() > WARM_UP {
            tracing::info!(images, largest, "warm-up is over: sizes between are not tried");
            break;
        }
        for _ in 0..2 {
            engine.run(&inputs[..images * length], images)?;
        }
    }
    Ok(())
}

/// `/profile`: the reference profile with the digest of what was loaded; 503 until it is.
fn profile_page(profile: Arc<OnceLock<Bytes>>) -> Router {
    let page = move || {
        let profile = profile.clone();
        async move {
            match profile.get() {
                Some(json) => ([(CONTENT_TYPE, "application/json")], json.clone()).into_response(),
                None => (StatusCode::SERVICE_UNAVAILABLE, "the model is not loaded yet\n").into_response(),
            }
        }
    };
    Router::new().route(wire::endpoint::PROFILE, get(page))
}

async fn bind(port: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { port, address, source })
}
