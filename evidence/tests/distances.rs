//! What must hold for all counts, and the cases in which other canary judges were published to fail.

mod common;

use common::{alike, at, drift, interval, one, profile, read, read_with};
use evidence::{
    Against, Bound, Distance, DistanceError, Metric, References, Series, State, Statistic, Verdict, Windows,
    chi_square, g_test, hellinger, jensen_shannon, ks, ks_limits, ks_values, l_infinity, psi, wasserstein,
};
use proptest::prelude::*;
use wire::{Counts, Feature};

type Function = fn(&[u64], &[u64], f64) -> Result<Distance, DistanceError>;

/// Cells one unit apart.
fn moved(ours: &[u64], theirs: &[u64], level: f64) -> Result<Distance, DistanceError> {
    let values: Vec<f64> = (0..ours.len()).map(|i| i as f64).collect();
    wasserstein(ours, theirs, &values, level)
}

/// All statistics, with the largest value that each can have on `cells` cells.
fn all(cells: usize) -> [(&'static str, Function, f64); 8] {
    let steps = cells.saturating_sub(1) as f64;
    [
        ("psi", psi, f64::MAX),
        ("ks", ks, 1.0),
        ("chiSquare", chi_square, f64::MAX),
        ("g", g_test, f64::MAX),
        ("jensenShannon", jensen_shannon, 1.0),
        ("wasserstein", moved, steps),
        ("hellinger", hellinger, 1.0),
        ("lInfinity", l_infinity, 1.0),
    ]
}

fn counts() -> impl Strategy<Value = (Vec<u64>, Vec<u64>)> {
    let count = prop_oneof![Just(0), 0u64..4, 0u64..60, 0u64..5_000, 999_999_990u64..1_000_000_000];
    prop::collection::vec((count.clone(), count), 1..40)
        .prop_map(|pairs| pairs.into_iter().unzip())
        .prop_filter("not empty", |(a, b): &(Vec<u64>, Vec<u64>)| {
            a.iter().sum::<u64>() > 0 && b.iter().sum::<u64>() > 0
        })
}

proptest! {
    #[test]
    fn distances_are_symmetric_bounded_and_finite((ours, theirs) in counts(), level in 1e-9..0.5f64) {
        for (name, of, most) in all(ours.len()) {
            let (there, back) = (of(&ours, &theirs, level).unwrap(), of(&theirs, &ours, level).unwrap());
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs());
            prop_assert!(there.value >= 0.0 && there.value <= most * (1.0 + 1e-12), "{name} {there:?}");
            prop_assert!(near(there.value, back.value), "{name} {there:?} {back:?}");
            let (a, b) = (there.critical.unwrap(), back.critical.unwrap());
            prop_assert!(a.is_finite() && a >= 0.0 && near(a, b), "{name} {there:?} {back:?}");
            prop_assert!(there.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{name} {there:?}");
            prop_assert!(there.parts.windows(2).all(|pair| pair[0].contribution >= pair[1].contribution));
        }
    }

    #[test]
    fn beyond_the_critical_value_p_is_below_the_level((ours, theirs) in counts(), level in 1e-9..0.5f64) {
        // rule: J2. And a stricter level never finds more.
        for (name, of, _) in all(ours.len()) {
            let breach = |level| {
                let found = of(&ours, &theirs, level).unwrap();
                (found.value > found.critical.unwrap(), found.p_value.unwrap_or(0.0))
            };
            let ((found, p), (stricter, _)) = (breach(level), breach(level / 7.0));
            prop_assert!(!found || p <= level * (1.0 + 1e-6), "{name}: p {p} at level {level}");
            prop_assert!(found || !stricter, "{name}: {level} and a seventh of it");
        }
    }

    #[test]
    fn equal_samples_are_never_beyond_noise((a, _) in counts(), level in 1e-9..0.999f64) {
        for (name, of, _) in all(a.len()) {
            let found = of(&a, &a, level).unwrap();
            prop_assert!(found.value < 1e-6, "{name} {found:?}");
            prop_assert!(found.value <= found.critical.unwrap(), "{name} {found:?}");
        }
    }

    #[test]
    fn the_distance_on_cells_bounds_that_on_values(
        ours in prop::collection::vec(0.0..10.0f64, 1..300), theirs in prop::collection::vec(0.0..10.0f64, 1..300),
    ) {
        let count = |values: &[f64]| {
            let mut cells = vec![0; 10];
            values.iter().for_each(|x| cells[*x as usize] += 1);
            cells
        };
        let (a, b) = (count(&ours), count(&theirs));
        let (low, high) = ks_limits(&a, &b).unwrap();
        let on_values = ks_values(&ours, &theirs, 0.05).unwrap().value;
        prop_assert_eq!(low, ks(&a, &b, 0.05).unwrap().value);
        prop_assert!(low <= on_values && on_values <= high, "{low} {on_values} {high}");
        let largest = |cells: &[u64]| *cells.iter().max().unwrap() as f64 / cells.iter().sum::<u64>() as f64;
        prop_assert!(high <= low + largest(&a).max(largest(&b)) + 1e-12);
    }
}

#[test]
fn what_has_no_distribution_is_refused_by_name() {
    for (name, of, _) in all(2) {
        assert_eq!(
            of(&[0, 0], &[1, 2], 0.1).unwrap_err().to_string(),
            "ours has no samples, at least 1 is needed"
        );
        assert_eq!(of(&[1, 0], &[0, 0], 0.1), Err(DistanceError::Empty { side: "theirs" }), "{name}");
        let unequal = of(&[1, 0], &[1], 0.1).unwrap_err().to_string();
        assert_eq!(unequal, "theirs has 1 cells, must be 2 as in ours");
        assert_eq!(
            of(&[1, 0], &[2, 1], 0.0).unwrap().critical,
            None,
            "{name}: level 0 asks for no critical value"
        );
    }
    let place = wasserstein(&[1, 2], &[2, 1], &[1.0, f64::NAN], 0.1).unwrap_err().to_string();
    assert_eq!(place, "values[1] is NaN, must be finite and above the one before");
    assert!(wasserstein(&[1, 2], &[2, 1], &[1.0, 1.0], 0.1).is_err());
}

#[test]
fn rare_cells_are_merged_before_they_are_tested() {
    // rule: J4. 30 cells expect less than 1 of our 50; six of them are one cell with enough.
    let (mut ours, mut theirs) = (vec![1; 30], vec![10; 30]);
    ours.extend([20, 0]);
    theirs.extend([200, 100]);
    let found = chi_square(&ours, &theirs, 0.05).unwrap();
    assert_eq!(found.freedom, Some(6));
    assert_eq!(found.parts[0].cells, 31..32, "{:?}", found.parts);
    assert!(found.parts.iter().all(|part| part.cells.end <= 32));
}

/// Breaches of a metric without a fixed distance, at one in ten thousand.
fn found(ours: &Counts, theirs: &Counts, statistic: Statistic) -> Verdict {
    let series = Series::Feature(Feature::Brightness);
    let metric = Metric {
        bound: Bound::Noise,
        significance: Some(1e-4),
        min_samples: 4,
        ..drift(series, statistic, Against::Stable, 0.0)
    };
    read(&metric, &one(ours, theirs), &mut State::default(), 15).verdict
}

fn bright(groups: &[(u64, f64)]) -> Counts {
    let mut counts = Counts::default();
    for &(n, brightness) in groups {
        counts.add(&alike(n, 0.9, "a", brightness, 0.05));
    }
    counts
}

#[test]
fn a_hundred_sevens_against_ten_ones_are_told_apart() {
    // spinnaker#6278: Kayenta passes [7 x 100, 3] against [1 x 10].
    let (ours, theirs) = (bright(&[(100, 0.7), (1, 0.3)]), bright(&[(10, 0.1)]));
    for statistic in Statistic::ALL {
        assert_eq!(found(&ours, &theirs, statistic), Verdict::Fail, "{statistic:?}");
    }
}

#[test]
fn a_change_of_spread_is_found() {
    // kayenta#780: the mean is the same, the shape is not.
    let ours = bright(&[(500, 0.2), (500, 0.8)]);
    let theirs = bright(&[(500, 0.45), (500, 0.55)]);
    for statistic in Statistic::ALL {
        assert_eq!(found(&ours, &theirs, statistic), Verdict::Fail, "{statistic:?}");
        assert_eq!(found(&theirs, &theirs, statistic), Verdict::Pass, "{statistic:?}");
    }
}

#[test]
fn errors_where_stable_has_none_are_told_apart_once_there_are_enough() {
    // kayenta#426: [0, 1, 2, 1, 0, 0] against zeros passes. Six points prove nothing, and we say so; requests do.
    let points = |zero: u64, one: u64, two: u64| bright(&[(zero, 0.0), (one, 0.1), (two, 0.2)]);
    for statistic in Statistic::ALL {
        let few = found(&points(3, 2, 1), &points(6, 0, 0), statistic);
        assert_eq!(few, Verdict::Pass, "{statistic:?}: 3 of 6 against 0 of 6 has p = 0.18");
        let many = found(&points(150, 100, 50), &points(300, 0, 0), statistic);
        assert_eq!(many, Verdict::Fail, "{statistic:?}");
    }
}

#[test]
fn a_control_without_series_is_no_data() {
    // rule: J1. kayenta#799: it fails there.
    for statistic in Statistic::ALL {
        let ours = bright(&[(500, 0.5)]);
        assert_eq!(found(&ours, &Counts::default(), statistic), Verdict::NoData, "{statistic:?}");
        assert_eq!(found(&Counts::default(), &ours, statistic), Verdict::NoData, "{statistic:?}");
    }
}

#[test]
fn without_a_fixed_distance_the_sentence_names_the_critical_value() {
    // rule: J3
    let metric = Metric {
        name: "class".into(),
        bound: Bound::Noise,
        significance: Some(0.001),
        ..drift(Series::Class, Statistic::ChiSquare, Against::Reference, 0.0)
    };
    assert_eq!(metric.check(), Ok(()));
    let mut theirs = alike(500, 0.9, "cat", 0.5, 0.05);
    theirs.add(&alike(500, 0.9, "dog", 0.5, 0.05));
    let mut ours = alike(100, 0.9, "cat", 0.5, 0.05);
    ours.add(&alike(200, 0.9, "dog", 0.5, 0.05));
    let reference = profile(&theirs);
    let references = References { candidate: Some(&reference), stable: Some(&reference) };
    let reading = read_with(&metric, &one(&ours, &theirs), references, &mut State::default(), 15);
    assert_eq!(reading.verdict, Verdict::Fail);
    assert_eq!(reading.threshold, reading.critical);
    assert_eq!(
        reading.reason,
        "class: chi-square against the reference is 25.8 over 300 items in 15s, above the critical value 10.8 \
         (check 1, level 0.001)"
    );
    let calm = read_with(&metric, &one(&theirs, &theirs), references, &mut State::default(), 15);
    assert_eq!(calm.verdict, Verdict::Pass);
    assert!(
        calm.reason.contains("is 0 over 1,000 items in 15s, within noise, which may reach 10.8"),
        "{}",
        calm.reason
    );
    let none = read_with(&metric, &Windows::new(at(0)), references, &mut State::default(), 15);
    assert_eq!((none.verdict, none.threshold), (Verdict::NoData, None));
}

#[test]
fn the_newest_requests_are_looked_at() {
    // rule: J5
    let metric = Metric {
        last_requests: Some(250),
        ..drift(Series::Feature(Feature::Brightness), Statistic::Psi, Against::Stable, 0.2)
    };
    let (good, bad) = (bright(&[(100, 0.5)]), bright(&[(100, 0.9)]));
    let mut windows = Windows::new(at(0));
    let mut seen = |i: i64, ours: &Counts| {
        assert!(windows.push(interval(15 * i, 15 * i + 15, ours, &good)));
        let reading = read(&metric, &windows, &mut State::default(), 15 * i + 15);
        (reading.verdict, reading.n)
    };
    // Whole intervals, back to the stage's start; never the oldest once 250 are there.
    assert_eq!(seen(0, &bad), (Verdict::Fail, 100));
    assert_eq!(seen(1, &good).1, 200);
    assert_eq!(seen(2, &good).1, 300);
    assert_eq!(seen(3, &good), (Verdict::Pass, 300));
    assert_eq!(Metric { min_samples: 300, ..metric.clone() }.check().unwrap_err().field, "lastRequests");
}
