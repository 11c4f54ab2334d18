//! The model server beside FastAPI, LitServe, TorchServe and what is physically possible: `make bench-server`.
//!
//! ```text
//! cores 0 and 1: the contestant whose turn it is, and wrk
//! ```
//!
//! All contestants serve the same TorchScript file, get the same bytes, and prepare images in the same way: what they say
//! of each image is compared with what the model server says, and who says something else is not measured. They take turns,
//! round by round ([`crate::rounds`]); no time of one is compared with a time of another round. The model server has
//! everything on that it has in a pod: metrics, the headers that routers count, and the prediction log to a file.

mod answers;
mod contestants;
mod drains;
mod footprint;
mod limits;
mod log;
mod models;
mod open;
mod overload;
mod speed;
mod stand;
mod swaps;
mod turns;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::process;
use crate::report::{Manner, Report};
use models::Model;

pub use contestants::Paths;

/// The cores of all contestants and of the load.
const CORES: &str = "0,1";

/// Arguments of `bench server`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    paths: Paths,
    /// The parts to run, all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// The models of S1 to S4, all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    models: Vec<Model>,
    #[command(flatten)]
    manner: Manner,
}

/// A part of the benchmark, named after its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests per second, small images.
    S1,
    /// Processor time of a request beside that of the model alone.
    S2,
    /// Requests per second, larger JPEGs.
    S3,
    /// Latency of one client.
    S4,
    /// Twice as many requests as it can answer.
    S5,
    /// Memory, and the time from start to ready.
    S6,
    /// Requests that are lost while servers, or models in one of them, are replaced.
    S7,
    /// What the prediction log costs.
    S8,
}

/// What all parts share.
struct Bench {
    paths: Paths,
    report: Report,
}

impl Part {
    /// Those for which all contestants take turns.
    const SPEED: [Self; 4] = [Self::S1, Self::S2, Self::S3, Self::S4];

    fn run(self, bench: &mut Bench) -> Result<()> {
        match self {
            Self::S1 | Self::S2 | Self::S3 | Self::S4 => Ok(()),
            Self::S5 => overload::run(bench),
            Self::S6 => footprint::run(bench),
            Self::S7 => drains::run(bench).and_then(|()| swaps::run(bench)),
            Self::S8 => log::run(bench),
        }
    }
}

impl Options {
    /// Runs the parts, and prints a line per target and a summary line last.
    ///
    /// # Errors
    /// When a program is missing, does not start, or the model server does not answer as it should.
    pub fn run(&self) -> Result<()> {
        let cores = process::own_cores()?;
        ensure!(
            cores == "0-1",
            "this runs on the cores {cores}; it must have the cores {CORES} alone: start it by hack/bench-server"
        );
        let (paths, report) = (self.paths.clone(), Report::new(self.manner));
        let mut bench = Bench { paths, report };
        bench.report.say(&process::machine());
        bench.report.say(&contestants::versions(&bench.paths)?);
        bench.report.say(&format!(
            "each contestant and wrk on the cores {CORES}, except in S5: there the server has core 0, clients core 1"
        ));
        let chosen = |part: &Part| self.only.is_empty() || self.only.contains(part);
        let speed: Vec<Part> = Part::SPEED.into_iter().filter(chosen).collect();
        for model in Model::value_variants() {
            if !speed.is_empty() && (self.models.is_empty() || self.models.contains(model)) {
                speed::run(&mut bench, *model, &speed)?;
            }
        }
        for part in Part::value_variants().iter().filter(|part| chosen(part)) {
            part.run(&mut bench)?;
        }
        bench.report.finish()
    }
}
