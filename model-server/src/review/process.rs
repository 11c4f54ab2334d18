//! `model-server review`: opens the folder, serves reviewers, tells the router, removes what is old.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admin::Readiness;
use jiff::Timestamp;
use prometheus::Registry;
use sources::{CabinetError, CallError, Caller, Patience, Uri, open_cabinet};
use tokio_util::sync::CancellationToken;

use super::{App, Courier, Desk, Doors, Router};
use crate::listen;
use crate::serve::{ServeError, bind, stop_after};

/// How long the store is waited for: shorter than a request may take.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(3),
    stall: Duration::from_secs(5),
    retries: 1,
    pause: Duration::from_millis(200),
};
/// How long another program is waited for: an explanation asks a model 65 times.
const CALL: Duration = Duration::from_secs(20);
/// Between two looks for what is old, and between two tries to reach the store at the start.
const HOUR: Duration = Duration::from_secs(3600);
const AGAIN: Duration = Duration::from_secs(2);

/// What to serve, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that servers write into.
    pub folder: Uri,
    /// Names and values of the environment: settings and credentials of the store.
    pub variables: Vec<(String, String)>,
    /// Who is let in, and where explanations come from.
    pub doors: Doors,
    /// The router that is told of labels.
    pub router: Option<Router>,
    /// Older items, images and labels are removed; absent: none.
    pub keep: Option<Duration>,
    /// Address for reviewers.
    pub listen: SocketAddr,
    /// Address of the admin port.
    pub admin: SocketAddr,
    /// Longest drain.
    pub drain: Duration,
    /// Open connections, at least 1.
    pub max_connections: usize,
}

/// Why the process did not start.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The folder cannot be opened.
    #[error("--review: {0}")]
    Folder(#[from] CabinetError),
    /// Others cannot be called.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The token of reviewers cannot be used.
    #[error("--token-file: {0}")]
    Token(String),
    /// It cannot listen.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Metrics cannot be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// If it cannot start. Once it serves, nothing but `shutdown` ends it.
pub async fn run(
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ReviewError> {
    let registry = Registry::new();
    let readiness = Readiness::default();
    let reaching = readiness.wait_for(format!("store {}", options.folder));
    let stopped = CancellationToken::new();
    super::app::token_of(&options.doors.token).await.map_err(ReviewError::Token)?;
    let desk = Desk::new(open_cabinet(&options.folder, &options.variables, PATIENCE)?);
    let caller = Caller::new(CALL)?;
    let courier = Arc::new(Courier::new(desk.clone(), options.router, caller.clone(), &registry)?);
    let app = App::new(desk.clone(), courier.clone(), options.doors, caller, &registry)?;
    let admin = bind("admin", options.admin).await?;
    let pages = admin::routes(readiness.clone(), registry);
    let admin = tokio::spawn(admin::serve(admin, pages, stopped.clone().cancelled_owned()));
    let listener = bind("public", options.listen).await?;
    let stop = stop_after(shutdown, readiness);
    let telling = tokio::spawn(courier.work());
    let removing = options.keep.map(|keep| tokio::spawn(expire(desk.clone(), keep)));
    let reached = tokio::spawn(async move {
        while let Err(error) = desk.waiting(None, 1).await {
            tracing::warn!(%error, "the store does not answer yet");
            tokio::time::sleep(AGAIN).await;
        }
        reaching.done();
    });
    tracing::info!(folder = %options.folder, listen = %options.listen, admin = %options.admin, "serving");
    let app = Arc::new(app);
    let cut =
        listen::serve_any(listener, &app, options.max_connections, options.drain, stop.cancelled()).await;
    if cut > 0 {
        tracing::warn!(connections = cut, "cut at the end of the drain");
    }
    // Where they are is in files.
    for task in removing.into_iter().chain([telling, reached]) {
        task.abort();
    }
    stopped.cancel();
    // Its own deadline ends it.
    let _ = admin.await;
    Ok(())
}

async fn expire(desk: Desk, keep: Duration) {
    loop {
        let before = Timestamp::now().checked_sub(keep).unwrap_or(Timestamp::UNIX_EPOCH);
        match desk.expire(before).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, %before, "what was older than --keep is removed"),
            Err(error) => tracing::warn!(%error, "what is old could not be removed; trying again in an hour"),
        }
        tokio::time::sleep(HOUR).await;
    }
}
