//! B2: how many requests it takes until a harmful candidate is rolled back, beside Wald's bound.

use std::time::Duration;

use evidence::{Pairs, Process, Tests};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rollout::Stage;

use crate::runs::{Question, each, median, show};
use crate::simulated::{Draw, End, Settings, Simulated};
use crate::targets::Targets;
use crate::traffic::{Arm, Model, drawn};

const FALSE_ROLLBACK: f64 = 0.01;
/// Error rate of stable.
const BASE: f64 = 0.02;
/// Intervals per Wald's bound, so that two looks are less than 2 % of it apart.
const STEPS: f64 = 60.0;
/// Intervals after which a run is given up, six times Wald's bound.
const MOST: u64 = 360;
/// Level of the paired test, and how often stable alone is wrong.
const PAIRED_LEVEL: f64 = 0.01;
const BETTER: f64 = 0.02;
/// Median over Wald's bound that is promised at a doubled error rate and equal shares, and labels at 5 points.
const PART: f64 = 1.3;
const LABELS: u64 = 400;

/// All three tables, each median over `runs`.
pub fn run(runs: u64, targets: &mut Targets) {
    println!(
        "\nB2  requests of both arms until a harmful candidate is rolled back, median of {runs} rollouts"
    );
    println!("    sequential tests at their defaults, no thresholds, known split");
    errors(runs, targets);
    latency(runs);
    paired(runs, targets);
}

fn errors(runs: u64, targets: &mut Targets) {
    let (tolerance, level) = tests();
    println!("    error rate {BASE}, tolerance {tolerance}, level {level:.4}; fixed: one look, power 80 %");
    println!("      ratio  share   requests       Wald  of Wald      fixed  lost");
    for split in [0.5, 0.1, 0.05] {
        for ratio in [1.5, 2.0, 3.0, 5.0] {
            let question = Question { tolerance, ratio, base: BASE, split, level };
            let wald = question.wald();
            let model = Model { errors: BASE, ..Model::GOOD };
            let ours = Model { errors: ratio * BASE, ..model };
            let taken = rollouts(runs, [ours, model], split, (wald / STEPS).ceil() as u64);
            let lost = taken.iter().filter(|n| n.is_none()).count();
            let median = median(taken);
            let part = median.map_or(f64::INFINITY, |n| n as f64 / wald);
            println!(
                "      x{ratio:<5} {split:<5} {:>10} {wald:>10.0} {part:>8.2} {:>10.0} {lost:>5}",
                show(median),
                question.fixed()
            );
            if ratio == 2.0 && split == 0.5 {
                let found = format!("{part:.2} of Wald's bound");
                targets.line("doubled error rate at 50/50", &found, &format!("<= {PART}"), part <= PART);
            }
        }
    }
}

/// Tolerance and level of the test of errors.
fn tests() -> (f64, f64) {
    let tests = Tests::default();
    let harm = tests.errors.expect("it is on by default");
    (harm.tolerance, tests.levels(FALSE_ROLLBACK)[0])
}

fn latency(runs: u64) {
    println!(
        "    latency: the candidate twice as slow in every answer, tolerance 1.5, looks every 50 requests"
    );
    println!("      share   requests  lost");
    for split in [0.5, 0.1, 0.05] {
        let ours = Model { seconds: 2.0 * Model::GOOD.seconds, ..Model::GOOD };
        let taken = rollouts(runs, [ours, Model::GOOD], split, 50);
        let lost = taken.iter().filter(|n| n.is_none()).count();
        println!("      {split:<5} {:>10} {lost:>5}", show(median(taken)));
    }
}

/// Requests of both arms until each rollout is taken back, looking every `step` of them.
fn rollouts(runs: u64, models: [Model; 2], split: f64, step: u64) -> Vec<Option<u64>> {
    let settings = Settings {
        stages: vec![Stage {
            weight: (100.0 * split).round() as u8,
            // Longer than any run.
            hold: Duration::from_secs(1_000_000),
            ..Stage::default()
        }],
        metrics: Vec::new(),
        tests: Tests::default(),
        false_rollback: FALSE_ROLLBACK,
        interval: 10,
    };
    let arms = models.map(Arm::new);
    each(runs, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = Simulated::new(&settings, None);
        (1..=MOST).find_map(|i| {
            let [ours, theirs] = drawn(&mut random, step, split, 1.0, arms.each_ref());
            world.pass([&ours, &theirs], Draw::Requests(split));
            matches!(world.end, Some(End::RolledBack(_))).then_some(i * step)
        })
    })
}

fn paired(runs: u64, targets: &mut Targets) {
    println!(
        "    shadow: labelled requests, stable alone wrong in {BETTER}, level {PAIRED_LEVEL}, a look at each"
    );
    println!("      accuracy  tolerance  requests       Wald  of Wald");
    for points in [2_u32, 5, 10] {
        for tolerance in [1.0, 1.1] {
            let worse = BETTER + f64::from(points) / 100.0;
            let median = median(each(runs, |seed| Some(pairs(seed, worse, tolerance))));
            let ratio = worse / BETTER;
            // Each pair that tells the two apart is an event; the rate of both together is base (ratio + 1) / 2.
            let (base, level) = (2.0 * BETTER, PAIRED_LEVEL);
            let wald = Question { tolerance, ratio, base, split: 0.5, level }.wald();
            let part = median.map_or(f64::INFINITY, |n| n as f64 / wald);
            println!("      -{points:<8} {tolerance:>9} {:>9} {wald:>10.0} {part:>8.2}", show(median));
            if points == 5 && tolerance > 1.0 {
                let reached = median.is_some_and(|n| n <= LABELS);
                let found = format!("{} labelled requests", show(median));
                targets.line("5 points of accuracy, paired", &found, &format!("<= {LABELS}"), reached);
            }
        }
    }
}

/// Labelled requests until the candidate is found worse.
fn pairs(seed: u64, worse: f64, tolerance: f64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut process, mut n) = (Process::new(tolerance).expect("in range"), 0);
    while !process.crossed(PAIRED_LEVEL) {
        let fate: f64 = random.random();
        let (worse, better) = (fate < worse, (worse..worse + BETTER).contains(&fate));
        let pairs = Pairs { worse: worse.into(), better: better.into(), neither: 0, n: 1 };
        process.observe_pairs(&pairs).expect("one pair");
        n += 1;
    }
    n
}
