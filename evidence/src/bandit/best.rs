//! The probability that each arm is the best one.

use std::array::from_fn;

/// Nodes per piece of the quadrature.
const NODES: usize = 8;
/// Where a curve is cut, in its standard deviations from the mode: finely where it bends; far enough for the
/// slowest tail (a posterior of one failure falls as e^-t: e^-28 is left out).
const CUTS: [f64; 7] = [0.0, 1.5, 3.0, 5.0, 8.0, 13.0, 20.0];

/// What is known of an arm's chance of a reward: a beta distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// First parameter: successes and the prior's one. Finite, above 0.
    pub alpha: f64,
    /// Second parameter: failures and the prior's one. Finite, above 0.
    pub beta: f64,
}

impl Posterior {
    /// The expected chance of a reward.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.alpha / (self.alpha + self.beta)
    }
}

/// For each arm the probability that its chance of a reward is the highest, if the chances are independent
/// with these posteriors: the integral of f_a(x) prod_{b != a} F_b(x) over x. Sums to 1; no arm has none. What
/// Thompson sampling (Biometrika 25 (1933) 285) would draw, as the share of many draws.
///
/// Computed in t = ln(x / (1-x)), where a beta density is x^alpha (1-x)^beta: smooth and without
/// singularities for all parameters. Cut around every curve's mode; in each piece Gauss-Legendre, with the
/// distribution functions integrated at the same nodes. Neither gamma nor incomplete beta functions are
/// needed: densities are taken relative to their modes and the result is normalised. Error below 1e-9 for
/// counts of 0 to 1e9 (`tests/golden/bandit.py`).
#[must_use]
pub fn probability_best(posteriors: &[Posterior]) -> Vec<f64> {
    let curves: Vec<Curve> = posteriors.iter().map(Curve::new).collect();
    let rule = Rule::new();
    let mut below = vec![0.0; curves.len()];
    let mut best = vec![0.0; curves.len()];
    for piece in pieces(&curves).windows(2) {
        let half = 0.5 * (piece[1] - piece[0]);
        let middle = piece[0] + half;
        let heights: Vec<[f64; NODES]> = curves
            .iter()
            .map(|curve| from_fn(|i| half * curve.height(middle + half * rule.nodes[i])))
            .collect();
        for i in 0..NODES {
            // Of each curve, the area below this node.
            let areas =
                heights.iter().zip(&below).map(|(h, below)| (below + dot(&rule.up_to[i], h)).max(0.0));
            let others = products_of_others(&areas.collect::<Vec<f64>>());
            for ((best, others), h) in best.iter_mut().zip(others).zip(&heights) {
                *best += rule.weights[i] * h[i] * others;
            }
        }
        for (below, h) in below.iter_mut().zip(&heights) {
            *below += dot(&rule.weights, h);
        }
    }
    let sum: f64 = best.iter().sum();
    best.iter().map(|b| b / sum).collect()
}

/// A density over t = ln(x / (1-x)), relative to its mode.
struct Curve {
    alpha: f64,
    beta: f64,
    mode: f64,
    deviation: f64,
}

impl Curve {
    fn new(Posterior { alpha, beta }: &Posterior) -> Self {
        let (alpha, beta) = (*alpha, *beta);
        let deviation = ((alpha + beta) / (alpha * beta)).sqrt();
        Self { alpha, beta, mode: (alpha / beta).ln(), deviation }
    }

    /// (x/m)^alpha ((1-x)/(1-m))^beta with m the mode, written so that counts of 1e9 lose no digits: both
    /// factors are near 1.
    fn height(&self, t: f64) -> f64 {
        let (d, n) = (t - self.mode, self.alpha + self.beta);
        if d.abs() > self.deviation * CUTS[CUTS.len() - 1] {
            return 0.0;
        }
        let left = self.alpha * (self.beta / n * (-d).exp_m1()).ln_1p();
        let right = self.beta * (self.alpha / n * d.exp_m1()).ln_1p();
        (-left - right).exp()
    }
}

/// The cuts of all curves, ascending.
fn pieces(curves: &[Curve]) -> Vec<f64> {
    let cuts = |curve: &Curve| {
        let (mode, deviation) = (curve.mode, curve.deviation);
        CUTS.into_iter().flat_map(move |k| [mode - k * deviation, mode + k * deviation])
    };
    let mut all: Vec<f64> = curves.iter().flat_map(cuts).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

/// For each factor the product of all others, without dividing (factors may be 0).
fn products_of_others(factors: &[f64]) -> Vec<f64> {
    let mut products = vec![1.0; factors.len()];
    let (mut before, mut after) = (1.0, 1.0);
    for i in 0..factors.len() {
        products[i] *= before;
        before *= factors[i];
        let j = factors.len() - 1 - i;
        products[j] *= after;
        after *= factors[j];
    }
    products
}

fn dot(a: &[f64; NODES], b: &[f64; NODES]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Gauss-Legendre on -1..1.
struct Rule {
    nodes: [f64; NODES],
    weights: [f64; NODES],
    /// `up_to[i]`: weights of the integral from -1 to node i of the polynomial through all nodes.
    up_to: [[f64; NODES]; NODES],
}

impl Rule {
    fn new() -> Self {
        let nodes = from_fn(node);
        let weights = nodes.map(|x| {
            // w = 2 (1 - x^2) / (n P_{n-1}(x))^2 (Abramowitz & Stegun 25.4.29, with P_n(x) = 0).
            2.0 * (1.0 - x * x) / (NODES as f64 * legendre(x)[NODES - 1]).powi(2)
        });
        // The polynomial is sum_k c_k P_k with c_k = (2k+1)/2 sum_j w_j P_k(x_j) f_j, and the integral of P_k
        // from -1 to x is (P_{k+1}(x) - P_{k-1}(x)) / (2k+1); P_{-1} = -1 makes k = 0 no exception.
        let at = nodes.map(legendre);
        let up_to = from_fn(|i| {
            from_fn(|j| {
                let term = |k: usize| {
                    let previous = if k == 0 { -1.0 } else { at[i][k - 1] };
                    at[j][k] * (at[i][k + 1] - previous)
                };
                0.5 * weights[j] * (0..NODES).map(term).sum::<f64>()
            })
        });
        Self { nodes, weights, up_to }
    }
}

/// P_0(x) to P_NODES(x), by Bonnet's recursion.
fn legendre(x: f64) -> [f64; NODES + 1] {
    let mut p = [1.0; NODES + 1];
    p[1] = x;
    for k in 1..NODES {
        let n = k as f64;
        p[k + 1] = ((2.0 * n + 1.0) * x * p[k] - n * p[k - 1]) / (n + 1.0);
    }
    p
}

/// The `i`-th zero of P_NODES, ascending: Newton's method from Tricomi's approximation.
fn node(i: usize) -> f64 {
    let n = NODES as f64;
    let mut x = -(std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
    for _ in 0..10 {
        let p = legendre(x);
        x -= p[NODES] * (x * x - 1.0) / (n * (x * p[NODES] - p[NODES - 1]));
    }
    x
}
