//! R3: copies of all requests, with their bodies. Sluice compares both answers as well; nginx does not.

use anyhow::Result;
use serde::Serialize;
use wire::PairOutcome;

use super::Bench;
use super::capacity::{Turn, turn};
use super::contestants::{Peer, Stand};
use super::rounds::Spread;
use super::sluice::{Route, Sluice};
use super::wrk::Shape;

/// The last one copies nothing: what a proxy on hyper can do without.
const PEERS: [Peer; 3] = [Peer::NginxMirror, Peer::Sluice, Peer::Hyper];
/// Bytes of a body, and the least ratio of the rates.
const BODIES: [(u32, f64); 2] = [(1_000, 2.5), (30_000, 1.8)];
const CONNECTIONS: u32 = 32;
/// The most of nginx's p99.
const P99: f64 = 0.1;
/// Copies that must be made of the requests; else it is no mirror of all of them.
const ALL: f64 = 0.99;

#[derive(Debug, Serialize)]
struct Row {
    shape: Shape,
    turns: Vec<(Peer, Vec<Turn>)>,
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let (rounds, seconds) = (bench.of(5, 3), bench.of(3, 1));
    let stand = Stand::start(&bench.paths, &PEERS)?;
    Sluice::serve(&stand.api, Sluice::FIRST, Route { generation: 2, candidate: 0, copied: 100 })?;
    let shape = |(body, _)| Shape { connections: CONNECTIONS, body };
    let empty = |body| Row { shape: shape(body), turns: PEERS.map(|peer| (peer, vec![])).into() };
    let mut rows: Vec<Row> = BODIES.into_iter().map(empty).collect();
    for round in 1..=rounds {
        eprintln!("copies: round {round} of {rounds}");
        for row in &mut rows {
            for (contestant, (_, turns)) in stand.contestants.iter().zip(&mut row.turns) {
                turns.push(turn(&stand, contestant, row.shape, seconds)?);
            }
        }
    }
    for (row, (_, least)) in rows.iter().zip(BODIES) {
        row.print(bench);
        row.judge(bench, least);
    }
    let page = Sluice::evidence(Sluice::FIRST)?;
    let pairs = page.pairs.values().flat_map(|revisions| revisions.values());
    let outcomes = PairOutcome::ALL.map(|outcome| {
        format!("{} {}", pairs.clone().map(|p| p.outcome(outcome)).sum::<u64>(), outcome.as_str())
    });
    bench.say(&format!("      copies of sluice by what became of them: {}", outcomes.join(", ")));
    bench.keep("r3", &rows)
}

impl Row {
    fn of(&self, peer: Peer, value: impl Fn(&Turn) -> f64) -> Vec<f64> {
        let turns = self.turns.iter().filter(|(p, _)| *p == peer);
        turns.flat_map(|(_, turns)| turns.iter().map(&value)).collect()
    }

    fn print(&self, bench: &Bench) {
        let Shape { connections, body } = self.shape;
        bench.say(&format!("\nR3  copies of all requests, POST of {} KB, {connections} connections", body / 1_000));
        bench.say("      contestant     requests/s   p50 ms    p99 ms   CPU us   core busy    copies   failed");
        for (peer, turns) in &self.turns {
            let median = |value: fn(&Turn) -> f64| Spread::of(self.of(*peer, value)).median;
            bench.say(&format!(
                "      {:<12} {:>12.0} {:>8.3} {:>9.3} {:>8.1} {:>10.0} % {:>7.1} % {:>7}",
                if *peer == Peer::Hyper { "hyper, none" } else { peer.name() },
                median(|turn| turn.wrk.rate()),
                median(|turn| turn.wrk.p50 / 1e3),
                median(|turn| turn.wrk.p99 / 1e3),
                median(|turn| turn.cpu),
                100.0 * median(|turn| turn.busy),
                100.0 * median(|turn| turn.copies),
                turns.iter().map(|turn| turn.failed).sum::<u64>(),
            ));
        }
    }

    fn judge(&self, bench: &mut Bench, least: f64) {
        let ratio = |value: fn(&Turn) -> f64| {
            Spread::ratio(&self.of(Peer::Sluice, value), &self.of(Peer::NginxMirror, value))
        };
        let kb = self.shape.body / 1_000;
        let rate = ratio(|turn| turn.wrk.rate());
        let what = format!("R3 rate of nginx's mirror, {kb} KB");
        bench.targets.line(&what, &rate.to_string(), &format!(">= {least}"), rate.median >= least);
        let p99 = ratio(|turn| turn.wrk.p99);
        let what = format!("R3 p99 of nginx's mirror, {kb} KB");
        bench.targets.line(&what, &p99.to_string(), &format!("<= {P99}"), p99.median <= P99);
        let copies = Spread::of(self.of(Peer::Sluice, |turn| turn.copies));
        let found = format!("{:.1} %, in the worst round {:.1} %", 100.0 * copies.median, 100.0 * copies.min);
        let what = format!("R3 requests that were copied, {kb} KB");
        bench.targets.line(&what, &found, ">= 99 %", copies.median >= ALL);
    }
}
