//! M(w) without ever summing more than a few thousand terms.

use super::loader::log_binomial;
use crate::sequential::Stratum;

/// A 2x2 table with fixed margins, as f64 (counts are at most 2^53).
pub(super) struct Table {
    /// Units of the candidate, of stable, and events of both.
    n: f64,
    m: f64,
    x: f64,
    /// Fewest and most events that can have hit the candidate.
    pub(super) low: u64,
    pub(super) high: u64,
}

/// Terms that are smaller than this part of the sum so far end it. They fall at least geometrically from
/// there, so that all that is left out stays below 1e-14 of the sum.
const NEGLIGIBLE: f64 = 1e-16;
/// Deviation from which on terms are summed in strides.
const WIDE: f64 = 256.0;
/// Strides per deviation.
const STRIDES: f64 = 3.0;

impl Table {
    pub(super) fn new(s: &Stratum) -> Self {
        let x = s.x + s.x_stable;
        let (low, high) = (x.saturating_sub(s.n_stable), x.min(s.n));
        Self { n: s.n as f64, m: s.n_stable as f64, x: x as f64, low, high }
    }

    /// h(k+1) / h(k).
    fn step(&self, k: f64) -> f64 {
        (self.x - k) * (self.n - k) / ((k + 1.0) * (self.m - self.x + k + 1.0))
    }

    /// h(k-1) / h(k).
    fn step_back(&self, k: f64) -> f64 {
        k * (self.m - self.x + k) / ((self.x - k + 1.0) * (self.n - k + 1.0))
    }

    /// ln h(k), by three binomials with the pooled share of events (Loader 2000).
    fn log_h(&self, k: f64) -> f64 {
        let all = self.n + self.m;
        let (p, q) = (self.x / all, (all - self.x) / all);
        log_binomial(k, self.n, p, q) + log_binomial(self.x - k, self.m, p, q)
            - log_binomial(self.x, all, p, q)
    }

    /// The most likely k at this ratio, or next to it: where w h(k+1) = h(k), a quadratic equation.
    fn mode(&self, ratio: f64) -> f64 {
        let a = ratio - 1.0;
        let b = ratio * (self.x + self.n + 2.0) + self.m - self.x;
        let c = ratio * (self.x + 1.0) * (self.n + 1.0);
        let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
        let k = if b >= 0.0 { 2.0 * c / (b + root) } else { (b - root) / (2.0 * a) };
        k.floor().clamp(self.low as f64, self.high as f64)
    }

    /// The deviation of k at this ratio: from the curvature of its logarithm at the mode.
    fn deviation(&self, mode: f64) -> f64 {
        let cells = [mode, self.n - mode, self.x - mode, self.m - self.x + mode];
        cells.iter().map(|cell| 1.0 / (cell + 0.5)).sum::<f64>().sqrt().recip()
    }

    /// (k0, ln of sum_k h(k) w^(k - k0)): M(w) with the power w^k0 taken out, k0 near the mode.
    ///
    /// Terms are summed outwards from there until they are negligible. Where the distribution is wide, only
    /// each s-th term is, s times: the number of events is a sum of independent Bernoulli variables (M has
    /// real roots only: Harkness 1965), so its characteristic function is at most exp(-var (1 - cos t)), and
    /// by the finite Fourier transform the strided sum is off by a part of at most
    /// sum_{j=1}^{s-1} exp(-var (1 - cos(2 pi j / s))), which is below 1e-60 for s <= deviation / 3.
    pub(super) fn sum(&self, ratio: f64) -> (u64, f64) {
        if ratio == 1.0 {
            // These are probabilities.
            return (0, 0.0);
        }
        let mode = self.mode(ratio);
        let deviation = self.deviation(mode);
        let log_mode = self.log_h(mode);
        let sum = if deviation < WIDE {
            // A step does not wait for the term before it, nor a term for a division.
            let inverse = ratio.recip();
            self.outwards(mode, |k| ratio * self.step(k))
                + self.inwards(mode, |k| inverse * self.step_back(k))
                + 1.0
        } else {
            self.strided(mode, (deviation / STRIDES).floor(), ratio.ln(), log_mode)
        };
        (mode as u64, log_mode + sum.ln())
    }

    fn outwards(&self, mode: f64, step: impl Fn(f64) -> f64) -> f64 {
        let (mut k, mut term, mut sum) = (mode, 1.0, 0.0);
        while k < self.high as f64 && term > NEGLIGIBLE * sum {
            term *= step(k);
            sum += term;
            k += 1.0;
        }
        sum
    }

    fn inwards(&self, mode: f64, step: impl Fn(f64) -> f64) -> f64 {
        let (mut k, mut term, mut sum) = (mode, 1.0, 0.0);
        while k > self.low as f64 && term > NEGLIGIBLE * sum {
            term *= step(k);
            sum += term;
            k -= 1.0;
        }
        sum
    }

    fn strided(&self, mode: f64, stride: f64, log_ratio: f64, log_mode: f64) -> f64 {
        let term = |k: f64| (self.log_h(k) - log_mode + (k - mode) * log_ratio).exp();
        let mut sum = 1.0;
        for direction in [stride, -stride] {
            let mut k = mode + direction;
            while k >= self.low as f64 && k <= self.high as f64 {
                let term = term(k);
                sum += term;
                if term < NEGLIGIBLE * sum {
                    break;
                }
                k += direction;
            }
        }
        stride * sum
    }

    /// All of h, for few terms.
    pub(super) fn polynomial(&self) -> Polynomial {
        let mode = self.mode(1.0);
        let (mut above, mut below) = (Vec::new(), Vec::new());
        let (mut k, mut term) = (mode, 1.0);
        while k < self.high as f64 {
            term *= self.step(k);
            above.push(term);
            k += 1.0;
        }
        (k, term) = (mode, 1.0);
        while k > self.low as f64 {
            term *= self.step_back(k);
            below.push(term);
            k -= 1.0;
        }
        Polynomial { mode: mode as u64, above, below }
    }
}

/// h(k) / h(mode), outwards from the mode: every coefficient is about 1 at most, and those that underflow
/// could not have been seen in the sum.
pub(super) struct Polynomial {
    pub(super) mode: u64,
    above: Vec<f64>,
    below: Vec<f64>,
}

impl Polynomial {
    /// sum_k h(k)/h(mode) w^(k - mode) at each ratio.
    pub(super) fn at<const N: usize>(&self, ratios: &[f64; N]) -> [f64; N] {
        let inverse = ratios.map(f64::recip);
        let (above, below) = (horner(&self.above, ratios), horner(&self.below, &inverse));
        std::array::from_fn(|i| 1.0 + above[i] + below[i])
    }
}

/// sum_i coefficients[i] w^(i+1), for all w side by side.
fn horner<const N: usize>(coefficients: &[f64], at: &[f64; N]) -> [f64; N] {
    let mut sums = [0.0; N];
    for coefficient in coefficients.iter().rev() {
        for (sum, w) in sums.iter_mut().zip(at) {
            *sum = (*sum + coefficient) * w;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequential::log_sum_exp;
    use statrs::function::factorial::ln_binomial;

    fn table(n: u64, m: u64, x: u64) -> Table {
        let x_candidate = x.saturating_sub(m);
        Table::new(&Stratum { x: x_candidate, n, x_stable: x - x_candidate, n_stable: m, split: None })
    }

    /// Every term, by binomial coefficients.
    fn full(n: u64, m: u64, x: u64, ratio: f64) -> f64 {
        let t = table(n, m, x);
        let terms = |k: u64| ln_binomial(n, k) + ln_binomial(m, x - k) + k as f64 * ratio.ln();
        log_sum_exp((t.low..=t.high).map(terms)) - ln_binomial(n + m, x)
    }

    const TABLES: [(u64, u64, u64); 10] = [
        (1, 1, 1),
        (1, 9, 3),
        (40, 60, 20),
        (60, 40, 70),
        (100, 100, 199),
        (1000, 9000, 90),
        (500, 500, 300),
        (3000, 20_000, 5000),
        (20_000, 3000, 21_000),
        (80_000, 20_000, 30_000),
    ];
    const RATIOS: [f64; 6] = [0.05, 0.7, 1.0, 1.1, 3.0, 25.0];

    #[test]
    fn few_terms_are_the_full_sum() {
        for (n, m, x) in TABLES {
            for ratio in RATIOS {
                let (from, log_sum) = table(n, m, x).sum(ratio);
                let (ours, all) = (log_sum + from as f64 * ratio.ln(), full(n, m, x, ratio));
                let error = (ours - all).abs();
                // What is left is the rounding of the full sum: ln n! of a million is 1e7.
                assert!(error < 1e-9 * (1.0 + all.abs()) + 1e-8, "{n} {m} {x} at {ratio}: {ours} {all}");
            }
        }
    }

    #[test]
    fn the_polynomial_is_the_full_sum() {
        for (n, m, x) in TABLES.into_iter().filter(|t| t.2 < 200) {
            let polynomial = table(n, m, x).polynomial();
            for (ratio, sum) in RATIOS.into_iter().zip(polynomial.at(&RATIOS)) {
                let ours = sum.ln()
                    + polynomial.mode as f64 * ratio.ln()
                    + table(n, m, x).log_h(polynomial.mode as f64);
                let all = full(n, m, x, ratio);
                assert!(
                    (ours - all).abs() < 1e-10 * (1.0 + all.abs()),
                    "{n} {m} {x} at {ratio}: {ours} {all}"
                );
            }
        }
    }

    #[test]
    fn strides_leave_nothing_out() {
        // rule: S2. Next to ratio 1 the terms are probabilities: they sum to 1, whatever the counts.
        for (n, m, x) in [
            (1_000_000, 1_000_000, 1_000_000),
            (1_000_000_000, 1_000_000_000, 1_000_000),
            (1_000_000_000, 7, 900_000_000),
        ] {
            let (from, log_sum) = table(n, m, x).sum(1.0 + f64::EPSILON);
            assert!(log_sum.abs() < 1e-9, "{n} {m} {x}: {log_sum} from {from}");
        }
        // Strided and not, around the same mode.
        let t = table(1_000_000, 1_000_000, 300_000);
        let mode = t.mode(1.5);
        let by_one = t.strided(mode, 1.0, 1.5f64.ln(), t.log_h(mode)).ln();
        let strided = t.sum(1.5).1 - t.log_h(mode);
        assert!((by_one - strided).abs() < 1e-9, "{by_one} {strided}");
    }
}
