//! R3: copies of all requests, with their bodies. Sluice compares both answers as well; nginx does not.

use anyhow::Result;
use wire::PairOutcome;

use super::Bench;
use super::contestants::{Peer, Stand};
use super::shape::Shape;
use super::sluice::{Route, Sluice};
use super::turns::{self, Row, Turn};
use crate::rounds::Spread;

/// The last one copies nothing: what a proxy on hyper can do without.
const PEERS: [Peer; 3] = [Peer::NginxMirror, Peer::Sluice, Peer::Hyper];
/// Bytes of a body, and the least ratio of the rates.
const BODIES: [(u32, f64); 2] = [(1_000, 2.5), (30_000, 1.8)];
const CONNECTIONS: u32 = 32;
/// The most of nginx's p99.
const P99: f64 = 0.1;
/// Copies that must be made of the requests; else it is no mirror of all of them.
const ALL: f64 = 0.99;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let stand = Stand::start(&bench.paths, &PEERS)?;
    Sluice::serve(&stand.api, Sluice::FIRST, Route { generation: 2, candidate: 0, copied: 100 })?;
    let shapes = BODIES.map(|(body, _)| Shape { connections: CONNECTIONS, body });
    let rows = turns::rounds(&stand, &shapes, bench.report.of(5, 3), bench.report.of(3, 1))?;
    for (row, (_, least)) in rows.iter().zip(BODIES) {
        print(bench, row);
        judge(bench, row, least);
    }
    bench.report.say(&format!("      copies of sluice by what became of them: {}", outcomes()?));
    bench.report.keep("r3", &rows)
}

fn outcomes() -> Result<String> {
    let page = Sluice::evidence(Sluice::FIRST)?;
    let pairs: Vec<_> = page.pairs.values().flat_map(|revisions| revisions.values()).collect();
    let count = |outcome| pairs.iter().map(|pairs| pairs.outcome(outcome)).sum::<u64>();
    let each = PairOutcome::ALL.map(|outcome| format!("{} {}", count(outcome), outcome.as_str()));
    Ok(each.join(", "))
}

fn print(bench: &Bench, row: &Row) {
    let Shape { connections, body } = row.shape;
    bench.report.say(&format!(
        "\nR3  copies of all requests, POST of {} KB, {connections} connections",
        body / 1_000
    ));
    bench.report.say("      contestant     requests/s   p50 ms    p99 ms   CPU us   core busy   others     copies   failed");
    for (peer, _) in &row.turns {
        bench.report.say(&format!(
            "      {:<12} {:>12.0} {:>8.3} {:>9.3} {:>8.1} {:>9.0} % {:>6.1} % {:>8.1} % {:>8}",
            if *peer == Peer::Hyper { "hyper, none" } else { peer.name() },
            row.median(*peer, |turn| turn.wrk.rate()),
            row.median(*peer, |turn| turn.wrk.p50 / 1e3),
            row.median(*peer, |turn| turn.wrk.p99 / 1e3),
            row.median(*peer, |turn| turn.cpu),
            100.0 * row.median(*peer, |turn| turn.busy),
            100.0 * row.median(*peer, |turn| turn.others),
            100.0 * row.median(*peer, |turn| turn.copies),
            row.failed(*peer),
        ));
    }
}

fn judge(bench: &mut Bench, row: &Row, least: f64) {
    let ratio = |value: fn(&Turn) -> f64| {
        Spread::ratio(&row.of(Peer::Sluice, value), &row.of(Peer::NginxMirror, value))
    };
    let kb = row.shape.body / 1_000;
    let rate = ratio(|turn| turn.wrk.rate());
    let what = format!("R3 rate of nginx's mirror, {kb} KB");
    bench.report.targets.line(&what, &rate.to_string(), &format!(">= {least}"), rate.median >= least);
    let p99 = ratio(|turn| turn.wrk.p99);
    let what = format!("R3 p99 of nginx's mirror, {kb} KB");
    bench.report.targets.line(&what, &p99.to_string(), &format!("<= {P99}"), p99.median <= P99);
    let copies = Spread::of(row.of(Peer::Sluice, |turn| turn.copies));
    let found = format!("{:.1} %, in the worst round {:.1} %", 100.0 * copies.median, 100.0 * copies.min);
    let what = format!("R3 requests that were copied, {kb} KB");
    let reached = copies.median >= ALL && row.failed(Peer::Sluice) == 0;
    bench.report.targets.line(&what, &found, ">= 99 %, 0 failed", reached);
}
