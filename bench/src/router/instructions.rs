//! Instructions per request, counted by valgrind: no other number of this benchmark stays the same from one run to the
//! next, so it is by this one that a slow change is noticed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::Bench;
use super::PROXY_CORE;
use super::client::Request;
use super::contestants::{Peer, Stand};
use super::sluice::{Route, Sluice};
use crate::http::Connection;
use crate::process::{Program, pinned};

/// Requests of two runs: what they differ by is the requests' alone.
const REQUESTS: [u64; 2] = [1_000, 3_000];
/// Largest growth over what was committed.
const MOST: f64 = 1.05;
/// valgrind is slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// What is counted, by name: how the candidate takes part.
const CASES: [(&str, Route); 2] = [
    ("split", Route { generation: 2, candidate: 1_000, copied: 0 }),
    ("mirror", Route { generation: 2, candidate: 0, copied: 100 }),
];

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let path = bench.paths.instructions();
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let committed: BTreeMap<String, f64> = serde_json::from_str(&text).with_context(|| text.clone())?;
    let stand = Stand::start(&bench.paths, &[])?;
    Sluice::prepare(&stand.api);
    bench.report.say("\nInstructions of the router per request of 1 KB on one connection, by callgrind");
    for (name, route) in CASES {
        eprintln!("instructions: {name}");
        let [few, many] = REQUESTS.map(|requests| count(&stand, route, requests));
        let each = (many? as f64 - few? as f64) / (REQUESTS[1] - REQUESTS[0]) as f64;
        let known = committed.get(name).with_context(|| format!("{name} in {}", path.display()))?;
        let (what, found) =
            (format!("instructions per request, {name}"), format!("{each:.0}, committed {known:.0}"));
        bench.report.targets.line(&what, &found, "<= 5 % more", each <= known * MOST);
        bench.report.keep(&what, json!({"each": each, "committed": known}))?;
    }
    Ok(())
}

/// Instructions of a router from its start to its end, with so many requests between.
fn count(stand: &Stand, route: Route, requests: u64) -> Result<u64> {
    let mut command = pinned(PROXY_CORE, Path::new("valgrind"));
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(stand.paths.router());
    Sluice::configure(&mut command, stand, "counted", Sluice::FIRST)?;
    command.args(["--drain", "1s"]);
    stand.api.put_route(route.object());
    let program =
        Program::start("counted", command, stand.folder.path())?.listening(Peer::Sluice.address())?;
    Sluice::ready(Sluice::FIRST, PATIENCE)?;
    let mut connection = Connection::open(Peer::Sluice.address())?;
    let mut request = Request::of_users(1_000);
    for n in 0..requests {
        request.set_user(n % 100);
        request.ask(&mut connection)?;
    }
    drop(connection);
    let log = program.log().to_owned();
    program.stop()?;
    let text = std::fs::read_to_string(log)?;
    collected(&text).with_context(|| format!("callgrind's output: {text}"))
}

/// `==7== Collected : 123456`
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_found() {
        assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 123456\n==7==\n"), Some(123_456));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }
}
