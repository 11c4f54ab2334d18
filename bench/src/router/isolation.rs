//! R4: a shadow that stalls or is dead must not be noticed by anybody whose requests are copied to it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::Bench;
use super::api_server::Condition;
use super::client::Request;
use super::contestants::{CANDIDATE, Peer, STABLE, Stand, local, seen};
use super::load::{Load, Plan, Target};
use super::model::{DIGEST, STALL};
use super::shape::{self, Shape};
use super::sluice::{Route, Sluice};
use crate::http::{Connection, page};
use crate::rounds::{Spread, quantile};

/// Requests per second: what one core does easily with copies too.
const RATE: f64 = 5_000.0;
/// How long a stalling shadow takes for an answer.
const STALLED: Duration = Duration::from_secs(5);
/// Nobody listens there.
const DEAD: std::net::SocketAddr = local(18109);
/// The most of the p99 without copies.
const P99: f64 = 1.05;
/// The memory limit of the router's container.
const CAP: u64 = 128 << 20;
const LARGE: usize = 8 << 20;

/// What becomes of copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Shadow {
    None,
    Dead,
    Stalls,
}

const SHADOWS: [Shadow; 3] = [Shadow::None, Shadow::Dead, Shadow::Stalls];

/// Requests of users, round by round.
#[derive(Debug, Default, Serialize)]
struct Users {
    p50: Vec<f64>,
    p99: Vec<f64>,
    failed: u64,
}

/// A router whose shadow changes.
struct Rig {
    stand: Stand,
    generation: u64,
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let (rounds, time) = (bench.report.of(7, 3), Duration::from_secs(bench.report.of(4, 2)));
    let mut rig = Rig { stand: Stand::start(&bench.paths, &[Peer::Sluice])?, generation: 1 };
    let mut all: Vec<(Shadow, Users)> = SHADOWS.map(|shadow| (shadow, Users::default())).into();
    for round in 1..=rounds {
        eprintln!("isolation: round {round} of {rounds}");
        for (shadow, users) in &mut all {
            rig.set(*shadow)?;
            let plan = Plan { rate: Some(RATE), time, ..Plan::new(16) };
            let seen = Load::start(&Target::new(Peer::Sluice.address()), &plan).finish();
            users.p50.push(quantile(&seen.latencies, 0.5) as f64 / 1e6);
            users.p99.push(quantile(&seen.latencies, 0.99) as f64 / 1e6);
            users.failed += seen.failed() + seen.moved;
        }
        // Copies that wait would hold the places of the next round's.
        std::thread::sleep(STALLED);
    }
    judge(bench, &all);
    let (peak, failed) = rig.stress(bench.report.of(5, 2))?;
    let found = format!("{:.1} MiB, {failed} requests failed", peak as f64 / f64::from(1 << 20));
    let what = "R4 memory, 128 connections x 150 KB beside a shadow that stalls";
    bench.report.targets.line(what, &found, "<= 128 MiB, 0 failed", peak <= CAP && failed == 0);
    let same = rig.large()?;
    let found = if same { "the same bytes" } else { "not the same bytes" };
    bench.report.targets.line("R4 copy of a body of 8 MiB", found, "the same bytes", same);
    bench.report.keep("r4", (all, peak))
}

fn judge(bench: &mut Bench, all: &[(Shadow, Users)]) {
    bench.report.say(&format!(
        "\nR4  users beside a shadow that gets copies of all requests, {RATE:.0} requests/s, 1 KB"
    ));
    bench.report.say("      shadow      p50 ms    p99 ms   failed   p99 of that without copies");
    let none = &all[0].1;
    for (shadow, users) in all {
        let ratio = Spread::ratio(&users.p99, &none.p99);
        let median = |values: &[f64]| Spread::of(values.iter().copied()).median;
        let (p50, p99, failed) = (median(&users.p50), median(&users.p99), users.failed);
        bench
            .report
            .say(&format!("      {:<8} {p50:>9.3} {p99:>9.3} {failed:>8}   {ratio}", format!("{shadow:?}")));
    }
    for (shadow, users) in &all[1..] {
        let ratio = Spread::ratio(&users.p99, &none.p99);
        let found = format!("p99 {ratio} of that without copies, {} failed", users.failed);
        let what = format!("R4 users beside a shadow: {shadow:?}");
        let reached = ratio.median <= P99 && users.failed == 0;
        bench.report.targets.line(&what, &found, "<= 1.05, 0 failed", reached);
    }
}

impl Rig {
    fn set(&mut self, shadow: Shadow) -> Result<()> {
        let api = &self.stand.api;
        let address = if shadow == Shadow::Dead { DEAD } else { CANDIDATE };
        api.put_slice("candidate", &[(address, Condition::Ready)]);
        let stall = if shadow == Shadow::Stalls { STALLED.as_millis() } else { 0 };
        page(CANDIDATE, &format!("{STALL}{stall}"))?;
        self.serve(if shadow == Shadow::None { 0 } else { 100 })
    }

    fn serve(&mut self, copied: u8) -> Result<()> {
        self.generation += 1;
        let route = Route { generation: self.generation, candidate: 0, copied };
        Sluice::serve(&self.stand.api, Sluice::FIRST, route)
    }

    /// The most memory that was ever used, and requests that failed, after large bodies beside a shadow that stalls.
    fn stress(&mut self, seconds: u32) -> Result<(u64, u64)> {
        self.set(Shadow::Stalls)?;
        let shape = Shape { connections: 128, body: 150_000 };
        let figures = shape::run(&self.stand.paths.script(), Peer::Sluice.address(), shape, seconds)?;
        let peak = self.stand.program(Peer::Sluice)?.peak()?;
        std::thread::sleep(STALLED);
        Ok((peak, figures.failed()))
    }

    /// Whether the shadow gets the same large body as the user's server.
    fn large(&mut self) -> Result<bool> {
        self.set(Shadow::None)?;
        self.serve(100)?;
        let before = seen(CANDIDATE)?.copies;
        let request = Request::new(LARGE, &format!("{DIGEST}: 1\r\n"));
        request.ask(&mut Connection::open(Peer::Sluice.address())?).context("the large request")?;
        let start = Instant::now();
        while seen(CANDIDATE)?.copies == before {
            if start.elapsed() > Duration::from_secs(5) {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let (user, copy) = (seen(STABLE)?, seen(CANDIDATE)?);
        ensure!(user.length == LARGE as u64, "stable has seen {} bytes of {LARGE}", user.length);
        Ok((user.length, user.digest) == (copy.length, copy.digest))
    }
}
