//! The router's program.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use router::{Board, Cache, Collector, Feedback, Ledger, Limits, Proxy, Resource, Source, Telemetry, Tls};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Splits requests over the revisions of a ModelRoute and counts what becomes of them.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Namespace of the ModelRoute.
    #[arg(long, env = "SLUICE_NAMESPACE")]
    namespace: String,
    /// Name of the ModelRoute.
    #[arg(long, env = "SLUICE_ROUTE")]
    route: String,
    /// Address for prediction requests.
    #[arg(long, env = "SLUICE_LISTEN", default_value_t = SocketAddr::from(([0, 0, 0, 0], wire::endpoint::ROUTER_PORT)))]
    listen: SocketAddr,
    /// Address for /livez, /readyz, /metrics, /evidence and /route.
    #[arg(long, env = "SLUICE_ADMIN", default_value_t = SocketAddr::from(([0, 0, 0, 0], wire::endpoint::ADMIN_PORT)))]
    admin: SocketAddr,
    /// File that keeps the newest table, by which a router that starts while the API server is away serves. Its folder
    /// must exist, and outlive the process.
    #[arg(long, env = "SLUICE_CACHE")]
    cache: Option<PathBuf>,
    /// Longest time from SIGTERM to the end, such as 31s: longer than the requests' timeout.
    #[arg(long, env = "SLUICE_DRAIN", default_value = "31s", value_parser = duration)]
    drain: Duration,
    /// Largest body of a request, such as 16MiB.
    #[arg(long, env = "SLUICE_MAX_BODY", default_value = "16MiB", value_parser = bytes)]
    max_body: u64,
    /// Longest time for which a client is waited for while it sends a body, such as 30s.
    #[arg(long, env = "SLUICE_INTAKE", default_value = "30s", value_parser = duration)]
    intake: Duration,
    /// Most connections of clients; further ones wait. Each may need 144 KiB of memory.
    #[arg(long, env = "SLUICE_MAX_CONNECTIONS", default_value_t = router::CONNECTIONS as u32,
        value_parser = clap::value_parser!(u32).range(2..=100_000))]
    max_connections: u32,
    /// Folder of the Secret with the files key, token and perhaps other-keys and classes: with it labels are taken.
    #[arg(long, env = "SLUICE_FEEDBACK_SECRET")]
    feedback_secret: Option<PathBuf>,
    /// Address for labels.
    #[arg(long, env = "SLUICE_FEEDBACK", default_value_t = SocketAddr::from(([0, 0, 0, 0], wire::endpoint::FEEDBACK_PORT)))]
    feedback: SocketAddr,
    /// How old an answer may be whose label comes, such as 24h.
    #[arg(long, env = "SLUICE_FEEDBACK_WINDOW", default_value = "24h", value_parser = duration)]
    feedback_window: Duration,
    /// Writes a line of JSON to stdout for this percentage of requests, 0..=100, and for each that fails. Absent: none.
    #[arg(long, env = "SLUICE_ACCESS_LOG", value_parser = clap::value_parser!(u8).range(0..=100))]
    access_log: Option<u8>,
    /// Address of an OpenTelemetry collector, such as http://otel-collector:4318: spans are exported to its /v1/traces
    /// (OTLP over HTTP, JSON), of requests whose trace is sampled. Absent: none.
    #[arg(long, env = "SLUICE_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Percentage of the requests without a trace, 0..=100, that begin one which is sampled.
    #[arg(long, env = "SLUICE_TRACE_SAMPLE", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=100))]
    trace_sample: u8,
    /// File with the chain of certificates, in PEM: clients come by TLS, with HTTP/2 or HTTP/1.1. It is read again when
    /// it changes. Absent: no TLS.
    #[arg(long, env = "SLUICE_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// File with the key of the certificate, in PEM.
    #[arg(long, env = "SLUICE_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Threads that serve clients; 0: one for each core that this container may use, at most 4.
    #[arg(long, env = "SLUICE_THREADS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    threads: u16,
    /// Name of this pod: begins the name of this process on its pages.
    #[arg(long, env = "HOSTNAME", default_value = "router")]
    pod: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: api::Duration = text.parse().map_err(|e| format!("{e}; an example: 20s"))?;
    Ok(parsed.get())
}

fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
    let (number, unit) = UNITS
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .expect("every text ends with nothing");
    let number: u64 =
        number.trim().parse().map_err(|_| "not a size; examples: 65536, 512KiB, 16MiB".to_owned())?;
    number.checked_mul(unit).filter(|n| *n > 0).ok_or_else(|| "must lie within 1..2^64 bytes".to_owned())
}

// Clients are served by threads of their own; this one is for the pages, the labels and the API server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    admin::init_tracing()?;
    let ledger = Ledger::new(format!("{}-{:08x}", args.pod, rand::random::<u32>()));
    let labelled = args.feedback_secret.is_some();
    let ledger = Arc::new(if labelled { ledger.with_feedback() } else { ledger });
    let threads = threads(args.threads);
    let cache = args.cache.clone().map(Cache::new);
    let board = Board::new(ledger.clone()).for_threads(threads);
    let board = Arc::new(if cache.is_some() { board.keeping() } else { board });
    let registry = prometheus::Registry::new();
    let mut proxy = Proxy::new(board.clone(), args.max_body).with_intake(args.intake);
    if let Some(folder) = args.feedback_secret.clone() {
        proxy = proxy.with_feedback(feedback(folder, &args, &ledger, &registry).await?);
    }
    let telemetry = telemetry(&args, &registry)?;
    let proxy = Arc::new(proxy.with_telemetry(telemetry.clone()));
    registry.register(Box::new(Collector::new(ledger.clone())))?;
    proxy.register(&registry)?;
    let tls = tls(&args, &registry)?;
    let readiness = admin::Readiness::default();
    let client = client().await?;
    let source = Source { namespace: args.namespace, route: args.route, cache };
    let watch = tokio::spawn(source.run(client, board.clone(), &readiness));

    let pages = admin::routes(readiness.clone(), registry).merge(router::pages(board, ledger));
    let admin_listener = bind(args.admin, "--admin").await?;
    let sockets = sockets(args.listen, threads)
        .with_context(|| format!("--listen {} cannot be listened on", args.listen))?;
    let (drained, end) = tokio::sync::oneshot::channel::<()>();
    // The pages are served until the very end: a router that runs must say which state it serves (R2).
    let admin = tokio::spawn(admin::serve(admin_listener, pages, async {
        let _ = end.await;
    }));
    let stop = admin::shutdown_signal();
    let mut ending = Ok(());
    let shutdown = async {
        ending = until_stopped(stop, watch).await;
        readiness.drain();
    };
    let connections = usize::try_from(args.max_connections).context("--max-connections")?;
    let limits = Limits { drain: args.drain, connections, ..Limits::default() };
    tracing::info!(listen = %args.listen, admin = %args.admin, threads, "router");
    let served = router::serve(sockets, proxy, tls, limits, shutdown).await;
    telemetry.finish().await;
    drop(drained);
    admin.await?.context("the admin port broke")?;
    served?;
    ending
}

/// What is told of single requests.
fn telemetry(args: &Args, registry: &prometheus::Registry) -> anyhow::Result<Arc<Telemetry>> {
    let mut telemetry = Telemetry::default();
    if let Some(sample) = args.access_log {
        telemetry = telemetry.with_access_log(sample, std::io::stdout()).context("--access-log")?;
    }
    if let Some(endpoint) = &args.otlp_endpoint {
        let resource =
            Resource { route: args.route.clone(), namespace: args.namespace.clone(), pod: args.pod.clone() };
        telemetry = telemetry.with_spans(endpoint, args.trace_sample, resource).context("--otlp-endpoint")?;
    }
    telemetry.register(registry)?;
    Ok(Arc::new(telemetry))
}

/// What clients shake hands with, read again whenever it changes. Without a good pair the program does not start: a client
/// that asks for TLS must not be served without.
fn tls(args: &Args, registry: &prometheus::Registry) -> anyhow::Result<Option<Arc<Tls>>> {
    /// How often the files are looked at.
    const LOOK: Duration = Duration::from_secs(5);
    let Some((certificate, key)) = args.tls_cert.clone().zip(args.tls_key.clone()) else { return Ok(None) };
    let tls = Arc::new(Tls::load(certificate, key).context("--tls-cert, --tls-key")?);
    tls.register(registry)?;
    tokio::spawn(tls.clone().follow(LOOK));
    Ok(Some(tls))
}

/// Begins to take labels, until the program ends. Without a good Secret it serves all the same: a prediction never waits
/// for who may label it.
async fn feedback(
    folder: PathBuf,
    args: &Args,
    ledger: &Arc<Ledger>,
    registry: &prometheus::Registry,
) -> anyhow::Result<Arc<Feedback>> {
    let feedback = Arc::new(Feedback::new(ledger.clone(), args.feedback_window));
    feedback.register(registry)?;
    let listener = bind(args.feedback, "--feedback").await?;
    tokio::spawn(feedback.clone().follow(folder));
    tokio::spawn(router::serve_feedback(listener, feedback.clone()));
    Ok(feedback)
}

/// Waits for the signal to stop. A router whose watch has ended would serve its last table for ever, and look
/// well: it stops too, with an error.
async fn until_stopped(stop: impl Future<Output = ()>, watch: JoinHandle<()>) -> anyhow::Result<()> {
    tokio::select! {
        () = stop => Ok(()),
        ended = watch => {
            let error = match ended {
                Ok(()) => anyhow::anyhow!("the watch of the API server has ended"),
                Err(error) => anyhow::Error::new(error).context("the watch of the API server broke"),
            };
            tracing::error!(error = format!("{error:#}"), "about to stop");
            Err(error)
        }
    }
}

async fn client() -> anyhow::Result<kube::Client> {
    let mut config = kube::Config::infer().await.context("no way to the API server is configured")?;
    config.connect_timeout = Some(Duration::from_secs(5));
    kube::Client::try_from(config).context("the configured API server cannot be used")
}

/// How many threads serve: those asked for, or one for each core, but no more than four.
fn threads(asked: u16) -> usize {
    const MOST: usize = 4;
    match asked {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST),
        asked => asked.into(),
    }
}

/// A socket for each thread; the kernel spreads the clients over them.
fn sockets(address: SocketAddr, threads: usize) -> std::io::Result<Vec<std::net::TcpListener>> {
    /// Clients that may wait to be accepted, as in the standard library.
    const BACKLOG: i32 = 1024;
    let socket = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(threads > 1)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    (0..threads).map(|_| socket()).collect()
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address} cannot be listened on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_that_ends_or_panics_stops_the_program() {
        let never = std::future::pending::<()>;
        let ended = until_stopped(never(), tokio::spawn(async {})).await.unwrap_err();
        assert_eq!(ended.to_string(), "the watch of the API server has ended");
        let broken = until_stopped(never(), tokio::spawn(async { panic!("a slice without a name") })).await;
        assert!(format!("{:#}", broken.unwrap_err()).contains("a slice without a name"));
        let stopped = until_stopped(std::future::ready(()), tokio::spawn(std::future::pending())).await;
        assert!(stopped.is_ok());
    }

    #[test]
    fn sizes_and_durations_are_read() {
        assert_eq!((bytes("16MiB"), bytes("512KiB"), bytes("7")), (Ok(16 << 20), Ok(512 << 10), Ok(7)));
        for wrong in ["", "MiB", "-1", "16MB", "0", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("soon").is_err());
    }
}
