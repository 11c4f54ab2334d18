//! What others would have decided on the same streams, at their documented defaults.

use wire::{Counts, Grid};

/// Names, in the order of [`Peers::fired`].
pub const NAMES: [&str; 5] = [
    "z-test of error rates at 5 %, every interval",
    "KS test of confidence at 5 %, every interval",
    "Argo Rollouts: error rate <= 2 %, failureLimit 0",
    "Flagger: error rate <= 2 %, threshold 5",
    "Kayenta: Mann-Whitney 98 %, tolerance 0.25, marginal 75, every minute",
];

/// Seconds of one point of Kayenta's series.
const STEP: f64 = 60.0;
/// Failed checks after which Flagger rolls back (its documented example).
const FLAGGER_THRESHOLD: u32 = 5;
/// The user's bound in both checks, as in our own metric `errors`.
const MAX_ERRORS: f64 = 0.02;
/// Two-sided 5 %, and the 1 % tail of Kayenta's 98 % interval.
const Z_5: f64 = 1.96;
const Z_98: f64 = 2.326;
const TOLERANCE: f64 = 0.25;
const MARGINAL: f64 = 75.0;

/// The opponents watching one rollout.
#[derive(Debug, Default)]
pub struct Peers {
    /// Which have rolled back.
    pub fired: [bool; NAMES.len()],
    candidate: Counts,
    stable: Counts,
    failed_checks: u32,
    minute: (f64, Counts, Counts),
    series: Series,
}

/// Per minute and arm: error rate, mean seconds, mean doubt.
#[derive(Debug, Default)]
struct Series {
    candidate: [Vec<f64>; 3],
    stable: [Vec<f64>; 3],
}

impl Peers {
    /// One interval of `seconds`.
    pub fn look(&mut self, candidate: &Counts, stable: &Counts, seconds: f64) {
        self.candidate.add(candidate);
        self.stable.add(stable);
        self.fired[0] |= self.z() > Z_5;
        self.fired[1] |= self.ks();
        let (x, n) = candidate.errors();
        if n > 0 && x as f64 / n as f64 > MAX_ERRORS {
            self.failed_checks += 1;
        }
        self.fired[2] |= self.failed_checks > 0;
        self.fired[3] |= self.failed_checks >= FLAGGER_THRESHOLD;
        let (age, ours, theirs) = &mut self.minute;
        *age += seconds;
        ours.add(candidate);
        theirs.add(stable);
        if *age >= STEP {
            let (_, ours, theirs) = std::mem::take(&mut self.minute);
            self.series.push(&ours, &theirs);
            self.fired[4] |= self.series.score() < MARGINAL;
        }
    }

    /// z of the difference of two proportions, positive when the candidate is worse.
    fn z(&self) -> f64 {
        let ((x, n), (y, m)) = (self.candidate.errors(), self.stable.errors());
        let (x, n, y, m) = (x as f64, n as f64, y as f64, m as f64);
        let pooled = (x + y) / (n + m);
        let variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m);
        if variance > 0.0 { ((x / n - y / m) / variance.sqrt()).abs() } else { 0.0 }
    }

    fn ks(&self) -> bool {
        let (ours, theirs) = (&self.candidate.doubt, &self.stable.doubt);
        evidence::ks(ours, theirs, 0.05).is_ok_and(|ks| ks.critical.is_some_and(|c| ks.value > c))
    }
}

impl Series {
    fn push(&mut self, candidate: &Counts, stable: &Counts) {
        for (series, counts) in [(&mut self.candidate, candidate), (&mut self.stable, stable)] {
            let (x, n) = counts.errors();
            if n == 0 {
                continue;
            }
            series[0].push(x as f64 / n as f64);
            series[1].extend(mean(Grid::Seconds, &counts.latency));
            series[2].extend(mean(Grid::Doubt, &counts.doubt));
        }
    }

    /// Percent of the metrics that pass.
    fn score(&self) -> f64 {
        let arms = self.candidate.iter().zip(&self.stable);
        let passed = arms.filter(|(ours, theirs)| !high(ours, theirs)).count();
        100.0 * passed as f64 / self.candidate.len() as f64
    }
}

fn mean(grid: Grid, cells: &[u64]) -> Option<f64> {
    let n: u64 = cells.iter().sum();
    let sum: f64 =
        cells.iter().enumerate().map(|(i, &count)| count as f64 * grid.edge(i.min(grid.len() - 2))).sum();
    (n > 0).then(|| sum / n as f64)
}

/// Kayenta's MannWhitneyClassifier: High if the lower end of the 98 % interval of the Hodges-Lehmann shift lies
/// above a quarter of the shift itself.
fn high(ours: &[f64], theirs: &[f64]) -> bool {
    let (n, m) = (ours.len() as f64, theirs.len() as f64);
    if ours.is_empty() || theirs.is_empty() {
        return false;
    }
    let mut shifts: Vec<f64> = ours.iter().flat_map(|a| theirs.iter().map(move |b| a - b)).collect();
    let rank = n * m / 2.0 - Z_98 * (n * m * (n + m + 1.0) / 12.0).sqrt();
    if rank < 0.0 {
        return false;
    }
    let middle = shifts.len() / 2;
    let estimate = *shifts.select_nth_unstable_by(middle, f64::total_cmp).1;
    let low = *shifts.select_nth_unstable_by(rank as usize, f64::total_cmp).1;
    low > TOLERANCE * estimate && low > 0.0
}
