//! What makes the sequential tests valid, summed over every outcome of small experiments, and what must hold
//! for all numbers.

use evidence::{Detector, Exceedance, LatencyTest, Leaves, Mismatch, Process, Promotion, Stratum, Tree};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn choose(n: u64, k: u64) -> f64 {
    (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product()
}

fn binomial(n: u64, k: u64, p: f64) -> f64 {
    choose(n, k) * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32)
}

fn strata() -> impl Strategy<Value = Stratum> {
    let split = prop_oneof![Just(None), (0.01..0.99f64).prop_map(Some)];
    (0u64..60, 0u64..60, 0u64..400, 0u64..400, split).prop_map(|(x, x_stable, more, more_stable, split)| {
        Stratum { x, n: x + more, x_stable, n_stable: x_stable + more_stable, split }
    })
}

fn seen(tolerance: f64, strata: &[Stratum]) -> Process {
    let mut process = Process::new(tolerance).expect("in range");
    strata.iter().for_each(|stratum| process.observe(stratum).expect("in range"));
    process
}

/// Rates with this ratio of the odds.
fn with_odds(base: f64, ratio: f64) -> f64 {
    let odds = ratio * base / (1.0 - base);
    odds / (1.0 + odds)
}

#[test]
fn whatever_the_rates_of_a_harmless_candidate_nothing_is_gained_on_average() {
    // rule: S2. All outcomes of n and m requests; the odds ratio is at most the tolerance.
    for tolerance in [1.0, 1.1, 1.5] {
        for (n, m) in [(1, 1), (3, 7), (8, 4), (12, 12)] {
            for (part, base) in [(1.0, 0.02), (1.0, 0.5), (0.9, 0.3), (0.3, 0.6), (0.0, 0.9)] {
                let rate = with_odds(base, part * tolerance);
                let mut mean = 0.0;
                for (x, x_stable) in (0..=n).flat_map(|x| (0..=m).map(move |x_stable| (x, x_stable))) {
                    let e = seen(tolerance, &[Stratum { x, n, x_stable, n_stable: m, split: None }])
                        .log_e()
                        .exp();
                    mean += binomial(n, x, rate) * binomial(m, x_stable, base) * e;
                }
                assert!(mean < 1.0 + 1e-12, "{mean} at {part} of {tolerance}, {n} and {m}, base {base}");
                assert!(part < 1.0 || mean > 1.0 - 1e-12, "{mean}: exact at the tolerance itself");
            }
        }
    }
}

/// Calls `each` with every outcome of `units` requests that are drawn with share `split`, and its probability.
fn drawn(units: u64, split: f64, rates: (f64, f64), mut each: impl FnMut(Stratum, f64)) {
    for n in 0..=units {
        let n_stable = units - n;
        for x in 0..=n {
            for x_stable in 0..=n_stable {
                let chance = binomial(units, n, split)
                    * binomial(n, x, rates.0)
                    * binomial(n_stable, x_stable, rates.1);
                each(Stratum { x, n, x_stable, n_stable, split: Some(split) }, chance);
            }
        }
    }
}

#[test]
fn a_random_split_may_depend_on_what_was_seen_and_gains_nothing() {
    // rule: S2. Two intervals; the second's share and its rates follow from the first. The ratio of the rates is
    // at the tolerance, or below.
    for (part, tolerance) in [(1.0, 1.25), (0.6, 1.25)] {
        let mut mean = 0.0;
        drawn(4, 0.3, (0.2 * part * tolerance, 0.2), |first, chance| {
            let worse = first.x > first.x_stable;
            let (split, base) = if worse { (0.1, 0.4) } else { (0.7, 0.05) };
            drawn(3, split, (base * part * tolerance, base), |second, then| {
                mean += chance * then * seen(tolerance, &[first, second]).log_e().exp();
            });
        });
        assert!(mean < 1.0 + 1e-12 && (part < 1.0 || mean > 1.0 - 1e-12), "{mean}");
    }
}

#[test]
fn a_candidate_at_the_margin_or_worse_proves_nothing_on_average() {
    for ratio in [1.5, 2.0, 9.0] {
        let (base, mut mean) = (0.2, 0.0);
        for (x, x_stable) in (0..=6).flat_map(|x| (0..=9).map(move |x_stable| (x, x_stable))) {
            let mut promotion = Promotion::new(1.5).unwrap();
            promotion.observe(&Stratum { x, n: 6, x_stable, n_stable: 9, split: None }).unwrap();
            mean += binomial(6, x, with_odds(base, ratio))
                * binomial(9, x_stable, base)
                * promotion.log_e().exp();
        }
        assert!(mean < 1.0 + 1e-12 && (ratio > 1.5 || mean > 1.0 - 1e-12), "{mean} at {ratio}");
    }
}

#[test]
fn exchangeable_items_gain_nothing_in_a_tree() {
    // Every way to give 3 of 7 items to the candidate, twice over.
    let items = [0, 1, 3, 3, 8, 14, 15];
    let ways: Vec<(Vec<u64>, Vec<u64>)> = (0..1u32 << items.len())
        .filter(|chosen| chosen.count_ones() == 3)
        .map(|chosen| {
            let (mut ours, mut theirs) = (vec![0; 16], vec![0; 16]);
            for (i, &cell) in items.iter().enumerate() {
                if chosen >> i & 1 == 1 { ours[cell] += 1 } else { theirs[cell] += 1 }
            }
            (ours, theirs)
        })
        .collect();
    let mut mean = 0.0;
    for first in &ways {
        for second in &ways {
            let mut tree = Tree::new(Leaves::cut(&[1; 16]));
            tree.observe(&first.0, &first.1).unwrap();
            tree.observe(&second.0, &second.1).unwrap();
            mean += tree.log_e().exp() / (ways.len() * ways.len()) as f64;
        }
    }
    assert!((mean - 1.0).abs() < 1e-12, "{mean}");
}

#[test]
fn the_right_split_gains_nothing_however_it_ramps() {
    let mut mean = 0.0;
    for first in 0..=9 {
        // The next share follows from what was seen.
        let share = if first > 1 { 0.5 } else { 0.25 };
        for second in 0..=7 {
            let mut mismatch = Mismatch::default();
            mismatch.observe(first, 9 - first, 0.1).unwrap();
            mismatch.observe(second, 7 - second, share).unwrap();
            mean += binomial(9, first, 0.1) * binomial(7, second, share) * mismatch.log_e().exp();
        }
    }
    assert!((mean - 1.0).abs() < 1e-12, "{mean}");
}

#[test]
fn a_detector_gains_one_per_unit_at_its_limit_and_less_below() {
    for rate in [0.2, 0.1, 0.0] {
        let mut mean = 0.0;
        for (first, second) in (0..=6).flat_map(|first| (0..=9).map(move |second| (first, second))) {
            let mut detector = Detector::new(0.2).unwrap();
            detector.observe(first, 6).unwrap();
            detector.observe(second, 9).unwrap();
            mean += binomial(6, first, rate) * binomial(9, second, rate) * detector.value();
        }
        assert!(mean < 15.0 + 1e-9 && (rate < 0.2 || mean > 15.0 - 1e-9), "{mean} at {rate}");
    }
}

/// Through JSON and back.
fn stored<T: Serialize + DeserializeOwned>(state: &T) -> T {
    let json = serde_json::to_string(state).expect("in range");
    assert!(json.len() < 1024, "{} bytes: {json}", json.len());
    serde_json::from_str(&json).expect("in range")
}

proptest! {
    #[test]
    fn the_order_of_intervals_does_not_matter(strata in prop::collection::vec(strata(), 1..12), tolerance in 0.5..2.0f64) {
        let there = seen(tolerance, &strata);
        let reversed: Vec<Stratum> = strata.into_iter().rev().collect();
        let back = seen(tolerance, &reversed);
        prop_assert!((there.log_e() - back.log_e()).abs() < 1e-9);
        prop_assert_eq!(there.seen(), back.seen());
        let (a, b) = (there.interval(0.05), back.interval(0.05));
        prop_assert!((a.0 - b.0).abs() < 1e-6 && (a.1.unwrap_or(0.0) - b.1.unwrap_or(0.0)).abs() < 1e-6);
    }

    #[test]
    fn a_resumed_test_is_the_same_bit_by_bit(strata in prop::collection::vec(strata(), 1..12), stop in 0usize..12) {
        let stop = stop.min(strata.len());
        let mut resumed = stored(&seen(1.1, &strata[..stop]));
        strata[stop..].iter().for_each(|stratum| resumed.observe(stratum).unwrap());
        let whole = seen(1.1, &strata);
        prop_assert_eq!(resumed.log_e().to_bits(), whole.log_e().to_bits());
        prop_assert_eq!(resumed, whole);
    }

    #[test]
    fn every_number_it_says_is_a_number(strata in prop::collection::vec(strata(), 1..12), level in 1e-9..0.5f64) {
        let process = seen(1.1, &strata);
        prop_assert!(process.log_e().is_finite() && process.log_peak() >= process.log_e().max(0.0));
        prop_assert!((0.0..=1.0).contains(&process.p_value()));
        prop_assert_eq!(process.crossed(level), process.p_value() <= level);
        let (low, high) = process.interval(level);
        prop_assert!(low.is_finite() && low >= 0.0 && high.is_none_or(|high| high.is_finite() && high > low));
        prop_assert!(process.estimate().is_none_or(|ratio| ratio.is_finite() && ratio >= 0.0));
    }

    #[test]
    fn a_stricter_level_has_a_wider_interval(strata in prop::collection::vec(strata(), 1..12), a in 1e-9..0.5f64, b in 1e-9..0.5f64) {
        let process = seen(1.1, &strata);
        let (strict, lax) = (process.interval(a.min(b)), process.interval(a.max(b)));
        let high = |end: Option<f64>| end.unwrap_or(f64::INFINITY);
        prop_assert!(strict.0 <= lax.0 && high(strict.1) >= high(lax.1));
    }
}

#[test]
fn all_state_is_small_after_a_long_life() {
    // rule: C6
    let (mut process, mut promotion) = (Process::new(1.1).unwrap(), Promotion::new(1.5).unwrap());
    let mut tree = Tree::new(Leaves::cut(&[u64::from(u32::MAX); 64]));
    let mut latency = LatencyTest::new(Exceedance::freeze(&[999_999; 142], 1.25).unwrap());
    let (mut mismatch, mut detector) = (Mismatch::default(), Detector::new(0.07).unwrap());
    for i in 0..200 {
        let stratum = Stratum { x: 5000, n: 1 << 40, x_stable: 4000 + i, n_stable: 1 << 41, split: None };
        process.observe(&stratum).unwrap();
        promotion.observe(&stratum).unwrap();
        tree.observe(&[100_000 + i; 64], &[123_456; 64]).unwrap();
        latency.observe(&latency.exceedance().strata(&[70 + i; 142], &[90; 142])).unwrap();
        mismatch.observe(1_000_000 + i, 1_000_000, 0.5).unwrap();
        detector.observe(71 + i, 1000).unwrap();
    }
    assert_eq!(stored(&process), process);
    assert_eq!(stored(&promotion), promotion);
    assert_eq!(stored(&tree), tree);
    assert_eq!(stored(&latency), latency);
    assert_eq!(stored(&mismatch), mismatch);
    assert_eq!(stored(&detector), detector);
}
