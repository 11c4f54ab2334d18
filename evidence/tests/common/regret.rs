//! What a bandit costs: simulated requests with known chances of a reward.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use evidence::{Arrived, Bandit, BanditState};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::at;

/// Requests between two allotments.
const INTERVAL: usize = 200;

/// A world for a bandit.
pub(crate) struct World<'a> {
    /// Each arm's chance of a reward; the first arm is stable.
    pub(crate) chances: &'a [f64],
    /// Where the shares begin, by arm.
    pub(crate) start: &'a [u32],
    /// Number of requests.
    pub(crate) requests: usize,
    /// Requests after which a reward arrives.
    pub(crate) delay: usize,
    /// After so many requests the chances turn round: the first arm's becomes the last one's.
    pub(crate) turn: Option<usize>,
}

/// What a run came to.
pub(crate) struct Run {
    /// Expected rewards that were missed, against always asking the best arm (pseudo-regret).
    pub(crate) regret: f64,
    /// The shares at the end, by arm.
    pub(crate) shares: Vec<u32>,
    /// The arm that led for the first time, and after how many requests.
    pub(crate) first_lead: Option<(usize, usize)>,
}

/// The leading term's constant in the bound of Lai & Robbins (Adv. Appl. Math. 6 (1985) 4): the regret of a
/// consistent policy grows at least as C ln T, with C the sum of gap / KL(chance, best) over the worse arms.
pub(crate) fn lai_robbins(chances: &[f64]) -> f64 {
    let best = chances.iter().copied().fold(0.0, f64::max);
    let divergence = |p: f64| p * (p / best).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - best)).ln();
    chances.iter().filter(|p| **p < best).map(|p| (best - p) / divergence(*p)).sum()
}

/// One seeded run.
pub(crate) fn run(bandit: &Bandit, world: &World<'_>, seed: u64) -> Run {
    let mut rng = StdRng::seed_from_u64(seed);
    let names: Vec<String> = (0..world.chances.len()).map(|arm| format!("arm-{arm:02}")).collect();
    let shares = names.iter().cloned().zip(world.start.iter().copied()).collect();
    let mut state = BanditState::new(&names[0], shares);
    let mut shares = world.start.to_vec();
    let mut chances = world.chances.to_vec();
    let best = chances.iter().copied().fold(0.0, f64::max);
    let mut pending: VecDeque<(usize, usize, bool)> = VecDeque::new();
    let (mut regret, mut first_lead) = (0.0, None);
    for request in 0..world.requests {
        if world.turn == Some(request) {
            chances.reverse();
        }
        let arm = draw(&shares, bandit.total, &mut rng);
        regret += best - chances[arm];
        pending.push_back((request + world.delay, arm, rng.random_bool(chances[arm])));
        if (request + 1) % INTERVAL != 0 {
            continue;
        }
        let mut arrived: BTreeMap<String, Arrived> = BTreeMap::new();
        while pending.front().is_some_and(|(due, _, _)| *due <= request) {
            let (_, arm, reward) = pending.pop_front().unwrap();
            let of = arrived.entry(names[arm].clone()).or_default();
            of.trials += 1;
            of.successes += u64::from(reward);
        }
        let now = at(request as i64);
        let reading = state.advance(bandit, &arrived, &BTreeSet::new(), now).unwrap();
        shares = reading.shares.into_values().collect();
        if let (None, Some(lead)) = (first_lead, reading.lead) {
            first_lead = names.iter().position(|name| *name == lead.arm).map(|arm| (arm, request + 1));
        }
    }
    Run { regret, shares, first_lead }
}

/// Mean regret of `runs` seeded runs.
pub(crate) fn mean_regret(bandit: &Bandit, world: &World<'_>, runs: u64) -> f64 {
    (0..runs).map(|seed| run(bandit, world, seed).regret).sum::<f64>() / runs as f64
}

fn draw(shares: &[u32], total: u32, rng: &mut StdRng) -> usize {
    let mut left = rng.random_range(0..total);
    let arm = shares.iter().position(|share| {
        let hit = left < *share;
        left = left.saturating_sub(*share);
        hit
    });
    arm.expect("the shares sum to the total")
}
