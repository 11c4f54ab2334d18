//! R7: whether the candidate gets its share, users stay where they are, and a larger share moves nobody else.

use anyhow::Result;
use serde_json::json;

use super::Bench;
use super::client::Revision;
use super::contestants::{Peer, Stand};
use super::load::{Load, Plan, Seen, Target, Users};
use super::sluice::{Route, Sluice};

const CLIENTS: u64 = 16;
const SHARE: f64 = 0.1;
const RAISED: f64 = 0.2;
const SIGMAS: f64 = 3.0;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let requests = bench.report.of(1_000_000, 100_000);
    eprintln!("split: four times up to {requests} requests");
    let stand = Stand::start(&bench.paths, &[Peer::Sluice])?;
    let send = |requests, users| {
        let plan = Plan { requests, users, body: 100, ..Plan::new(CLIENTS) };
        let seen = Load::start(&Target::new(Peer::Sluice.address()), &plan).finish();
        seen.check("sluice").map(|()| seen)
    };
    bench.report.say(&format!(
        "\nR7  a candidate with {:.0} % of the slots, then {:.0} %",
        100.0 * SHARE,
        100.0 * RAISED
    ));
    let drawn = send(requests, Users::Nobody)?;
    share(bench, "R7 share of requests without a user", SHARE, drawn.answers[1], requests);
    let first = send(requests, Users::InTurn(requests))?;
    share(bench, "R7 share of users", SHARE, first.answers[1], requests);
    let again = send(requests, Users::InTurn(requests))?;
    let [stay, _, _] = moves(&first, &again);
    let found = format!("{stay} of {requests}");
    bench.report.targets.line("R7 users that stay where they were", &found, "all", stay == requests);
    let candidate = (RAISED * f64::from(wire::SLOTS)) as u16;
    Sluice::serve(&stand.api, Sluice::FIRST, Route { generation: 2, candidate, copied: 0 })?;
    let raised = send(requests, Users::InTurn(requests))?;
    let [stayed, up, down] = moves(&again, &raised);
    share(bench, "R7 users that a larger share moves", RAISED - SHARE, up, requests);
    bench.report.targets.line("R7 users that it takes from the candidate", &down.to_string(), "0", down == 0);
    bench.report.keep(
        "r7",
        json!({"requests": requests, "drawn": drawn.answers, "users": first.answers, "stay": stay,
            "raised": {"stayed": stayed, "moved": up, "back": down}}),
    )
}

/// Whether so many of so many are a share, within three standard deviations.
fn share(bench: &mut Bench, what: &str, share: f64, found: u64, all: u64) {
    let all = all as f64;
    let sigma = (share * (1.0 - share) / all).sqrt();
    let off = (found as f64 / all - share) / sigma;
    let found = format!("{:.3} % of {all}, {off:+.2} sigma", 100.0 * found as f64 / all);
    let target = format!("{:.0} % within {SIGMAS} sigma", 100.0 * share);
    bench.report.targets.line(what, &found, &target, off.abs() <= SIGMAS);
}

/// Users that stay, that move to the candidate, and that move back to stable.
fn moves(before: &Seen, after: &Seen) -> [u64; 3] {
    let mut moves = [0; 3];
    for (user, now) in &after.assigned {
        match (before.assigned.get(user), now) {
            (Some(before), now) if before == now => moves[0] += 1,
            (Some(Revision::Stable), _) => moves[1] += 1,
            (Some(Revision::Candidate), _) => moves[2] += 1,
            // One that was never seen before has not stayed, and so is missing among those that did.
            (None, _) => {}
        }
    }
    moves
}
