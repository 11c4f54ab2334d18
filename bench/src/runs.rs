//! Many seeded runs on all cores, and the maths that several tables share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, available_parallelism};

use evidence::Stratum;
use rand::Rng;
use rand::rngs::StdRng;
use statrs::distribution::{ContinuousCDF, Normal};

/// What each run came to, in the order of their numbers, however many cores there are.
pub fn each<T: Send>(runs: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= runs {
                return done;
            }
            done.push((i, run(i)));
        }
    };
    let threads = available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(u64, T)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().expect("a run does not panic")).collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, value)| value).collect()
}

/// The middle one; of an even number the upper of both. Runs without an end count as longer than all others.
pub fn median(mut values: Vec<Option<u64>>) -> Option<u64> {
    values.sort_unstable_by_key(|value| value.unwrap_or(u64::MAX));
    values.get(values.len() / 2).copied().flatten()
}

/// For tables; a dash where there is none.
pub fn show(value: Option<u64>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// How many of `n` happen, each with probability `p` in 0..1: by the gaps between those that do, which are
/// geometric.
pub fn hits(random: &mut StdRng, n: u64, p: f64) -> u64 {
    let (mut at, mut hits) = (0, 0);
    loop {
        let gap = (1.0 - random.random::<f64>()).ln() / (-p).ln_1p();
        if gap >= (n - at) as f64 {
            return hits;
        }
        (at, hits) = (at + gap as u64 + 1, hits + 1);
    }
}

/// Requests of both arms, each drawn at random, that fail at the rates of candidate and stable.
pub fn draw(random: &mut StdRng, requests: u64, split: f64, rates: [f64; 2]) -> Stratum {
    let n = hits(random, requests, split);
    let n_stable = requests - n;
    let (x, x_stable) = (hits(random, n, rates[0]), hits(random, n_stable, rates[1]));
    Stratum { x, n, x_stable, n_stable, split: Some(split) }
}

/// A question to two arms: is the ratio of their events above the tolerance?
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The tolerated ratio.
    pub tolerance: f64,
    /// The true one.
    pub ratio: f64,
    /// Stable's events per request.
    pub base: f64,
    /// The candidate's share of the requests.
    pub split: f64,
    /// Probability of a wrong yes.
    pub level: f64,
}

impl Question {
    /// The chance that an event is the candidate's, if the ratio is this.
    fn share(&self, ratio: f64) -> f64 {
        self.split * ratio / (self.split * ratio + 1.0 - self.split)
    }

    /// Events of both arms per request.
    fn events(&self) -> f64 {
        self.base * (self.split * self.ratio + 1.0 - self.split)
    }

    /// Wald's bound: no test of this level that ends for sure needs fewer requests of both arms on average than
    /// ln(1/level) / KL per event / events per request (Wald, Ann. Math. Stat. 16 (1945) 117). A median may lie
    /// below it.
    pub fn wald(&self) -> f64 {
        let (q, null) = (self.share(self.ratio), self.share(self.tolerance));
        let divergence = q * (q / null).ln() + (1.0 - q) * ((1.0 - q) / (1.0 - null)).ln();
        -self.level.ln() / divergence / self.events()
    }

    /// Requests of both arms that a test with one look at a planned number needs to say yes with probability
    /// 80 %: (z(level) sqrt(null (1 - null)) + z(20 %) sqrt(q (1 - q)))^2 / (q - null)^2 events.
    pub fn fixed(&self) -> f64 {
        let (q, null) = (self.share(self.ratio), self.share(self.tolerance));
        let normal = Normal::standard();
        let [critical, power] = [self.level, 0.2].map(|tail| -normal.inverse_cdf(tail));
        let root = critical * (null * (1.0 - null)).sqrt() + power * (q * (1.0 - q)).sqrt();
        (root / (q - null)).powi(2) / self.events()
    }
}
