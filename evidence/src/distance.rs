//! Distances between two samples that are counted on the same cells, and what noise alone would reach.

use std::ops::Range;

use statrs::function::gamma::gamma_ur;

/// Groups that the cells of a grid are merged into for PSI (J4); part of the API.
pub const GROUPS: usize = 10;

/// Groups of neighbouring cells whose bounds lie nearest to the deciles of `reference`, at most [`GROUPS`].
/// Of two bounds that are equally near the lower one is taken, but of those with the same cumulative count
/// the one that touches the mass; deciles that share a bound share a group.
#[must_use]
pub fn groups(reference: &[u64]) -> Vec<Range<usize>> {
    // rule: J4
    let total: u64 = reference.iter().sum();
    let mut cumulative = 0;
    // Bounds that only repeat the count of the one before (an empty cell between) are no candidates, except
    // the last before the mass begins.
    let bounds: Vec<(usize, u64)> = (0..reference.len().saturating_sub(1))
        .filter_map(|i| {
            cumulative += reference[i];
            (reference[i] > 0 || (cumulative == 0 && reference[i + 1] > 0)).then_some((i + 1, cumulative))
        })
        .collect();
    let mut cuts = vec![0];
    for decile in 1..GROUPS as u64 {
        let distance = |count: u64| (count * GROUPS as u64).abs_diff(decile * total);
        if let Some(&(bound, _)) = bounds.iter().min_by_key(|(_, count)| distance(*count))
            && cuts.last() != Some(&bound)
        {
            cuts.push(bound);
        }
    }
    cuts.push(reference.len());
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// The terms (p - q) ln(p / q) of the population stability index of `ours` from `theirs`, cell by cell, with
/// shares smoothed by half an item per cell (J4). Their sum is the index, the symmetrised Kullback-Leibler
/// divergence (Kullback & Leibler 1951, Jeffreys 1946). All zero when either is empty.
#[must_use]
pub fn psi(ours: &[u64], theirs: &[u64]) -> Vec<f64> {
    // rule: J4
    let (n, m) = (ours.iter().sum::<u64>(), theirs.iter().sum::<u64>());
    if n == 0 || m == 0 {
        return vec![0.0; ours.len()];
    }
    let half = 0.5 * ours.len() as f64;
    ours.iter()
        .zip(theirs)
        .map(|(&a, &b)| {
            let (p, q) = ((a as f64 + 0.5) / (n as f64 + half), (b as f64 + 0.5) / (m as f64 + half));
            (p - q) * (p / q).ln()
        })
        .collect()
}

/// What the PSI `value` of these two samples must exceed, to be more than noise at `level`.
///
/// First chi^2_{cells-1, 1-level} * (1/n + 1/m), since PSI is a scaled chi-square to first order (Yurdakul &
/// Naranjo, *Statistical properties of the population stability index*, 2020). That order is not enough for
/// the small levels of J3: PSI grows without bound where a cell runs empty, so that with 10 even cells, n = 100
/// and m = 1,000 it exceeds that value 2.6 times as often as it should at level 1e-4, and 9 times at 1e-6
/// (simulated). The likelihood ratio statistic G ([`g_statistic`]) of the same cells keeps the tail of
/// chi-square there; so G must exceed chi-square's critical value too, which is expressed here as the PSI that
/// is as far above its critical value as G is above its own. Both together: at most 1.3 times the level.
#[must_use]
pub fn psi_critical(ours: &[u64], theirs: &[u64], value: f64, level: f64) -> f64 {
    // rule: J2
    let (n, m) = (ours.iter().sum::<u64>() as f64, theirs.iter().sum::<u64>() as f64);
    let chi_square = chi_square_critical(ours.len().saturating_sub(1), level);
    let g = g_statistic(ours, theirs);
    let needed = if g > 0.0 { value * chi_square / g } else { value };
    (chi_square * (1.0 / n + 1.0 / m)).max(needed)
}

/// The likelihood ratio statistic of homogeneity, G = 2 sum O ln(O / E) over both samples, with the pooled
/// shares as expectation (Wilks 1938; Sokal & Rohlf, *Biometry*, 17.4). Chi-square with cells-1 degrees of
/// freedom if both come from one distribution.
#[must_use]
pub fn g_statistic(ours: &[u64], theirs: &[u64]) -> f64 {
    let (n, m) = (ours.iter().sum::<u64>() as f64, theirs.iter().sum::<u64>() as f64);
    let term = |count: u64, total: f64, pooled: f64| {
        if count == 0 { 0.0 } else { count as f64 * (count as f64 / (total * pooled)).ln() }
    };
    let sum: f64 = ours
        .iter()
        .zip(theirs)
        .map(|(&a, &b)| {
            let pooled = (a + b) as f64 / (n + m);
            term(a, n, pooled) + term(b, m, pooled)
        })
        .sum();
    (2.0 * sum).max(0.0)
}

/// The value that chi-square with `freedom` degrees exceeds with probability `level`, 0 < level < 1; 0 for
/// no degrees. Solved on the upper tail Q(freedom/2, x/2) itself, which keeps its precision where 1 - level
/// rounds to 1.
#[must_use]
pub fn chi_square_critical(freedom: usize, level: f64) -> f64 {
    if freedom == 0 {
        return 0.0;
    }
    let exceeds = |x: f64| gamma_ur(freedom as f64 / 2.0, x / 2.0) > level;
    let (mut low, mut high) = (0.0, freedom as f64 + 1.0);
    while exceeds(high) {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if exceeds(middle) { low = middle } else { high = middle }
    }
    high
}

/// The Kolmogorov-Smirnov statistic on cells: the largest difference of the cumulative shares at a bound.
/// On cells it is never larger than on the values themselves, so the critical value stays valid. 0 when
/// either is empty.
#[must_use]
pub fn ks(ours: &[u64], theirs: &[u64]) -> f64 {
    let (n, m) = (ours.iter().sum::<u64>(), theirs.iter().sum::<u64>());
    if n == 0 || m == 0 {
        return 0.0;
    }
    let (mut a, mut b, mut largest) = (0, 0, 0.0f64);
    for (x, y) in ours.iter().zip(theirs) {
        (a, b) = (a + x, b + y);
        largest = largest.max((a as f64 / n as f64 - b as f64 / m as f64).abs());
    }
    largest
}

/// What the KS statistic of two samples of one distribution exceeds with probability `level` at most:
/// sqrt(-ln(level/2)/2 * (n+m)/(n m)), the first term of Smirnov's limit (Smirnov 1948; as a bound for
/// finite samples Massart 1990, Wei & Dudley 2012).
#[must_use]
pub fn ks_critical(n: u64, m: u64, level: f64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    (-(level / 2.0).ln() / 2.0 * (n + m) / (n * m)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_cover_every_cell_once(reference in prop::collection::vec(0u64..50, 1..80)) {
            let groups = groups(&reference);
            prop_assert!((1..=GROUPS).contains(&groups.len()));
            prop_assert_eq!(groups[0].start, 0);
            prop_assert_eq!(groups.last().unwrap().end, reference.len());
            for pair in groups.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
                prop_assert!(!pair[0].is_empty() && !pair[1].is_empty());
            }
        }

        #[test]
        fn equal_samples_have_no_distance(a in prop::collection::vec(0u64..50, 1..40)) {
            prop_assert_eq!(psi(&a, &a).iter().sum::<f64>(), 0.0);
            prop_assert_eq!(ks(&a, &a), 0.0);
        }

        #[test]
        fn distances_are_symmetric_and_finite(pairs in prop::collection::vec((0u64..50, 0u64..50), 1..40)) {
            let (a, b): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
            let (there, back) = (psi(&a, &b).iter().sum::<f64>(), psi(&b, &a).iter().sum::<f64>());
            prop_assert!(there >= 0.0 && there.is_finite() && (there - back).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&ks(&a, &b)) && ks(&a, &b) == ks(&b, &a));
        }
    }

    #[test]
    fn even_mass_is_cut_at_the_deciles() {
        // rule: J4
        let ends: Vec<usize> = groups(&[7; 60]).iter().map(|g| g.end).collect();
        assert_eq!(ends, [6, 12, 18, 24, 30, 36, 42, 48, 54, 60]);
    }

    #[test]
    fn mass_in_one_cell_leaves_what_lies_below_and_above() {
        // rule: J4
        let mut reference = [0; 64];
        reference[20] = 100;
        assert_eq!(groups(&reference), [0..20, 20..21, 21..64]);
        assert_eq!(groups(&[0; 64]).len(), 1, "nothing to cut an empty reference by");
    }

    #[test]
    fn a_cell_that_ran_empty_by_chance_is_not_a_breach() {
        // rule: J2. One cell of ten empty out of 100: PSI calls it rarer than it is.
        let ours = [0, 12, 11, 11, 11, 11, 11, 11, 11, 11];
        let theirs = [100; 10];
        let (value, level) = (psi(&ours, &theirs).iter().sum::<f64>(), 1e-3);
        let first_order = chi_square_critical(9, level) * (1.0 / 100.0 + 1.0 / 1000.0);
        assert!(value > 0.9 * first_order, "{value} {first_order}");
        assert!(g_statistic(&ours, &theirs) < 0.8 * chi_square_critical(9, level));
        assert!(psi_critical(&ours, &theirs, value, level) > value);
    }
}
