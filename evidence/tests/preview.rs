//! A preview at weight 0: absolute gates, and no comparison with stable.

mod common;

use common::{EVERY, at, errors, fail, interval, with_errors};
use evidence::{
    Against, Bound, Draw, Interval, Kind, Layer, Metric, OnBreach, Reading, References, Rules, Series, State,
    Statistic, Tests, Verdict, Windows, judge,
};
use jiff::SignedDuration;
use wire::{Counts, Outcome};

fn judged(draw: Draw, metrics: &[Metric], candidate: &Counts) -> (Vec<Reading>, State) {
    let tests = Tests::default();
    let rules = Rules {
        metrics,
        tests: &tests,
        false_rollback: 0.01,
        interval: EVERY,
        timeout: SignedDuration::ZERO,
        accept: true,
        ends: None,
    };
    let (mut windows, mut state) = (Windows::new(at(0)), State::default());
    assert!(windows.push(Interval { draw, ..interval(0, 15, candidate, &Counts::default()) }));
    let readings = judge(&rules, &windows, References::default(), &mut state, at(15));
    (readings, state)
}

fn metrics() -> [Metric; 5] {
    let drift =
        Kind::Drift { series: Series::Confidence, statistic: Statistic::Ks, against: Against::Stable };
    [
        errors(Bound::Max(0.02)),
        Metric { name: "ratio".into(), ..errors(Bound::MaxRatio(2.0)) },
        Metric::new("drift", drift, Bound::Max(0.1)),
        Metric::new("disagreement", Kind::Disagreement, Bound::Max(0.1)),
        Metric::new("withheld", Kind::NullOutputRate, Bound::Max(0.05)),
    ]
}

#[test]
fn what_compares_with_stable_has_no_reading_and_absolute_gates_have() {
    // rule: T2, C1. So in a preview, and in a shadow without a stable.
    let mut counts = with_errors(412, 33);
    fail(&mut counts, Outcome::Cancelled, 5);
    for draw in [Draw::Preview, Draw::Shadow] {
        let (readings, state) = judged(draw, &metrics(), &counts);
        let thresholds: Vec<_> = readings
            .iter()
            .filter(|r| r.layer == Layer::Threshold)
            .map(|r| (r.metric.as_str(), r.verdict, r.on_breach))
            .collect();
        assert_eq!(
            thresholds,
            [("errors", Verdict::Fail, OnBreach::Rollback), ("withheld", Verdict::Pass, OnBreach::Rollback)]
        );
        assert_eq!(state.candidate, 412, "minRequests counts what it was sent");
    }
}

#[test]
fn tests_are_silent_and_say_why() {
    // rule: S1, J1
    let (readings, _) = judged(Draw::Preview, &[], &with_errors(500, 400));
    let said: Vec<_> = readings.iter().map(|r| (r.verdict, r.holds(), r.reason.as_str())).collect();
    let silent = |name| {
        format!(
            "sequential/{name}: previewed requests are chosen, not drawn: they are not compared with stable"
        )
    };
    let expected = ["errors", "latency", "low-confidence", "change", "split"].map(silent);
    assert_eq!(said, expected.iter().map(|why| (Verdict::NoData, false, why.as_str())).collect::<Vec<_>>());
    let (readings, _) = judged(Draw::Shadow, &[], &with_errors(500, 400));
    assert_eq!(readings[0].reason, "sequential/errors: there is no stable to compare with");
}

#[test]
fn withheld_answers_are_a_rate_of_items() {
    // rule: J2, C3
    let mut counts = with_errors(200, 0);
    fail(&mut counts, Outcome::Ok, 50);
    counts.null_outputs = 50;
    let (readings, _) = judged(Draw::Preview, &metrics(), &counts);
    let withheld = readings.iter().find(|r| r.metric == "withheld").expect("it is judged");
    assert_eq!((withheld.verdict, withheld.value, withheld.n), (Verdict::Fail, Some(0.2), 250));
    assert_eq!(
        withheld.reason,
        "withheld: rate of withheld answers is 20 % over 250 items in 15s, above 5 % even at its lower limit 11.9 % \
         (check 1, level 0.00034)"
    );
}
