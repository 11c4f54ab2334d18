//! B6: what a bandit costs beside the bound of Lai & Robbins, and beside equal shares.

use evidence::{Bandit, HalfLife};
use jiff::Timestamp;

use crate::runs::each;
use crate::targets::Targets;
use regret::{Run, World, lai_robbins};

// The simulation that the tests of `evidence` run.
#[allow(dead_code, clippy::unwrap_used, reason = "it is a test's, and does more for others")]
#[path = "../../evidence/tests/common/regret.rs"]
mod regret;

const REQUESTS: usize = 10_000;
/// Requests after which a label arrives.
const DELAY: usize = 500;
/// Lowest share, in percent.
const FLOOR: u32 = 2;
/// After so many rewards one counts half, where the bandit forgets.
const HALF_LIFE: f64 = 500.0;
const BANDIT: Bandit =
    Bandit { total: 100, floor: FLOOR, ceiling: 100, max_step: 20, half_life: None, stop_at: 0.95 };

/// The clock of the simulation: a second per request.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("in range")
}

/// Both tables, means of `runs`.
pub fn run(runs: u64, targets: &mut Targets) {
    println!(
        "\nB6  regret of a bandit over {REQUESTS} requests, floor {FLOOR} %, label delay {DELAY}, mean of {runs} runs"
    );
    println!(
        "    settings: what the start, kept until a label arrives, and then the floor cost by themselves"
    );
    println!("      arms            start        regret  settings  C ln T  uniform  best arm has");
    steady(&[0.93, 0.90, 0.85], &[34, 33, 33], "three arms, equal start", runs, targets);
    steady(&[0.95, 0.90], &[100, 0], "two arms, good stable has all", runs, targets);
    steady(&[0.95, 0.90], &[50, 50], "two arms, equal start", runs, targets);
    swapped(runs, targets);
}

fn steady(chances: &[f64], start: &[u32], name: &str, runs: u64, targets: &mut Targets) {
    let world = World { chances, start, requests: REQUESTS, delay: DELAY, turn: None };
    let found = each(runs, |seed| regret::run(&BANDIT, &world, seed));
    let (regret, share) = (mean(&found, |run| run.regret), mean(&found, |run| f64::from(run.shares[0])));
    let bound = lai_robbins(chances) * (REQUESTS as f64).ln();
    let (settings, uniform) = (settings(chances, start), uniform(chances));
    println!(
        "      {:<15} {:<12} {regret:>6.1} {settings:>9.1} {bound:>7.1} {uniform:>8.1} {share:>11.0} %",
        list(chances),
        list(start)
    );
    let mut found = format!("{regret:.1}");
    if settings > bound {
        found += &format!("; floor and delay alone cost {settings:.1}");
    }
    targets.line(&format!("regret, {name}"), &found, &format!("< C ln T = {bound:.1}"), regret < bound);
}

/// The first arm is best; until labels arrive the start shares hold, and from then on the floors.
fn settings(chances: &[f64], start: &[u32]) -> f64 {
    let gaps = || chances.iter().map(|chance| chances[0] - chance);
    let waiting: f64 = gaps().zip(start).map(|(gap, share)| gap * f64::from(*share) / 100.0).sum();
    let floors: f64 = gaps().map(|gap| gap * f64::from(FLOOR) / 100.0).sum();
    DELAY as f64 * waiting + (REQUESTS - DELAY) as f64 * floors
}

fn uniform(chances: &[f64]) -> f64 {
    let missed: f64 = chances.iter().map(|chance| chances[0] - chance).sum();
    REQUESTS as f64 * missed / chances.len() as f64
}

fn swapped(runs: u64, targets: &mut Targets) {
    let chances = [0.95, 0.80];
    let turn = Some(REQUESTS / 2);
    let forgets = Bandit { half_life: Some(HalfLife::Rewards(HALF_LIFE)), ..BANDIT };
    println!(
        "    the arms {} change places after {} requests; uniform {:.1}",
        list(&chances),
        REQUESTS / 2,
        uniform(&chances)
    );
    println!("      half-life   delay  regret  best arm has  runs that have it in front");
    for delay in [0, DELAY] {
        let world = World { chances: &chances, start: &[50, 50], requests: REQUESTS, delay, turn };
        let [ours, theirs] = [(&forgets, "500 rewards"), (&BANDIT, "none")].map(|(bandit, half_life)| {
            let found = each(runs, |seed| regret::run(bandit, &world, seed));
            let (regret, share) =
                (mean(&found, |run| run.regret), mean(&found, |run| f64::from(run.shares[1])));
            let front = found.iter().filter(|run| run.shares[1] > 50).count() as u64;
            println!("      {half_life:<11} {delay:>5} {regret:>7.1} {share:>11.0} % {front:>10}/{runs}");
            (regret, front)
        });
        let what = format!("after a swap, delay {delay}, the best arm is found again");
        targets.line(&what, &format!("{}/{runs}", ours.1), "every run", ours.1 == runs);
        let what = format!("regret with a swap, delay {delay}");
        let found = format!("{:.1}", ours.0);
        let target = format!("< {:.1} of one that never forgets", theirs.0);
        targets.line(&what, &found, &target, ours.0 < theirs.0);
    }
}

fn mean(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    runs.iter().map(value).sum::<f64>() / runs.len() as f64
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join("/")
}
