//! B1: how often a harmless candidate is rolled back, here and by the rules of others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::ProgressBar;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::{Counts, Profile};

use crate::family::{Family, INTERVALS, RATE, REQUESTS, settings};
use crate::peers::{self, Peers};
use crate::simulated::{Draw, End, Settings, Simulated};
use crate::targets::{Targets, share, upper};
use crate::traffic::{Arm, Model};

/// Images in a reference profile.
const PROFILE: u64 = 1500;

/// What became of some rollouts.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    rollouts: u64,
    rolled_back: u64,
    promoted: u64,
    by_metric: BTreeMap<String, u64>,
    peers: [u64; peers::NAMES.len()],
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.rollouts += other.rollouts;
        self.rolled_back += other.rolled_back;
        self.promoted += other.promoted;
        for (metric, count) in &other.by_metric {
            *self.by_metric.entry(metric.clone()).or_default() += count;
        }
        for (mine, theirs) in self.peers.iter_mut().zip(other.peers) {
            *mine += theirs;
        }
    }
}

/// Who answers in the rollouts of a family.
struct Cast {
    candidate: Arm,
    stable: Arm,
}

/// Runs `rollouts` per family and interval, on two threads, and prints the table.
pub fn run(rollouts: u64, targets: &mut Targets) {
    let cells: Vec<(Family, u32)> =
        Family::ALL.into_iter().flat_map(|family| INTERVALS.map(|interval| (family, interval))).collect();
    println!(
        "\nB1  false rollbacks: {} harmless rollouts of {REQUESTS} requests",
        rollouts * cells.len() as u64
    );
    println!(
        "    profiles of {PROFILE} images; both layers at their defaults; the metrics of design section 3"
    );
    let progress = ProgressBar::new(rollouts * cells.len() as u64);
    let mut total = Tally::default();
    for family in Family::ALL {
        let mut of_family = Tally::default();
        for interval in INTERVALS {
            let tally = cell(family, interval, rollouts, &progress);
            of_family.add(&tally);
        }
        println!("    {:<28} {}", family.name(), share(of_family.rolled_back, of_family.rollouts));
        for (name, fired) in peers::NAMES.iter().zip(of_family.peers) {
            println!("      {:>6.1} %  {name}", 100.0 * fired as f64 / of_family.rollouts as f64);
        }
        total.add(&of_family);
    }
    progress.finish_and_clear();
    report(&total, targets);
}

fn report(total: &Tally, targets: &mut Targets) {
    println!(
        "    all: rolled back {}, promoted {}",
        share(total.rolled_back, total.rollouts),
        total.promoted
    );
    for (metric, count) in &total.by_metric {
        println!("      by {metric}: {count}");
    }
    for (name, fired) in peers::NAMES.iter().zip(total.peers) {
        println!("      {:<72} {}", name, share(fired, total.rollouts));
    }
    let (x, n) = (total.rolled_back, total.rollouts);
    let rate = x as f64 / n as f64;
    targets.line("false rollbacks", &share(x, n), "<= 1 %", rate <= 0.01);
    targets.line(
        "false rollbacks, upper 99 % limit",
        &format!("{:.2} %", 100.0 * upper(x, n)),
        "<= 1.3 %",
        upper(x, n) <= 0.013,
    );
    targets.line(
        "false rollbacks, expected by design",
        &format!("{:.2} %", 100.0 * rate),
        "<= 0.75 %",
        rate <= 0.0075,
    );
}

fn cell(family: Family, interval: u32, rollouts: u64, progress: &ProgressBar) -> Tally {
    let next = AtomicU64::new(0);
    let settings = settings(interval);
    let work = || {
        let cast = Cast { candidate: Arm::new(family.candidate()), stable: Arm::new(Model::GOOD) };
        let mut tally = Tally::default();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= rollouts {
                return tally;
            }
            let seed = (family as u64) << 40 | u64::from(interval) << 32 | i;
            tally.add(&rollout(family, &settings, &cast, seed));
            progress.inc(1);
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut tally = work();
        tally.add(&other.join().expect("the other thread does not panic"));
        tally
    })
}

fn rollout(family: Family, settings: &Settings, cast: &Cast, seed: u64) -> Tally {
    let mut random = StdRng::seed_from_u64(seed);
    let [ours, theirs]: [Profile; 2] =
        [&cast.candidate, &cast.stable].map(|arm| arm.profile(&mut random, PROFILE));
    let mut world = Simulated::new(settings, Some([&ours, &theirs]));
    let mut peers = Peers::default();
    let users = crate::users::Users::new(&mut random);
    let mut drifting_share = 0.1;
    let per_interval = (RATE * f64::from(settings.interval)) as u64;
    let mut requests = 0;
    let mut tally = Tally { rollouts: 1, ..Tally::default() };
    while requests < REQUESTS {
        let swing = family.swing(requests as f64 / REQUESTS as f64);
        let share = if family == Family::Bandit {
            drifting_share = f64::clamp(drifting_share + random.random_range(-0.2..0.2), 0.02, 0.98);
            drifting_share
        } else {
            world.share()
        };
        let sticky = family == Family::Sticky;
        let ([candidate, stable], answers) = if sticky {
            users.interval(&mut random, per_interval, share, [&cast.candidate, &cast.stable])
        } else {
            (split(&mut random, per_interval, share, swing, cast), Vec::new())
        };
        requests += per_interval;
        peers.look(&candidate, &stable, settings.interval.into());
        if world.end.is_none() {
            let draw = if sticky { Draw::Users(share, &answers) } else { Draw::Requests(share) };
            world.pass([&candidate, &stable], draw);
        }
    }
    match &world.end {
        Some(End::RolledBack(_)) => {
            tally.rolled_back = 1;
            tally.by_metric.insert(world.culprit().unwrap_or("unknown").to_owned(), 1);
        }
        Some(End::Promoted) => tally.promoted = 1,
        None => {}
    }
    tally.peers = peers.fired.map(u64::from);
    tally
}

/// Requests drawn one by one at random.
fn split(random: &mut StdRng, requests: u64, share: f64, swing: f64, cast: &Cast) -> [Counts; 2] {
    let candidate = (0..requests).filter(|_| random.random_bool(share)).count();
    let swings = |n: usize| std::iter::repeat_n(swing, n);
    let ours = cast.candidate.answers(random, swings(candidate), |_| {});
    let theirs = cast.stable.answers(random, swings(requests as usize - candidate), |_| {});
    [ours, theirs]
}
