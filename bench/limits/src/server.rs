//! The server with a model that costs nothing: what HTTP, JSON, images, the queue, metrics and the log cost.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use model_server::http::{Limits, Service};
use model_server::models::Models;
use model_server::queue::{Queue, Room};
use model_server::served::{Identity, Served};
use model_server::{Artefact, Engine, Metrics, Output, Reference, listen, predictions};
use prometheus::Registry;
use tokio::net::TcpListener;

/// As `model-server serve` has them by default.
const LIMITS: Limits = Limits {
    body_bytes: 8 << 20,
    buffered_bytes: 64 << 20,
    pixels: 4 << 20,
    images: 32,
    decoders: 4,
    body_time: Duration::from_secs(30),
};
const ROOM: Room = Room { capacity: 256, batch: 32, delay: Duration::ZERO };
const CONNECTIONS: usize = 1024;
const WORKERS: usize = 2;

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Artefact directory, of which only the description is used.
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    listen: SocketAddr,
    /// File of the prediction log.
    #[arg(long)]
    prediction_log: String,
}

impl Serve {
    /// Serves until it is killed.
    pub(crate) fn run(&self) -> Result<()> {
        let Artefact { metadata, digest, .. } = Artefact::read(&self.model)?;
        let metrics = Metrics::new(&Registry::new())?;
        let classes = metadata.classes.len();
        let make = move || Ok(Box::new(Reference { classes, sharp: 4.0 }) as Box<dyn Engine>);
        let queue = Queue::start(vec![make; WORKERS], ROOM, &metrics)?;
        let (revision, name) = ("limit-1".to_owned(), "limit".to_owned());
        let identity = Identity { metadata, digest, revision, name, infer_output: Output::Probabilities };
        let models = Models::One(Arc::new(Served::new(identity, queue, None)));
        let service = Service::new(models, LIMITS, metrics);
        let service = Arc::new(service.with_log(predictions::start(&self.prediction_log)?));
        tokio::runtime::Runtime::new()?.block_on(async {
            let listener = TcpListener::bind(self.listen).await?;
            listen::serve(listener, &service, CONNECTIONS, Duration::ZERO, std::future::pending()).await;
            Ok(())
        })
    }
}
