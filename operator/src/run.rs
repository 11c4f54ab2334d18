//! Wiring: from flags to a running operator.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::RunArgs;
use crate::capacity::Reader;
use crate::controller::{self, Context};
use crate::herald::Herald;
use crate::leader::{Campaign, Settings};
use crate::metrics::Metrics;
use crate::notify::{Courier, Timing};
use crate::observe::Written;
use crate::rehearsal::Rehearsal;
use crate::resources::Images;
use crate::sampler::Samplers;
use crate::validate::Defaults;
use crate::world::World;

/// How long an operator that stops still publishes events: nobody waits for it, the lease is free by then.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// Runs until SIGTERM, gives the lease up and returns.
///
/// # Errors
/// When it cannot start.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let stop = admin::shutdown_signal();
    let config = Config::infer().await.context("no API server: neither in a cluster nor a kubeconfig")?;
    let client = Client::try_from(config.clone()).context("the API server's address cannot be used")?;
    // A client of its own is a connection of its own (R5).
    let lane = Client::try_from(config).context("the API server's address cannot be used")?;

    let registry = prometheus::Registry::new();
    let readiness = admin::Readiness::default();
    let listener = TcpListener::bind(args.admin)
        .await
        .with_context(|| format!("--admin {}: cannot listen there", args.admin))?;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let pages =
        tokio::spawn(admin::serve(listener, admin::routes(readiness.clone(), registry.clone()), async {
            let _ = ended.await;
        }));
    let stopping = CancellationToken::new();
    let signal = stopping.clone();
    tokio::spawn(async move {
        stop.await;
        signal.cancel();
    });
    operate(&args, (client, lane), &registry, &readiness, stopping).await?;
    let _ = end.send(());
    pages.await.context("the admin port ended badly")??;
    Ok(())
}

/// Watches, asks for the lease once everything is known, and reconciles while it is held.
async fn operate(
    args: &RunArgs,
    (client, lane): (Client, Client),
    registry: &prometheus::Registry,
    readiness: &admin::Readiness,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let metrics = Metrics::register(registry).context("metrics cannot be registered")?;
    let (triggers, changes) = futures::channel::mpsc::unbounded();
    let written = Written::default();
    let (world, synced) = World::watch(&client, args.namespace.as_deref(), &written, readiness, &triggers);
    let (samplers, samples) = Samplers::new(world.pods.clone(), registry)?;
    let courier = Courier::new(client.clone(), registry, triggers.clone(), Timing::default())?;
    let capacity = Reader::new(client.clone(), args.namespace.is_none(), triggers.clone());
    let rehearsal = Rehearsal::new(client.clone(), triggers);
    let settings = settings(args, &client);
    tracing::info!(identity = %settings.identity, lease = %settings.name, "starting");
    let reporter =
        Reporter { controller: "sluice-operator".into(), instance: Some(settings.identity.clone()) };
    // rule: K4. Nothing is decided before every store was filled once: what is not seen would be made again.
    // Nor is the lease asked for: a holder that still reads its first lists is a leader that does nothing.
    if stopping.run_until_cancelled(synced.wait()).await.is_none() {
        return Ok(());
    }
    let campaign = Campaign::start(client.clone(), settings);
    let (herald, published) = Herald::new(&Recorder::new(client.clone(), reporter));
    let context = Arc::new(Context {
        herald,
        client,
        lane,
        world,
        written,
        samplers,
        courier,
        capacity,
        rehearsal,
        acting: campaign.acting(),
        metrics,
        images: images(args),
        defaults: Defaults {
            interval: args.interval.get().max(Duration::from_secs(1)),
            pod_overlays: args.pod_overlays,
        },
        notes: controller::Notes::default(),
    });
    let stopped = stopping.cancelled_owned();
    controller::run(context, changes, samples, args.concurrency, stopped).await;
    readiness.drain();
    campaign.release().await;
    published.all(LAST_EVENTS).await;
    Ok(())
}

fn settings(args: &RunArgs, client: &Client) -> Settings {
    Settings {
        namespace: args.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned()),
        name: args.lease_name.clone(),
        identity: identity(args.identity.as_deref()),
    }
}

fn images(args: &RunArgs) -> Images {
    Images {
        router: args.router_image.clone(),
        server: args.server_image.clone(),
        pull_policy: args.pull_policy.map(|policy| policy.to_string()),
        pull_secrets: args.pull_secrets.clone(),
    }
}

/// A name that no other process has or had: a pod's name stays when its container starts again.
fn identity(name: Option<&str>) -> String {
    let host = || std::fs::read_to_string("/etc/hostname").ok().map(|h| h.trim().to_owned());
    let name = name.map(str::to_owned).or_else(host).unwrap_or_else(|| "operator".into());
    let start = jiff::Timestamp::now().as_microsecond();
    format!("{name}-{}-{start:x}", std::process::id())
}
