//! R2: what a proxy adds to the latency, at half of the slowest contestant's capacity. At full load it would only say
//! how long the queues are.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::contestants::{Peer, Stand};
use super::load::{Load, Plan, Target};
use super::{Bench, capacity};
use crate::rounds::{Spread, quantile};

/// Of the slowest contestant's capacity.
const PART: f64 = 0.5;
const CLIENTS: u64 = 32;
const TARGETS: [f64; 2] = [1.05, 1.15];

/// Milliseconds of one contestant, round by round.
#[derive(Debug, Default, Serialize)]
struct Latencies {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    capacity::look(bench)?;
    let slowest = bench.capacity.iter().min_by(|a, b| a.1.total_cmp(b.1)).context("a capacity")?;
    let (rate, slowest) = (PART * slowest.1, slowest.0.name());
    let (rounds, time) = (bench.report.of(7, 3), Duration::from_secs(bench.report.of(4, 2)));
    let stand = Stand::start(&bench.paths, &Peer::SPLITTING)?;
    let mut all: Vec<(Peer, Latencies)> = Peer::SPLITTING.map(|peer| (peer, Latencies::default())).into();
    for round in 1..=rounds {
        eprintln!("latency: round {round} of {rounds}");
        for (contestant, (peer, latencies)) in stand.contestants.iter().zip(&mut all) {
            let plan = Plan { rate: Some(rate), time, ..Plan::new(CLIENTS) };
            let seen = Load::start(&Target::new(contestant.peer.address()), &plan).finish();
            seen.check(peer.name())?;
            let millis = |share| quantile(&seen.latencies, share) as f64 / 1e6;
            latencies.p50.push(millis(0.5));
            latencies.p99.push(millis(0.99));
        }
    }
    bench.report.say(&format!(
        "\nR2  latency at {rate:.0} requests/s, half of what {slowest} can, 1 KB, {CLIENTS} connections, from the moment a request is due"
    ));
    table(bench, &all);
    bench.report.keep("r2", &all)
}

fn table(bench: &mut Bench, all: &[(Peer, Latencies)]) {
    let of = |peer: Peer| &all.iter().find(|(p, _)| *p == peer).expect("each peer has an entry").1;
    let (direct, nginx, sluice) = (of(Peer::Direct), of(Peer::Nginx), of(Peer::Sluice));
    let added = |it: &Latencies| -> Vec<f64> { it.p50.iter().zip(&direct.p50).map(|(a, b)| a - b).collect() };
    bench.report.say(
        "      contestant    p50 ms   added ms    p99 ms   sluice/it at p50   at p50, added      at p99",
    );
    for (peer, it) in all {
        let median = |values: &[f64]| Spread::of(values.iter().copied()).median;
        let added_ratio = Spread::ratio(&added(sluice), &added(it));
        bench.report.say(&format!(
            "      {:<10} {:>9.3} {:>10.3} {:>9.3}   {}   {}   {}",
            peer.name(),
            median(&it.p50),
            median(&added(it)),
            median(&it.p99),
            Spread::ratio(&sluice.p50, &it.p50),
            if *peer == Peer::Direct { "-                ".to_owned() } else { added_ratio.to_string() },
            Spread::ratio(&sluice.p99, &it.p99),
        ));
    }
    let (p50, p99) = (Spread::ratio(&added(sluice), &added(nginx)), Spread::ratio(&sluice.p99, &nginx.p99));
    let names = ["R2 latency added at p50, of what nginx adds", "R2 latency at p99, of nginx's"];
    for ((what, found), most) in names.into_iter().zip([p50, p99]).zip(TARGETS) {
        bench.report.targets.line(what, &found.to_string(), &format!("<= {most}"), found.median <= most);
    }
}
