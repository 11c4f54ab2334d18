//! Verdicts, case by case.

mod common;

use common::{EVERY, alike, at, drift, errors, fail, interval, one, profile, read, read_with, with_errors};
use evidence::{
    Against, Bound, Kind, Metric, OnBreach, OnNoData, References, Rules, Series, State, Statistic, Tests,
    Verdict, Windows, judge,
};
use jiff::SignedDuration;
use wire::{Counts, Feature, Outcome};

fn once(metric: &Metric, candidate: &Counts, stable: &Counts) -> evidence::Reading {
    read(metric, &one(candidate, stable), &mut State::default(), 15)
}

#[test]
fn too_few_and_stale_samples_are_no_data() {
    // rule: J1, T2
    let metric = errors(Bound::Max(0.02));
    let few = once(&metric, &with_errors(99, 99), &Counts::default());
    assert_eq!((few.verdict, few.value, few.n), (Verdict::NoData, None, 99));
    assert_eq!(few.reason, "errors: 99 requests in 15s, 100 needed");
    let windows = one(&with_errors(500, 500), &Counts::default());
    let stale = read(&metric, &windows, &mut State::default(), 61);
    assert_eq!(
        (stale.verdict, stale.reason.as_str()),
        (Verdict::NoData, "errors: the last interval ended 46s ago")
    );
    assert_eq!(read(&metric, &windows, &mut State::default(), 60).verdict, Verdict::Fail);
    let nothing = read(&metric, &Windows::new(at(0)), &mut State::default(), 5);
    assert_eq!(nothing.reason, "errors: nothing was sampled in this stage yet");
    let ratio = errors(Bound::MaxRatio(2.0));
    let lone = once(&ratio, &with_errors(500, 400), &with_errors(99, 0));
    assert_eq!((lone.verdict, lone.n_stable), (Verdict::NoData, Some(99)));
    assert_eq!(
        lone.reason,
        "errors: 500 requests of the candidate and 99 of stable in 15s, 100 of each needed"
    );
}

#[test]
fn a_batch_is_one_request_however_many_items_it_has() {
    // rule: T2, C3
    let mut batches = Counts::default();
    fail(&mut batches, Outcome::Ok, 50);
    batches.doubt[3] = 3200;
    let metric = drift(Series::Confidence, Statistic::Ks, Against::Stable, 0.15);
    assert_eq!(once(&metric, &batches, &alike(500, 0.9, "a", 0.5, 0.05)).verdict, Verdict::NoData);
}

#[test]
fn an_error_rate_fails_when_its_whole_interval_is_beyond() {
    // rule: J1, J2
    let metric = errors(Bound::Max(0.02));
    let good = once(&metric, &with_errors(412, 8), &Counts::default());
    assert_eq!(good.verdict, Verdict::Pass);
    assert_eq!(
        good.reason,
        "errors: error rate is 1.94 % over 412 requests in 15s, within 2 % (check 1, level 0.0017)"
    );
    let noisy = once(&metric, &with_errors(412, 12), &Counts::default());
    assert_eq!(noisy.verdict, Verdict::Inconclusive);
    assert!(
        noisy.reason.contains("2.91 % over 412 requests in 15s, above 2 %, but its lower limit is 0."),
        "{noisy:?}"
    );
    let bad = once(&metric, &with_errors(412, 33), &Counts::default());
    assert_eq!((bad.verdict, bad.on_breach), (Verdict::Fail, OnBreach::Rollback));
    assert!(bad.low.unwrap() > 0.02 && bad.high.unwrap() > 0.0801 && bad.n == 412);
    assert!(
        bad.reason.contains("8.01 % over 412 requests in 15s, above 2 % even at its lower limit"),
        "{bad:?}"
    );
}

#[test]
fn cancelled_and_drained_requests_are_no_trials() {
    // rule: C2
    let mut counts = with_errors(200, 2);
    fail(&mut counts, Outcome::Cancelled, 1000);
    fail(&mut counts, Outcome::Drained, 1000);
    let reading = once(&errors(Bound::Max(0.02)), &counts, &Counts::default());
    assert_eq!((reading.n, reading.value), (200, Some(0.01)));
    let mut rejected = with_errors(100, 0);
    fail(&mut rejected, Outcome::Rejected, 100);
    let metric = Metric::new("rejected", Kind::InvalidInputRate, Bound::Max(0.05));
    let reading = once(&metric, &rejected, &Counts::default());
    assert_eq!((reading.verdict, reading.value), (Verdict::Fail, Some(0.5)));
}

#[test]
fn a_ratio_needs_both_intervals_apart() {
    // rule: J2
    let metric = errors(Bound::MaxRatio(1.5));
    assert_eq!(once(&metric, &with_errors(1000, 20), &with_errors(1000, 20)).verdict, Verdict::Pass);
    assert_eq!(once(&metric, &with_errors(1000, 32), &with_errors(1000, 20)).verdict, Verdict::Inconclusive);
    let bad = once(&metric, &with_errors(1000, 200), &with_errors(1000, 20));
    assert_eq!((bad.verdict, bad.value.map(f64::round)), (Verdict::Fail, Some(10.0)));
    assert!(
        bad.reason.starts_with("errors: error rate over stable's is 10 times over 1,000/1,000 requests"),
        "{bad:?}"
    );
}

#[test]
fn a_zero_rate_of_stable_stands_for_its_upper_limit() {
    // rule: J2
    let metric = errors(Bound::MaxRatio(1.5));
    assert_eq!(once(&metric, &with_errors(500, 0), &with_errors(500, 0)).verdict, Verdict::Pass);
    assert_eq!(once(&metric, &with_errors(500, 5), &with_errors(500, 0)).verdict, Verdict::Inconclusive);
    let bad = once(&metric, &with_errors(500, 100), &with_errors(500, 0));
    assert_eq!(bad.verdict, Verdict::Fail);
    assert!(bad.value.unwrap().is_finite() && bad.low.unwrap() > 1.5 && bad.high.is_none());
}

#[test]
fn latency_is_judged_at_bucket_bounds() {
    // rule: J2
    let quantile = Kind::Latency { quantile: 0.9 };
    let max = Metric::new("latency", quantile, Bound::Max(0.1));
    let of = |n, seconds| alike(n, 0.9, "a", 0.5, seconds);
    assert_eq!(once(&max, &of(500, 0.05), &Counts::default()).verdict, Verdict::Pass);
    let slow = once(&max, &of(500, 0.4), &Counts::default());
    assert_eq!(slow.verdict, Verdict::Fail);
    assert!(slow.reason.starts_with("latency: latency p90 is 4"), "{}", slow.reason);
    // 60 of 500 are slow: 12 % > 10 %, but a tenth may be chance.
    let mut mixed = of(440, 0.05);
    mixed.add(&of(60, 0.4));
    assert_eq!(once(&max, &mixed, &Counts::default()).verdict, Verdict::Inconclusive);
    let ratio = Metric::new("latency", quantile, Bound::MaxRatio(1.3));
    assert_eq!(once(&ratio, &of(500, 0.05), &of(500, 0.05)).verdict, Verdict::Pass);
    assert_eq!(once(&ratio, &of(500, 0.2), &of(500, 0.05)).verdict, Verdict::Fail);
    // 0.9^100 is no chance below 1e-4, but 0.99^100 is: 100 samples of stable give a p99 no upper bound.
    let tail = Metric::new("latency", Kind::Latency { quantile: 0.99 }, Bound::MaxRatio(1.3));
    let unbounded = once(&tail, &of(5000, 0.2), &of(100, 0.05));
    assert_eq!(unbounded.verdict, Verdict::Inconclusive);
    assert!(unbounded.reason.contains("stable has no upper limit for this n"), "{}", unbounded.reason);
}

#[test]
fn slower_than_the_grid_is_never_within() {
    // rule: J1
    let metric = Metric::new("latency", Kind::Latency { quantile: 0.5 }, Bound::Max(90.0));
    let reading = once(&metric, &alike(500, 0.9, "a", 0.5, 80.0), &Counts::default());
    assert_eq!(reading.verdict, Verdict::Inconclusive);
    assert!(reading.reason.contains("too slow for the grid"), "{}", reading.reason);
}

#[test]
fn confidence_drift_against_stable_says_where() {
    // rule: J2
    let mut candidate = alike(156, 0.97, "a", 0.5, 0.05);
    candidate.add(&alike(256, 0.4, "b", 0.5, 0.05));
    let stable = alike(3708, 0.97, "a", 0.5, 0.05);
    let ks = Metric {
        name: "confidence".into(),
        ..drift(Series::Confidence, Statistic::Ks, Against::Stable, 0.15)
    };
    let mut windows = Windows::new(at(0));
    windows.push(interval(0, 45, &candidate, &stable));
    let reading = read(&ks, &windows, &mut State::default(), 45);
    assert_eq!(reading.verdict, Verdict::Fail);
    assert_eq!(
        reading.reason,
        "confidence: KS against stable is 0.621 over 412/3,708 items in 45s, above 0.15 and above the critical \
         value 0.248 (check 1, level 0.0017)"
    );
    let unsure = reading.cells.iter().find(|cell| cell.name == "0..0.968").unwrap();
    assert_eq!((unsure.share, unsure.against, unsure.contribution), (256.0 / 412.0, 0.0, 256.0 / 412.0));
    let psi = drift(Series::Class, Statistic::Psi, Against::Stable, 0.2);
    let reading = read(&psi, &windows, &mut State::default(), 45);
    assert_eq!((reading.verdict, reading.cells[0].name.as_str()), (Verdict::Fail, "b"));
}

#[test]
fn without_a_profile_there_is_no_data_and_a_broken_one_is_an_error() {
    // rule: J1
    let metric = drift(Series::Feature(Feature::Brightness), Statistic::Psi, Against::Reference, 0.2);
    let counts = alike(500, 0.9, "a", 0.5, 0.05);
    let missing = once(&metric, &counts, &counts);
    assert_eq!(missing.verdict, Verdict::NoData);
    assert_eq!(missing.reason, "drift: the candidate's server has shown no reference profile");
    let mut broken = profile(&counts);
    broken.images = 7;
    let references = References { candidate: Some(&broken), stable: None };
    let reading = read_with(&metric, &one(&counts, &counts), references, &mut State::default(), 15);
    assert_eq!(reading.verdict, Verdict::Error);
    assert!(reading.reason.contains("unusable: brightness holds 500, expected 7"), "{}", reading.reason);
}

#[test]
fn drift_of_the_candidate_alone_rolls_back_and_drift_of_the_world_alerts() {
    // rule: J5, S3
    let metric = drift(Series::Feature(Feature::Brightness), Statistic::Psi, Against::Reference, 0.2);
    let (day, night) = (alike(500, 0.9, "a", 0.5, 0.05), alike(500, 0.9, "a", 0.1, 0.05));
    let reference = profile(&day);
    let references = References { candidate: Some(&reference), stable: None };
    let of = |metric: &Metric, stable: &Counts| {
        let reading = read_with(metric, &one(&night, stable), references, &mut State::default(), 15);
        (reading.verdict, reading.on_breach)
    };
    assert_eq!(of(&metric, &day), (Verdict::Fail, OnBreach::Rollback));
    assert_eq!(of(&metric, &night), (Verdict::Fail, OnBreach::Alert), "the world moved");
    assert_eq!(of(&metric, &Counts::default()), (Verdict::Fail, OnBreach::Alert), "no control group");
    let few = alike(20, 0.9, "a", 0.5, 0.05);
    assert_eq!(of(&metric, &few), (Verdict::Inconclusive, OnBreach::Rollback), "stable is not known yet");
    let explicit = Metric { on_breach: Some(OnBreach::Rollback), ..metric };
    assert_eq!(of(&explicit, &night), (Verdict::Fail, OnBreach::Rollback), "what the user wrote is obeyed");
}

#[test]
fn stables_answers_are_compared_with_stables_own_profile() {
    // rule: J5
    let metric = drift(Series::Confidence, Statistic::Ks, Against::Reference, 0.15);
    let (sure, unsure) = (alike(500, 0.99, "a", 0.5, 0.05), alike(500, 0.7, "a", 0.5, 0.05));
    let (theirs, ours) = (profile(&unsure), profile(&sure));
    let references = References { candidate: Some(&ours), stable: Some(&theirs) };
    // Stable was always unsure; the candidate should be sure and is not.
    let reading = read_with(&metric, &one(&unsure, &unsure), references, &mut State::default(), 15);
    assert_eq!((reading.verdict, reading.on_breach), (Verdict::Fail, OnBreach::Rollback));
}

#[test]
fn a_breach_must_hold_for_consecutive_checks_and_repeating_is_no_check() {
    // rule: J1, J3
    let metric = Metric { consecutive: 3, ..errors(Bound::Max(0.02)) };
    let (bad, good) = (with_errors(500, 100), with_errors(20_000, 0));
    let (mut windows, mut state) = (Windows::new(at(0)), State::default());
    let mut verdicts = Vec::new();
    for (i, counts) in [&bad, &bad, &good, &bad, &bad, &bad].into_iter().enumerate() {
        let i = i as i64;
        // Windows of one interval, so that each check sees its own.
        windows.push(interval(15 * i, 15 * i + 15, counts, &Counts::default()));
        let short = Metric { window: EVERY, ..metric.clone() };
        let first = read(&short, &windows, &mut state, 15 * i + 15);
        let before = state.clone();
        assert_eq!(read(&short, &windows, &mut state, 15 * i + 15), first, "asking again changes nothing");
        assert_eq!(state, before);
        assert_eq!(first.check, i as u64 + 1);
        if i == 1 {
            assert!(first.reason.ends_with("; breach 2 of 3 in a row"), "{}", first.reason);
        }
        verdicts.push(first.verdict);
    }
    use Verdict::{Fail, Inconclusive, Pass};
    assert_eq!(verdicts, [Inconclusive, Inconclusive, Pass, Inconclusive, Inconclusive, Fail]);
    // rule: T1, J3
    windows.enter_stage(at(90));
    windows.push(interval(90, 105, &bad, &Counts::default()));
    let next = read(&metric, &windows, &mut state, 105);
    assert_eq!(
        (next.verdict, next.check),
        (Inconclusive, 7),
        "breaches belong to the stage, levels to the rollout"
    );
}

#[test]
fn an_edited_significance_or_no_budget_compares_as_asked() {
    // rule: J3
    let windows = one(&with_errors(100, 3), &Counts::default());
    let metric = errors(Bound::Max(0.02));
    assert_eq!(read(&metric, &windows, &mut State::default(), 15).verdict, Verdict::Inconclusive);
    let raw = Metric { significance: Some(0.0), ..metric.clone() };
    let reading = read(&raw, &windows, &mut State::default(), 15);
    assert_eq!((reading.verdict, reading.level, reading.low), (Verdict::Fail, 0.0, None));
    assert!(reading.reason.ends_with("above 2 % (check 1, raw)"), "{}", reading.reason);
    let rules = Rules {
        metrics: &[metric],
        tests: &Tests::OFF,
        false_rollback: 0.0,
        interval: EVERY,
        timeout: SignedDuration::ZERO,
        accept: false,
        ends: None,
    };
    let reading = judge(&rules, &windows, References::default(), &mut State::default(), at(15)).remove(0);
    assert_eq!((reading.verdict, reading.level), (Verdict::Fail, 0.0));
}

#[test]
fn lasting_lack_of_data_is_overdue_until_there_is_data() {
    // rule: J5
    let metric = Metric { on_no_data: OnNoData::Pause, ..errors(Bound::Max(0.02)) };
    let mut state = State::default();
    let mut windows = Windows::new(at(0));
    assert_eq!(read(&metric, &windows, &mut state, 10).overdue, None);
    let mut state: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    assert_eq!(read(&metric, &windows, &mut state, 609).overdue, None);
    let late = read(&metric, &windows, &mut state, 610);
    assert_eq!((late.verdict, late.overdue), (Verdict::NoData, Some(OnNoData::Pause)));
    assert!(late.reason.ends_with(", without data for 10m"), "{}", late.reason);
    windows.push(interval(600, 615, &with_errors(200, 0), &Counts::default()));
    assert_eq!(read(&metric, &windows, &mut state, 615).overdue, None);
    assert_eq!(state.tracks["errors"].without_data, None);
}

#[test]
fn a_metric_that_was_not_checked_is_an_error_not_a_panic() {
    let metric = Metric { window: SignedDuration::ZERO, ..errors(Bound::Max(0.02)) };
    let reading = once(&metric, &with_errors(500, 0), &Counts::default());
    assert_eq!(reading.verdict, Verdict::Error);
    assert!(reading.reason.contains("window"), "{}", reading.reason);
}

#[test]
fn fallbacks_may_breach_but_never_prove_that_all_is_well() {
    // rule: T2, C2
    let mut fallen = with_errors(20, 0);
    fail(&mut fallen, Outcome::Fallback, 200);
    assert_eq!(once(&errors(Bound::Max(0.02)), &fallen, &Counts::default()).verdict, Verdict::Fail);
    let lax = once(&errors(Bound::Max(0.95)), &fallen, &Counts::default());
    assert_eq!(lax.verdict, Verdict::Inconclusive);
    assert!(lax.reason.ends_with("; waits: the candidate itself served 20 of 100 samples"), "{}", lax.reason);
    let rejected = Metric::new("rejected", Kind::InvalidInputRate, Bound::Max(0.05));
    let reading = once(&rejected, &fallen, &Counts::default());
    assert_eq!((reading.verdict, reading.n), (Verdict::NoData, 20));
}

#[test]
fn a_pass_waits_while_the_candidates_only_endpoints_are_terminating() {
    // rule: C2
    let metric = errors(Bound::Max(0.02));
    let mut drained = with_errors(200, 0);
    fail(&mut drained, Outcome::Drained, 3);
    let (mut windows, mut state) = (one(&drained, &Counts::default()), State::default());
    let held = read(&metric, &windows, &mut state, 15);
    assert_eq!((held.verdict, held.value), (Verdict::Inconclusive, Some(0.0)));
    assert!(held.reason.contains("stable served 3 requests while"), "{}", held.reason);
    windows.push(interval(15, 30, &with_errors(10, 0), &Counts::default()));
    assert_eq!(read(&metric, &windows, &mut state, 30).verdict, Verdict::Pass);
}

#[test]
fn a_clock_that_was_set_back_is_no_data_until_the_windows_start_anew() {
    // rule: J1, C4
    let metric = Metric { consecutive: 2, on_no_data: OnNoData::Pause, ..errors(Bound::Max(0.02)) };
    let (mut windows, mut state) = (Windows::new(at(0)), State::default());
    windows.push(interval(3600, 3615, &with_errors(500, 0), &Counts::default()));
    assert_eq!(read(&metric, &windows, &mut state, 3600).verdict, Verdict::Pass, "within one interval");
    let back = read(&metric, &windows, &mut state, 60);
    assert_eq!(back.verdict, Verdict::NoData);
    assert_eq!(back.reason, "errors: the last interval ends 59m 15s from now: the clock was set back");
    assert_eq!(read(&metric, &windows, &mut state, 660).overdue, Some(OnNoData::Pause), "time runs on");
    // The interval over the step itself is lost, what follows is not.
    assert!(!windows.push(interval(3615, 60, &with_errors(500, 0), &Counts::default())));
    let bad = with_errors(500, 100);
    for (from, verdict) in [(60, Verdict::Inconclusive), (75, Verdict::Fail)] {
        assert!(windows.push(interval(from, from + 15, &bad, &Counts::default())));
        assert_eq!(read(&metric, &windows, &mut state, from + 15).verdict, verdict);
    }
    assert_eq!(state.candidate, 500 + 2 * 500, "each interval once");
}
