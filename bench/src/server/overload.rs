//! S5: twice as many requests as the server can answer. What it can, it goes on to answer; the others learn at once that
//! they should come again later.
//!
//! The server has core 0 alone, with one worker, and clients have core 1: on the same cores, they would take from the
//! server what the overload costs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::Bench;
use super::answers;
use super::contestants::{Peer, Server};
use super::models::{Images, Model};
use super::open::{Load, Plan, Seen, Target};
use crate::process::Program;
use crate::rounds::quantile;

const SERVER_CORE: &str = "0";
const CLIENT_CORE: &str = "1";
/// Clients of the closed loop by which the peak is found.
const PEAK_CLIENTS: usize = 64;
/// Clients of the overload; more than have room in the queue, fewer than may be connected.
const CLIENTS: usize = 1_000;
const FACTOR: f64 = 2.0;
const GOODPUT: f64 = 0.9;
const REFUSAL: f64 = 10.0;
/// Most that its memory may grow in the second half.
const GROWTH: f64 = 1.05;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let (paths, model) = (bench.paths.clone(), Model::Cifar);
    let seconds = bench.report.of(60, 10);
    eprintln!("overload: {seconds} s");
    let folder = tempfile::tempdir()?;
    let server = Server { cores: SERVER_CORE, ..Server::of(model) };
    let program = server.start(&paths, "sluice", folder.path())?.listening(server.listen)?;
    let bodies = Images::Png32.bodies(&paths)?;
    let requests = Arc::new(bodies.iter().map(|body| answers::request(Peer::Sluice.path(), body)).collect());
    let target = Target::new(server.listen);
    let load = |plan: Plan| on_core(CLIENT_CORE, || Load::start(&target, &requests, &plan));
    let closed = |seconds| {
        let time = Duration::from_secs(seconds);
        load(Plan { clients: PEAK_CLIENTS, rate: None, requests: usize::MAX, time })
    };
    closed(2)?.finish();
    let before = closed(bench.report.of(10, 3))?.finish();
    let peak = before.good.len() as f64 / bench.report.of(10.0, 3.0);
    ensure!(before.failed() == 0 && before.refused.is_empty(), "the peak is none: {}", before.spelt());
    let at_peak = program.memory()?.rss;
    let time = Duration::from_secs(seconds);
    let overload = load(Plan { clients: CLIENTS, rate: Some(FACTOR * peak), requests: usize::MAX, time })?;
    let (seen, [first, second]) = watch(&program, overload, time)?;
    let goodput = seen.good.len() as f64 / time.as_secs_f64();
    let offered = seen.requests() as f64 / time.as_secs_f64();
    let ms = |sorted: &[u64], share| quantile(sorted, share) as f64 / 1e6;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    bench.report.say(&format!(
        "\nS5  {}: {offered:.0} requests/s for {seconds} s, the peak is {peak:.0} (closed loop, {PEAK_CLIENTS} clients); \
         server on core {SERVER_CORE} alone, {CLIENTS} clients on core {CLIENT_CORE}",
        model.name()
    ));
    bench.report.say(&format!(
        "      answered {goodput:.0}/s, p50 {:.1} ms, p99 {:.1} ms; refused {}, p50 {:.1} ms, p99 {:.1} ms, {} without Retry-After; \
         else: {}; memory at the peak {:.0} MB, most in the first half {:.0} MB, in the second {:.0} MB",
        ms(&seen.good, 0.5),
        ms(&seen.good, 0.99),
        seen.refused.len(),
        ms(&seen.refused, 0.5),
        ms(&seen.refused, 0.99),
        seen.unhelpful,
        seen.spelt(),
        mb(at_peak),
        mb(first),
        mb(second)
    ));
    judge(bench, &seen, [goodput / peak, offered / peak], second as f64 / first as f64);
    let latencies = json!({"p50": ms(&seen.good, 0.5), "p99": ms(&seen.good, 0.99), "refusedP99": ms(&seen.refused, 0.99)});
    let memory = json!({"peak": at_peak, "firstHalf": first, "secondHalf": second});
    bench.report.keep(
        "s5",
        json!({"peak": peak, "offered": offered, "goodput": goodput, "refused": seen.refused.len(), "failed": seen.failed(),
            "milliseconds": latencies, "memory": memory}),
    )
}

fn judge(bench: &mut Bench, seen: &Seen, [goodput, offered]: [f64; 2], growth: f64) {
    let targets = &mut bench.report.targets;
    let found = format!("{goodput:.2} at {offered:.2} times the peak");
    // A load that was none proves nothing.
    let reached = goodput >= GOODPUT && offered >= 0.9 * FACTOR;
    targets.line("S5 overload: answered, of the peak", &found, &format!(">= {GOODPUT} at {FACTOR}"), reached);
    let p99 = quantile(&seen.refused, 0.99) as f64 / 1e6;
    let reached = p99 <= REFUSAL && !seen.refused.is_empty();
    targets.line("S5 overload: refusals, p99", &format!("{p99:.1} ms"), &format!("<= {REFUSAL} ms"), reached);
    let others = seen.failed() + seen.unhelpful;
    targets.line(
        "S5 overload: neither answered nor refused with Retry-After",
        &others.to_string(),
        "0",
        others == 0,
    );
    let found = format!("{growth:.2} of the first half's");
    targets.line("S5 overload: memory in the second half", &found, &format!("<= {GROWTH}"), growth <= GROWTH);
}

/// Starts something on one core: threads inherit it from the one that starts them.
fn on_core<T>(core: &str, start: impl FnOnce() -> T) -> Result<T> {
    let pin = |cores: &str| -> Result<()> {
        let own = std::process::id().to_string();
        let status = std::process::Command::new("taskset")
            .args(["-pc", cores, &own])
            .stdout(std::process::Stdio::null())
            .status()?;
        ensure!(status.success(), "taskset -pc {cores} {own} failed");
        Ok(())
    };
    pin(core)?;
    let started = start();
    pin(super::CORES)?;
    Ok(started)
}

/// Waits until the load is over: what it saw, and the most memory in its first and second half.
fn watch(program: &Program, load: Load, time: Duration) -> Result<(Seen, [u64; 2])> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let (start, mut most) = (std::time::Instant::now(), [0, 0]);
            while !over.load(Relaxed) {
                let half = usize::from(start.elapsed() > time / 2);
                most[half] = program.memory()?.rss.max(most[half]);
                std::thread::sleep(Duration::from_millis(100));
            }
            anyhow::Ok(most)
        });
        let seen = load.finish();
        over.store(true, Relaxed);
        Ok((seen, watching.join().expect("reading /proc does not panic")?))
    })
}
