//! S1 to S4: all contestants in turn, with one model after the other.

use anyhow::Result;

use super::contestants::{Paths, Peer, has_amx};
use super::limits::{self, BF16, FP32, Raw};
use super::models::{Images, Model, Workload};
use super::stand::Stand;
use super::turns::{self, Pace, Row};
use super::{Bench, Part};
use crate::http::page;
use crate::limits::Figures;
use crate::report::Report;
use crate::rounds::Spread;

/// S1: peer, and the least ratio of rates, in fp32 and in bf16.
const RATES: [(Peer, [f64; 2]); 3] =
    [(Peer::FastapiWorkers, [7.0, 11.0]), (Peer::Torchserve, [5.0, 8.0]), (Peer::Litserve, [9.0, 14.0])];
/// S2: the model's processor time over that of a request.
const EFFICIENCY: f64 = 0.80;
/// S3.
const LARGE: f64 = 5.0;
/// S4: latency of FastAPI's.
const LATENCY: f64 = 0.5;
/// S4: most that a request may wait for its batch while nothing else is there: a thread wakes up meanwhile.
const WAIT: f64 = 100.0;

/// Both ways to run the model server.
const OURS: [(Peer, &str); 2] = [(Peer::Sluice, FP32), (Peer::SluiceBf16, BF16)];

/// The workloads of a model, for the parts that are asked for.
fn workloads(model: Model, parts: &[Part], few: bool) -> Vec<Workload> {
    let has = |part| parts.contains(&part);
    if model == Model::Resnet18 {
        return vec![Workload { images: Images::Jpeg224, connections: 16 }];
    }
    let mut workloads = vec![];
    if has(Part::S4) || has(Part::S1) && !few {
        workloads.push(Workload::ALONE);
    }
    if has(Part::S1) && !few {
        workloads.extend([16, 128].map(Workload::small));
    }
    if has(Part::S1) || has(Part::S2) {
        workloads.push(Workload::MAIN);
    }
    if has(Part::S3) {
        workloads.push(Workload::LARGE);
    }
    workloads
}

pub(super) fn run(bench: &mut Bench, model: Model, parts: &[Part]) -> Result<()> {
    let paths = bench.paths.clone();
    let workloads = workloads(model, parts, bench.report.of(false, true));
    let Some(first) = workloads.first() else { return Ok(()) };
    let raws = OURS.iter().filter(|(_, precision)| *precision == FP32 || has_amx());
    let raws =
        raws.map(|(_, precision)| Raw::fastest(&paths, model, precision)).collect::<Result<Vec<_>>>()?;
    eprintln!("{}: starting all contestants", model.name());
    let mut stand = Stand::start(&paths, model, &Peer::all(), first.images)?;
    let without = stand.refuse_bf16();
    let raws = if without.is_some() { &raws[..1] } else { &raws[..] };
    if let Some(why) = &without {
        bench.report.say(&format!("\n{}: no bf16: {why}", model.name()));
    }
    let idle = stand.idle()?;
    let busy = idle.iter().filter(|(_, part)| *part >= 0.01);
    let busy: Vec<String> =
        busy.map(|(peer, part)| format!("{} {:.0} %", peer.name(), 100.0 * part)).collect();
    let busy = if busy.is_empty() { "none".to_owned() } else { busy.join(", ") };
    bench.report.say(&format!(
        "\n{}: who uses 1 % of a core or more while nobody asks: {busy}; all but the one in turn are held up",
        model.name()
    ));
    let pace = Pace { rounds: bench.report.of(5, 3), seconds: bench.report.of(2, 1) };
    let mut rows = vec![];
    for workload in workloads {
        stand.pause(false);
        for (peer, why) in stand.check(&paths, workload.images)? {
            bench.report.say(&format!("{} answers wrongly and is not measured: {why}", peer.name()));
        }
        stand.pause(true);
        let is_small = workload.images == Images::Png32 && workload != Workload::MAIN;
        let raws = if is_small { &[] } else { raws };
        let row = turns::rounds(&paths, model, &stand, workload, raws, pace)?;
        table(&bench.report, &paths, model, &row, raws)?;
        rows.push(row);
    }
    if parts.contains(&Part::S4) && model.is_judged() {
        waiting(&mut bench.report, &paths, &stand, model)?;
    }
    if model.is_judged() {
        let ours: Vec<_> = OURS
            .into_iter()
            .filter(|(peer, _)| *peer == Peer::Sluice || has_amx() && without.is_none())
            .collect();
        rows.iter().for_each(|row| judge(&mut bench.report, model, row, parts, &ours));
    }
    let failed: u64 = rows.iter().flat_map(|row| OURS.map(|(peer, _)| row.failed(peer))).sum();
    let what = format!("S1-S4 {}: requests that sluice did not answer well", model.name());
    bench.report.targets.line(&what, &failed.to_string(), "0", failed == 0);
    bench.report.keep(&format!("speed-{}", model.name()), &rows)
}

fn table(report: &Report, paths: &Paths, model: Model, row: &Row, raws: &[Raw]) -> Result<()> {
    report.say(&format!("\nS1-S4  {}, {}, as fast as answered", model.name(), row.workload));
    let has_bf16 = row.turns.iter().any(|(peer, _)| *peer == Peer::SluiceBf16);
    let last = if has_bf16 { "bf16/it by rate" } else { "" };
    report.say(&format!(
        "      contestant    requests/s    p50 ms    p99 ms    CPU us   others   failed   sluice/it by rate      by CPU               \
         {last}"
    ));
    for (peer, _) in &row.turns {
        let rate = |ours| Spread::ratio(&row.rates(ours), &row.rates(*peer));
        let cpu = Spread::ratio(&row.cpu(*peer), &row.cpu(Peer::Sluice));
        report.say(&format!(
            "      {:<12} {:>11.0} {:>9.2} {:>9.2} {:>9.0} {:>6.1} % {:>8}   {:<20}   {:<20} {}",
            peer.name(),
            row.median(*peer, |turn| turn.wrk.rate()),
            row.median(*peer, |turn| turn.wrk.p50 / 1e3),
            row.median(*peer, |turn| turn.wrk.p99 / 1e3),
            row.median(*peer, |turn| turn.cpu),
            100.0 * row.median(*peer, |turn| turn.others),
            row.failed(*peer),
            rate(Peer::Sluice).to_string(),
            cpu.to_string(),
            if has_bf16 { rate(Peer::SluiceBf16).to_string() } else { String::new() },
        ));
    }
    for (raw, (ours, _)) in raws.iter().zip(OURS) {
        let (rates, micros) =
            (row.raw(raw.precision, Figures::rate), row.raw(raw.precision, Figures::micros));
        report.say(&format!(
            "      model alone, {}, batches of {}: {:.0} images/s on both cores, {:.0} CPU us each; {} has {} of its rate, and a \
             request of it {} of the CPU time",
            raw.precision,
            raw.batch,
            Spread::of(rates.iter().copied()).median,
            Spread::of(micros.iter().copied()).median,
            ours.name(),
            Spread::ratio(&row.rates(ours), &rates),
            Spread::ratio(&row.cpu(ours), &micros),
        ));
    }
    let prepare = limits::prepare(paths, model, row.workload.images)?;
    report.say(&format!(
        "      decode, resize, normalise alone: {:.0} images/s on both cores, {:.0} CPU us each; `no model` is the server with a \
         model that costs nothing",
        prepare.rate(),
        prepare.micros()
    ));
    Ok(())
}

/// What one client waits for its batch.
fn waiting(report: &mut Report, paths: &Paths, stand: &Stand, model: Model) -> Result<()> {
    let Some(ours) = stand.contestants.iter().find(|contestant| contestant.peer == Peer::Sluice) else {
        return Ok(());
    };
    let sum = || -> Result<[f64; 2]> {
        let (_, text) = page(super::contestants::Server::of(model).admin(), "/metrics")?;
        Ok(["sum", "count"].map(|what| metric(&text, &format!("sluice_server_queue_seconds_{what}"))))
    };
    // Held up since its last turn, it says nothing.
    ours.program.pause(false);
    let before = sum()?;
    turns::turn(paths, ours, Workload::ALONE, 2)?;
    ours.program.pause(false);
    let after = sum()?;
    let micros = 1e6 * (after[0] - before[0]) / (after[1] - before[1]);
    let what = format!("S4 {}: wait for a batch, 1 connection, mean", model.name());
    report.targets.line(
        &what,
        &format!("{micros:.0} us"),
        &format!("<= {WAIT} us, a thread's waking"),
        micros <= WAIT,
    );
    Ok(())
}

/// The value of a metric without labels; not a number if it is not there.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(f64::NAN)
}

fn judge(report: &mut Report, model: Model, row: &Row, parts: &[Part], ours: &[(Peer, &str)]) {
    for (i, (ours, precision)) in ours.iter().copied().enumerate() {
        let about = |goal: &str| format!("{goal} {}, {precision}", model.name());
        if row.workload == Workload::MAIN && parts.contains(&Part::S1) {
            for (peer, least) in RATES {
                let found = Spread::ratio(&row.rates(ours), &row.rates(peer));
                let what = format!("{}: rate of {}'s, 64 connections", about("S1"), peer.name());
                report.targets.line(
                    &what,
                    &found.to_string(),
                    &format!(">= {}", least[i]),
                    found.median >= least[i],
                );
            }
        }
        if row.workload == Workload::MAIN && parts.contains(&Part::S2) {
            let found = Spread::ratio(&row.raw(precision, Figures::micros), &row.cpu(ours));
            let what = format!("{}: CPU of the model alone / of a request", about("S2"));
            report.targets.line(
                &what,
                &found.to_string(),
                &format!(">= {EFFICIENCY}"),
                found.median >= EFFICIENCY,
            );
        }
        if row.workload == Workload::LARGE && parts.contains(&Part::S3) {
            let found = Spread::ratio(&row.rates(ours), &row.rates(Peer::FastapiWorkers));
            let what = format!("{}: rate of fastapi-2x1's, JPEG, 64 connections", about("S3"));
            report.targets.line(&what, &found.to_string(), &format!(">= {LARGE}"), found.median >= LARGE);
        }
        if row.workload == Workload::ALONE && parts.contains(&Part::S4) {
            let p50 = |peer| row.of(peer, |turn| turn.wrk.p50);
            let ratio = |peer| Spread::ratio(&p50(ours), &p50(peer));
            let all = [Peer::FastapiThreads, Peer::FastapiWorkers].map(ratio);
            // Against the quicker of both; where one is missing, which is not a number, nothing is reached.
            let found = all.into_iter().max_by(|a, b| a.median.total_cmp(&b.median)).unwrap_or_default();
            let what = format!("{}: p50 of FastAPI's (the quicker), 1 connection", about("S4"));
            report.targets.line(&what, &found.to_string(), &format!("<= {LATENCY}"), found.median <= LATENCY);
        }
    }
}
