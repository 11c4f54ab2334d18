//! What labels say, against scikit-learn, scipy and statsmodels (`golden/labels.py`).

mod common;

use common::{close, matrix};
use evidence::{
    Macro, Share, auc, auc_variance, calibration, confidence_bins, macro_f1, macro_precision, macro_recall,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    shares: Vec<GoldenShare>,
    confusions: Vec<GoldenConfusion>,
    aucs: Vec<GoldenAuc>,
    calibrations: Vec<GoldenCalibration>,
}

#[derive(Deserialize)]
struct GoldenShare {
    events: u64,
    trials: u64,
    level: f64,
    wilson: (f64, f64),
    exact: (f64, f64),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoldenConfusion {
    name: String,
    matrix: Vec<Vec<u64>>,
    level: f64,
    accuracy: f64,
    support: Vec<u64>,
    precision: Vec<Option<f64>>,
    recall: Vec<Option<f64>>,
    f1: Vec<Option<f64>>,
    f1_limits: Vec<Option<(f64, f64)>>,
    macro_precision: Option<GoldenMacro>,
    macro_recall: Option<GoldenMacro>,
    macro_f1: Option<GoldenMacro>,
}

#[derive(Deserialize)]
struct GoldenMacro {
    value: f64,
    low: f64,
    high: f64,
    classes: usize,
}

#[derive(Deserialize)]
struct GoldenAuc {
    positive: Vec<u64>,
    negative: Vec<u64>,
    level: f64,
    area: f64,
    variance: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

#[derive(Deserialize)]
struct GoldenCalibration {
    correct: Vec<u64>,
    wrong: Vec<u64>,
    bins: usize,
    error: f64,
    low: f64,
    high: f64,
    share: Vec<f64>,
    confidence: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/labels.json")).expect("labels.py wrote it")
}

#[test]
fn shares_have_the_limits_of_statsmodels() {
    for case in golden().shares {
        let share = Share::new(case.events, case.trials);
        let what = format!("{} of {} at {}", case.events, case.trials, case.level);
        let (wilson, exact) = (share.wilson(case.level).unwrap(), share.exact(case.level).unwrap());
        for (ours, theirs, which) in [
            (wilson.low, case.wilson.0, "Wilson's lower"),
            (wilson.high, case.wilson.1, "Wilson's upper"),
            (exact.low, case.exact.0, "exact lower"),
            (exact.high, case.exact.1, "exact upper"),
        ] {
            close(ours, theirs, 1e-6, &format!("{which} limit of {what}"));
        }
    }
}

#[test]
fn classes_score_as_in_scikit_learn() {
    for case in golden().confusions {
        let (confusion, name) = (matrix(&case.matrix), &case.name);
        close(confusion.accuracy().value().unwrap(), case.accuracy, 1e-12, name);
        for class in 0..case.matrix.len() {
            let ours = confusion.scores(&class.to_string(), case.level);
            let what = format!("class {class} of {name}");
            assert_eq!(ours.support, case.support[class], "{what}");
            for (ours, theirs, measure) in [
                (ours.precision, case.precision[class], "precision"),
                (ours.recall, case.recall[class], "recall"),
                (ours.f1, case.f1[class], "F1"),
            ] {
                assert_eq!(ours.is_some(), theirs.is_some(), "{measure} of {what}");
                if let (Some(ours), Some(theirs)) = (ours, theirs) {
                    close(ours.value, theirs, 1e-12, &format!("{measure} of {what}"));
                }
            }
            if let (Some(ours), Some((low, high))) = (ours.f1, case.f1_limits[class]) {
                close(ours.low, low, 1e-7, &format!("lower F1 limit of {what}"));
                close(ours.high, high, 1e-7, &format!("upper F1 limit of {what}"));
            }
        }
    }
}

#[test]
fn averages_are_those_of_the_dense_formulas() {
    let same = |ours: Option<Macro>, theirs: &Option<GoldenMacro>, tolerance: f64, what: &str| {
        assert_eq!(ours.is_some(), theirs.is_some(), "{what}");
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return };
        assert_eq!(ours.classes, theirs.classes, "{what}");
        close(ours.measured.value, theirs.value, 1e-12, what);
        close(ours.measured.low, theirs.low, tolerance, what);
        close(ours.measured.high, theirs.high, tolerance, what);
    };
    for case in golden().confusions {
        let (confusion, name) = (matrix(&case.matrix), &case.name);
        same(macro_precision(&confusion, case.level), &case.macro_precision, 1e-7, name);
        same(macro_recall(&confusion, case.level), &case.macro_recall, 1e-7, name);
        // The variance there is differentiated numerically.
        same(macro_f1(&confusion, case.level), &case.macro_f1, 1e-4, name);
    }
}

#[test]
fn areas_are_those_of_scikit_learn_and_brunner_and_munzel() {
    for (i, case) in golden().aucs.into_iter().enumerate() {
        let what = format!("case {i}");
        let ours = auc(&case.positive, &case.negative, case.level).unwrap();
        close(ours.value, case.area, 1e-9, &what);
        if let Some(variance) = case.variance {
            close(auc_variance(&case.positive, &case.negative).unwrap(), variance, 1e-9, &what);
        }
        if let (Some(low), Some(high)) = (case.low, case.high) {
            close(ours.low, low, 1e-7, &what);
            close(ours.high, high, 1e-7, &what);
        }
    }
    assert_eq!(auc(&[0, 0], &[1, 2], 0.05), None, "no positive item");
    assert_eq!(auc(&[], &[], 0.05), None);
    assert_eq!(auc_variance(&[1, 0], &[3, 4]), None, "one item has no variance");
}

#[test]
fn calibration_has_the_bins_of_scikit_learn() {
    for (i, case) in golden().calibrations.into_iter().enumerate() {
        let what = format!("case {i}");
        let ours = calibration(&case.correct, &case.wrong, &confidence_bins(case.bins), 0.05).unwrap();
        close(ours.error.value, case.error, 1e-9, &what);
        close(ours.error.low, case.low, 1e-7, &what);
        close(ours.error.high, case.high, 1e-7, &what);
        assert_eq!(ours.bins.len(), case.share.len(), "{what}");
        for (bin, (share, confidence)) in ours.bins.iter().zip(case.share.iter().zip(&case.confidence)) {
            close(bin.correct.value().unwrap(), *share, 1e-9, &what);
            close(bin.confidence, *confidence, 1e-9, &what);
        }
    }
    assert_eq!(calibration(&[0; 64], &[0; 64], &confidence_bins(10), 0.05), None);
}
