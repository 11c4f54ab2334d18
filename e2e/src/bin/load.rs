//! The load client by hand: `load --address http://127.0.0.1:8080 --images DIR --predictions 1.0.0=FILE`.

#![allow(clippy::print_stdout, reason = "the summary is what the program is for")]

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use e2e::load::{Load, Settings};

/// Sends images at a set rate and checks every answer; exits with 1 if one failed.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Args {
    /// http://<ip>[:<port>], on this machine only.
    #[arg(long)]
    address: String,
    /// Folder of images, as `model-server data images` writes it.
    #[arg(long)]
    images: PathBuf,
    /// Offline predictions of a version, as `model-server evaluate --predictions` writes them; several.
    #[arg(long, value_name = "VERSION=FILE", value_parser = pair)]
    predictions: Vec<(String, PathBuf)>,
    /// Requests per second.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Requests on their way at one time.
    #[arg(long, default_value_t = 8)]
    workers: u32,
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

fn pair(text: &str) -> Result<(String, PathBuf), String> {
    let (version, file) = text.split_once('=').ok_or("VERSION=FILE is meant, such as 1.0.0=one.json")?;
    Ok((version.to_owned(), file.into()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let settings = Settings {
        workers: args.workers,
        max_time: Duration::from_secs(args.seconds),
        ..Settings::new(&args.address, &args.images, args.predictions.into_iter().collect(), args.rate)
    };
    let summary = Load::start(settings).await?.finish().await;
    println!("{summary}");
    anyhow::ensure!(summary.failed() == 0, "{} of {} requests failed", summary.failed(), summary.requests);
    Ok(())
}
