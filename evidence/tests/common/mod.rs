//! Small worlds for the tests: intervals, metrics and a clock that the tests move.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

pub(crate) mod regret;

use evidence::{
    Against, Bound, Confusion, Draw, Interval, Kind, Labelled, Metric, Reading, References, Rules, Series,
    State, Statistic, Tests, Windows, judge,
};
use jiff::{SignedDuration, Timestamp};
use wire::{ClassCount, Counts, FEATURES, Feature, Grid, LATER_FEATURES, Outcome, Profile};

pub(crate) const EVERY: SignedDuration = SignedDuration::from_secs(15);

/// `seconds` after the stage began.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

/// One answered request with one item.
pub(crate) fn answer(counts: &mut Counts, confidence: f64, class: &str, brightness: f64, seconds: f64) {
    counts.outcomes[Outcome::Ok.index()] += 1;
    counts.latency[Grid::Seconds.cell(seconds).unwrap()] += 1;
    counts.doubt[Grid::Doubt.cell(1.0 - confidence).unwrap()] += 1;
    counts.features[Feature::Brightness.index()][Grid::Unit.cell(brightness).unwrap()] += 1;
    *counts.classes.entry(class.to_owned()).or_default() += 1;
}

pub(crate) fn fail(counts: &mut Counts, outcome: Outcome, times: u64) {
    counts.outcomes[outcome.index()] += times;
}

/// `n` requests that answer alike.
pub(crate) fn alike(n: u64, confidence: f64, class: &str, brightness: f64, seconds: f64) -> Counts {
    let mut counts = Counts::default();
    for _ in 0..n {
        answer(&mut counts, confidence, class, brightness, seconds);
    }
    counts
}

/// `n` ordinary answers of which `errors` are errors instead.
pub(crate) fn with_errors(n: u64, errors: u64) -> Counts {
    let mut counts = alike(n - errors, 0.9, "a", 0.5, 0.05);
    fail(&mut counts, Outcome::Error, errors);
    counts
}

pub(crate) fn interval(from: i64, to: i64, candidate: &Counts, stable: &Counts) -> Interval {
    Interval {
        from: at(from),
        to: at(to),
        draw: Draw::Split,
        split: None,
        candidate: candidate.clone(),
        stable: stable.clone(),
        pairs: None,
        labelled: Labelled::default(),
        slots: None,
    }
}

/// Windows with one interval of 15 s from the stage's start.
pub(crate) fn one(candidate: &Counts, stable: &Counts) -> Windows {
    let mut windows = Windows::new(at(0));
    assert!(windows.push(interval(0, 15, candidate, stable)));
    windows
}

pub(crate) fn drift(series: Series, statistic: Statistic, against: Against, max: f64) -> Metric {
    Metric::new("drift", Kind::Drift { series, statistic, against }, Bound::Max(max))
}

pub(crate) fn errors(bound: Bound) -> Metric {
    Metric::new("errors", Kind::ErrorRate, bound)
}

/// Judges one metric, alone, at the default budget of 1 %.
pub(crate) fn read(metric: &Metric, windows: &Windows, state: &mut State, now: i64) -> Reading {
    read_with(metric, windows, References::default(), state, now)
}

pub(crate) fn read_with(
    metric: &Metric,
    windows: &Windows,
    references: References<'_>,
    state: &mut State,
    now: i64,
) -> Reading {
    read_all(std::slice::from_ref(metric), windows, references, state, now).remove(0)
}

/// The readings of all of them; a metric that the stage cannot measure has none.
pub(crate) fn read_all(
    metrics: &[Metric],
    windows: &Windows,
    references: References<'_>,
    state: &mut State,
    now: i64,
) -> Vec<Reading> {
    let rules = Rules {
        metrics,
        tests: &Tests::OFF,
        false_rollback: 0.01,
        interval: EVERY,
        timeout: SignedDuration::ZERO,
        accept: false,
        ends: None,
    };
    judge(&rules, windows, references, state, at(now))
}

/// A profile in which every image looks and is answered like these.
pub(crate) fn profile(like: &Counts) -> Profile {
    let mut profile = Profile::new("1.0.0", &[]);
    profile.images = like.requests();
    profile.features = like.features[..FEATURES.len()].to_vec();
    for feature in LATER_FEATURES {
        let cells = &like.features[feature.index()];
        if cells.iter().any(|n| *n > 0) {
            profile.more_features.insert(feature.as_str().to_owned(), cells.clone());
        }
    }
    for feature in &mut profile.features {
        // Features that a test does not care about.
        if feature.iter().sum::<u64>() == 0 {
            feature[0] = profile.images;
        }
    }
    profile.confidence = like.doubt.clone();
    profile.classes = like
        .classes
        .iter()
        .map(|(class, count)| ClassCount { class: class.clone(), count: *count })
        .collect();
    profile.check().unwrap();
    profile
}

/// A confusion matrix, from rows of true classes; classes are named by their numbers, no pair is capped.
pub(crate) fn matrix(rows: &[Vec<u64>]) -> Confusion {
    let mut confusion = Confusion::default();
    for (truth, row) in rows.iter().enumerate() {
        for (predicted, &count) in row.iter().enumerate() {
            confusion.classes.entry(truth.to_string()).or_default().truths += count;
            confusion.classes.entry(predicted.to_string()).or_default().predictions += count;
            if truth == predicted {
                confusion.classes.entry(truth.to_string()).or_default().hits += count;
            } else if count > 0 {
                let row = confusion.mistakes.entry(truth.to_string()).or_default();
                row.insert(predicted.to_string(), count);
            }
        }
    }
    confusion
}

/// Within a relative `tolerance`, of 0.001 at least.
#[track_caller]
pub(crate) fn close(ours: f64, theirs: f64, tolerance: f64, what: &str) {
    let error = (ours - theirs).abs() / theirs.abs().max(1e-3);
    assert!(error <= tolerance, "{what}: {ours} here, {theirs} there");
}

/// What a binomial count exceeds with probability 1e-6 at most: Chernoff's bound, by the relative entropy.
pub(crate) fn at_most(runs: u64, probability: f64) -> u64 {
    let n = runs as f64;
    let unlikely = |x: f64| {
        let (share, p) = (x / n, probability);
        let rest = if x < n { (1.0 - share) * ((1.0 - share) / (1.0 - p)).ln() } else { 0.0 };
        n * (share * (share / p).ln() + rest) > 1e6f64.ln()
    };
    (0..=runs).find(|&x| x as f64 > n * probability && unlikely((x + 1) as f64)).unwrap_or(runs)
}

/// What a binomial count falls below with probability 1e-6 at most.
pub(crate) fn at_least(runs: u64, probability: f64) -> u64 {
    runs - at_most(runs, 1.0 - probability)
}
