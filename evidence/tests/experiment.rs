//! Hypotheses: what is refused, what is concluded from which numbers, and what freezes it.

use evidence::Share;
use evidence::experiment::{
    Baseline, Conclusion, Direction, ExperimentError, ExperimentReading, Hypothesis, MISMATCH, Mode,
    Observed, SEQUENCE_MINIMUM, Sample, Wager, newcombe, welch,
};
use proptest::prelude::*;

fn clicks() -> Hypothesis {
    Hypothesis {
        metric: "clicks".into(),
        direction: Direction::Increase,
        minimum_effect: 0.02,
        significance: 0.05,
        power: 0.8,
        mode: Mode::Fixed,
        split: 0.5,
        baseline: Baseline::Share(0.1),
    }
}

fn seconds() -> Hypothesis {
    Hypothesis {
        metric: "seconds".into(),
        direction: Direction::Decrease,
        minimum_effect: 0.1,
        baseline: Baseline::Deviation(1.0),
        ..clicks()
    }
}

fn shares(x: u64, n: u64, y: u64, m: u64) -> Observed {
    Observed::Shares { candidate: Share { events: x, trials: n }, stable: Share { events: y, trials: m } }
}

fn sample(n: u64, mean: f64, variance: f64) -> Sample {
    Sample::new(n, mean, variance).expect("finite")
}

fn means(n: u64, candidate: f64, stable: f64, variance: f64) -> Observed {
    Observed::Means { candidate: sample(n, candidate, variance), stable: sample(n, stable, variance) }
}

fn judged(hypothesis: &Hypothesis, observed: &Observed) -> ExperimentReading {
    hypothesis.judge(observed, false, 1.0).expect("valid")
}

#[test]
fn numbers_outside_their_range_are_refused_by_name() {
    let refused = |field: &str, change: fn(&mut Hypothesis, f64), values: &[f64]| {
        for &value in values.iter().chain(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]) {
            let mut hypothesis = clicks();
            change(&mut hypothesis, value);
            let error = hypothesis.check().unwrap_err();
            let start = format!("{field}: found {value}, ");
            assert!(error.to_string().starts_with(&start), "{error}");
            assert_eq!(hypothesis.required().unwrap_err().to_string(), error.to_string());
            let judged = hypothesis.judge(&shares(1, 9, 1, 9), true, 1.0);
            assert_eq!(judged.unwrap_err().to_string(), error.to_string());
        }
    };
    refused("minimumEffect", |h, x| h.minimum_effect = x, &[0.0, -0.01, 0.9]);
    refused("significance", |h, x| h.significance = x, &[0.0, 0.5, -1.0]);
    refused("power", |h, x| h.power = x, &[0.49, 0.96, 1.0]);
    refused("split", |h, x| h.split = x, &[0.0, 1.0]);
    refused("baseline", |h, x| h.baseline = Baseline::Share(x), &[0.0, 1.0]);
    refused("baseline", |h, x| h.baseline = Baseline::Deviation(x), &[0.0, -1.0]);
    for mismatch in [f64::NAN, -1.0] {
        let error = clicks().judge(&shares(1, 9, 1, 9), true, mismatch).unwrap_err();
        assert!(error.to_string().starts_with("mismatch: found "), "{error}");
    }
    let less = Hypothesis { direction: Direction::Decrease, minimum_effect: 0.1, ..clicks() };
    assert!(less.check().is_err(), "no share falls from 0.1 to 0");
}

#[test]
fn what_is_observed_is_refused_by_name() {
    let error = clicks().judge(&shares(10, 9, 1, 9), true, 1.0).unwrap_err();
    assert_eq!(error.to_string(), "candidate.events: found 10, at most the number of trials is needed");
    let error = clicks().judge(&shares(1, 9, 10, 9), true, 1.0).unwrap_err();
    assert!(error.to_string().starts_with("stable.events: found 10"), "{error}");
    let kind = |found, needed| ExperimentError::Kind { found, needed };
    assert_eq!(clicks().judge(&means(9, 1.0, 1.0, 1.0), true, 1.0), Err(kind("means", "shares")));
    assert_eq!(seconds().judge(&shares(1, 9, 1, 9), true, 1.0), Err(kind("shares", "means")));
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(Sample::new(3, bad, 1.0).unwrap_err().to_string().starts_with("mean: found "));
        assert!(Sample::new(3, 1.0, bad).unwrap_err().to_string().starts_with("variance: found "));
    }
    let error = serde_json::from_str::<Sample>(r#"{"n": 3, "mean": 1.0, "variance": -1.0}"#).unwrap_err();
    assert!(error.to_string().starts_with("variance: found -1, a finite number from 0 is needed"), "{error}");
}

#[test]
fn there_is_one_look_in_fixed_mode() {
    let hypothesis = clicks();
    let [n, m] = hypothesis.required().unwrap();
    // Clear at a third of the way, but it is not time.
    let early = judged(&hypothesis, &shares(n / 10, n / 3, n / 30, m / 3));
    assert_eq!((early.conclusion, early.ended), (Conclusion::Undecided, false));
    assert!(early.reason.contains("the one look comes at"), "{}", early.reason);
    let at_time = judged(&hypothesis, &shares(n / 7, n, m / 10, m));
    assert_eq!((at_time.conclusion, at_time.ended), (Conclusion::Win, true));
    let unclear = judged(&hypothesis, &shares(n / 9, n, m / 10, m));
    assert_eq!((unclear.conclusion, unclear.ended), (Conclusion::Undecided, true), "there is no second look");
    let one_arm = judged(&hypothesis, &shares(n / 7, n, m / 10, m - 1));
    assert_eq!((one_arm.conclusion, one_arm.ended), (Conclusion::Undecided, false));
    let over = hypothesis.judge(&shares(n / 10, n / 3, n / 30, m / 3), true, 1.0).unwrap();
    assert_eq!((over.conclusion, over.ended), (Conclusion::Win, true), "time is out");
}

#[test]
fn gains_win_and_what_is_too_small_loses() {
    for mode in [Mode::Fixed, Mode::Sequential] {
        let more = Hypothesis { mode, ..clicks() };
        assert_eq!(judged(&more, &shares(7_000, 50_000, 5_000, 50_000)).conclusion, Conclusion::Win);
        assert_eq!(judged(&more, &shares(5_000, 50_000, 5_000, 50_000)).conclusion, Conclusion::Lose);
        assert_eq!(judged(&more, &shares(4_000, 50_000, 5_000, 50_000)).conclusion, Conclusion::Lose);
        // Surely a gain, and surely one that does not matter.
        let small = judged(&more, &shares(101_000, 1_000_000, 100_000, 1_000_000));
        assert_eq!(small.conclusion, Conclusion::Lose, "{small:?}");
        let less = Hypothesis { direction: Direction::Decrease, ..more };
        assert_eq!(judged(&less, &shares(4_000, 50_000, 6_000, 50_000)).conclusion, Conclusion::Win);
        assert_eq!(judged(&less, &shares(6_000, 50_000, 5_000, 50_000)).conclusion, Conclusion::Lose);
        let faster = Hypothesis { mode, ..seconds() };
        assert_eq!(judged(&faster, &means(20_000, 1.8, 2.0, 1.0)).conclusion, Conclusion::Win);
        assert_eq!(judged(&faster, &means(20_000, 2.0, 2.0, 1.0)).conclusion, Conclusion::Lose);
        assert_eq!(judged(&faster, &means(20_000, 2.2, 2.0, 1.0)).conclusion, Conclusion::Lose);
    }
}

#[test]
fn too_little_is_no_comparison() {
    let sequential = |hypothesis| Hypothesis { mode: Mode::Sequential, ..hypothesis };
    for (hypothesis, observed) in [
        (clicks(), shares(0, 0, 0, 0)),
        (clicks(), shares(1, 1, 0, 1)),
        (clicks(), shares(0, 9_000, 0, 9_000)),
        (clicks(), shares(4, 9_000, 5, 9_000)),
        (seconds(), means(1, 1.0, 2.0, 0.0)),
        (seconds(), means(9_000, 1.0, 1.0, 0.0)),
        (sequential(clicks()), shares(0, 0, 5, 10)),
        (sequential(seconds()), means(SEQUENCE_MINIMUM - 1, 1.0, 2.0, 0.1)),
        (sequential(seconds()), means(9_000, 1.0, 2.0, 0.0)),
    ] {
        let reading = hypothesis.judge(&observed, true, 1.0).unwrap();
        assert_eq!(reading.conclusion, Conclusion::Undecided, "{reading:?}");
        assert!(reading.ended && reading.difference.is_none() && reading.p.is_none(), "{reading:?}");
        assert!(reading.reason.contains("too few for a comparison"), "{}", reading.reason);
    }
    let one = judged(&sequential(clicks()), &shares(1, 1, 0, 1));
    assert_eq!(one.conclusion, Conclusion::Undecided, "one item each: {one:?}");
}

#[test]
fn a_billion_items_are_no_trouble() {
    const N: u64 = 1_000_000_000;
    for mode in [Mode::Fixed, Mode::Sequential] {
        let more = Hypothesis { mode, minimum_effect: 1e-4, ..clicks() };
        let reading = judged(&more, &shares(N / 10 + 200_000, N, N / 10, N));
        assert_eq!(reading.conclusion, Conclusion::Win, "{reading:?}");
        let difference = reading.difference.unwrap();
        assert!(difference.low > 1e-4 && difference.high < 4e-4, "{difference:?}");
        let faster = Hypothesis { mode, minimum_effect: 1.5e-4, ..seconds() };
        assert_eq!(judged(&faster, &means(N, 0.9998, 1.0, 1.0)).conclusion, Conclusion::Win);
    }
}

#[test]
fn the_reason_says_it_all() {
    let said = |hypothesis: &Hypothesis, observed, mismatch| {
        hypothesis.judge(&observed, true, mismatch).unwrap().reason
    };
    assert_eq!(
        said(&clicks(), shares(600, 5000, 500, 5000), 1.0),
        "clicks: 12 % against 10 % over 5,000/5,000 samples, difference 2 points (0.971 to 3.03): an increase is \
         shown (p 0.000697) (3,026/3,026 planned, significance 0.05, one look)"
    );
    assert_eq!(
        said(&Hypothesis { mode: Mode::Sequential, ..seconds() }, means(5000, 1.0, 1.0, 1.0), 1.0),
        "seconds: 1 against 1 over 5,000/5,000 samples, difference 0 (-0.0573 to 0.0573): a decrease of 0.1 or \
         more is ruled out (1,238/1,238 planned, significance 0.05, any number of looks)"
    );
    assert_eq!(
        said(&clicks(), shares(600, 5000, 500, 5000), 2e6),
        "clicks: 12 % against 10 % over 5,000/5,000 samples, difference 2 points (0.971 to 3.03): frozen: the \
         arms did not get their shares of the traffic (e-value 2.0e6, limit 1000) (3,026/3,026 planned, \
         significance 0.05, one look)"
    );
}

fn hypotheses() -> impl Strategy<Value = Hypothesis> {
    let baseline =
        prop_oneof![(0.05..0.95f64).prop_map(Baseline::Share), (0.1..10.0f64).prop_map(Baseline::Deviation)];
    let modes = prop_oneof![Just(Mode::Fixed), Just(Mode::Sequential)];
    let directions = prop_oneof![Just(Direction::Increase), Just(Direction::Decrease)];
    (baseline, modes, directions, 0.001..0.05f64, 0.001..0.3f64, 0.05..0.95f64)
        .prop_map(|(baseline, mode, direction, minimum_effect, significance, split)| Hypothesis {
            baseline,
            mode,
            direction,
            minimum_effect,
            significance,
            split,
            power: 0.7,
            ..clicks()
        })
        .prop_filter("accepted", |hypothesis| hypothesis.check().is_ok())
}

/// What fits the hypothesis.
fn worlds() -> impl Strategy<Value = (Hypothesis, Observed)> {
    let arm = || (0u64..20_000, 0.0..=1.0f64, -5.0..5.0f64, prop_oneof![Just(0.0), 0.0..9.0f64]);
    (hypotheses(), arm(), arm()).prop_map(|(hypothesis, ours, theirs)| {
        let share = |(n, part, ..): (u64, f64, f64, f64)| Share::new((part * n as f64) as u64, n);
        let values = |(n, _, mean, variance): (u64, f64, f64, f64)| sample(n, mean, variance);
        let observed = match hypothesis.baseline {
            Baseline::Share(_) => Observed::Shares { candidate: share(ours), stable: share(theirs) },
            Baseline::Deviation(_) => Observed::Means { candidate: values(ours), stable: values(theirs) },
        };
        (hypothesis, observed)
    })
}

proptest! {
    #[test]
    fn a_conclusion_is_backed_by_its_numbers((hypothesis, observed) in worlds(), over: bool, mismatch in 0.0..2000.0f64) {
        let reading = hypothesis.judge(&observed, over, mismatch).unwrap();
        let gains = reading.difference.map(|d| match hypothesis.direction {
            Direction::Increase => (d.low, d.high),
            Direction::Decrease => (-d.high, -d.low),
        });
        if let Some(d) = reading.difference {
            prop_assert!(d.low.is_finite() && d.low <= d.value && d.value <= d.high && d.high.is_finite(), "{d:?}");
        }
        prop_assert!(reading.p.is_none_or(|p| (0.0..=1.0).contains(&p)), "{reading:?}");
        match reading.conclusion {
            Conclusion::Win => {
                let (low, high) = gains.unwrap();
                prop_assert!(low > 0.0 && high >= hypothesis.minimum_effect, "{reading:?}");
                prop_assert!(reading.p.unwrap() <= hypothesis.significance);
            }
            Conclusion::Lose => prop_assert!(gains.unwrap().1 < hypothesis.minimum_effect, "{reading:?}"),
            Conclusion::Frozen => prop_assert!(mismatch >= MISMATCH),
            Conclusion::Undecided => {}
        }
        prop_assert!(reading.ended || !over);
        prop_assert!(!reading.reason.contains("NaN"), "{}", reading.reason);
        let json = serde_json::to_string(&reading).unwrap();
        prop_assert_eq!(serde_json::from_str::<ExperimentReading>(&json).unwrap(), reading);
    }

    #[test]
    fn a_mismatch_freezes_whatever_the_arms_say((hypothesis, observed) in worlds(), mismatch in MISMATCH..1e12) {
        let frozen = hypothesis.judge(&observed, false, mismatch).unwrap();
        prop_assert_eq!((frozen.conclusion, frozen.ended), (Conclusion::Frozen, false));
        let at = hypothesis.judge(&observed, false, MISMATCH).unwrap();
        prop_assert_eq!(at.conclusion, Conclusion::Frozen);
        let over = hypothesis.judge(&observed, true, f64::INFINITY).unwrap();
        prop_assert_eq!((over.conclusion, over.ended), (Conclusion::Frozen, true));
        let below = hypothesis.judge(&observed, true, MISMATCH.next_down()).unwrap();
        prop_assert_ne!(below.conclusion, Conclusion::Frozen);
    }

    #[test]
    fn arms_swap_to_the_opposite((hypothesis, observed) in worlds()) {
        let (direction, split) = (match hypothesis.direction {
            Direction::Increase => Direction::Decrease,
            Direction::Decrease => Direction::Increase,
        }, 1.0 - hypothesis.split);
        let swapped = match observed {
            Observed::Shares { candidate, stable } => Observed::Shares { candidate: stable, stable: candidate },
            Observed::Means { candidate, stable } => Observed::Means { candidate: stable, stable: candidate },
        };
        let opposite = Hypothesis { direction, split, ..hypothesis.clone() };
        prop_assume!(opposite.check().is_ok());
        let (there, back) = (judged(&hypothesis, &observed), judged(&opposite, &swapped));
        if let (Some(there), Some(back)) = (there.difference, back.difference) {
            prop_assert!((there.low + back.high).abs() < 1e-9 && (there.high + back.low).abs() < 1e-9);
        }
        if let (Some(there), Some(back)) = (there.p, back.p) {
            prop_assert!((there - back).abs() < 1e-9, "{there} {back}");
        }
    }

    #[test]
    fn more_certainty_is_wider((hypothesis, observed) in worlds()) {
        let strict = Hypothesis { significance: 0.5 * hypothesis.significance, ..hypothesis.clone() };
        let (lax, strict) = (judged(&hypothesis, &observed), judged(&strict, &observed));
        if let (Some(lax), Some(strict)) = (lax.difference, strict.difference) {
            prop_assert!(strict.low <= lax.low && lax.high <= strict.high, "{strict:?} {lax:?}");
        }
    }

    #[test]
    fn a_wager_against_more_wins_less(
        split in 0.05..0.95f64, centre in 0.01..0.99f64, effect in 0.001..0.5f64,
        (n, m) in (0u64..3000, 0u64..3000), (a, b) in (0.0..=1.0f64, 0.0..=1.0f64), (low, high) in (-1.0..=1.0f64, -1.0..=1.0f64),
    ) {
        let wager = Wager { split, centre, effect };
        let (ours, theirs) = (Share::new((a * n as f64) as u64, n), Share::new((b * m as f64) as u64, m));
        let (lax, strict) = (wager.log_e(ours, theirs, low.min(high)), wager.log_e(ours, theirs, low.max(high)));
        prop_assert!(lax.is_finite() && strict.is_finite() && strict <= lax + 1e-9, "{strict} {lax}");
    }

    #[test]
    fn values_add_up_in_any_parts(values in prop::collection::vec(-100.0..100.0f64, 1..30), cut in any::<prop::sample::Index>()) {
        let of = |values: &[f64]| {
            let mut all = sample(0, 0.0, 0.0);
            values.iter().for_each(|value| all.add(sample(1, *value, 0.0)));
            all
        };
        let (left, right) = values.split_at(cut.index(values.len()));
        let (mut there, mut back) = (of(left), of(right));
        there.add(of(right));
        back.add(of(left));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let variance = if values.len() > 1 { squares / (values.len() - 1) as f64 } else { 0.0 };
        for sum in [there, back, of(&values)] {
            prop_assert_eq!(sum.n(), values.len() as u64);
            prop_assert!((sum.mean() - mean).abs() < 1e-9);
            // The variance shows in Welch's statistic of a difference of 1.
            let moved = sample(sum.n(), mean + 1.0, variance);
            if let Some(test) = welch(moved, sum) {
                prop_assert!((test.statistic - (2.0 * variance / values.len() as f64).sqrt().recip()).abs() < 1e-6 * test.statistic);
            }
        }
    }

    #[test]
    fn newcombe_holds_the_difference(n in 1u64..2000, m in 1u64..2000, a in 0.0..=1.0f64, b in 0.0..=1.0f64, level in 1e-6..0.5f64) {
        let (ours, theirs) = (Share::new((a * n as f64) as u64, n), Share::new((b * m as f64) as u64, m));
        let found = newcombe(ours, theirs, level).unwrap();
        prop_assert!(-1.0 - 1e-12 <= found.low && found.low <= found.value && found.value <= found.high && found.high <= 1.0 + 1e-12);
    }
}
