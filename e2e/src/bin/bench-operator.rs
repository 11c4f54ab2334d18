//! `bench-operator`: see `--help`. `hack/bench-operator` runs it.

#![allow(clippy::print_stdout, reason = "tables on stdout are what it is for")]

use clap::Parser;
use e2e::scale::targets::{growth, table, targets};
use e2e::scale::{Settings, stages};

/// Measures the operator beside many ModelDeployments, on a real API server with hollow pods, and prints a line per
/// target and a summary line last. Misses are printed, and no failure.
#[derive(Debug, Parser)]
#[command(name = "bench-operator")]
struct Args {
    /// ModelDeployments, with two routers and two servers each. A tenth of them runs first, to show what grows.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(20..=2000))]
    deployments: u16,
    /// Seconds that the operator is watched at rest and judging.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(15..=600))]
    window: u64,
    /// Requests per second that each router counts.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Print everything as one JSON document instead of the tables; the lines of the targets go to stderr.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let settings = |deployments| Settings { deployments, window: args.window, rate: args.rate };
    let n = usize::from(args.deployments);
    let few = stages::run(settings(n / 10)).await?;
    let many = stages::run(settings(n)).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&[&few, &many])?);
        eprint!("{}", targets(&many));
    } else {
        print!("{}{}{}{}", table(&few), table(&many), growth(&few, &many), targets(&many));
    }
    Ok(())
}
