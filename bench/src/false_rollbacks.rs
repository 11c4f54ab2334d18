//! B1: how often a harmless candidate is rolled back, here and by the rules of others.

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::Profile;

use crate::family::{Family, INTERVALS, RATE, REQUESTS, settings};
use crate::peers::{self, Peers};
use crate::runs::each;
use crate::simulated::{Draw, End, Settings, Simulated, TIMEOUT};
use crate::targets::{Targets, share, upper};
use crate::traffic::{Arm, Late, drawn};

/// Images in a reference profile.
const PROFILE: u64 = 1500;

/// What became of some rollouts.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// How many there were.
    pub rollouts: u64,
    /// Those that were taken back.
    pub rolled_back: u64,
    promoted: u64,
    by_metric: BTreeMap<String, u64>,
    peers: [u64; peers::NAMES.len()],
}

impl Tally {
    /// Percent that were rolled back: by both layers here, then by each of the peers' rules.
    pub fn percent(&self) -> Vec<(&'static str, f64)> {
        let names = std::iter::once("Sluice, both layers at their defaults").chain(peers::NAMES);
        let counts = std::iter::once(self.rolled_back).chain(self.peers);
        names.zip(counts.map(|count| 100.0 * count as f64 / self.rollouts as f64)).collect()
    }

    /// All of them as one.
    pub fn sum(tallies: &[Self]) -> Self {
        let mut sum = Self::default();
        tallies.iter().for_each(|tally| sum.add(tally));
        sum
    }

    /// Adds other rollouts.
    pub fn add(&mut self, other: &Self) {
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

/// For how long a rollout is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until our decision.
    Decided,
    /// For all of its requests, as the peers go on deciding.
    Over,
}

/// Runs `rollouts` per family and interval and prints the table.
pub fn run(rollouts: u64, targets: &mut Targets) -> Tally {
    let all = rollouts * (Family::ALL.len() * INTERVALS.len()) as u64;
    println!("\nB1  false rollbacks: {all} harmless rollouts of {REQUESTS} requests");
    println!(
        "    profiles of {PROFILE} images; both layers at their defaults; the metrics of design section 3"
    );
    let progress = ProgressBar::new(all);
    let mut total = Tally::default();
    for family in Family::ALL {
        let mut of_family = Tally::default();
        for interval in INTERVALS {
            of_family.add(&cell(family, &settings(interval), rollouts, Until::Over, &progress));
        }
        println!("    {:<28} {}", family.name(), share(of_family.rolled_back, of_family.rollouts));
        for (name, fired) in peers::NAMES.iter().zip(of_family.peers) {
            println!("      {:>6.1} %  {name}", 100.0 * fired as f64 / of_family.rollouts as f64);
        }
        total.add(&of_family);
    }
    progress.finish_and_clear();
    report(&total, targets);
    total
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

/// Rollouts of a family, judged by these settings.
pub fn cell(
    family: Family,
    settings: &Settings,
    rollouts: u64,
    until: Until,
    progress: &ProgressBar,
) -> Tally {
    let arms = [family.candidate(), family.stable()].map(Arm::new);
    let tallies = each(rollouts, |i| {
        let seed = (family as u64) << 40 | u64::from(settings.interval) << 32 | i;
        let tally = rollout(family, settings, arms.each_ref(), until, seed);
        progress.inc(1);
        tally
    });
    Tally::sum(&tallies)
}

fn rollout(family: Family, settings: &Settings, arms: [&Arm; 2], until: Until, seed: u64) -> Tally {
    let mut random = StdRng::seed_from_u64(seed);
    let [ours, theirs]: [Profile; 2] = arms.map(|arm| arm.profile(&mut random, PROFILE));
    let mut world = Simulated::new(settings, Some([&ours, &theirs]));
    let mut peers = Peers::default();
    let users = crate::users::Users::new(&mut random);
    let mut drifting_share = 0.1;
    let per_interval = (RATE * f64::from(settings.interval)) as u64;
    let (mut requests, mut late) = (0, Late::default());
    let mut tally = Tally { rollouts: 1, ..Tally::default() };
    while requests < REQUESTS && (until == Until::Over || world.end.is_none()) {
        let swing = family.swing(requests as f64 / REQUESTS as f64);
        let share = if family == Family::Bandit {
            drifting_share = f64::clamp(drifting_share + random.random_range(-0.2..0.2), 0.02, 0.98);
            drifting_share
        } else {
            world.share()
        };
        let sticky = family == Family::Sticky;
        let ([candidate, mut stable], answers) = if sticky {
            users.interval(&mut random, per_interval, share, arms)
        } else {
            (drawn(&mut random, per_interval, share, swing, arms), Vec::new())
        };
        if family == Family::Late {
            late.delay(&mut stable, TIMEOUT.as_secs() as usize / settings.interval as usize, share);
        }
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
