//! Labels as counters: what is refused, merged and capped, and how often the limits are right.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{at_most, matrix};
use evidence::{
    Confusion, LabelError, Labels, MAX_PAIRS, Measured, OTHER, Scores, Share, Tally, auc, calibration,
    confidence_bins, macro_f1, macro_precision, macro_recall,
};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::{CELLS, Grid};

fn classes(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn labels_outside_the_class_list_are_counted_apart() {
    let (known, mut labels) = (classes(&["cat", "dog"]), Labels::default());
    for (truth, predicted) in [("cat", "cat"), ("cat", "horse"), ("bird", "cat"), (OTHER, "dog")] {
        labels.count(&known, truth, predicted, 0.9).unwrap();
    }
    assert_eq!(labels.confusion.other, 2);
    assert_eq!(labels.accuracy(), Share::new(1, 2), "a class that does not exist is a wrong answer");
    assert_eq!(labels.confusion.classes["cat"], Tally { hits: 1, truths: 2, predictions: 1 });
    assert_eq!(labels.confusion.mistakes["cat"], BTreeMap::from([(OTHER.to_owned(), 1)]));
    assert!(!labels.confusion.classes.contains_key(OTHER));
    assert_eq!((labels.correct.total(), labels.wrong.total()), (1, 1));
}

#[test]
fn numbers_outside_their_range_are_refused_by_name() {
    let (known, mut labels) = (classes(&["cat", "dog"]), Labels::default());
    for found in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        let error = labels.count(&known, "cat", "cat", found).unwrap_err();
        assert!(error.to_string().starts_with("confidence: found "), "{error}");
        let scores = BTreeMap::from([("cat".to_owned(), 0.5), ("dog".to_owned(), found)]);
        let error = labels.count_scores(&known, "cat", &scores).unwrap_err();
        assert!(error.to_string().starts_with("scores.dog: found "), "{error}");
    }
    let some = BTreeMap::from([("cat".to_owned(), 0.5)]);
    let error = labels.count_scores(&known, "cat", &some).unwrap_err();
    assert_eq!(error, LabelError::Classes { found: 1, needed: 2 });
    assert_eq!(labels, Labels::default(), "what is refused is not counted");
    let error = serde_json::from_str::<Scores>(r#"{"members": [1, 2], "rest": []}"#).unwrap_err();
    assert!(error.to_string().contains("found 2 cells, 64 are needed"), "{error}");
}

#[test]
fn the_cap_hides_pairs_and_changes_no_score() {
    let names: Vec<String> = (0..40).map(|i| format!("class-{i:02}")).collect();
    let known: BTreeSet<String> = names.iter().cloned().collect();
    let mut confusion = Confusion::default();
    for (i, truth) in names.iter().enumerate() {
        for (j, predicted) in names.iter().enumerate() {
            for _ in 0..if i == j { 60 } else { 1 } {
                confusion.count(&known, truth, predicted);
            }
        }
    }
    let pairs: usize =
        confusion.mistakes.values().map(|row| row.keys().filter(|name| *name != OTHER).count()).sum();
    assert_eq!(pairs, MAX_PAIRS, "of 1,560");
    let total: u64 = confusion.mistakes.values().flat_map(BTreeMap::values).sum();
    assert_eq!(total, 1560);
    assert_eq!(confusion.classes["class-39"], Tally { hits: 60, truths: 99, predictions: 99 });
    let few = confusion.capped(3);
    assert_eq!(few.classes, confusion.classes);
    assert_eq!(few.mistakes.values().flat_map(BTreeMap::values).sum::<u64>(), 1560);
    // What is hidden widens the limits of macro F1, by the square root of 2 at most.
    let width = |confusion: &Confusion| {
        let Measured { low, high, .. } = macro_f1(confusion, 0.05).unwrap().measured;
        high - low
    };
    let dense: Vec<Vec<u64>> =
        (0..40).map(|i| (0..40).map(|j| if i == j { 60 } else { 1 }).collect()).collect();
    let whole = width(&matrix(&dense));
    assert!(whole <= width(&confusion) + 1e-12, "{whole} {}", width(&confusion));
    assert!(width(&confusion) <= width(&few) + 1e-12 && width(&few) < 1.42 * whole);
}

#[test]
fn perfect_and_all_wrong_have_limits() {
    let perfect = matrix(&[vec![20, 0], vec![0, 20]]);
    let f1 = macro_f1(&perfect, 0.05).unwrap().measured;
    assert!(f1.value == 1.0 && f1.high == 1.0 && f1.low > 0.8 && f1.low < 0.97, "{f1:?}");
    let wrong = matrix(&[vec![0, 20], vec![20, 0]]);
    let f1 = macro_f1(&wrong, 0.05).unwrap().measured;
    assert!(f1.value == 0.0 && f1.low == 0.0 && f1.high > 0.03 && f1.high < 0.3, "{f1:?}");
    assert_eq!(macro_f1(&Confusion::default(), 0.05), None);
    assert_eq!(Confusion::default().accuracy().value(), None);
    assert_eq!(Confusion::default().scores("cat", 0.05).f1, None, "a division by zero is not 0");
}

#[test]
fn auc_of_labels_rises_with_the_confidence_of_right_answers() {
    let (known, mut labels) = (classes(&["cat", "dog"]), Labels::default());
    for (predicted, confidence) in [("cat", 0.99), ("cat", 0.9), ("dog", 0.6), ("dog", 0.9)] {
        labels.count(&known, "cat", predicted, confidence).unwrap();
    }
    // Of the four pairs three are in order, one is a tie.
    assert_eq!(labels.auc(0.05).unwrap().value, 3.5 / 4.0);
    let score = |cat: f64| BTreeMap::from([("cat".to_owned(), cat), ("dog".to_owned(), 1.0 - cat)]);
    for (truth, cat) in [("cat", 0.9), ("cat", 0.4), ("dog", 0.2), ("dog", 0.4)] {
        labels.count_scores(&known, truth, &score(cat)).unwrap();
    }
    assert_eq!(labels.scores["cat"].auc(0.05).unwrap().value, 3.5 / 4.0);
    let whole = labels.macro_auc(0.05).unwrap();
    assert_eq!((whole.measured.value, whole.classes, whole.left_out), (3.5 / 4.0, 2, 0));
}

/// Some labels, with classes that are in no list among them.
fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::vec((0usize..5, 0usize..5, 0.0..=1.0f64), 0..40).prop_map(|items| {
        let (known, mut labels) = (classes(&["0", "1", "2", "3"]), Labels::default());
        for (truth, predicted, confidence) in items {
            let scores = (0..4).map(|class| (class.to_string(), confidence)).collect();
            labels.count(&known, &truth.to_string(), &predicted.to_string(), confidence).expect("in range");
            labels.count_scores(&known, &truth.to_string(), &scores).expect("all classes");
        }
        labels
    })
}

fn sum(parts: &[&Labels]) -> Labels {
    let mut sum = Labels::default();
    for part in parts {
        sum.add(part);
    }
    sum
}

proptest! {
    #[test]
    fn merging_has_no_order(a in labels(), b in labels(), c in labels()) {
        let whole = sum(&[&a, &b, &c]);
        prop_assert_eq!(&whole, &sum(&[&c, &a, &b]));
        prop_assert_eq!(&whole, &sum(&[&a, &sum(&[&c, &b])]));
        let json = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), whole);
    }

    #[test]
    fn a_delta_is_what_was_added(before in labels(), arrived in labels()) {
        // rule: C4
        let after = sum(&[&before, &arrived]);
        prop_assert_eq!(after.since(&before), Some(arrived.clone()));
        prop_assert_eq!(after.since(&after), Some(Labels::default()));
        if arrived != Labels::default() {
            prop_assert_eq!(before.since(&after), None, "counters went backwards");
        }
    }

    #[test]
    fn auc_is_a_share_and_swaps_to_its_complement(
        pairs in prop::collection::vec((0u64..40, 0u64..40), 1..64), level in 1e-6..0.5f64,
    ) {
        let (a, b): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
        let (there, back) = (auc(&a, &b, level), auc(&b, &a, level));
        prop_assert_eq!(there.is_some(), a.iter().sum::<u64>() > 0 && b.iter().sum::<u64>() > 0);
        if let (Some(there), Some(back)) = (there, back) {
            prop_assert!(0.0 <= there.low && there.low <= there.value && there.value <= there.high);
            prop_assert!(there.high <= 1.0);
            prop_assert!((there.value + back.value - 1.0).abs() < 1e-12);
            prop_assert!((there.low + back.high - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn intervals_hold_the_estimate_and_stay_in_range(labels in labels(), level in 1e-6..0.5f64) {
        let confusion = &labels.confusion;
        let mut all: Vec<Measured> = [macro_precision, macro_recall, macro_f1]
            .into_iter()
            .filter_map(|average| average(confusion, level).map(|m| m.measured))
            .collect();
        for class in confusion.classes.keys() {
            let scores = confusion.scores(class, level);
            all.extend([scores.precision, scores.recall, scores.f1].into_iter().flatten());
        }
        all.extend(labels.macro_auc(level).map(|m| m.measured));
        all.extend(labels.calibration(10, level).map(|calibration| calibration.error));
        all.extend([labels.accuracy().wilson(level), labels.accuracy().exact(level)].into_iter().flatten());
        for m in all {
            prop_assert!(0.0 <= m.low && m.low <= m.value && m.value <= m.high && m.high <= 1.0, "{m:?}");
        }
    }

    #[test]
    fn bins_cover_every_cell_once(bins in 0usize..200) {
        let groups = confidence_bins(bins);
        prop_assert!(groups.len() <= bins.max(1));
        prop_assert_eq!((groups[0].start, groups.last().unwrap().end), (0, CELLS));
        for pair in groups.windows(2) {
            prop_assert!(pair[0].end == pair[1].start && !pair[0].is_empty() && !pair[1].is_empty());
        }
    }

    #[test]
    fn the_cells_hold_the_calibration_error(confidences in prop::collection::vec((0.0..=1.0f64, any::<bool>()), 1..50)) {
        // The error of the very confidences, in the same bins, lies within what the cells' edges allow.
        let (mut correct, mut wrong) = (vec![0; CELLS], vec![0; CELLS]);
        let groups = confidence_bins(10);
        let mut gaps = vec![0.0; groups.len()];
        for &(confidence, right) in &confidences {
            let cell = Grid::Doubt.cell(1.0 - confidence).unwrap();
            if right { correct[cell] += 1 } else { wrong[cell] += 1 }
            let group = groups.iter().position(|cells| cells.contains(&cell)).unwrap();
            gaps[group] += f64::from(u8::from(right)) - confidence;
        }
        let error = gaps.iter().map(|gap: &f64| gap.abs()).sum::<f64>() / confidences.len() as f64;
        let ours = calibration(&correct, &wrong, &groups, 0.05).unwrap();
        let (mut nearest, mut farthest) = (0.0, 0.0);
        for bin in &ours.bins {
            let (share, n) = (bin.correct.value().unwrap(), bin.correct.trials as f64);
            prop_assert!(bin.confidence_low <= bin.confidence && bin.confidence <= bin.confidence_high);
            nearest += n * (bin.confidence_low - share).max(share - bin.confidence_high).max(0.0);
            farthest += n * (share - bin.confidence_low).abs().max((share - bin.confidence_high).abs());
        }
        let n = confidences.len() as f64;
        prop_assert!(nearest / n <= error + 1e-9 && error <= farthest / n + 1e-9);
        prop_assert!(ours.error.low <= error && error <= ours.error.high);
    }
}

const RUNS: u64 = 300;
const LEVEL: f64 = 0.1;

/// How often of [`RUNS`] the limits miss the truth.
fn misses(mut run: impl FnMut(&mut StdRng) -> (Measured, f64)) -> u64 {
    let mut random = StdRng::seed_from_u64(20_240_613);
    let missed = |(found, truth): (Measured, f64)| u64::from(truth < found.low || truth > found.high);
    (0..RUNS).map(|_| missed(run(&mut random))).sum()
}

#[test]
fn limits_of_auc_miss_no_more_often_than_they_may() {
    for (m, n) in [(8, 8), (30, 300), (400, 40)] {
        // Members score by the larger of two draws: they beat one of the rest with probability 2/3 (of 64 cells,
        // where a tie is half).
        let beat: f64 = (0..64).map(|i| f64::from(2 * i + 1) / 4096.0 * (f64::from(i) + 0.5) / 64.0).sum();
        let missed = misses(|random| {
            let mut draw = |n: usize, best_of: usize| {
                let mut cells = vec![0; 64];
                for _ in 0..n {
                    let cell = (0..best_of).map(|_| random.random_range(0..64)).max();
                    cells[cell.expect("at least one draw")] += 1;
                }
                cells
            };
            let (ours, theirs) = (draw(m, 2), draw(n, 1));
            (auc(&ours, &theirs, LEVEL).expect("both sides have items"), beat)
        });
        println!("AUC of {m} against {n}: {missed} of {RUNS} missed");
        assert!(missed <= at_most(RUNS, LEVEL), "{missed} of {RUNS} with {m} against {n}");
    }
}

#[test]
fn limits_of_averages_miss_no_more_often_than_they_may() {
    // Chances of (true, predicted), in thousandths; the third class is rare and hard.
    let chances: [[u64; 3]; 3] = [[420, 20, 10], [60, 380, 10], [25, 15, 60]];
    let average = |pick: fn(u64, u64, u64) -> f64| {
        let sum = |of: fn(usize, usize) -> (usize, usize), class: usize| {
            (0..3).map(|other| of(class, other)).map(|(t, p)| chances[t][p]).sum::<u64>()
        };
        (0..3).map(|c| pick(chances[c][c], sum(|c, o| (c, o), c), sum(|c, o| (o, c), c))).sum::<f64>() / 3.0
    };
    let truths = [
        average(|hits, _, predicted| hits as f64 / predicted as f64),
        average(|hits, truths, _| hits as f64 / truths as f64),
        average(|hits, truths, predicted| 2.0 * hits as f64 / (truths + predicted) as f64),
    ];
    for items in [120, 2000] {
        for (measure, truth) in [macro_precision, macro_recall, macro_f1].into_iter().zip(truths) {
            let missed = misses(|random| {
                let mut rows = vec![vec![0; 3]; 3];
                for _ in 0..items {
                    let mut at = random.random_range(0..1000);
                    let cell = chances.as_flattened().iter().position(|chance| {
                        let here = at < *chance;
                        at = at.saturating_sub(*chance);
                        here
                    });
                    let cell = cell.expect("the chances add up to 1000");
                    rows[cell / 3][cell % 3] += 1;
                }
                (measure(&matrix(&rows), LEVEL).expect("classes were seen").measured, truth)
            });
            println!("average of {items} items, truth {truth}: {missed} of {RUNS} missed");
            assert!(missed <= at_most(RUNS, LEVEL), "{missed} of {RUNS} at {items} items, truth {truth}");
        }
    }
}

#[test]
fn limits_of_the_calibration_error_miss_no_more_often_than_they_may() {
    let bins = confidence_bins(10);
    // A calibrated model, a too sure one, and one that is always right: of a doubt d it errs with `times` d.
    for times in [1.0, 3.0, 0.0] {
        let mut told = 0;
        let missed = misses(|random| {
            let (mut correct, mut wrong) = (vec![0; CELLS], vec![0; CELLS]);
            let (mut gaps, items) = (vec![0.0; bins.len()], 400);
            for _ in 0..items {
                let doubt = 10f64.powf(-3.0 * random.random::<f64>());
                let cell = Grid::Doubt.cell(doubt).expect("in range");
                let error = (times * doubt).min(1.0);
                let side = if random.random::<f64>() < error { &mut wrong } else { &mut correct };
                side[cell] += 1;
                let bin = bins.iter().position(|cells| cells.contains(&cell)).expect("bins cover all");
                gaps[bin] += (1.0 - error) - (1.0 - doubt);
            }
            let truth = gaps.iter().map(|gap: &f64| gap.abs()).sum::<f64>() / f64::from(items);
            let found = calibration(&correct, &wrong, &bins, LEVEL).expect("there are items").error;
            told += u64::from(found.low > 0.0);
            (found, truth)
        });
        println!("calibration error, errors {times} times the doubt: {missed} of {RUNS} missed, {told} told");
        assert!(missed <= at_most(RUNS, LEVEL), "{missed} of {RUNS} at {times}");
        assert!(times == 1.0 || told == RUNS, "400 items tell a false confidence from a true one: {told}");
    }
}
