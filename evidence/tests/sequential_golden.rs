//! Our sequential tests against mpmath, scipy and numpy (`golden/sequential.py`).

use evidence::{Detector, Leaves, Mismatch, Process, Stratum, Tree};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    process: Vec<Seen>,
    mismatch: Vec<Split>,
    detector: Vec<Stream>,
    tree: Vec<Histograms>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    tolerance: f64,
    strata: Vec<(u64, u64, u64, u64, Option<f64>)>,
    log_e: f64,
    estimate: Option<f64>,
    /// Whether the ends of the interval were solved for; `None` is then beyond the grid.
    #[serde(default)]
    ends: bool,
    low: Option<f64>,
    high: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Split {
    counts: Vec<(u64, u64, f64)>,
    log_e: f64,
}

#[derive(Deserialize)]
struct Stream {
    limit: f64,
    counts: Vec<(u64, u64)>,
    value: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Histograms {
    pairs: Vec<(Vec<u64>, Vec<u64>)>,
    log_e: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/sequential.json")).expect("sequential.py wrote it")
}

#[track_caller]
fn close(ours: f64, theirs: f64, what: &str) {
    let error = (ours - theirs).abs() / theirs.abs().max(1.0);
    assert!(error < 1e-8, "{what}: {ours} but {theirs} was expected ({error:e})");
}

fn process(case: &Seen) -> Process {
    let mut process = Process::new(case.tolerance).expect("in range");
    for &(x, n, x_stable, n_stable, split) in &case.strata {
        process.observe(&Stratum { x, n, x_stable, n_stable, split }).expect("in range");
    }
    process
}

#[test]
fn evidence_and_estimate_are_exact() {
    // rule: S2
    for case in golden().process {
        let ours = process(&case);
        let what = format!("{} {:?}", case.tolerance, case.strata);
        close(ours.log_e(), case.log_e, &what);
        assert_eq!(ours.estimate().is_some(), case.estimate.is_some(), "{what}");
        close(ours.estimate().unwrap_or_default(), case.estimate.unwrap_or_default(), &what);
        assert!(ours.p_value() <= 1.0 && (ours.log_peak() >= case.log_e - 1e-8));
    }
}

#[test]
fn the_interval_is_never_narrower_than_the_exact_one() {
    let cases = golden().process;
    assert!(cases.iter().filter(|case| case.ends && case.low.is_some() && case.high.is_some()).count() >= 5);
    for case in cases.iter().filter(|case| case.ends) {
        let (low, high) = process(case).interval(0.05);
        let what = format!("{} {:?}: {low} {high:?}", case.tolerance, case.strata);
        let (true_low, true_high) = (case.low.unwrap_or(0.0), case.high.unwrap_or(f64::INFINITY));
        let high = high.unwrap_or(f64::INFINITY);
        assert!(
            low <= true_low * (1.0 + 1e-9) && high >= true_high * (1.0 - 1e-9),
            "{what} {true_low} {true_high}"
        );
        // And not wider by more than a chord of the grid explains.
        assert!(low == true_low || low > 0.85 * true_low, "{what} {true_low}");
        assert!(high == true_high || high < true_high / 0.85, "{what} {true_high}");
    }
}

#[test]
fn mismatch_is_exact() {
    for Split { counts, log_e } in golden().mismatch {
        let mut mismatch = Mismatch::default();
        for &(n, n_stable, share) in &counts {
            mismatch.observe(n, n_stable, share).unwrap();
        }
        close(mismatch.log_e(), log_e, &format!("{counts:?}"));
    }
}

#[test]
fn detector_is_exact() {
    for Stream { limit, counts, value } in golden().detector {
        let mut detector = Detector::new(limit).unwrap();
        for &(events, units) in &counts {
            detector.observe(events, units).unwrap();
        }
        close(detector.value() / value, 1.0, &format!("{limit} {counts:?}"));
    }
}

#[test]
fn tree_is_exact() {
    for Histograms { pairs, log_e } in golden().tree {
        let mut tree = Tree::new(Leaves::cut(&[1; 16]));
        for (ours, theirs) in &pairs {
            tree.observe(ours, theirs).unwrap();
        }
        close(tree.log_e(), log_e, &format!("{pairs:?}"));
    }
}
