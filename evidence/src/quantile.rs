//! Quantiles of counts on a grid.

use statrs::function::beta::beta_reg;
use wire::Grid;

/// A quantile with what the order statistics prove about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Interpolated linearly within the cell, as Prometheus' `histogram_quantile` does; the lower edge of
    /// the last cell, which is open.
    pub value: f64,
    /// Whether it lies in the open cell, so that `value` is only a lower bound.
    pub open: bool,
    /// The true quantile is above this bucket bound (0 if nothing better is known).
    pub low: f64,
    /// The true quantile is at most this bucket bound; absent if too few samples, or the open cell, say so.
    pub high: Option<f64>,
}

/// The `q`-quantile, 0 < q < 1, of counts on `grid`; `None` without counts. The interval holds the true
/// quantile with probability 1 - `level` at least; at level 0 it is (0, none).
///
/// Order statistics (David & Nagaraja, *Order Statistics*, 7.1): the number of n samples that lie below the
/// quantile is Bin(n, q), so X(r) exceeds it with probability P(Bin <= r-1); the largest r for which that is at
/// most level/2 gives the lower limit, the smallest r with P(Bin >= r) <= level/2 the upper one. Only the
/// cell of X(r) is known, so its outer edges are taken, which errs on the safe side.
#[must_use]
pub fn quantile(grid: Grid, counts: &[u64], q: f64, level: f64) -> Option<Estimate> {
    let n: u64 = counts.iter().sum();
    if n == 0 {
        return None;
    }
    let rank = ((q * n as f64).ceil() as u64).clamp(1, n);
    let cell = cell_of(counts, rank);
    let (from, to) = (lower_edge(grid, cell), grid.edge(cell));
    let below: u64 = counts[..cell].iter().sum();
    let value = if to.is_infinite() {
        from
    } else {
        from + (to - from) * ((q * n as f64 - below as f64) / counts[cell] as f64).clamp(0.0, 1.0)
    };
    let (low_rank, high_rank) = ranks(n, q, level / 2.0);
    Some(Estimate {
        value,
        open: to.is_infinite(),
        low: low_rank.map_or(0.0, |r| lower_edge(grid, cell_of(counts, r))),
        high: high_rank.map(|r| grid.edge(cell_of(counts, r))).filter(|edge| edge.is_finite()),
    })
}

fn lower_edge(grid: Grid, cell: usize) -> f64 {
    if cell == 0 { 0.0 } else { grid.edge(cell - 1) }
}

/// The cell that holds the sample of this rank, 1..=n.
fn cell_of(counts: &[u64], rank: u64) -> usize {
    let mut seen = 0;
    counts
        .iter()
        .position(|count| {
            seen += count;
            seen >= rank
        })
        .expect("the rank is at most the number of samples")
}

/// The ranks whose order statistics bound the quantile from below and from above.
fn ranks(n: u64, q: f64, tail: f64) -> (Option<u64>, Option<u64>) {
    if tail <= 0.0 {
        return (None, None);
    }
    // P(Bin(n, q) <= r-1) grows with r: count the ranks for which it is still at most the tail.
    let low = partition(n, |r| at_most(r - 1, n, q) <= tail);
    // P(Bin(n, q) >= r) = I_q(r, n-r+1) falls with r: the first rank for which it is at most the tail.
    let high = partition(n, |r| beta_reg(r as f64, (n - r + 1) as f64, q) > tail) + 1;
    ((low > 0).then_some(low), (high <= n).then_some(high))
}

/// P(Bin(n, q) <= k) for k < n, as I_{1-q}(n-k, k+1).
fn at_most(k: u64, n: u64, q: f64) -> f64 {
    beta_reg((n - k) as f64, (k + 1) as f64, 1.0 - q)
}

/// The number of ranks 1..=n, all first, for which `holds`.
fn partition(n: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::LATENCY_CELLS;

    #[test]
    fn without_samples_there_is_no_quantile() {
        assert_eq!(quantile(Grid::Seconds, &[0; LATENCY_CELLS], 0.99, 0.05), None);
    }

    #[test]
    fn the_open_cell_has_no_upper_bound() {
        // rule: J2
        let mut counts = vec![0; LATENCY_CELLS];
        counts[LATENCY_CELLS - 1] = 1000;
        let estimate = quantile(Grid::Seconds, &counts, 0.5, 0.05).unwrap();
        assert!(estimate.open && estimate.value > 60.0 && estimate.low > 60.0);
        assert_eq!(estimate.high, None);
    }

    #[test]
    fn too_few_samples_bound_a_tail_from_below_only() {
        // rule: J2. 0.99^100 = 0.37: the largest of 100 samples says nothing from above.
        let mut counts = vec![0; LATENCY_CELLS];
        counts[50] = 100;
        let estimate = quantile(Grid::Seconds, &counts, 0.99, 0.05).unwrap();
        assert_eq!(estimate.low, Grid::Seconds.edge(49));
        assert_eq!(estimate.high, None);
        counts[50] = 1000;
        assert_eq!(quantile(Grid::Seconds, &counts, 0.99, 0.05).unwrap().high, Some(Grid::Seconds.edge(50)));
    }

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Golden {
        quantile_ranks: Vec<Ranks>,
    }

    #[derive(serde::Deserialize)]
    struct Ranks {
        n: u64,
        q: f64,
        level: f64,
        low: Option<u64>,
        high: Option<u64>,
    }

    #[test]
    fn ranks_are_those_of_scipy() {
        // rule: J2
        let golden: Golden = serde_json::from_str(include_str!("../tests/golden/golden.json")).unwrap();
        for Ranks { n, q, level, low, high } in golden.quantile_ranks {
            assert_eq!(ranks(n, q, level / 2.0), (low, high), "{n} {q} {level}");
        }
    }
}
