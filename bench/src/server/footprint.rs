//! S6: from start to ready, and memory. Each contestant alone, its files in the page cache.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::Bench;
use super::contestants::{Peer, Server};
use super::models::{Images, Model, Workload};
use super::stand::{Contestant, first_answer};
use super::turns;
use crate::http::page;
use crate::process::{Memory, Program};
use crate::rounds::Spread;

const MB: f64 = 1e6;
const MEMORY: f64 = 250.0;
const READY: f64 = 1.0;

#[derive(Debug, Serialize)]
struct Row {
    peer: Peer,
    /// Seconds from start to the first answer.
    answer: Spread,
    /// Seconds from start to `/readyz`, of the model server.
    ready: Option<Spread>,
    idle: Memory,
    loaded: Memory,
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let model = Model::Cifar;
    bench.report.say(&format!(
        "\nS6  {}: seconds from start to the first answer; memory with one model, PSS (RSS) in MB",
        model.name()
    ));
    bench.report.say(
        "      contestant           first answer                ready      after the first      after load",
    );
    let mut rows = vec![];
    for peer in Peer::all().into_iter().filter(|peer| *peer != Peer::Http) {
        eprintln!("footprint: {}", peer.name());
        let row = measure(bench, model, peer).with_context(|| peer.name())?;
        let spelt =
            [row.idle, row.loaded].map(|m| format!("{:.0} ({:.0})", m.pss as f64 / MB, m.rss as f64 / MB));
        let ready = row.ready.map_or_else(|| "-".to_owned(), |ready| ready.to_string());
        bench.report.say(&format!(
            "      {:<12} {:>20} {:>20} {:>20} {:>15}",
            peer.name(),
            row.answer.to_string(),
            ready,
            spelt[0],
            spelt[1]
        ));
        rows.push(row);
    }
    let image = bench.paths.image()?;
    bench.report.say(&format!("      an image of the model server adds {image:.0} MB to its base (program and libtorch, not compressed)"));
    for row in rows.iter().filter(|row| row.ready.is_some()) {
        let (name, targets) = (row.peer.name(), &mut bench.report.targets);
        let pss = row.loaded.pss as f64 / MB;
        let what = format!("S6 {name}: memory with one model after load, PSS");
        targets.line(&what, &format!("{pss:.0} MB"), &format!("<= {MEMORY} MB"), pss <= MEMORY);
        let ready = row.ready.unwrap_or_default();
        let what = format!("S6 {name}: start to ready, every batch size warmed up");
        targets.line(&what, &format!("{ready} s"), &format!("<= {READY} s"), ready.median <= READY);
    }
    bench.report.keep("s6", &rows)
}

fn measure(bench: &Bench, model: Model, peer: Peer) -> Result<Row> {
    let body = Images::Png32.bodies(&bench.paths)?.swap_remove(0);
    let (mut answers, mut readies, mut memory) = (vec![], vec![], None);
    for _ in 0..bench.report.of(5, 2) {
        let folder = tempfile::tempdir()?;
        let start = Instant::now();
        let mut program = peer.start(&bench.paths, model, folder.path())?;
        if matches!(peer, Peer::Sluice | Peer::SluiceBf16) {
            ready(peer, model, &mut program)?;
            readies.push(start.elapsed().as_secs_f64());
        }
        first_answer(peer, &mut program, &body)?;
        answers.push(start.elapsed().as_secs_f64());
        if memory.is_none() {
            std::thread::sleep(Duration::from_secs(1));
            let idle = program.memory()?;
            let contestant = Contestant { peer, program };
            turns::turn(&bench.paths, &contestant, Workload::MAIN, bench.report.of(5, 2))?;
            memory = Some((idle, contestant.program.memory()?));
        }
    }
    let (idle, loaded) = memory.context("it was started")?;
    let ready = (!readies.is_empty()).then(|| Spread::of(readies));
    Ok(Row { peer, answer: Spread::of(answers), ready, idle, loaded })
}

/// Waits until it says that it is ready.
fn ready(peer: Peer, model: Model, program: &mut Program) -> Result<()> {
    let start = Instant::now();
    let admin = Server { listen: peer.address(), ..Server::of(model) }.admin();
    while page(admin, "/readyz").ok().is_none_or(|(status, _)| status != 200) {
        ensure!(
            start.elapsed() < Duration::from_secs(20) && !program.has_ended()?,
            "not ready: {}",
            program.last_words()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
