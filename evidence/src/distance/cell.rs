//! The cell that differs most.

use statrs::function::factorial::ln_factorial;

use super::tail::normal_critical;
use super::{Distance, DistanceError, Pair, ks::gap, top_parts};

/// Terms of a tail that are summed before the rest is bounded by a geometric series.
const TERMS: usize = 64;

/// The largest difference of the shares of a cell, 0..=1. A part's contribution is its difference.
///
/// Given what both samples hold together in a cell, ours is hypergeometric if nothing changed (Fisher 1935). The
/// critical value is the largest difference at which any cell's exact tail on either side is still above the level
/// divided by twice the cells (Bonferroni); p is the sum of these tails. Both are upper limits, at any n.
///
/// # Errors
/// Refuses an empty side and unequal cells.
pub fn l_infinity(ours: &[u64], theirs: &[u64], level: f64) -> Result<Distance, DistanceError> {
    // rule: J2
    let pair = Pair::new(ours, theirs)?;
    let pairs = u128::from(pair.n) * u128::from(pair.m);
    let largest = pair.counts().map(|(a, b)| gap(a, b, pair.n, pair.m)).max().unwrap_or(0);
    let orders = ln_factorial(pair.n) + ln_factorial(pair.m) - ln_factorial(pair.n + pair.m);
    let mut urns: Vec<Urn> = Vec::with_capacity(2 * ours.len());
    for (a, b) in pair.counts().filter(|(a, b)| a + b > 0) {
        let (marked, rest) = (a + b, pair.n + pair.m - (a + b));
        let orders = orders + ln_factorial(marked) + ln_factorial(rest);
        urns.push(Urn { drawn: pair.n, left: pair.m, marked, orders });
        urns.push(Urn { drawn: pair.m, left: pair.n, marked, orders });
    }
    let p = urns.iter().map(|urn| urn.at_least(urn.reaching(largest))).sum::<f64>().min(1.0);
    let critical = (level > 0.0).then(|| {
        let each = level / urns.len() as f64;
        let start = normal_critical(each.min(0.5));
        urns.iter().map(|urn| urn.critical(each, start)).max().unwrap_or(0) as f64 / pairs as f64
    });
    let parts = top_parts(pair.shares().map(|(p, q)| (p - q).abs()));
    Ok(Distance { p_value: Some(p), critical, ..pair.distance(largest as f64 / pairs as f64, parts) })
}

/// So many of all are marked; how many of those drawn are?
struct Urn {
    drawn: u64,
    left: u64,
    marked: u64,
    /// ln of drawn! left! marked! rest! / all!
    orders: f64,
}

impl Urn {
    fn most(&self) -> u64 {
        self.drawn.min(self.marked)
    }

    fn least(&self) -> u64 {
        self.marked.saturating_sub(self.left)
    }

    /// The surplus of the share among the drawn over that among the rest, as a number of 1/(n m); 0 for a lack.
    fn surplus(&self, marked: u64) -> u128 {
        let (here, there) = (u128::from(marked), u128::from(self.marked - marked));
        (here * u128::from(self.left)).saturating_sub(there * u128::from(self.drawn))
    }

    /// The fewest marked whose surplus is at least `gap`; one more than can be when there is none.
    fn reaching(&self, gap: u128) -> u64 {
        let both = u128::from(self.drawn) + u128::from(self.left);
        let needed = (gap + u128::from(self.marked) * u128::from(self.drawn)).div_ceil(both);
        u64::try_from(needed).unwrap_or(u64::MAX).clamp(self.least(), self.most() + 1)
    }

    /// The probability of exactly so many, C(marked, k) C(rest, drawn - k) / C(all, drawn).
    fn mass(&self, k: u64) -> f64 {
        let fourth = self.left + k - self.marked;
        let ways = ln_factorial(k) + ln_factorial(self.marked - k) + ln_factorial(self.drawn - k);
        (self.orders - ways - ln_factorial(fourth)).exp()
    }

    /// The probability of k + 1 over that of k; it falls with k.
    fn ratio(&self, k: u64) -> f64 {
        let up = (self.marked - k) as f64 * (self.drawn - k) as f64;
        up / ((k + 1) as f64 * (self.left + k + 1 - self.marked) as f64)
    }

    /// The probability of at least so many, or an upper limit of it.
    fn at_least(&self, k: u64) -> f64 {
        if k <= self.least() {
            1.0
        } else if k > self.most() {
            0.0
        } else {
            self.tail(k, self.mass(k))
        }
    }

    /// [`Urn::at_least`], of which the first term is known.
    fn tail(&self, mut k: u64, mut mass: f64) -> f64 {
        let mut sum = 0.0;
        for _ in 0..TERMS {
            sum += mass;
            if k == self.most() || mass < 1e-17 * sum {
                return sum.min(1.0);
            }
            mass *= self.ratio(k);
            k += 1;
        }
        let ratio = self.ratio(k);
        if ratio >= 1.0 { 1.0 } else { (sum + mass / (1.0 - ratio)).min(1.0) }
    }

    /// The largest surplus whose tail is above `level`; `start` is the normal quantile of the level. The walk from
    /// there to the exact place is short.
    fn critical(&self, level: f64, start: f64) -> u128 {
        let (n, m, marked) = (self.drawn as f64, self.left as f64, self.marked as f64);
        let (all, share) = (n + m, marked / (n + m));
        let deviation = (n * share * (1.0 - share) * m / (all - 1.0).max(1.0)).sqrt();
        let guess = (n * share + start * deviation).ceil() as u64;
        let mut k = guess.clamp(self.least(), self.most());
        let mut mass = self.mass(k);
        let mut tail = self.tail(k, mass);
        // Up while the tail of k is above the level, then down while that of k - 1 is not.
        while tail > level && k < self.most() {
            tail -= mass;
            mass *= self.ratio(k);
            k += 1;
        }
        if tail > level {
            return self.surplus(self.most());
        }
        while k > self.least() {
            mass /= self.ratio(k - 1);
            tail += mass;
            k -= 1;
            if tail > level {
                break;
            }
        }
        self.surplus(k)
    }
}
