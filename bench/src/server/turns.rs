//! Contestants in turn under wrk, each for a few seconds, and the limits beside them.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::CORES;
use super::contestants::{Paths, Peer};
use super::limits::Raw;
use super::models::{Model, Workload};
use super::stand::{Contestant, Stand};
use crate::limits::Figures as Limit;
use crate::process::{core_time, of_finished};
use crate::rounds::Spread;
use crate::wrk::{self, Figures};

/// Until one that goes on has done what it left.
const SETTLE: Duration = Duration::from_millis(200);

/// A turn in which others had more of the cores than this is measured again, whatever it has found, so many times.
const OTHERS: f64 = 0.05;
const AGAIN: usize = 5;

/// One turn of one contestant.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Turn {
    pub(super) wrk: Figures,
    /// Processor time of its processes per request, in microseconds.
    pub(super) cpu: f64,
    /// What of both cores was neither its nor the load's: other programs, and what the hypervisor gave to others, 0..=1.
    pub(super) others: f64,
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

/// Loads a contestant for some seconds. Whoever is not in turn is held up: some work also while nobody asks.
pub(super) fn turn(paths: &Paths, contestant: &Contestant, workload: Workload, seconds: u32) -> Result<Turn> {
    contestant.program.pause(false);
    std::thread::sleep(SETTLE);
    let mut turn = awake(paths, contestant, workload, seconds)?;
    for _ in 0..AGAIN {
        if turn.others <= OTHERS {
            break;
        }
        eprintln!(
            "{}: others used {:.0} % of the cores; once more",
            contestant.peer.name(),
            100.0 * turn.others
        );
        turn = awake(paths, contestant, workload, seconds)?;
    }
    contestant.program.pause(true);
    Ok(turn)
}

fn awake(paths: &Paths, contestant: &Contestant, workload: Workload, seconds: u32) -> Result<Turn> {
    let Contestant { peer, program } = contestant;
    let file = workload.images.file(paths).display().to_string();
    let (before, spent, load) = (core_time("")?, program.cpu()?, of_finished()?);
    let figures = wrk::run(CORES, &paths.script(), &peer.url(), workload.connections, seconds, &[file])?;
    let (spent, load, after) = (program.cpu()? - spent, of_finished()? - load, core_time("")?);
    let all = (after.busy - before.busy) + (after.stolen - before.stolen);
    let others = all.as_secs_f64() - (spent + load).as_secs_f64();
    Ok(Turn {
        wrk: figures,
        cpu: 1e6 * spent.as_secs_f64() / figures.requests as f64,
        // Clocks that tick in hundredths.
        others: (others / figures.seconds / 2.0).max(0.0),
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
