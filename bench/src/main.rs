//! `bench`: see `--help`.

use std::process::ExitCode;

use bench::targets::Targets;
use bench::{bandit, detection, false_rollbacks, promotion};
use clap::{Args, Parser, ValueEnum};

/// Benchmarks of what Sluice promises.
#[derive(Debug, Parser)]
#[command(version, about)]
enum Bench {
    /// Runs the tables, and prints a line per target and a summary line last. Misses are printed, and no failure.
    Evidence(Evidence),
}

#[derive(Debug, Args)]
struct Evidence {
    /// The tables to run, all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Table>,
    /// B1: harmless rollouts per family and interval.
    #[arg(long, default_value_t = 556)]
    rollouts: u64,
    /// A tenth of all runs, for a first look.
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// False rollbacks.
    B1,
    /// Requests until a harmful candidate is rolled back.
    B2,
    /// Promotion by proof.
    B5,
    /// Regret of the bandit.
    B6,
}

impl Evidence {
    fn run(&self) {
        let mut targets = Targets::default();
        let runs = |n: u64| if self.quick { n.div_ceil(10) } else { n };
        for table in Table::value_variants() {
            if !self.only.is_empty() && !self.only.contains(table) {
                continue;
            }
            match table {
                Table::B1 => false_rollbacks::run(runs(self.rollouts), &mut targets),
                Table::B2 => detection::run(runs(301), &mut targets),
                Table::B5 => promotion::run(runs(2000), &mut targets),
                Table::B6 => bandit::run(runs(200), &mut targets),
            }
        }
        targets.summary();
    }
}

fn main() -> ExitCode {
    match Bench::parse() {
        Bench::Evidence(evidence) => evidence.run(),
    }
    ExitCode::SUCCESS
}
