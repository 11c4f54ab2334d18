//! The router beside nginx, HAProxy and minimal proxies on Pingora and hyper: `make bench-router`.
//!
//! ```text
//! core 0: the proxy alone            core 1: clients, model servers that are played, API server that is played
//! ```
//!
//! All contestants split one tenth to a candidate, sticky by user; Sluice alone counts, compares and obeys a table.
//! They take turns, round by round ([`crate::rounds`]); no time of one is compared with a time of another round. Beside the rate
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
mod shape;
mod sluice;
mod split;
mod turns;
mod weights;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::process;
use crate::report::{Manner, Report};
use contestants::Peer;

pub use contestants::Paths;
pub use model::Model;

/// The core of the proxy alone.
const PROXY_CORE: &str = "0";
/// The core of everything else: clients, servers, API server.
const LOAD_CORE: &str = "1";

/// Arguments of `bench router`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    paths: Paths,
    /// The parts to run, all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    #[command(flatten)]
    manner: Manner,
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
    report: Report,
    /// Requests per second with 1 KB and 32 connections, once they were measured.
    capacity: BTreeMap<Peer, f64>,
}

impl Bench {
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
            cores == LOAD_CORE,
            "this runs on the cores {cores}; it must have core {LOAD_CORE} alone: start it by hack/bench-router"
        );
        let (paths, report) = (self.paths.clone(), Report::new(self.manner));
        let mut bench = Bench { paths, report, capacity: BTreeMap::new() };
        bench.report.say(&process::machine());
        for part in Part::value_variants() {
            if self.only.is_empty() || self.only.contains(part) {
                bench.run(*part)?;
            }
        }
        bench.report.finish()
    }
}
