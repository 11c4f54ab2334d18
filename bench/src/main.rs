//! `bench`: see `--help`.

use std::process::ExitCode;

use bench::{false_rollbacks, targets};
use clap::Parser;

/// Runs the benchmarks and prints a line per target, and a summary line last.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Harmless rollouts per family and interval.
    #[arg(long, default_value_t = 556)]
    rollouts: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut targets = targets::Targets::default();
    false_rollbacks::run(args.rollouts, &mut targets);
    if targets.summary() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
