//! R1: as many requests as a core can pass on.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::Bench;
use super::contestants::{CANDIDATE, Contestant, Peer, STABLE, Stand, seen};
use super::load::{Load, Plan, Target, Users};
use super::rounds::Spread;
use super::wrk::{self, Figures, Shape};

/// What the targets are about.
pub(super) const MAIN: Shape = Shape { connections: 32, body: 1_000 };
const MANY: Shape = Shape { connections: 128, body: 1_000 };
const BODIES: [u32; 3] = [1_000, 30_000, 150_000];
const CONNECTIONS: [u32; 3] = [1, 32, 128];
/// Shapes of a first look.
const FEW: [Shape; 4] = [MAIN, MANY, Shape { connections: 1, body: 1_000 }, Shape { connections: 32, body: 30_000 }];
/// What is promised: a peer, and the least ratio.
const TARGETS: [(Peer, f64); 3] = [(Peer::Nginx, 0.95), (Peer::Haproxy, 0.80), (Peer::Pingora, 1.6)];
/// Least rate with 128 connections over that with 32.
const STEADY: f64 = 0.9;

/// One turn of one contestant.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Turn {
    pub(super) wrk: Figures,
    /// Processor time per request in microseconds; none without a proxy.
    pub(super) cpu: f64,
    /// How busy the proxy kept its core, 0..=1.
    pub(super) busy: f64,
    /// Requests that the candidate answered or was sent a copy of, over all.
    pub(super) share: f64,
    /// Copies over requests.
    pub(super) copies: f64,
    /// Requests that were not answered well, of wrk's and of those that were checked.
    pub(super) failed: u64,
}

/// Loads a contestant for some seconds, and checks beside it that split and answers are right.
pub(super) fn turn(stand: &Stand, contestant: &Contestant, shape: Shape, seconds: u32) -> Result<Turn> {
    let cpu = || contestant.program.as_ref().map_or(Ok(Duration::ZERO), super::process::Program::cpu);
    let count = || Ok::<_, anyhow::Error>([seen(STABLE)?, seen(CANDIDATE)?]);
    let address = contestant.peer.address();
    let (counted, spent) = (count()?, cpu()?);
    let checks = Plan { rate: Some(100.0), body: shape.body as usize, users: Users::InTurn(20), ..Plan::new(1) };
    let checking = Load::start(&Target::new(address), &checks);
    let figures = wrk::run(&stand.paths.script(), address, shape, seconds)?;
    let checked = checking.stop();
    let spent = (cpu()? - spent).as_secs_f64();
    // Copies are behind the answers.
    std::thread::sleep(Duration::from_millis(100));
    let [stable, candidate] = count()?;
    let (of_stable, of_candidate) =
        (stable.requests - counted[0].requests, candidate.requests - counted[1].requests);
    let all = figures.requests + checked.requests();
    Ok(Turn {
        wrk: figures,
        cpu: 1e6 * spent / all as f64,
        busy: spent / figures.seconds,
        share: of_candidate as f64 / (of_stable + of_candidate) as f64,
        copies: (candidate.copies - counted[1].copies) as f64 / all as f64,
        failed: figures.failed() + checked.failed() + checked.moved,
    })
}

/// What was measured of all contestants with one shape: a list of turns each, in the order of [`Peer::SPLITTING`].
#[derive(Debug, Serialize)]
struct Row {
    shape: Shape,
    turns: Vec<(Peer, Vec<Turn>)>,
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let all: Vec<Shape> = BODIES
        .into_iter()
        .flat_map(|body| CONNECTIONS.map(|connections| Shape { connections, body }))
        .collect();
    let shapes = bench.of(all, FEW.to_vec());
    let rows = measure(bench, &shapes, &Peer::SPLITTING, bench.of(5, 3), bench.of(2, 1))?;
    rows.iter().for_each(|row| row.print(bench));
    for row in [MAIN, MANY].into_iter().filter_map(|shape| row(&rows, shape)) {
        judge(bench, row);
    }
    if let (Some(few), Some(many)) = (row(&rows, MAIN), row(&rows, MANY)) {
        let drop = |peer| Spread::ratio(&many.rates(peer), &few.rates(peer));
        let (ours, nginx) = (drop(Peer::Sluice), drop(Peer::Nginx));
        let found = format!("{ours} of the rate; nginx {nginx}");
        bench.targets.line("R1 from 32 to 128 connections", &found, ">= 0.9", ours.median >= STEADY);
    }
    let failed: u64 = rows.iter().map(|row| row.failed(Peer::Sluice)).sum();
    bench.targets.line("R1 requests that sluice did not answer well", &failed.to_string(), "0", failed == 0);
    bench.keep("r1", &rows)
}

fn row(rows: &[Row], shape: Shape) -> Option<&Row> {
    rows.iter().find(|row| row.shape == shape)
}

/// Rounds of all shapes, and within them of all contestants.
fn measure(
    bench: &mut Bench,
    shapes: &[Shape],
    peers: &[Peer],
    rounds: usize,
    seconds: u32,
) -> Result<Vec<Row>> {
    let stand = Stand::start(&bench.paths, peers)?;
    let empty = |shape: &Shape| Row { shape: *shape, turns: peers.iter().map(|p| (*p, vec![])).collect() };
    let mut rows: Vec<Row> = shapes.iter().map(empty).collect();
    for round in 1..=rounds {
        eprintln!("capacity: round {round} of {rounds}");
        for row in &mut rows {
            for (contestant, (_, turns)) in stand.contestants.iter().zip(&mut row.turns) {
                turns.push(turn(&stand, contestant, row.shape, seconds)?);
            }
        }
    }
    if let Some(row) = row(&rows, MAIN) {
        let median = |peer: &Peer| (*peer, Spread::of(row.rates(*peer)).median);
        bench.capacity = peers.iter().filter(|peer| **peer != Peer::Direct).map(median).collect();
    }
    Ok(rows)
}

/// Measures the capacity in a short look, if it is not known.
pub(super) fn look(bench: &mut Bench) -> Result<()> {
    if bench.capacity.is_empty() {
        measure(bench, &[MAIN], &Peer::SPLITTING, 1, 1)?;
    }
    Ok(())
}

/// A target for each peer: by the rate and by the processor time, whichever is worse, because a rate is bounded by the
/// core of the clients too.
fn judge(bench: &mut Bench, row: &Row) {
    for (peer, least) in TARGETS {
        let rate = Spread::ratio(&row.rates(Peer::Sluice), &row.rates(peer));
        let cpu = Spread::ratio(&row.cpu(peer), &row.cpu(Peer::Sluice));
        let found = format!("{rate} by rate, {cpu} by CPU");
        let what = format!("R1 per core against {}, 1 KB, {} connections", peer.name(), row.shape.connections);
        let reached = rate.median.min(cpu.median) >= least;
        bench.targets.line(&what, &found, &format!(">= {least}"), reached);
    }
}

impl Row {
    fn of(&self, peer: Peer, value: impl Fn(&Turn) -> f64) -> Vec<f64> {
        let turns = self.turns.iter().filter(|(p, _)| *p == peer);
        turns.flat_map(|(_, turns)| turns.iter().map(&value)).collect()
    }

    fn rates(&self, peer: Peer) -> Vec<f64> {
        self.of(peer, |turn| turn.wrk.rate())
    }

    fn cpu(&self, peer: Peer) -> Vec<f64> {
        self.of(peer, |turn| turn.cpu)
    }

    fn failed(&self, peer: Peer) -> u64 {
        self.turns.iter().filter(|(p, _)| *p == peer).flat_map(|(_, turns)| turns).map(|turn| turn.failed).sum()
    }

    fn print(&self, bench: &Bench) {
        let Shape { connections, body } = self.shape;
        bench.say(&format!("\nR1  POST of {} KB, {connections} connections, as fast as answered", body / 1_000));
        bench.say(
            "      contestant   requests/s   p50 ms   p99 ms   CPU us   core busy   candidate   failed   sluice/it by rate    by CPU",
        );
        for (peer, _) in &self.turns {
            let median = |value: fn(&Turn) -> f64| Spread::of(self.of(*peer, value)).median;
            let rate = Spread::ratio(&self.rates(Peer::Sluice), &self.rates(*peer));
            let cpu = Spread::ratio(&self.cpu(*peer), &self.cpu(Peer::Sluice));
            bench.say(&format!(
                "      {:<10} {:>12.0} {:>8.3} {:>8.3} {:>8.1} {:>10.0} % {:>9.1} % {:>8}   {rate}   {}",
                peer.name(),
                median(|turn| turn.wrk.rate()),
                median(|turn| turn.wrk.p50 / 1e3),
                median(|turn| turn.wrk.p99 / 1e3),
                median(|turn| turn.cpu),
                100.0 * median(|turn| turn.busy),
                100.0 * median(|turn| turn.share),
                self.failed(*peer),
                if *peer == Peer::Direct { "-".to_owned() } else { cpu.to_string() },
            ));
        }
    }
}
