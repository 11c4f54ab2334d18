//! R5: how long a change of the weights takes, from the watch event to the first answer of the revision that has got
//! the traffic, and that no request notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::Rng;
use serde_json::json;
use wire::SLOTS;

use super::Bench;
use super::client::{Request, Revision};
use super::contestants::{Peer, Stand};
use super::load::{Load, Plan, Seen, Target, Users};
use super::sluice::{Route, Sluice};
use crate::http::Connection;
use crate::rounds::quantile;

/// Requests per second beside the probe.
const RATE: f64 = 3_000.0;
const MOST: Duration = Duration::from_millis(5);
/// Longest time for one change; longer is an error.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let changes = bench.report.of(1_000, 200);
    eprintln!("weights: {changes} changes");
    let stand = Stand::start(&bench.paths, &[Peer::Sluice])?;
    Sluice::serve(&stand.api, Sluice::FIRST, Route { generation: 2, candidate: 0, copied: 0 })?;
    let plan = Plan { rate: Some(RATE), users: Users::Nobody, ..Plan::new(8) };
    let load = Load::start(&Target::new(Peer::Sluice.address()), &plan);
    let stop = Arc::<AtomicBool>::default();
    let (tell, told) = channel();
    let probe = thread::spawn({
        let stop = stop.clone();
        move || probe(&tell, &stop)
    });
    let took = change(&stand, &told, changes);
    stop.store(true, Relaxed);
    let probes = probe.join().expect("the probe does not panic")?;
    report(bench, &took?, &load.stop(), probes)
}

/// Sends requests one after the other, and tells when another revision answers than before: how many in all.
fn probe(tell: &Sender<(Instant, Revision)>, stop: &AtomicBool) -> Result<u64> {
    let request = Request::new(1_000, "");
    let mut connection = Connection::open(Peer::Sluice.address())?;
    let (mut before, mut probes) = (Revision::Stable, 0);
    while !stop.load(Relaxed) {
        let answer = request.ask(&mut connection).with_context(|| format!("probe {probes}"))?;
        probes += 1;
        if answer.last {
            connection = Connection::open(Peer::Sluice.address())?;
        }
        if answer.revision != before {
            before = answer.revision;
            // Nobody listens once the changes are over.
            let _ = tell.send((Instant::now(), before));
        }
    }
    Ok(probes)
}

/// Moves all requests to the candidate and back, again and again: nanoseconds of each change, ascending.
fn change(stand: &Stand, told: &Receiver<(Instant, Revision)>, changes: u64) -> Result<Vec<u64>> {
    let mut took = vec![];
    for n in 0..changes {
        // No two changes at the same point of anybody's cycle.
        thread::sleep(Duration::from_micros(rand::rng().random_range(5_000..20_000)));
        let (candidate, expected) =
            if n % 2 == 0 { (SLOTS, Revision::Candidate) } else { (0, Revision::Stable) };
        let route = Route { generation: 3 + n, candidate, copied: 0 }.object();
        let start = Instant::now();
        stand.api.put_route(route);
        let (at, revision) = told.recv_timeout(PATIENCE).with_context(|| format!("change {n}"))?;
        if revision != expected {
            bail!("change {n}: {revision:?} answered, not {expected:?}");
        }
        took.push(u64::try_from((at - start).as_nanos())?);
    }
    took.sort_unstable();
    Ok(took)
}

fn report(bench: &mut Bench, took: &[u64], seen: &Seen, probes: u64) -> Result<()> {
    let millis = |share| quantile(took, share) as f64 / 1e6;
    let (changes, requests) = (took.len(), seen.requests() + probes);
    bench.report.say(&format!(
        "\nR5  {changes} changes of all weights under {RATE:.0} requests/s: from the watch event to the first answer of the other \
         revision"
    ));
    bench.report.say(&format!(
        "      p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, most {:.2} ms; {} of {requests} requests failed: {}",
        millis(0.5),
        millis(0.95),
        millis(0.99),
        millis(1.0),
        seen.failed(),
        seen.spelt()
    ));
    let reached = millis(0.99) <= MOST.as_secs_f64() * 1e3;
    bench.report.targets.line(
        "R5 weight change, p99",
        &format!("{:.2} ms", millis(0.99)),
        "<= 5 ms",
        reached,
    );
    let failed = seen.failed();
    let what = format!("R5 requests that failed in {changes} changes");
    bench.report.targets.line(&what, &format!("{failed} of {requests}"), "0", failed == 0);
    bench.report.keep("r5", json!({"nanoseconds": took, "requests": requests, "failed": failed}))
}
