//! S8: what the prediction log costs: the same server with and without, in turn. What routers count (`x-input-stats` and
//! the other headers) cannot be switched off, so its cost is in both.

use anyhow::Result;
use serde::Serialize;

use super::contestants::Server;
use super::models::{Model, Workload};
use super::{Bench, CORES};
use crate::process::Program;
use crate::rounds::Spread;
use crate::wrk;

/// Ports of the server with the log, and of the one without.
const PORTS: [u16; 2] = [18341, 18343];
const COST: f64 = 1.03;

/// Processor time per request in microseconds, round by round.
#[derive(Debug, Default, Serialize)]
struct Cpu {
    with: Vec<f64>,
    without: Vec<f64>,
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for model in Model::JUDGED {
        let start = |port, log| -> Result<(Server, Program)> {
            let server = Server { log, ..Server::of(model).on(port) };
            let name = format!("{}-{port}", model.name());
            Ok((server, server.start(&bench.paths, &name, folder.path())?.listening(server.listen)?))
        };
        let (with, without) = (start(PORTS[0], true)?, start(PORTS[1], false)?);
        let mut cpu = Cpu::default();
        [&with, &without].into_iter().try_for_each(|it| turn(bench, it, 1).map(drop))?;
        for round in 1..=bench.report.of(11, 3) {
            eprintln!("log, {}: round {round}", model.name());
            // Whoever comes second finds the machine as the first left it.
            let order = if round % 2 == 0 { [true, false] } else { [false, true] };
            for log in order {
                let seconds = bench.report.of(3, 1);
                if log {
                    cpu.with.push(turn(bench, &with, seconds)?);
                } else {
                    cpu.without.push(turn(bench, &without, seconds)?);
                }
            }
        }
        let cost = Spread::ratio(&cpu.with, &cpu.without);
        let median = |values: &[f64]| Spread::of(values.iter().copied()).median;
        bench.report.say(&format!(
            "\nS8  {}, {}: {:.1} CPU us per request with the prediction log, {:.1} without; headers for routers are in both",
            model.name(),
            Workload::MAIN,
            median(&cpu.with),
            median(&cpu.without)
        ));
        let what = format!("S8 {}: CPU with the prediction log, of that without", model.name());
        bench.report.targets.line(&what, &cost.to_string(), &format!("<= {COST}"), cost.median <= COST);
        bench.report.keep(&format!("s8-{}", model.name()), &cpu)?;
    }
    Ok(())
}

/// Processor time of a request in microseconds.
fn turn(bench: &Bench, (server, program): &(Server, Program), seconds: u32) -> Result<f64> {
    let file = Workload::MAIN.images.file(&bench.paths).display().to_string();
    let (url, spent) = (format!("http://{}/predict", server.listen), program.cpu()?);
    let connections = Workload::MAIN.connections;
    let figures = wrk::run(CORES, &bench.paths.script(), &url, connections, seconds, &[file])?;
    Ok(1e6 * (program.cpu()? - spent).as_secs_f64() / figures.requests as f64)
}
