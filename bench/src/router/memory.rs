//! R8: memory idle, with a thousand connections that are kept, and with large bodies on 128 connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::Bench;
use super::client::Request;
use super::contestants::{Peer, Stand};
use super::shape::{self, Shape};
use crate::http::Connection;
use crate::process::{Memory, Program};

const KEPT: usize = 1_000;
const LARGE: Shape = Shape { connections: 128, body: 150_000 };
const MB: f64 = 1e6;
const TARGETS: [(&str, f64); 3] =
    [("idle", 10.0), ("with 1,000 connections", 30.0), ("at 128 x 150 KB", 40.0)];

#[derive(Debug, Serialize)]
struct Row {
    peer: Peer,
    states: [Memory; 3],
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    bench.report.say("\nR8  memory in MB, resident (and with shared pages divided by who shares them); nginx: master and worker");
    bench.report.say("      contestant            idle      1,000 kept    128 x 150 KB");
    let mut rows = vec![];
    for peer in Peer::SPLITTING.into_iter().filter(|peer| *peer != Peer::Direct) {
        eprintln!("memory: {}", peer.name());
        // Each freshly started.
        let stand = Stand::start(&bench.paths, &[peer])?;
        let states = measure(&stand, peer, bench.report.of(4, 2)).with_context(|| peer.name())?;
        let spelt = states.map(|m| format!("{:.1} ({:.1})", m.rss as f64 / MB, m.pss as f64 / MB));
        bench.report.say(&format!(
            "      {:<10} {:>15} {:>15} {:>15}",
            peer.name(),
            spelt[0],
            spelt[1],
            spelt[2]
        ));
        rows.push(Row { peer, states });
    }
    let sluice = rows.iter().find(|row| row.peer == Peer::Sluice).context("sluice was measured")?;
    for ((what, most), memory) in TARGETS.into_iter().zip(sluice.states) {
        let rss = memory.rss as f64 / MB;
        let (what, found) = (format!("R8 memory {what}"), format!("{rss:.1} MB"));
        bench.report.targets.line(&what, &found, &format!("<= {most} MB"), rss <= most);
    }
    bench.report.keep("r8", &rows)
}

fn measure(stand: &Stand, peer: Peer, seconds: u32) -> Result<[Memory; 3]> {
    let program = stand.program(peer)?;
    std::thread::sleep(Duration::from_millis(300));
    let idle = program.memory()?;
    let request = Request::new(1_000, "");
    let mut kept = vec![];
    for _ in 0..KEPT {
        let mut connection = Connection::open(peer.address())?;
        request.ask(&mut connection)?;
        kept.push(connection);
    }
    let many = program.memory()?;
    drop(kept);
    Ok([
        idle,
        many,
        most(program, || shape::run(&stand.paths.script(), peer.address(), LARGE, seconds).map(drop))?,
    ])
}

/// The most memory that a program uses while something is done.
fn most(program: &Program, work: impl FnOnce() -> Result<()>) -> Result<Memory> {
    let over = Arc::<AtomicBool>::default();
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = Memory::default();
            while !over.load(Relaxed) {
                let now = program.memory()?;
                most = if now.rss > most.rss { now } else { most };
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(most)
        });
        let worked = work();
        over.store(true, Relaxed);
        let most = watching.join().expect("reading /proc does not panic");
        worked.and(most)
    })
}
