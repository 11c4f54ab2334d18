//! `model-server`: see `model-server help`.

mod args;
mod fetch;
mod progress;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use model_server::corrupt::Corruption;
use model_server::dataset::Dataset;
use model_server::{Artefact, Engine, data, evaluate, load, review, serve, simulate, train, turns};
use sources::digest;

use crate::args::{Cli, Command, Data};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a fetch that will fail the same way again.
const REFUSED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_fetch = matches!(cli.command, Command::Fetch(_));
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&story(&error));
            if is_fetch && !fetch::is_passing(&error) { ExitCode::from(REFUSED) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command) -> Result<()> {
    // May be set once, and before libtorch computes anything; none of our graphs has parallel branches.
    tch::set_num_interop_threads(1);
    match command {
        Command::Data(Data::Digits { csv, out, seed }) => {
            let (train, test) = data::digits(&csv, &out, seed)?;
            print(&format!("{train} images in train.bin, {test} in test.bin, in {}", out.display()));
        }
        Command::Data(Data::Images { data, out }) => {
            let images = data::images(&data, &out)?;
            print(&format!("{images} images in {}", out.display()));
        }
        Command::Train(args) => train_model(args)?,
        Command::Digest { directory } => print(&digest::of_directory(&directory)?),
        Command::Fetch(args) => fetch_model(args)?,
        Command::Evaluate(args) => evaluate_model(&args)?,
        Command::SimulateDrift(args) => simulate_drift(args)?,
        Command::Serve(args) => serve_model(*args)?,
        Command::Review(args) => serve_reviewers(args.options())?,
    }
    Ok(())
}

fn train_model(args: args::Train) -> Result<()> {
    let settings = train::Settings {
        data: args.data,
        out: args.out,
        version: args.version,
        epochs: args.epochs,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        shift: args.shift,
        folds: args.folds,
        seed: args.seed,
        jobs: args.jobs.unwrap_or_else(cores),
    };
    let mut shown = progress::Shown::new(settings.epochs, settings.folds);
    let trained = train::train(&settings, &mut shown)?;
    let seconds = shown.finish();
    let training = trained.metadata.training.as_ref().expect("`train` writes a record");
    print(&format!("version            {}", trained.metadata.version));
    print(&format!("images             {}", training.images));
    print(&format!("held-out accuracy  {:.4}", training.held_out_accuracy));
    print(&format!("test accuracy      {:.4}", training.test_accuracy));
    print(&format!("seconds            {seconds:.1}"));
    print(&format!("artefact           {}", settings.out.display()));
    print(&format!("sha256             {}", trained.digest));
    Ok(())
}

fn fetch_model(args: fetch::Fetch) -> Result<()> {
    let to = args.to.clone();
    let (fetched, json) = fetch::run(args)?;
    if json {
        print(&serde_json::to_string_pretty(&fetched)?);
        return Ok(());
    }
    print(&format!("artefact    {}{}", to.display(), if fetched.present { ", which was there" } else { "" }));
    print(&format!("sha256      {}", fetched.sha256));
    print(&format!("downloaded  {} bytes, {} more were here", fetched.downloaded, fetched.resumed));
    Ok(())
}

fn evaluate_model(args: &args::Evaluate) -> Result<()> {
    let (artefact, data, mut engine) = open(&args.model, &args.data)?;
    let answers = evaluate::answers(engine.as_mut(), &artefact.metadata, &data)?;
    if let Some(path) = &args.predictions {
        let list = evaluate::predictions(&artefact.metadata, &data, &answers);
        write_json(path, &list)?;
    }
    let report = evaluate::report(&artefact.metadata, &artefact.digest, &data, &answers);
    if args.json {
        print(&serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    let confidence = report.mean_confidence.map_or("none".to_owned(), |c| format!("{c:.4}"));
    print(&format!("version          {}", report.version));
    print(&format!(
        "accuracy         {:.4} ({} of {} images)",
        report.accuracy, report.correct, report.images
    ));
    print(&format!("mean confidence  {confidence}"));
    print(&format!("sha256           {}", report.digest));
    Ok(())
}

fn simulate_drift(mut args: args::SimulateDrift) -> Result<()> {
    if args.corruptions.is_empty() {
        args.corruptions = Corruption::ALL.to_vec();
    }
    let (artefact, data, mut engine) = open(&args.model, &args.data)?;
    let conditions = simulate::conditions(&args.corruptions, &args.severities);
    let failed = || args.out.display().to_string();
    let mut out = BufWriter::new(File::create(&args.out).with_context(failed)?);
    if !args.json {
        writeln!(out, "{}", simulate::CSV_HEADER).with_context(failed)?;
    }
    let steps = progress::steps(conditions.len() * data.samples.len(), "images");
    steps.suspend(|| print(&format!("{:<15} severity  accuracy  mean confidence  classes", "corruption")));
    for condition in conditions {
        let write = |row: &simulate::Row<'_>| {
            steps.inc(1);
            let line = if args.json { serde_json::to_string(row)? } else { row.csv() };
            writeln!(out, "{line}")
        };
        let done =
            simulate::simulate(engine.as_mut(), &artefact.metadata, &data, condition, args.seed, write)?;
        let confidence = done.mean_confidence.map_or("none".to_owned(), |c| format!("{c:.4}"));
        let (corruption, severity) = condition;
        let (name, accuracy, classes) = (corruption.name(), done.accuracy, done.predicted_classes);
        steps.suspend(|| {
            print(&format!("{name:<15} {severity:<8}  {accuracy:<8.4}  {confidence:<15}  {classes}"));
        });
    }
    out.flush().with_context(failed)?;
    steps.finish_and_clear();
    print(&format!("{} images of {} under each, in {}", data.samples.len(), args.data.display(), failed()));
    Ok(())
}

/// A model, images of its classes, and an engine that uses all cores.
fn open(model: &Path, data_file: &Path) -> Result<(Artefact, Dataset, Box<dyn Engine>)> {
    let artefact = Artefact::read(model)?;
    let data = Dataset::file(data_file)?;
    if data.classes != artefact.metadata.classes {
        bail!(
            "the model's classes are {:?}, those of {} are {:?}",
            artefact.metadata.classes,
            data_file.display(),
            data.classes
        );
    }
    let engine = load::engine(&artefact.model, &artefact.metadata, cores())?;
    Ok((artefact, data, engine))
}

fn serve_model(args: args::Serve) -> Result<()> {
    let options = args.options(cores())?;
    admin::init_tracing()?;
    turns::take_turns();
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    runtime.block_on(async { serve::run(options, admin::shutdown_signal()).await })?;
    // A decoder that still works for a client that left must not hold the exit.
    runtime.shutdown_background();
    Ok(())
}

fn serve_reviewers(options: review::Options) -> Result<()> {
    admin::init_tracing()?;
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    runtime.block_on(async { review::run(options, admin::shutdown_signal()).await })?;
    runtime.shutdown_background();
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    std::fs::write(path, serde_json::to_vec_pretty(value)?).with_context(|| path.display().to_string())
}

#[expect(clippy::print_stdout, reason = "results of commands go to stdout")]
fn print(line: &str) {
    println!("{line}");
}

/// The error and its causes; our own messages name their cause already.
fn story(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command")]
fn complain(text: &str) {
    eprintln!("error: {text}");
}
