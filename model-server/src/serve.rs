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
use sources::{CabinetError, Patience, Uri, open_cabinet};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::{Limits, Service};
use crate::load::{LoadError, Settings, Wanted, load, memory};
use crate::metrics::Metrics;
use crate::models::{Models, ModelsError};
use crate::repository::Repository;
use crate::review::{Capturing, Keeping, KeptMetrics, Outbox, Room};
use crate::{listen, predictions};

/// Longest time in which what is left of the prediction log is still written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long the store of images is waited for, each time.
const STORE: Patience = Patience {
    connect: Duration::from_secs(5),
    stall: Duration::from_secs(10),
    retries: 3,
    pause: Duration::from_millis(200),
};

/// What to serve, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to serve.
    pub what: What,
    /// How models are run; the room of their queues is at least `limits.images`.
    pub settings: Settings,
    /// Address of the public port.
    pub listen: SocketAddr,
    /// Address of the admin port.
    pub admin: SocketAddr,
    /// Longest drain.
    pub drain: Duration,
    /// Open connections, at least 1.
    pub max_connections: usize,
    /// What a request may ask for.
    pub limits: Limits,
    /// Where a line is written of each image: a file, or `-` for stdout.
    pub prediction_log: Option<String>,
    /// Which images are kept.
    pub keep: Keep,
}

/// Which images are kept, and where.
#[derive(Debug, Clone, Default)]
pub struct Keep {
    /// Where those go that the model does not decide.
    pub review: Option<Uri>,
    /// Where a sample of all goes, and how much of them, 1..=100.
    pub capture: Option<(Uri, u8)>,
    /// Names and values of the environment: settings and credentials of stores.
    pub variables: Vec<(String, String)>,
}

/// One model, or a folder of them.
#[derive(Debug, Clone)]
pub enum What {
    /// One.
    Model(Wanted),
    /// A folder of artefacts, `<folder>/<name>/<version>/`.
    Repository {
        /// The folder.
        folder: PathBuf,
        /// Bytes that the models may need together.
        memory: u64,
        /// How often the folder is looked at.
        poll: Duration,
        /// Models that are loaded before the server is ready.
        load: Vec<String>,
        /// The model of paths that name none, such as `/predict`.
        unnamed: Option<String>,
        /// Whether clients may load and unload models.
        control: bool,
    },
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
    /// The model cannot be served.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The folder of models cannot be read.
    #[error("--repository {folder} cannot be read: {source}")]
    Repository {
        /// The folder.
        folder: String,
        /// Why.
        source: io::Error,
    },
    /// A model that was to be loaded at the start is not there, or broken.
    #[error("--load: {0}")]
    First(#[from] ModelsError),
    /// The prediction log cannot be written.
    #[error("--prediction-log {path} cannot be written: {source}")]
    Log {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Images cannot be kept there.
    #[error("{flag}: {source}")]
    Keep {
        /// Which flag.
        flag: &'static str,
        /// Why.
        source: CabinetError,
    },
    /// There is no thread to be had.
    #[error("no thread for images that are kept: {0}")]
    Thread(io::Error),
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
    let loading = readiness.wait_for(options.what.to_string());
    let profile = Arc::new(OnceLock::new());
    let stopped = CancellationToken::new();
    let admin = bind("admin", options.admin).await?;
    let pages = admin::routes(readiness.clone(), registry.clone()).merge(profile_page(profile.clone()));
    let admin = tokio::spawn(admin::serve(admin, pages, stopped.clone().cancelled_owned()));
    let stop = stop_after(shutdown, readiness);

    let models = tokio::select! {
        models = models(&options, &metrics) => models?,
        () = stop.cancelled() => {
            tracing::info!("stopped before the model was loaded");
            return Ok(());
        }
    };
    if let Some(only) = models.only() {
        let identity = only.identity();
        Metrics::describe(&registry, &identity.metadata.version, &identity.revision, &identity.digest)?;
        let page = serde_json::to_vec(&only.profile()).expect("a profile is JSON");
        profile.set(Bytes::from(page)).expect("set once");
    }
    let mut service = Service::new(models, options.limits, metrics.clone());
    if let Some(path) = &options.prediction_log {
        let cannot = |source| ServeError::Log { path: path.clone(), source };
        let log = predictions::start(path).map_err(cannot)?;
        registry.register(Box::new(log.dropped().clone()))?;
        service = service.with_log(log);
    }
    let service = Arc::new(service.with_keeping(keeping(&options.keep, &registry)?));
    let listener = bind("public", options.listen).await?;
    let ready = start.elapsed();
    metrics.ready_seconds.set(ready.as_secs_f64());
    loading.done();
    let ms = ready.as_millis() as u64;
    tracing::info!(what = %options.what, listen = %options.listen, admin = %options.admin, ms, "ready");

    serve(listener, &service, &options, &stop).await;
    stopped.cancel();
    // Its own deadline ends it.
    let _ = admin.await;
    Ok(())
}

/// What the server keeps of its answers. A store that is away now is none of its worries: requests wait for none.
fn keeping(keep: &Keep, registry: &Registry) -> Result<Keeping, ServeError> {
    if keep.review.is_none() && keep.capture.is_none() {
        return Ok(Keeping::default());
    }
    let metrics = KeptMetrics::new(registry)?;
    let open = |flag: &'static str, uri: &Uri| {
        open_cabinet(uri, &keep.variables, STORE).map_err(|source| ServeError::Keep { flag, source })
    };
    let mut keeping = Keeping::default();
    if let Some(uri) = &keep.review {
        let cabinet = open("--review", uri)?;
        keeping.review =
            Some(Outbox::for_review(&cabinet, Room::default(), &metrics).map_err(ServeError::Thread)?);
    }
    if let Some((uri, percent)) = &keep.capture {
        let cabinet = open("--capture", uri)?;
        let outbox = Outbox::for_capture(&cabinet, Room::default(), &metrics).map_err(ServeError::Thread)?;
        keeping.capture = Some(Capturing { outbox, percent: *percent });
    }
    Ok(keeping)
}

/// A token that is cancelled at the shutdown, after readiness has ended: who asks from then on is told to go elsewhere.
pub(crate) fn stop_after(
    shutdown: impl Future<Output = ()> + Send + 'static,
    readiness: Readiness,
) -> CancellationToken {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        shutdown.await;
        readiness.drain();
        stopped.cancel();
    });
    stop
}

async fn serve(listener: TcpListener, service: &Arc<Service>, options: &Options, stop: &CancellationToken) {
    let Options { max_connections, drain, .. } = *options;
    let mut since = Instant::now();
    let stopped = async {
        stop.cancelled().await;
        since = Instant::now();
    };
    let cut = listen::serve(listener, service, max_connections, drain, stopped).await;
    if cut > 0 {
        tracing::warn!(connections = cut, "cut at the end of the drain");
    }
    // Outputs that stand still do not hold the end up. Images have what is left of the drain.
    let last = drain.saturating_sub(since.elapsed()).max(LAST_WORDS);
    let _ = tokio::join!(tokio::time::timeout(LAST_WORDS, service.flush()), service.flush_kept(last));
    tracing::info!("drained");
}

/// What is served, loaded and warm.
async fn models(options: &Options, metrics: &Metrics) -> Result<Models, ServeError> {
    let (settings, metrics) = (options.settings, metrics.clone());
    let (folder, budget, poll, first, unnamed, control) = match options.what.clone() {
        What::Model(wanted) => {
            let loaded = tokio::task::spawn_blocking(move || load(&wanted, &settings, &metrics)).await;
            return Ok(Models::One(Arc::new(loaded.map_err(|_| ServeError::Loading)??)));
        }
        What::Repository { folder, memory, poll, load, unnamed, control } => {
            (folder, memory, poll, load, unnamed, control)
        }
    };
    let loader = {
        let metrics = metrics.clone();
        Box::new(move |wanted: &Wanted| load(wanted, &settings, &metrics))
    };
    let needed = Box::new(move |folder: &std::path::Path| memory(folder, settings.workers));
    let repository = Arc::new(Repository::new(folder.clone(), budget, needed, loader, metrics));
    let unreadable = |source| ServeError::Repository { folder: folder.display().to_string(), source };
    repository.refresh().await.map_err(unreadable)?;
    for name in &first {
        repository.find(name, None).await.map_err(ModelsError::from)?;
    }
    tokio::spawn(repository.clone().watch(poll));
    Ok(Models::Many { repository, unnamed, control })
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Model(wanted) => write!(f, "model {} {}", wanted.folder.display(), wanted.version),
            Self::Repository { folder, .. } => write!(f, "models of {}", folder.display()),
        }
    }
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

pub(crate) async fn bind(port: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { port, address, source })
}
