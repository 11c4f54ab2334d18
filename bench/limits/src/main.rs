//! `limits`: the parts of the model server, each alone. See `--help`.

#![allow(clippy::print_stdout, reason = "figures on stdout are what it is for")]

mod server;

use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine as _;
use bench::limits::Figures;
use bench::process::cpu;
use clap::{Args, Parser};
use model_server::{Artefact, Precision, decode, plan};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Parts of the model server, each alone, as fast as they can.
#[derive(Debug, Parser)]
#[command(version)]
enum Limits {
    /// The model, frozen and optimised, in batches of one size: no server can be faster.
    Raw(Raw),
    /// From the bytes of images to inputs of a model: decode, resize, normalise.
    Prepare(Prepare),
    /// The server with everything on, but with a model that costs nothing.
    Serve(server::Serve),
}

#[derive(Debug, Args)]
struct Raw {
    /// Artefact directory.
    #[arg(long)]
    model: PathBuf,
    #[arg(long, value_enum)]
    precision: Precision,
    /// Images of a batch.
    #[arg(long)]
    batch: usize,
    #[command(flatten)]
    time: Time,
}

#[derive(Debug, Args)]
struct Prepare {
    /// Artefact directory.
    #[arg(long)]
    model: PathBuf,
    /// Bodies of requests, one a line.
    #[arg(long)]
    bodies: PathBuf,
    #[command(flatten)]
    time: Time,
}

#[derive(Debug, Clone, Copy, Args)]
struct Time {
    /// Threads side by side, each with one of everything.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Milliseconds.
    #[arg(long, default_value_t = 2000)]
    millis: u64,
}

impl Raw {
    fn run(&self) -> Result<Figures> {
        let artefact = Artefact::read(&self.model)?;
        let program = artefact.model.program(&artefact.metadata)?;
        let loaded = plan::load(self.precision, &program, &artefact.metadata, 1)?;
        let length = artefact.metadata.preprocessing.input_len();
        self.time.measure(|| {
            let mut engine = loaded.engine(&artefact.metadata, 1)?;
            let inputs = noise(self.batch * length);
            Ok(move || {
                engine.run(&inputs, self.batch)?;
                Ok(self.batch as u64)
            })
        })
    }
}

/// Numbers of the size of inputs, not all equal.
fn noise(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 1000) as f32 / 250.0 - 2.0).collect()
}

impl Prepare {
    fn run(&self) -> Result<Figures> {
        let contract = Artefact::read(&self.model)?.metadata.preprocessing;
        let images = images(&self.bodies)?;
        self.time.measure(|| {
            let (contract, images) = (contract.clone(), images.clone());
            Ok(move || {
                for image in &images {
                    let pixels = decode::header(image, 4 << 20)?.decode()?;
                    std::hint::black_box(contract.normalise(&contract.resize(pixels)?));
                }
                Ok(images.len() as u64)
            })
        })
    }
}

/// The images in bodies of requests.
fn images(bodies: &std::path::Path) -> Result<Vec<Vec<u8>>> {
    #[derive(serde::Deserialize)]
    struct Body {
        image: String,
    }
    let text = std::fs::read_to_string(bodies).with_context(|| bodies.display().to_string())?;
    let image = |line| -> Result<Vec<u8>> {
        let body: Body = serde_json::from_str(line)?;
        Ok(base64::prelude::BASE64_STANDARD.decode(body.image)?)
    };
    text.lines().map(image).collect()
}

impl Time {
    /// Runs work on all threads at the same time. It is made on its thread, is run twice before the time begins, and says
    /// how many images each of its runs was for.
    fn measure<W: FnMut() -> Result<u64>>(self, make: impl Fn() -> Result<W> + Sync) -> Result<Figures> {
        let all = Barrier::new(self.threads + 1);
        std::thread::scope(|scope| {
            let thread = || -> Result<u64> {
                let made = make().and_then(|mut work| {
                    (0..3).try_for_each(|_| work().map(drop))?;
                    Ok(work)
                });
                // Also if it failed: the others wait.
                all.wait();
                let (mut work, start, mut images) = (made?, Instant::now(), 0);
                while start.elapsed() < Duration::from_millis(self.millis) {
                    images += work()?;
                }
                Ok(images)
            };
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(thread)).collect();
            all.wait();
            let own = std::process::id();
            let (start, spent) = (Instant::now(), cpu(own)?);
            let images = threads.into_iter().map(|thread| thread.join().expect("it returns its errors"));
            let images = images.sum::<Result<u64>>()?;
            Ok(Figures {
                images,
                seconds: start.elapsed().as_secs_f64(),
                cpu: (cpu(own)? - spent).as_secs_f64(),
            })
        })
    }
}

fn main() -> Result<()> {
    let figures = match Limits::parse() {
        Limits::Raw(raw) => raw.run()?,
        Limits::Prepare(prepare) => prepare.run()?,
        Limits::Serve(serve) => return serve.run(),
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}
