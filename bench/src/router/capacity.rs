//! R1: as many requests as a core can pass on.

use anyhow::Result;

use super::Bench;
use super::contestants::{Peer, Stand};
use super::shape::Shape;
use super::turns::{self, Row};
use crate::rounds::Spread;

/// What the targets are about.
const MAIN: Shape = Shape { connections: 32, body: 1_000 };
const MANY: Shape = Shape { connections: 128, body: 1_000 };
const BODIES: [u32; 3] = [1_000, 30_000, 150_000];
const CONNECTIONS: [u32; 3] = [1, 32, 128];
/// Shapes of a first look.
const FEW: [Shape; 4] =
    [MAIN, MANY, Shape { connections: 1, body: 1_000 }, Shape { connections: 32, body: 30_000 }];
/// What is promised: a peer, and the least ratio.
const TARGETS: [(Peer, f64); 3] = [(Peer::Nginx, 0.95), (Peer::Haproxy, 0.80), (Peer::Pingora, 1.6)];
/// Least rate with 128 connections over that with 32.
const STEADY: f64 = 0.9;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let shape = |body| CONNECTIONS.map(|connections| Shape { connections, body });
    let all: Vec<Shape> = BODIES.into_iter().flat_map(shape).collect();
    let shapes = bench.report.of(all, FEW.to_vec());
    let rows = measure(bench, &shapes, bench.report.of(5, 3), bench.report.of(2, 1))?;
    rows.iter().for_each(|row| print(bench, row));
    for row in [MAIN, MANY].into_iter().filter_map(|shape| find(&rows, shape)) {
        judge(bench, row);
    }
    if let (Some(few), Some(many)) = (find(&rows, MAIN), find(&rows, MANY)) {
        let kept = |peer| Spread::ratio(&many.rates(peer), &few.rates(peer));
        let (ours, nginx) = (kept(Peer::Sluice), kept(Peer::Nginx));
        let found = format!("{ours} of the rate; nginx {nginx}");
        bench.report.targets.line("R1 from 32 to 128 connections", &found, ">= 0.9", ours.median >= STEADY);
    }
    let failed: u64 = rows.iter().map(|row| row.failed(Peer::Sluice)).sum();
    bench.report.targets.line(
        "R1 requests that sluice did not answer well",
        &failed.to_string(),
        "0",
        failed == 0,
    );
    bench.report.keep("r1", &rows)
}

/// Measures the capacity in a short look, if it is not known.
pub(super) fn look(bench: &mut Bench) -> Result<()> {
    if bench.capacity.is_empty() {
        measure(bench, &[MAIN], 1, 1)?;
    }
    Ok(())
}

fn measure(bench: &mut Bench, shapes: &[Shape], rounds: usize, seconds: u32) -> Result<Vec<Row>> {
    let stand = Stand::start(&bench.paths, &Peer::SPLITTING)?;
    let rows = turns::rounds(&stand, shapes, rounds, seconds)?;
    if let Some(row) = find(&rows, MAIN) {
        let proxies = Peer::SPLITTING.into_iter().filter(|peer| *peer != Peer::Direct);
        bench.capacity = proxies.map(|peer| (peer, row.median(peer, |turn| turn.wrk.rate()))).collect();
    }
    Ok(rows)
}

fn find(rows: &[Row], shape: Shape) -> Option<&Row> {
    rows.iter().find(|row| row.shape == shape)
}

/// A target for each peer: by the rate and by the processor time, whichever is worse, because a rate is bounded by the
/// core of the clients too.
fn judge(bench: &mut Bench, row: &Row) {
    for (peer, least) in TARGETS {
        let rate = Spread::ratio(&row.rates(Peer::Sluice), &row.rates(peer));
        let cpu = Spread::ratio(&row.cpu(peer), &row.cpu(Peer::Sluice));
        let found = format!("{rate} by rate, {cpu} by CPU");
        let what =
            format!("R1 per core against {}, 1 KB, {} connections", peer.name(), row.shape.connections);
        let reached = rate.median.min(cpu.median) >= least;
        bench.report.targets.line(&what, &found, &format!(">= {least}"), reached);
    }
}

fn print(bench: &Bench, row: &Row) {
    let Shape { connections, body } = row.shape;
    bench
        .report
        .say(&format!("\nR1  POST of {} KB, {connections} connections, as fast as answered", body / 1_000));
    bench.report.say(
        "      contestant   requests/s   p50 ms   p99 ms   CPU us   core busy   others   candidate   failed   \
         sluice/it by rate   by CPU",
    );
    for (peer, _) in &row.turns {
        let rate = Spread::ratio(&row.rates(Peer::Sluice), &row.rates(*peer));
        let cpu = Spread::ratio(&row.cpu(*peer), &row.cpu(Peer::Sluice));
        bench.report.say(&format!(
            "      {:<10} {:>12.0} {:>8.3} {:>8.3} {:>8.1} {:>9.0} % {:>6.1} % {:>9.1} % {:>8}   {:<19} {}",
            peer.name(),
            row.median(*peer, |turn| turn.wrk.rate()),
            row.median(*peer, |turn| turn.wrk.p50 / 1e3),
            row.median(*peer, |turn| turn.wrk.p99 / 1e3),
            row.median(*peer, |turn| turn.cpu),
            100.0 * row.median(*peer, |turn| turn.busy),
            100.0 * row.median(*peer, |turn| turn.others),
            100.0 * row.median(*peer, |turn| turn.share),
            row.failed(*peer),
            rate.to_string(),
            if *peer == Peer::Direct { "-".to_owned() } else { cpu.to_string() },
        ));
    }
}
