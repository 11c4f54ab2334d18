//! B5: how often a candidate that is just too bad is proven good enough, and how long an equal one takes.

use evidence::Promotion;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::runs::{Question, draw, each, median, show};
use crate::targets::{Targets, share};

/// Error rate of stable.
const BASE: f64 = 0.07;
const LEVEL: f64 = 0.05;
const SPLIT: f64 = 0.5;
/// Looks per Wald's bound of an equal candidate, and bounds after which a run is given up.
const LOOKS: f64 = 50.0;
const BOUNDS: u64 = 20;

/// The table, `runs` candidates per line.
pub fn run(runs: u64, targets: &mut Targets) {
    println!("\nB5  promotion by proof: {runs} candidates per margin, base {BASE}, level {LEVEL}, 50/50");
    println!("    a look every fiftieth of Wald's bound, for {BOUNDS} times the bound");
    println!("      margin  promoted at the margin              equal one: median       Wald  of Wald  lost");
    for margin in [1.25, 1.5, 2.0] {
        // The arms exchanged: an equal candidate against 1 / margin.
        let question =
            Question { tolerance: 1.0 / margin, ratio: 1.0, base: BASE, split: 1.0 - SPLIT, level: LEVEL };
        let wald = question.wald();
        let step = (wald / LOOKS).ceil() as u64;
        let until = |ratio| each(runs, |seed| requests(seed, margin, ratio, step));
        let promoted = until(margin).iter().flatten().count() as u64;
        let equal = until(1.0);
        let lost = equal.iter().filter(|n| n.is_none()).count();
        let median = median(equal);
        let part = median.map_or(f64::INFINITY, |n| n as f64 / wald);
        let wrong = share(promoted, runs);
        println!("      {margin:<7} {wrong:<42} {:>10} {wald:>10.0} {part:>8.2} {lost:>5}", show(median));
        let what = format!("promoted at margin {margin}");
        targets.line(&what, &wrong, "<= 5 %", promoted as f64 <= LEVEL * runs as f64);
    }
}

/// Requests of both arms until the candidate is proven better than the margin.
fn requests(seed: u64, margin: f64, ratio: f64, step: u64) -> Option<u64> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut promotion = Promotion::new(margin).expect("in range");
    (1..=BOUNDS * LOOKS as u64).find_map(|i| {
        let stratum = draw(&mut random, step, SPLIT, [ratio * BASE, BASE]);
        promotion.observe(&stratum).expect("in range");
        promotion.crossed(LEVEL).then_some(i * step)
    })
}
