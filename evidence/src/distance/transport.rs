//! Wasserstein-1 on counts.

use super::tail::{normal_above, normal_critical, skewed_quantile};
use super::{Distance, DistanceError, Pair, top_parts};

/// The Wasserstein-1 distance, in the unit of `values`: how far an item must be moved on average to turn one
/// sample into the other, sum |F - G| (x_{j+1} - x_j) with the cumulative shares F and G. `values` are the places
/// of the cells, ascending. A part's contribution is what is moved across the cell's upper bound.
///
/// There is no p, only a critical value. W1 is at least the difference of the means, S, and under no change it is
/// hardly more in the tail: S = sum of D_j = (F - G)_j times the steps, so that W1 = S + 2 sum (D_j below 0) for S >
/// 0, and with S large few D_j are below 0. So the critical value is the s that |S| exceeds with probability
/// `level`, plus the mean of 2 sum (D_j below 0) given S = s, D being jointly normal with the covariances of
/// sampling without replacement from both samples together. S itself is taken to be as skewed as its third
/// cumulant, and no less peaked than its fourth, demand of a gamma law; that matters where a few values lie far out.
/// Checked against seeded permutations (`tests/noise.rs`), which would take a thousand times as long.
///
/// # Errors
/// Refuses an empty side, unequal cells, and places that are not finite and ascending.
pub fn wasserstein(
    ours: &[u64],
    theirs: &[u64],
    values: &[f64],
    level: f64,
) -> Result<Distance, DistanceError> {
    // rule: J2
    let pair = Pair::new(ours, theirs)?;
    if values.len() != ours.len() {
        return Err(DistanceError::Cells { what: "values", found: values.len(), expected: ours.len() });
    }
    let ascends = |i: &usize| values[*i].is_finite() && (*i == 0 || values[*i] > values[i - 1]);
    if let Some(index) = (0..values.len()).find(|i| !ascends(i)) {
        return Err(DistanceError::Place { index, found: values[index] });
    }
    let (mut a, mut b) = (0, 0);
    let moved = pair.counts().zip(values.windows(2)).map(|((x, y), places)| {
        (a, b) = (a + x, b + y);
        (a as f64 / pair.n as f64 - b as f64 / pair.m as f64).abs() * (places[1] - places[0])
    });
    let moved: Vec<f64> = moved.collect();
    let distance = pair.distance(moved.iter().sum(), top_parts(moved));
    Ok(Distance { critical: (level > 0.0).then(|| Pool::new(&pair, values).critical(level)), ..distance })
}

/// Both samples together, and how a difference of two halves of it varies.
struct Pool<'a> {
    values: &'a [f64],
    shares: Vec<f64>,
    mean: f64,
    /// Standard deviation of the difference of the means; 0 if all items are alike.
    deviation: f64,
    /// Skewness of the gamma law that stands for it.
    skew: f64,
    /// Variance of a difference of shares, over p (1 - p).
    noise: f64,
}

impl<'a> Pool<'a> {
    fn new(pair: &Pair<'_>, values: &'a [f64]) -> Self {
        let (n, m) = (pair.n as f64, pair.m as f64);
        let shares: Vec<f64> = pair.counts().map(|(a, b)| (a as f64 + b as f64) / (n + m)).collect();
        let mean = shares.iter().zip(values).map(|(p, x)| p * x).sum::<f64>();
        let moments = shares.iter().zip(values).fold([0.0; 3], |[two, three, four], (p, x)| {
            let d = x - mean;
            [two + p * d * d, three + p * d * d * d, four + p * d * d * d * d]
        });
        // Sampling without replacement: N / (N - 1).
        let noise = pair.noise() * (n + m) / (n + m - 1.0);
        let variance = moments[0] * noise;
        let third = moments[1] * (n.powi(-2) - m.powi(-2));
        let fourth = (moments[2] - 3.0 * moments[0] * moments[0]) * (n.powi(-3) + m.powi(-3));
        let skew = if variance > 0.0 {
            // A gamma law of skewness g has an excess kurtosis of 1.5 g^2.
            let peaked = (fourth.max(0.0) / (variance * variance) / 1.5).sqrt();
            (third.abs() / variance.powf(1.5)).max(peaked)
        } else {
            0.0
        };
        Self { values, shares, mean, deviation: variance.sqrt(), skew, noise }
    }

    /// 0 when all items are alike: there is nothing to move.
    fn critical(&self, level: f64) -> f64 {
        if self.deviation == 0.0 {
            return 0.0;
        }
        let tail = level / 2.0;
        let s = self.deviation * skewed_quantile(self.skew, tail, normal_critical(tail)).max(0.0);
        s + self.against(s)
    }

    /// The mean of 2 sum (D_j below 0) given S = s.
    fn against(&self, s: f64) -> f64 {
        let variance = self.deviation * self.deviation;
        let (mut below, mut pull, mut sum) = (0.0, 0.0, 0.0);
        for ((share, x), places) in self.shares.iter().zip(self.values).zip(self.values.windows(2)) {
            below += share;
            // Covariance of D_j and S over the noise: the values below lie below the mean.
            pull += share * (self.mean - x);
            let slope = (pull * self.noise / variance).max(0.0);
            let spread = (below * (1.0 - below)).max(0.0) * self.noise - slope * slope * variance;
            let (centre, spread) = (slope * s, spread.max(0.0).sqrt());
            // Six deviations above 0 hardly anything is below it.
            if spread > 0.0 && centre < 6.0 * spread {
                let z = centre / spread;
                let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
                sum += (spread * density - centre * normal_above(z)) * (places[1] - places[0]);
            }
        }
        2.0 * sum
    }
}
