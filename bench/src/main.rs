//! `bench`: see `--help`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bench::targets::Targets;
use bench::{
    bandit, detection, false_rollbacks, images, pictures, promotion, robustness, router, server, speed, sweep,
};
use clap::{Args, Parser, ValueEnum};

/// Benchmarks of what Sluice promises.
#[derive(Debug, Parser)]
#[command(version, about)]
enum Bench {
    /// Runs the tables, and prints a line per target and a summary line last. Misses are printed, and no failure.
    Evidence(Evidence),
    /// Checks the promise of false rollbacks with few rollouts, and that the check can fail; exits with 1 if either
    /// does not hold.
    Sweep(Sweep),
    /// Measures the router beside nginx, HAProxy and minimal proxies on Pingora and hyper, and prints a line per target
    /// and a summary line last. Misses are printed, and no failure. Started by hack/bench-router.
    Router(router::Options),
    /// Measures the model server beside FastAPI, LitServe, TorchServe and the model alone, and prints a line per target and
    /// a summary line last. Misses are printed, and no failure. Started by hack/bench-server.
    Server(server::Options),
    /// Plays model servers for `router`.
    #[command(hide = true)]
    Model(router::Model),
}

#[derive(Debug, Args)]
struct Evidence {
    /// The tables to run, all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Table>,
    /// B1: harmless rollouts per family and interval.
    #[arg(long, default_value_t = 417, value_parser = clap::value_parser!(u64).range(1..))]
    rollouts: u64,
    /// B7: a Python that has scipy; without it, that comparison is skipped.
    #[arg(long)]
    python: Option<PathBuf>,
    /// A tenth of all runs, for a first look.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    images: images::Paths,
    /// Folder for the pictures of docs/concepts/judging.md, drawn of the tables that run.
    #[arg(long)]
    pictures: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Sweep {
    /// Harmless rollouts per family and interval, at least 1.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    rollouts: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// False rollbacks.
    B1,
    /// Requests until a harmful candidate is rolled back.
    B2,
    /// Images until the drift alarm, with B4.
    B3,
    /// Promotion by proof.
    B5,
    /// Regret of the bandit.
    B6,
    /// Time and memory.
    B7,
    /// Faults of routers and operator.
    B8,
}

impl Evidence {
    fn run(&self) -> anyhow::Result<()> {
        let mut targets = Targets::default();
        let runs = |n: u64| if self.quick { n.div_ceil(10) } else { n };
        for table in Table::value_variants() {
            if !self.only.is_empty() && !self.only.contains(table) {
                continue;
            }
            match table {
                Table::B1 => {
                    let tally = false_rollbacks::run(runs(self.rollouts), &mut targets);
                    self.draw(|folder| pictures::false_rollbacks(folder, &tally.percent()))?;
                }
                Table::B2 => {
                    detection::run(runs(301), &mut targets);
                    self.draw(pictures::evidence)?;
                }
                Table::B3 => {
                    if let Some(found) = images::run(&self.images, runs(101), &mut targets)? {
                        self.draw(|folder| pictures::images(folder, &found))?;
                    }
                }
                Table::B5 => promotion::run(runs(2000), &mut targets),
                Table::B6 => bandit::run(runs(200), &mut targets),
                Table::B7 => speed::run(self.python.as_deref(), &mut targets),
                Table::B8 => robustness::run(runs(50), &mut targets),
            }
        }
        targets.summary();
        Ok(())
    }

    fn draw(&self, picture: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.pictures.as_deref().map_or(Ok(()), picture)
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let good = match Bench::parse() {
        Bench::Evidence(evidence) => evidence.run().map(|()| true)?,
        Bench::Sweep(sweep) => sweep::run(sweep.rollouts),
        Bench::Router(options) => options.run().map(|()| true)?,
        Bench::Server(options) => options.run().map(|()| true)?,
        Bench::Model(model) => model.run().map(|()| true)?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
