//! Contestants in turn under wrk, each for a few seconds, with their answers checked beside it.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::PROXY_CORE;
use super::contestants::{CANDIDATE, Contestant, Peer, STABLE, Stand, seen};
use super::load::{Load, Plan, Target, Users};
use super::shape::{self, Shape};
use crate::process::{Program, core_time};
use crate::rounds::Spread;
use crate::wrk::Figures;

/// Time for copies, which are behind the answers.
const SETTLE: Duration = Duration::from_millis(100);

/// One turn of one contestant.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Turn {
    pub(super) wrk: Figures,
    /// Processor time per request in microseconds; none without a proxy.
    pub(super) cpu: f64,
    /// How busy the proxy kept its core, 0..=1.
    pub(super) busy: f64,
    /// What of that core was not the proxy's: other programs, and what the hypervisor gave to others, 0..=1. Next to
    /// nothing, or the turn says little.
    pub(super) others: f64,
    /// The candidate's share of what both servers got.
    pub(super) share: f64,
    /// Copies over requests.
    pub(super) copies: f64,
    /// Requests that were not answered well, of wrk's and of those that were checked.
    pub(super) failed: u64,
}

/// All turns with one shape.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) shape: Shape,
    pub(super) turns: Vec<(Peer, Vec<Turn>)>,
}

/// Rounds of all shapes, and within them of all contestants.
pub(super) fn rounds(stand: &Stand, shapes: &[Shape], rounds: usize, seconds: u32) -> Result<Vec<Row>> {
    let empty = |shape: &Shape| Row {
        shape: *shape,
        turns: stand.contestants.iter().map(|contestant| (contestant.peer, vec![])).collect(),
    };
    let mut rows: Vec<Row> = shapes.iter().map(empty).collect();
    for round in 1..=rounds {
        eprintln!("closed loop: round {round} of {rounds}");
        for row in &mut rows {
            for (contestant, (_, turns)) in stand.contestants.iter().zip(&mut row.turns) {
                turns.push(turn(stand, contestant, row.shape, seconds)?);
            }
        }
    }
    Ok(rows)
}

/// Loads a contestant for some seconds, and checks beside it that split and answers are right.
fn turn(stand: &Stand, contestant: &Contestant, shape: Shape, seconds: u32) -> Result<Turn> {
    let cpu = || contestant.program.as_ref().map_or(Ok(Duration::ZERO), Program::cpu);
    let address = contestant.peer.address();
    let (stable, candidate, core, spent) = (seen(STABLE)?, seen(CANDIDATE)?, core_time(PROXY_CORE)?, cpu()?);
    let checks =
        Plan { rate: Some(100.0), body: shape.body as usize, users: Users::InTurn(20), ..Plan::new(1) };
    let checking = Load::start(&Target::new(address), &checks);
    let figures = shape::run(&stand.paths.script(), address, shape, seconds)?;
    let checked = checking.stop();
    let spent = (cpu()? - spent).as_secs_f64();
    let now = core_time(PROXY_CORE)?;
    let others = (now.busy - core.busy + now.stolen - core.stolen).as_secs_f64() - spent;
    std::thread::sleep(SETTLE);
    let of_stable = seen(STABLE)?.requests - stable.requests;
    let now = seen(CANDIDATE)?;
    let (of_candidate, copies) = (now.requests - candidate.requests, now.copies - candidate.copies);
    let all = figures.requests + checked.requests();
    Ok(Turn {
        wrk: figures,
        cpu: 1e6 * spent / all as f64,
        busy: spent / figures.seconds,
        // Two clocks that tick in hundredths.
        others: (others / figures.seconds).max(0.0),
        share: of_candidate as f64 / (of_stable + of_candidate) as f64,
        copies: copies as f64 / all as f64,
        failed: figures.failed() + checked.failed() + checked.moved,
    })
}

impl Row {
    /// One value of each turn of a contestant.
    pub(super) fn of(&self, peer: Peer, value: impl Fn(&Turn) -> f64) -> Vec<f64> {
        let turns = self.turns.iter().filter(|(p, _)| *p == peer);
        turns.flat_map(|(_, turns)| turns.iter().map(&value)).collect()
    }

    pub(super) fn median(&self, peer: Peer, value: impl Fn(&Turn) -> f64) -> f64 {
        Spread::of(self.of(peer, value)).median
    }

    pub(super) fn rates(&self, peer: Peer) -> Vec<f64> {
        self.of(peer, |turn| turn.wrk.rate())
    }

    pub(super) fn cpu(&self, peer: Peer) -> Vec<f64> {
        self.of(peer, |turn| turn.cpu)
    }

    pub(super) fn failed(&self, peer: Peer) -> u64 {
        let turns = self.turns.iter().filter(|(p, _)| *p == peer);
        turns.flat_map(|(_, turns)| turns).map(|turn| turn.failed).sum()
    }
}
