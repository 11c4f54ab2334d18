//! S7: requests that are lost while servers are replaced: the next one is started, new connections go there, and the old
//! one gets SIGTERM under load, again and again. No client sends anything twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::Bench;
use super::answers;
use super::contestants::{Paths, Peer, Server};
use super::models::{Images, Model};
use super::open::{Load, Plan, Seen, Target};
use crate::http::page;
use crate::process::Program;

const CLIENTS: usize = 16;
/// Ports of the server that answers, and of the next one.
const PORTS: [u16; 2] = [18331, 18333];
/// From the change of the target to SIGTERM: as long as a Service takes to hear of it.
const PAUSE: Duration = Duration::from_millis(300);
/// Time for all requests.
const PATIENCE: Duration = Duration::from_secs(500);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let (paths, model) = (bench.paths.clone(), Model::Cifar);
    let requests = bench.report.of(1_000_000, 50_000);
    eprintln!("drains: {requests} requests");
    let folder = tempfile::tempdir()?;
    let bodies = Images::Png32.bodies(&paths)?;
    let spelt =
        Arc::new(bodies.iter().map(|body| answers::request(Peer::Sluice.path(), body)).collect::<Vec<_>>());
    let mut running = start(&paths, model, 0, folder.path())?;
    let target = Target::new(running.0.listen);
    let plan = Plan { clients: CLIENTS, rate: None, requests, time: PATIENCE };
    // The same without any change, to compare with.
    let calm = Plan { requests: requests / 20, ..plan.clone() };
    let calm = Load::start(&target, &spelt, &calm).finish();
    let (load, began, mut drains) = (Load::start(&target, &spelt, &plan), Instant::now(), 0);
    while !load.is_over() {
        drains += 1;
        running = replace(&paths, model, running, drains, &target, folder.path())?;
    }
    let (seconds, seen) = (began.elapsed().as_secs_f64(), load.finish());
    ensure!(seen.requests() >= requests as u64, "only {} requests within {PATIENCE:?}", seen.requests());
    tell(bench, model, drains, seconds, &calm, &seen, requests)
}

fn tell(
    bench: &mut Bench,
    model: Model,
    drains: usize,
    seconds: f64,
    calm: &Seen,
    seen: &Seen,
    requests: usize,
) -> Result<()> {
    let lost = seen.lost();
    bench.report.say(&format!(
        "\nS7  {}: {CLIENTS} clients beside {drains} servers that were replaced, in {seconds:.0} s: {lost} of {} requests lost \
         ({} refused; else: {}); p99 {:.1} ms, {:.1} ms without a change",
        model.name(),
        seen.requests(),
        seen.refused.len(),
        seen.spelt(),
        seen.p99(),
        calm.p99()
    ));
    let found = format!("{lost} of {}, {drains} drains", seen.requests());
    bench.report.targets.line(
        "S7 requests lost in drains",
        &found,
        &format!("0 of >= {requests}"),
        lost == 0,
    );
    bench.report.keep(
        "s7",
        json!({"requests": seen.requests(), "lost": lost, "drains": drains, "failures": seen.spelt(),
            "p99": seen.p99(), "calmP99": calm.p99()}),
    )
}

/// A server that runs.
type Running = (Server, Program);

/// Starts a server, and waits until it is ready.
fn start(paths: &Paths, model: Model, number: usize, folder: &std::path::Path) -> Result<Running> {
    let server = Server::of(model).on(PORTS[number % PORTS.len()]);
    let program = server.start(paths, &format!("server-{number}"), folder)?.listening(server.listen)?;
    let begin = Instant::now();
    while page(server.admin(), "/readyz").ok().is_none_or(|(status, _)| status != 200) {
        ensure!(begin.elapsed() < Duration::from_secs(20), "not ready: {}", program.last_words());
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok((server, program))
}

/// Starts the next server, sends new connections there, and stops the old one.
fn replace(
    paths: &Paths,
    model: Model,
    old: Running,
    number: usize,
    target: &Target,
    folder: &std::path::Path,
) -> Result<Running> {
    let next = start(paths, model, number, folder)?;
    target.set(next.0.listen);
    std::thread::sleep(PAUSE);
    old.1.stop()?;
    Ok(next)
}
