//! The router beside nginx, HAProxy and minimal proxies on Pingora and hyper: `make bench-router`.
//!
//! ```text
//! core 0: the proxy alone            core 1: clients, model servers that are played, API server that is played
//! ```
//!
//! All contestants split one tenth to a candidate, sticky by user; Sluice alone counts, compares and obeys a table.
//! They take turns, round by round ([`rounds`]); no time of one is compared with a time of another round. Beside the rate
//! stands the processor time per request, which is steadier. Clients are wrk for capacity, and threads that check every
//! answer ([`load`]) for everything else. What is not answered well is counted and shown.

mod api_server;
mod capacity;
mod client;
mod contestants;
mod instructions;
mod isolation;
mod latency;
mod load;
mod losses;
mod memory;
mod mirror;
mod model;
mod process;
mod rounds;
mod sluice;
mod split;
mod turns;
mod weights;
mod wrk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::targets::Targets;
use contestants::Peer;

pub use contestants::Paths;
pub use model::Model;

/// Arguments of `bench router`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    paths: Paths,
    /// The parts to run, all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Fewer and shorter rounds, for a first look.
    #[arg(long)]
    quick: bool,
    /// Print everything as one JSON document instead of the tables, which go to stderr.
    #[arg(long)]
    json: bool,
}

/// A part of the benchmark, named after its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests per second of one core.
    R1,
    /// Latency at half of the slowest contestant's capacity.
    R2,
    /// Copies of all requests.
    R3,
    /// A shadow that stalls or is dead.
    R4,
    /// Changes of the weights under load.
    R5,
    /// Servers and routers that restart or are killed under load.
    R6,
    /// Accuracy of the split.
    R7,
    /// Memory.
    R8,
    /// Instructions per request, beside those that were committed.
    Instructions,
}

/// What all parts share.
struct Bench {
    paths: Paths,
    quick: bool,
    targets: Targets,
    figures: Map<String, Value>,
    /// Requests per second with 1 KB and 32 connections, once they were measured.
    capacity: BTreeMap<Peer, f64>,
}

impl Bench {
    /// The larger number, or the smaller one for a first look.
    fn of<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    fn say(&self, text: &str) {
        self.targets.print(text);
    }

    /// Keeps figures for the JSON document.
    fn keep(&mut self, part: &str, figures: impl Serialize) -> Result<()> {
        self.figures.insert(part.to_owned(), serde_json::to_value(figures)?);
        Ok(())
    }

    fn run(&mut self, part: Part) -> Result<()> {
        match part {
            Part::R1 => capacity::run(self),
            Part::R2 => latency::run(self),
            Part::R3 => mirror::run(self),
            Part::R4 => isolation::run(self),
            Part::R5 => weights::run(self),
            Part::R6 => losses::run(self),
            Part::R7 => split::run(self),
            Part::R8 => memory::run(self),
            Part::Instructions => instructions::run(self),
        }
    }
}

impl Options {
    /// Runs the parts, and prints a line per target and a summary line last.
    ///
    /// # Errors
    /// When a program is missing, does not start, or a peer does not serve as it should.
    pub fn run(&self) -> Result<()> {
        let cores = process::own_cores()?;
        ensure!(
            cores == process::LOAD_CORE,
            "this runs on the cores {cores}; it must have core {} alone: start it by hack/bench-router",
            process::LOAD_CORE
        );
        let targets = if self.json { Targets::aside() } else { Targets::default() };
        let (paths, quick) = (self.paths.clone(), self.quick);
        let mut bench = Bench { paths, quick, targets, figures: Map::new(), capacity: BTreeMap::new() };
        bench.say(&process::machine());
        for part in Part::value_variants() {
            if self.only.is_empty() || self.only.contains(part) {
                bench.run(*part)?;
            }
        }
        bench.targets.summary();
        if self.json {
            let document = json!({"figures": bench.figures, "targets": bench.targets.lines()});
            println!("{}", serde_json::to_string_pretty(&document)?);
        }
        Ok(())
    }
}
