//! Features that profiles and pages of earlier releases lack.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use common::{alike, at, drift, errors, interval, one, profile, read, read_all, read_with};
use evidence::{Against, Bound, Metric, OnBreach, References, Series, State, Statistic, Verdict, Windows};
use wire::{Counts, Feature, Profile};

/// `n` answers that differ in nothing but what these features say, in order, over and over.
fn told(n: u64, features: &[(Feature, &[f64])]) -> Counts {
    let mut counts = alike(n, 0.9, "a", 0.5, 0.05);
    for (feature, values) in features {
        for value in values.iter().cycle().take(n as usize) {
            counts.features[feature.index()][feature.grid().cell(*value).unwrap()] += 1;
        }
    }
    counts
}

fn against(feature: Feature, statistic: Statistic, against: Against) -> Metric {
    Metric { name: feature.as_str().into(), ..drift(Series::Feature(feature), statistic, against, 0.2) }
}

/// One of each feature, and the quiet ones beside it.
fn all(against_what: Against) -> Vec<Metric> {
    let quiet = [Series::Feature(Feature::Brightness), Series::Confidence];
    let quiet = quiet.map(|series| Metric {
        name: series.as_str().into(),
        ..drift(series, Statistic::Ks, against_what, 0.2)
    });
    let later = wire::LATER_FEATURES.map(|feature| against(feature, Statistic::Ks, against_what));
    quiet.into_iter().chain(later).collect()
}

const COLOURS: &[f64] = &[0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55];
const SIZES: &[f64] = &[50_176.0, 1_000_000.0, 12_000_000.0];
const SURE: &[f64] = &[0.000_01, 0.0001, 0.001, 0.01];
const LOW: &[f64] = &[-12.0, -11.0, -10.0, -9.0];

fn usual() -> Counts {
    told(
        500,
        &[
            (Feature::Saturation, COLOURS),
            (Feature::Size, SIZES),
            (Feature::Entropy, SURE),
            (Feature::Energy, LOW),
        ],
    )
}

fn failing(
    metrics: &[Metric],
    candidate: &Counts,
    stable: &Counts,
    references: References<'_>,
) -> Vec<String> {
    let readings = read_all(metrics, &one(candidate, stable), references, &mut State::default(), 15);
    assert!(readings.iter().all(|r| matches!(r.verdict, Verdict::Pass | Verdict::Fail)), "{readings:?}");
    readings.into_iter().filter(|r| r.verdict == Verdict::Fail).map(|r| r.metric).collect()
}

#[test]
fn grey_images_and_unsure_answers_are_found_while_all_else_is_quiet() {
    // rule: J1, J2
    let usual = usual();
    let reference = profile(&usual);
    let references = References { candidate: Some(&reference), stable: Some(&reference) };
    let with = |feature: Feature, values: &[f64]| {
        let mut counts = usual.clone();
        counts.features[feature.index()] = told(500, &[(feature, values)]).features[feature.index()].clone();
        counts
    };
    let grey = with(Feature::Saturation, &[0.0]);
    let unsure = with(Feature::Entropy, &[0.3, 0.4, 0.5]);
    let unknown = with(Feature::Energy, &[-3.0, -2.0]);
    let thumbnails = with(Feature::Size, &[1_024.0]);
    for against in [Against::Reference, Against::Stable] {
        let metrics = all(against);
        let found = |candidate: &Counts| failing(&metrics, candidate, &usual, references);
        assert_eq!(found(&usual), [""; 0]);
        assert_eq!(found(&grey), ["saturation"]);
        assert_eq!(found(&unsure), ["entropy"]);
        assert_eq!(found(&unknown), ["energy"]);
        assert_eq!(found(&thumbnails), ["size"]);
    }
}

#[test]
fn every_statistic_and_reason_is_within_the_grid() {
    let usual = usual();
    let reference = profile(&usual);
    let references = References { candidate: Some(&reference), stable: None };
    let other = told(
        500,
        &[
            (Feature::Saturation, &[1.0]),
            (Feature::Size, &[4e9]),
            (Feature::Entropy, &[1.0]),
            (Feature::Energy, &[50.0]),
        ],
    );
    for feature in wire::LATER_FEATURES {
        for statistic in Statistic::ALL {
            let metric = against(feature, statistic, Against::Reference);
            let reading = read_with(&metric, &one(&other, &usual), references, &mut State::default(), 15);
            assert_eq!(reading.verdict, Verdict::Fail, "{}", reading.reason);
            assert!(
                statistic != Statistic::Wasserstein || reading.value.unwrap() <= 1.0,
                "{}",
                reading.reason
            );
            assert!(
                !reading.cells.is_empty() && !format!("{:?}", reading.cells).contains("inf"),
                "{reading:?}"
            );
        }
    }
    // An octave of pixels is 1/32 of the grid, a nat of energy 1/48.
    let moved = told(500, &[(Feature::Size, &[1024.0]), (Feature::Energy, &[-9.9])]);
    let from = told(500, &[(Feature::Size, &[512.0]), (Feature::Energy, &[-6.9])]);
    for (feature, expected) in [(Feature::Size, 1.0 / 32.0), (Feature::Energy, 3.0 / 48.0)] {
        let metric = against(feature, Statistic::Wasserstein, Against::Stable);
        let reading = read(&metric, &one(&moved, &from), &mut State::default(), 15);
        assert!((reading.value.unwrap() - expected).abs() < 1e-9, "{}", reading.reason);
    }
}

#[test]
fn a_profile_of_an_earlier_release_is_no_data_for_what_it_lacks_and_judged_by_what_it_holds() {
    // rule: J1
    let usual = usual();
    let old = Profile { more_features: Default::default(), ..profile(&usual) };
    let references = References { candidate: Some(&old), stable: Some(&old) };
    let metrics = all(Against::Reference);
    let readings = read_all(&metrics, &one(&usual, &usual), references, &mut State::default(), 15);
    for reading in &readings[..2] {
        assert_eq!(reading.verdict, Verdict::Pass, "{}", reading.reason);
    }
    for reading in &readings[2..] {
        let why = format!(
            "{0}: the candidate's reference profile holds no {0}: profile the model again",
            reading.metric
        );
        assert_eq!((reading.verdict, &reading.reason, reading.value), (Verdict::NoData, &why, None));
    }
}

#[test]
fn an_arm_that_tells_no_such_feature_is_no_data_and_says_whose() {
    // rule: J1
    let (usual, old) = (usual(), alike(500, 0.9, "a", 0.5, 0.05));
    let reference = profile(&usual);
    let references = References { candidate: Some(&reference), stable: Some(&reference) };
    let metric = |what| against(Feature::Saturation, Statistic::Psi, what);
    let of = |what, candidate: &Counts, stable: &Counts| {
        let reading =
            read_with(&metric(what), &one(candidate, stable), references, &mut State::default(), 15);
        assert_eq!(reading.verdict, Verdict::NoData, "{}", reading.reason);
        reading.reason
    };
    let told = of(Against::Reference, &old, &usual);
    assert!(told.ends_with("100 needed; no answer of candidate tells its saturation"), "{told}");
    let told = of(Against::Stable, &usual, &old);
    assert!(told.ends_with("100 of each needed; no answer of stable tells its saturation"), "{told}");
    let silence = of(Against::Reference, &Counts::default(), &usual);
    assert!(silence.ends_with("100 needed"), "{silence}");
}

#[test]
fn what_cannot_be_told_from_the_world_is_an_alert() {
    // rule: J5. Answers have a reference of their own: stable's profile must hold the feature too.
    let usual = usual();
    let (new, unsure) =
        (profile(&usual), told(500, &[(Feature::Entropy, &[0.5]), (Feature::Saturation, &[0.0])]));
    let old = Profile { more_features: Default::default(), ..new.clone() };
    let of = |feature, stable_profile, stable: &Counts| {
        let references = References { candidate: Some(&new), stable: Some(stable_profile) };
        let metric = against(feature, Statistic::Ks, Against::Reference);
        let reading = read_with(&metric, &one(&unsure, stable), references, &mut State::default(), 15);
        assert_eq!(reading.verdict, Verdict::Fail, "{}", reading.reason);
        (reading.on_breach, reading.reason)
    };
    assert_eq!(of(Feature::Entropy, &new, &usual).0, OnBreach::Rollback);
    let (on_breach, why) = of(Feature::Entropy, &old, &usual);
    assert_eq!(on_breach, OnBreach::Alert);
    assert!(
        why.ends_with(
            "stable's profile holds no entropy to tell drift of the world from drift of the candidate"
        ),
        "{why}"
    );
    // Images are the same for both, and one reference is enough.
    assert_eq!(of(Feature::Saturation, &old, &usual).0, OnBreach::Rollback);
    assert_eq!(of(Feature::Saturation, &old, &unsure).0, OnBreach::Alert);
    // Stable's server tells none.
    let (on_breach, why) = of(Feature::Saturation, &new, &alike(500, 0.9, "a", 0.5, 0.05));
    assert!(on_breach == OnBreach::Alert && why.contains("stable has no samples"), "{why}");
}

#[test]
fn packed_windows_keep_later_features() {
    let (usual, mut windows) = (usual(), Windows::new(at(0)));
    for i in 0..4 {
        assert!(windows.push(interval(15 * i, 15 * i + 15, &usual, &usual)));
    }
    let all: Vec<_> = windows.from(None).collect();
    assert!(all.iter().all(|interval| interval.candidate == usual && interval.stable == usual));
    let reading = read(&errors(Bound::Max(0.02)), &windows, &mut State::default(), 60);
    assert_eq!(reading.n, 2_000);
}
