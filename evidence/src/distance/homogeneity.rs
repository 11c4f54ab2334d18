//! Tests of homogeneity on counts, which also prove that a distance is more than noise.

use super::tail::{chi_square_critical, chi_square_tail};
use super::{Distance, DistanceError, Pair, Part, top};

/// Expected count that a merged cell has in the smaller sample (Cochran, Biometrics 10 (1954) 417).
const EXPECTED: u128 = 5;

/// Pearson's statistic of homogeneity, X^2 = sum (O - E)^2 / E over both samples, with the pooled shares as
/// expectation; chi-square with one degree less than cells if both come from one distribution. From 0, unbounded,
/// and it grows with n. A part's contribution is its term.
///
/// Neighbouring cells are merged until each expects at least 5 in the smaller sample, for power: many rare cells are
/// many degrees of freedom. If that would leave less than two, all cells that hold anything are taken as they are;
/// if only one does, value and critical value are 0. X^2 alone exceeds chi-square up to 890 times too often where
/// cells are rare (simulated at level 1e-6, n = 50, m = 3,000); see `Proof` for what is asked beside it.
///
/// # Errors
/// Refuses an empty side and unequal cells.
pub fn chi_square(ours: &[u64], theirs: &[u64], level: f64) -> Result<Distance, DistanceError> {
    // rule: J2, J4
    let pair = Pair::new(ours, theirs)?;
    let proof = Proof::new(&pair);
    let parts = proof.cells.iter().map(|cell| cell.part(cell.pearson)).collect();
    Ok(proof.distance(&pair, proof.pearson, parts, level))
}

/// The likelihood ratio statistic of homogeneity, G = 2 sum O ln(O / E) over both samples, with the pooled
/// shares as expectation (Wilks 1938; Sokal & Rohlf, *Biometry*, 17.4). Otherwise as [`chi_square`].
///
/// # Errors
/// Refuses an empty side and unequal cells.
pub fn g_test(ours: &[u64], theirs: &[u64], level: f64) -> Result<Distance, DistanceError> {
    // rule: J2, J4
    let pair = Pair::new(ours, theirs)?;
    let proof = Proof::new(&pair);
    let parts = proof.cells.iter().map(|cell| cell.part(cell.g)).collect();
    Ok(proof.distance(&pair, proof.g, parts, level))
}

/// Both tests of homogeneity on merged cells. Their tails err in opposite places: Pearson's is too heavy where a
/// rare cell holds a few, G's where a common cell holds none. Asking both to exceed chi-square's critical value
/// keeps the level in every case that was simulated (`tests/noise.rs`), with rare cells too; of two cells, the one
/// almost empty, the exact rate is 1.35 times the level at worst.
pub(super) struct Proof {
    cells: Vec<Merged>,
    pearson: f64,
    g: f64,
}

/// Neighbouring cells that expect enough together.
struct Merged {
    cells: std::ops::Range<usize>,
    pearson: f64,
    g: f64,
}

impl Merged {
    fn new(cells: std::ops::Range<usize>, a: u64, b: u64, pair: &Pair<'_>) -> Self {
        let both = pair.n as f64 + pair.m as f64;
        let pooled = (a as f64 + b as f64) / both;
        let difference = a as f64 / pair.n as f64 - b as f64 / pair.m as f64;
        let pearson = if pooled > 0.0 { difference * difference / (pooled * pair.noise()) } else { 0.0 };
        let term = |count: u64, total: u64| {
            let expected = total as f64 * pooled;
            // O ln(O/E) - O + E: never negative, and the same in sum because both samples' O and E sum alike.
            if count == 0 { expected } else { surplus(count as f64, expected) }
        };
        Self { cells, pearson, g: 2.0 * (term(a, pair.n) + term(b, pair.m)) }
    }

    fn part(&self, contribution: f64) -> Part {
        Part { cells: self.cells.clone(), contribution }
    }
}

/// o ln(o/e) - o + e, without cancellation where both are nearly equal.
pub(super) fn surplus(o: f64, e: f64) -> f64 {
    let x = (e - o) / o;
    // -o (ln(1 + x) - x); the series keeps the digits that ln_1p(x) - x would lose.
    if x.abs() < 1e-4 { o * x * x * (0.5 - x * (1.0 / 3.0 - x * 0.25)) } else { o * (x - x.ln_1p()) }
}

impl Proof {
    pub(super) fn new(pair: &Pair<'_>) -> Self {
        let smaller = u128::from(pair.n.min(pair.m));
        let both = u128::from(pair.n) + u128::from(pair.m);
        let suffices = |a: u64, b: u64| smaller * (u128::from(a) + u128::from(b)) >= EXPECTED * both;
        let mut cells: Vec<(std::ops::Range<usize>, u64, u64)> = Vec::new();
        let (mut start, mut a, mut b) = (0, 0, 0);
        for (cell, (x, y)) in pair.counts().enumerate() {
            (a, b) = (a + x, b + y);
            if suffices(a, b) {
                cells.push((start..cell + 1, a, b));
                (start, a, b) = (cell + 1, 0, 0);
            }
        }
        // What is left over joins the last cell.
        if let Some((range, x, y)) = cells.last_mut() {
            (range.end, *x, *y) = (pair.ours.len(), *x + a, *y + b);
        }
        if cells.len() < 2 {
            let all = pair.counts().enumerate().map(|(cell, (a, b))| (cell..cell + 1, a, b));
            cells = all.filter(|(_, a, b)| a + b > 0).collect();
        }
        let cells: Vec<Merged> =
            cells.into_iter().map(|(range, a, b)| Merged::new(range, a, b, pair)).collect();
        let (pearson, g) = cells.iter().fold((0.0, 0.0), |(x, g), cell| (x + cell.pearson, g + cell.g));
        Self { cells, pearson, g }
    }

    const fn freedom(&self) -> usize {
        self.cells.len() - 1
    }

    /// The weaker of both statistics.
    const fn both(&self) -> f64 {
        self.pearson.min(self.g)
    }

    /// The probability that noise does this, or an upper limit of it.
    pub(super) fn p_value(&self) -> f64 {
        if self.freedom() == 0 { 1.0 } else { chi_square_tail(self.freedom(), self.both()) }
    }

    /// The critical value of a statistic: `first`, at which chi-square alone would put it, unless `value` is beyond
    /// that and the two tests do not prove it. Then it is the value that is as far above `value` as they would have
    /// to be above theirs.
    pub(super) fn critical(&self, value: f64, first: f64, level: f64) -> f64 {
        if value <= first {
            return first;
        }
        let proven = chi_square_critical(self.freedom(), level);
        if self.both() > 0.0 { first.max(value * proven / self.both()) } else { value }
    }

    fn distance(&self, pair: &Pair<'_>, value: f64, parts: Vec<Part>, level: f64) -> Distance {
        let freedom = self.freedom();
        let critical =
            (level > 0.0).then(|| self.critical(value, chi_square_critical(freedom, level), level));
        Distance {
            p_value: Some(self.p_value()),
            critical,
            freedom: Some(freedom),
            ..pair.distance(value, top(parts))
        }
    }
}
