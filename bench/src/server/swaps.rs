//! S7 within one server: versions of a model that appear in its folder and take over under load. No client sends anything
//! twice, and every answer is of the version before or of the next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Bench;
use super::answers;
use super::contestants::{Peer, Server};
use super::models::{Images, Model};
use super::open::{Load, Plan, Seen, Target};
use crate::http::page;
use crate::process::Program;

const CLIENTS: usize = 16;
const SWAPS: usize = 20;
const PORT: u16 = 18_335;
/// Time for all requests.
const PATIENCE: Duration = Duration::from_secs(500);
/// Time for one version to take over.
const TURN: Duration = Duration::from_secs(30);
/// Most that a swap may cost whoever waits for an answer.
const SLOWER: f64 = 1.5;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let (paths, model) = (bench.paths.clone(), Model::Cifar);
    let requests = bench.report.of(1_000_000, 50_000);
    eprintln!("swaps: {requests} requests");
    let folder = tempfile::tempdir()?;
    let shelf =
        Shelf { artefact: model.folder(&paths), versions: folder.path().join("models").join(model.name()) };
    std::fs::create_dir_all(&shelf.versions)?;
    shelf.place(0)?;
    let server = Server::of(model).on(PORT);
    let models = folder.path().join("models");
    let program = server.start_repository(&models, &paths, folder.path())?.listening(server.listen)?;
    until_answers(&server, &program, 0)?;
    let bodies = Images::Png32.bodies(&paths)?;
    let spelt =
        Arc::new(bodies.iter().map(|body| answers::request(Peer::Sluice.path(), body)).collect::<Vec<_>>());
    let target = Target::new(server.listen);
    let plan = Plan { clients: CLIENTS, rate: None, requests, time: PATIENCE };
    let calm = Load::start(&target, &spelt, &Plan { requests: requests / 20, ..plan.clone() });
    let (began, calm) = (Instant::now(), calm.finish());
    // As fast as without swaps, they are spread over all requests.
    let each = began.elapsed() * 20 / (SWAPS as u32 + 2);
    let (load, began, mut took) = (Load::start(&target, &spelt, &plan), Instant::now(), vec![]);
    for swap in 1..=SWAPS {
        std::thread::sleep((each * swap as u32).saturating_sub(began.elapsed()));
        ensure!(!load.is_over(), "all was asked before swap {swap}");
        shelf.place(swap)?;
        took.push(until_answers(&server, &program, swap)?.as_secs_f64());
        shelf.remove(swap - 1)?;
    }
    let seen = load.finish();
    ensure!(seen.requests() >= requests as u64, "only {} requests within {PATIENCE:?}", seen.requests());
    tell(bench, model, (&took, began.elapsed()), &calm, &seen, requests)
}

fn tell(
    bench: &mut Bench,
    model: Model,
    (took, time): (&[f64], Duration),
    calm: &Seen,
    seen: &Seen,
    requests: usize,
) -> Result<()> {
    let lost = seen.lost();
    let longest = took.iter().copied().fold(0.0, f64::max);
    let slower = seen.p99() / calm.p99();
    bench.report.say(&format!(
        "\nS7  {}: {CLIENTS} clients beside {SWAPS} swaps in {:.0} s, of at most {longest:.2} s each: {lost} of {} requests \
         lost ({} refused; else: {}); p99 {:.1} ms, {:.1} ms without a swap",
        model.name(),
        time.as_secs_f64(),
        seen.requests(),
        seen.refused.len(),
        seen.spelt(),
        seen.p99(),
        calm.p99()
    ));
    let targets = &mut bench.report.targets;
    let found = format!("{lost} of {}, {SWAPS} swaps", seen.requests());
    targets.line("S7 requests lost in swaps", &found, &format!("0 of >= {requests}"), lost == 0);
    targets.line(
        "S7 p99 beside swaps, of that without",
        &format!("{slower:.2}"),
        &format!("<= {SLOWER}"),
        slower <= SLOWER,
    );
    bench.report.keep(
        "s7Swaps",
        json!({"requests": seen.requests(), "lost": lost, "swaps": SWAPS, "failures": seen.spelt(), "longest": longest,
            "p99": seen.p99(), "calmP99": calm.p99()}),
    )
}

/// The folder of a model's versions.
struct Shelf {
    artefact: PathBuf,
    versions: PathBuf,
}

impl Shelf {
    /// The artefact under another version; it is whole or not there.
    fn place(&self, number: usize) -> Result<()> {
        let building = self.versions.with_file_name("building");
        std::fs::create_dir_all(&building)?;
        for file in ["model.pt", "reference.json", "metadata.json"] {
            let from = self.artefact.join(file);
            let read = || std::fs::read(&from).with_context(|| from.display().to_string());
            let bytes = if file == "model.pt" { read()? } else { renamed(&read()?, number)? };
            std::fs::write(building.join(file), bytes)?;
        }
        Ok(std::fs::rename(building, self.folder(number))?)
    }

    fn remove(&self, number: usize) -> Result<()> {
        Ok(std::fs::remove_dir_all(self.folder(number))?)
    }

    fn folder(&self, number: usize) -> PathBuf {
        self.versions.join(version(number))
    }
}

fn version(number: usize) -> String {
    format!("2.0.{number}")
}

fn renamed(text: &[u8], number: usize) -> Result<Vec<u8>> {
    let mut described: Value = serde_json::from_slice(text)?;
    described["version"] = version(number).into();
    Ok(serde_json::to_vec(&described)?)
}

/// Waits until the model answers with this version.
fn until_answers(server: &Server, program: &Program, number: usize) -> Result<Duration> {
    let (began, version) = (Instant::now(), version(number));
    let says =
        || page(server.listen, "/model-info").is_ok_and(|(_, text)| text.contains(&format!("\"{version}\"")));
    while !says() {
        ensure!(began.elapsed() < TURN, "{version} does not take over: {}", program.last_words());
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(began.elapsed())
}
