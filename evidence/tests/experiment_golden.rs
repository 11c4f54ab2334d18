//! Tests of experiments, against scipy and statsmodels (`golden/experiment.py`).

mod common;

use common::close;
use evidence::Share;
use evidence::experiment::{
    Direction, Sample, Wager, chi_square, mean_sequence, newcombe, required_classes, required_means,
    required_shares, two_proportion_z, welch, welch_interval,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Golden {
    proportions: Vec<Proportions>,
    welch: Vec<Welch>,
    chi_square: Vec<ChiSquare>,
    required_shares: Vec<Required<f64>>,
    required_means: Vec<RequiredMeans>,
    required_classes: Vec<Required<Vec<f64>>>,
    sequences: Vec<Sequence>,
    wagers: Vec<GoldenWager>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proportions {
    counts: [u64; 4],
    level: f64,
    statistic: Option<f64>,
    two_sided: Option<f64>,
    above: Option<f64>,
    low: f64,
    high: f64,
}

/// Number, mean and variance.
type Values = (u64, f64, f64);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Welch {
    candidate: Values,
    stable: Values,
    level: f64,
    statistic: f64,
    freedom: f64,
    two_sided: f64,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct ChiSquare {
    candidate: Vec<u64>,
    stable: Vec<u64>,
    statistic: f64,
    freedom: f64,
    p: f64,
}

#[derive(Deserialize)]
struct Required<T> {
    candidate: T,
    stable: T,
    level: f64,
    power: f64,
    split: f64,
    n: [f64; 2],
}

#[derive(Deserialize)]
struct RequiredMeans {
    effect: f64,
    deviation: f64,
    level: f64,
    power: f64,
    split: f64,
    n: [f64; 2],
}

#[derive(Deserialize)]
struct Sequence {
    candidate: Values,
    stable: Values,
    effect: f64,
    level: f64,
    above: f64,
    below: f64,
    width: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoldenWager {
    split: f64,
    centre: f64,
    effect: f64,
    counts: [u64; 4],
    level: f64,
    log_e: f64,
    low: f64,
    high: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/experiment.json")).expect("experiment.py wrote it")
}

fn sample((n, mean, variance): Values) -> Sample {
    Sample::new(n, mean, variance).expect("finite")
}

/// Probabilities, in their order of magnitude too.
#[track_caller]
fn close_p(ours: f64, theirs: f64, what: &str) {
    let error = (ours - theirs).abs() / theirs.max(1e-300);
    assert!(error <= 1e-6, "{what}: {ours} here, {theirs} there");
}

#[test]
fn two_shares_are_compared_as_in_statsmodels() {
    for case in golden().proportions {
        let [x, n, y, m] = case.counts;
        let what = format!("{x}/{n} against {y}/{m}");
        let (candidate, stable) = (Share::new(x, n), Share::new(y, m));
        let test = two_proportion_z(candidate, stable);
        assert_eq!(test.is_some(), case.statistic.is_some(), "{what}: nothing varies");
        if let (Some(test), Some(z), Some(two), Some(above)) =
            (test, case.statistic, case.two_sided, case.above)
        {
            close(test.statistic, z, 1e-8, &what);
            close_p(test.two_sided(), two, &what);
            close_p(test.one_sided(Direction::Increase), above, &what);
            close_p(test.one_sided(Direction::Decrease), 1.0 - above, &what);
        }
        let ours = newcombe(candidate, stable, case.level).unwrap();
        close(ours.low, case.low, 1e-7, &what);
        close(ours.high, case.high, 1e-7, &what);
    }
}

#[test]
fn two_means_are_compared_as_in_scipy() {
    for case in golden().welch {
        let what = format!("{:?} against {:?}", case.candidate, case.stable);
        let (candidate, stable) = (sample(case.candidate), sample(case.stable));
        let test = welch(candidate, stable).unwrap();
        close(test.statistic, case.statistic, 1e-9, &what);
        close(test.freedom, case.freedom, 1e-9, &what);
        close_p(test.two_sided(), case.two_sided, &what);
        let tail = if case.statistic > 0.0 { test.above } else { test.below };
        close_p(tail, 0.5 * case.two_sided, &what);
        let ours = welch_interval(candidate, stable, case.level).unwrap();
        close(ours.low, case.low, 1e-7, &what);
        close(ours.high, case.high, 1e-7, &what);
    }
}

#[test]
fn classes_are_compared_as_in_scipy() {
    for case in golden().chi_square {
        let what = format!("{:?} against {:?}", case.candidate, case.stable);
        let ours = chi_square(&case.candidate, &case.stable).unwrap();
        close(ours.statistic, case.statistic, 1e-9, &what);
        close_p(ours.freedom, case.freedom, &what);
        close_p(ours.above, case.p, &what);
        close(ours.below, 1.0 - case.p, 1e-6, &what);
    }
    for (candidate, stable) in
        [(&[3, 4][..], &[0, 0][..]), (&[0, 0], &[1, 2]), (&[5, 0], &[7, 0]), (&[], &[])]
    {
        assert_eq!(chi_square(candidate, stable), None, "{candidate:?} against {stable:?}");
    }
}

#[test]
fn required_samples_are_those_of_statsmodels() {
    let same = |ours: [u64; 2], theirs: [f64; 2], what: &str| {
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            let (ours, theirs) = (ours as f64, theirs.ceil());
            // One sample of what a root finder rounds.
            assert!((ours - theirs).abs() <= 1.0 + 1e-6 * theirs, "{what}: {ours} here, {theirs} there");
        }
    };
    let Golden { required_shares: shares, required_means: means, required_classes: classes, .. } = golden();
    for Required { candidate, stable, level, power, split, n } in shares {
        let ours = required_shares(candidate, stable, level, power, split);
        same(ours, n, &format!("{candidate} against {stable}, {level} {power} {split}"));
    }
    for RequiredMeans { effect, deviation, level, power, split, n } in means {
        let ours = required_means(effect, deviation, level, power, split);
        same(ours, n, &format!("an effect of {effect}, {level} {power} {split}"));
    }
    for Required { candidate, stable, level, power, split, n } in classes {
        let ours = required_classes(&candidate, &stable, level, power, split).unwrap();
        same(ours, n, &format!("{candidate:?} against {stable:?}, {level} {power} {split}"));
    }
    assert_eq!(required_classes(&[0.5, 0.5], &[0.5, 0.5], 0.05, 0.8, 0.5), None, "nothing to find");
    assert_eq!(required_classes(&[1.0], &[1.0], 0.05, 0.8, 0.5), None);
}

#[test]
fn sequences_of_means_are_those_of_the_integrated_mixture() {
    for case in golden().sequences {
        let Sequence { effect, level, width, .. } = case;
        let what = format!("{:?} against {:?} at {level}", case.candidate, case.stable);
        let (candidate, stable) = (sample(case.candidate), sample(case.stable));
        let run = |direction| mean_sequence(candidate, stable, effect, level, direction).unwrap();
        let (difference, above) = run(Direction::Increase);
        close_p(above, case.above, &what);
        close_p(run(Direction::Decrease).1, case.below, &what);
        // The closed form is a bound of the mixture's own limit.
        let ours = difference.high - difference.value;
        close(difference.value - difference.low, ours, 1e-6, &what);
        assert!(ours >= width * (1.0 - 1e-6) && ours <= 1.1 * width, "{what}: {ours} here, {width} there");
    }
}

#[test]
fn wagers_are_those_of_bets_item_by_item() {
    for case in golden().wagers {
        let [x, n, y, m] = case.counts;
        let what = format!("{x}/{n} against {y}/{m}");
        let wager = Wager { split: case.split, centre: case.centre, effect: case.effect };
        let (candidate, stable) = (Share::new(x, n), Share::new(y, m));
        close(wager.log_e(candidate, stable, 0.0), case.log_e, 1e-9, &what);
        let ours = wager.sequence(candidate, stable, case.level).unwrap();
        assert!(
            (ours.low - case.low).abs() < 3e-9 && (ours.high - case.high).abs() < 3e-9,
            "{what}: {ours:?}"
        );
    }
}
