//! Contestants in turn under wrk, each for a few seconds, and the limits beside them.

use anyhow::Result;
use serde::Serialize;

use super::CORES;
use super::contestants::{Paths, Peer};
use super::limits::Raw;
use super::models::{Model, Workload};
use super::stand::{Contestant, Stand};
use crate::limits::Figures as Limit;
use crate::process::core_time;
use crate::rounds::Spread;
use crate::wrk::{self, Figures};

/// One turn of one contestant.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Turn {
    pub(super) wrk: Figures,
    /// Processor time of its processes per request, in microseconds.
    pub(super) cpu: f64,
    /// What both cores gave to other machines, 0..=1. Next to nothing, or the turn says little.
    pub(super) stolen: f64,
}

/// All turns with one workload.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) workload: Workload,
    pub(super) turns: Vec<(Peer, Vec<Turn>)>,
    /// The model alone, by its precision, in the same rounds.
    pub(super) raw: Vec<(&'static str, Vec<Limit>)>,
}

/// How long, how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) rounds: usize,
    pub(super) seconds: u32,
}

/// Rounds with one workload; what is raw takes its turns too.
pub(super) fn rounds(
    paths: &Paths,
    model: Model,
    stand: &Stand,
    workload: Workload,
    raw: &[Raw],
    pace: Pace,
) -> Result<Row> {
    let turns = stand.contestants.iter().map(|contestant| (contestant.peer, vec![])).collect();
    let raws = raw.iter().map(|raw| (raw.precision, vec![])).collect();
    let mut row = Row { workload, turns, raw: raws };
    // libtorch compiles a graph anew for the first batches of each size.
    for contestant in &stand.contestants {
        turn(paths, contestant, workload, 1)?;
    }
    for round in 1..=pace.rounds {
        eprintln!("{}, {workload}: round {round} of {}", model.name(), pace.rounds);
        for (contestant, (_, turns)) in stand.contestants.iter().zip(&mut row.turns) {
            turns.push(turn(paths, contestant, workload, pace.seconds)?);
        }
        for (raw, (_, figures)) in raw.iter().zip(&mut row.raw) {
            figures.push(raw.run(paths, model, u64::from(pace.seconds) * 1_000)?);
        }
    }
    Ok(row)
}

/// Loads a contestant for some seconds.
pub(super) fn turn(paths: &Paths, contestant: &Contestant, workload: Workload, seconds: u32) -> Result<Turn> {
    let Contestant { peer, program } = contestant;
    let file = workload.images.file(paths).display().to_string();
    let (before, spent) = (core_time("")?, program.cpu()?);
    let figures = wrk::run(CORES, &paths.script(), &peer.url(), workload.connections, seconds, &[file])?;
    let (spent, stolen) = (program.cpu()? - spent, core_time("")?.stolen - before.stolen);
    Ok(Turn {
        wrk: figures,
        cpu: 1e6 * spent.as_secs_f64() / figures.requests as f64,
        stolen: stolen.as_secs_f64() / figures.seconds,
    })
}

impl Row {
    /// One value of each turn of a contestant; none if it was left out.
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
        turns.flat_map(|(_, turns)| turns).map(|turn| turn.wrk.failed()).sum()
    }

    /// The model alone, one value of each round.
    pub(super) fn raw(&self, precision: &str, value: impl Fn(&Limit) -> f64) -> Vec<f64> {
        let raw = self.raw.iter().filter(|(p, _)| *p == precision);
        raw.flat_map(|(_, figures)| figures.iter().map(&value)).collect()
    }
}
