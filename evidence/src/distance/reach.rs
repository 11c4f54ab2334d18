//! What noise may make of a true PSI.

use super::homogeneity::surplus;
use super::share::{PSI, psi_term, smoothed};
use super::{Distance, Pair, noise};

/// Steps that the way to `max` may take; about six are needed.
const STEPS: u32 = 60;

/// About what is seen of a true PSI of `max` with probability `level` only; `found` is the PSI of these counts.
///
/// To first order PSI is a noncentral chi-square, of n m / (n + m) times `max`. But it is steep where a group runs
/// empty (its slope there is about -q / p), so that noise in a few items carries it far: of one group in ten that
/// makes a true PSI of 0.2, that limit alone is exceeded 5 to 11 times too often at level 1e-3 and 13 to 17 times
/// at 1e-4 (simulated, n = 300 to 3,000). Twice the logarithm of a likelihood ratio is a noncentral chi-square
/// too (Wald, Trans. AMS 54 (1943) 426), and its noise is the same in full and in empty groups. So the counts must
/// also lie as far beyond the bound in likelihood as the limit does: the root of twice the logarithm of their
/// likelihood over that of shares with PSI = `max` must exceed by how much the root of chi-square's critical value
/// exceeds that of its noncentrality. The limit is at least what lies as many times as far above `max` as the value as
/// that is of the root.
///
/// Ten groups keep the level (`tests/reach.rs`). Of a hundred classes most of which are rare, it is exceeded up to twice
/// as often.
pub(crate) fn psi_reach(ours: &[u64], theirs: &[u64], found: &Distance, max: f64, level: f64) -> f64 {
    let limit = PSI.reach(found, max, level);
    if found.value <= limit.max(max) {
        return limit;
    }
    let pair = Pair::new(ours, theirs).expect("these counts have a distance");
    let unit = noise(found.n, found.m);
    let needed = (limit / unit).sqrt() - (max / unit).sqrt();
    limit.max(max + (found.value - max) * needed / evidence_beyond(&pair, found.value, max))
}

/// The root of twice the logarithm of the likelihood ratio of the shares seen against shares whose PSI is `max`, which
/// is less than that of the shares seen. For these both sides move on a straight line until they would meet.
///
/// The place where they meet makes that likely: to first order, the likeliest way to a smaller PSI moves each side in
/// proportion to what it gains over what it costs. With d = q - p, moving p all the way gains sum d ln(q / p) + sum
/// d^2 / p, which is PSI + X, and costs n X (half of it, as a logarithm); q likewise with its own X = sum d^2 / q.
fn evidence_beyond(pair: &Pair<'_>, psi: f64, max: f64) -> f64 {
    let (n, m) = (pair.n as f64, pair.m as f64);
    let seen: Vec<(f64, f64)> = smoothed(pair).collect();
    let (x_ours, x_theirs) = seen.iter().fold((0.0, 0.0), |(ours, theirs), (p, q)| {
        let squared = (q - p) * (q - p);
        (ours + squared / p, theirs + squared / q)
    });
    let (ours, theirs) = ((1.0 + psi / x_ours) / n, (1.0 + psi / x_theirs) / m);
    let part = ours / (ours + theirs);
    let at = |way: f64| {
        seen.iter().map(move |&(p, q)| {
            let meet = p + part * (q - p);
            (p + way * (meet - p), q + way * (meet - q))
        })
    };
    let way = crossing(|way| at(way).map(psi_term).sum::<f64>().sqrt() - max.sqrt());
    let ratio = seen.iter().zip(at(way)).map(|((p, q), (p0, q0))| n * surplus(*p, p0) + m * surplus(*q, q0));
    (2.0 * ratio.sum::<f64>()).sqrt()
}

/// Where this falls through 0 between 0 and 1, by false position (Illinois): the root of PSI is nearly straight.
fn crossing(excess: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    let (mut above, mut below) = (excess(low), excess(high));
    let mut way = high;
    for _ in 0..STEPS {
        way = (low * below - high * above) / (below - above);
        let at = excess(way);
        if at.abs() < 1e-9 || high - low < 1e-12 {
            break;
        }
        if at > 0.0 {
            (low, above, below) = (way, at, 0.5 * below);
        } else {
            (high, below, above) = (way, at, 0.5 * above);
        }
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::psi;
    use proptest::prelude::*;

    fn reach(ours: &[u64], theirs: &[u64], max: f64, level: f64) -> (f64, f64) {
        let found = psi(ours, theirs, level).expect("counts on both sides");
        (found.value, psi_reach(ours, theirs, &found, max, level))
    }

    #[test]
    fn limits_are_those_of_another_implementation() {
        // rule: J2. By numpy, with 200 steps of bisection.
        let even = [150; 10];
        let emptied = [110, 111, 109, 110, 2, 112, 108, 110, 116, 112];
        let (grown, quarters) = ([300, 100, 100, 100], [1_000; 4]);
        for (ours, theirs, max, level, limit) in [
            (&[30; 10][..], &even[..], 0.2, 1e-3, 0.461112174745),
            (&emptied, &even, 0.2, 1e-3, 0.412805559466),
            (&grown, &quarters, 0.1, 1e-4, 0.248223496264),
            (&[0, 500], &[30, 270], 0.2, 1e-3, 0.599162353763),
        ] {
            let (_, reached) = reach(ours, theirs, max, level);
            assert!((reached - limit).abs() < 1e-8, "{ours:?} {theirs:?}: {reached} for {limit}");
        }
    }

    fn count(most: u64) -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), 0..most, 999_999_990u64..1_000_000_000]
    }

    proptest! {
        #[test]
        fn a_stricter_level_or_a_larger_bound_finds_no_more(
            counts in prop::collection::vec((count(2_000), count(100_000)), 1..30),
            max in 0.0..2.0f64,
            level in 1e-9..0.5f64,
        ) {
            // rule: J2
            let (mut ours, theirs): (Vec<u64>, Vec<u64>) = counts.into_iter().map(|(a, b)| (a, b + 1)).unzip();
            ours[0] += 1;
            let beyond = |max: f64, level: f64| {
                let (value, limit) = reach(&ours, &theirs, max, level);
                prop_assert!(limit.is_finite() && limit >= 0.0, "{limit}");
                Ok(value > limit.max(max))
            };
            let found = beyond(max, level)?;
            prop_assert!(found || !beyond(max, level / 7.0)?);
            prop_assert!(found || !beyond(max * 1.5, level)?);
        }
    }
}
