//! What outlives the process: how much of it there is, and how a rollout goes on where it is not to be had.

mod common;

use common::{EVERY, answer, at, errors, fail, interval, one, profile};
use evidence::{
    Bound, Harm, Interval, Layer, Metric, OnBreach, Reading, References, Rules, SlotRound, State, Tests,
    Verdict, Windows, check_level, judge, metric_budget,
};
use jiff::SignedDuration;
use wire::{CELLS, Counts, LATENCY_CELLS, Outcome, SLOTS, SlotSet, Slots};

fn rules<'a>(metrics: &'a [Metric], tests: &'a Tests) -> Rules<'a> {
    Rules {
        metrics,
        tests,
        false_rollback: 0.01,
        interval: EVERY,
        timeout: SignedDuration::ZERO,
        accept: false,
        ends: None,
    }
}

/// 400 answers of many kinds, and some failures; `name` makes names of classes.
fn busy(name: impl Fn(usize) -> String) -> Counts {
    let mut counts = Counts::default();
    for i in 0..400 {
        let part = i as f64 / 400.0;
        answer(&mut counts, part, &name(i), part, 0.01 + part);
    }
    counts.features.iter_mut().for_each(|cells| cells.fill(7));
    fail(&mut counts, Outcome::Error, 3);
    counts
}

/// Every slot was asked, and had every event.
fn worst() -> SlotRound {
    let mut now = Slots::default();
    let sets = [(0..SLOTS / 2).collect::<SlotSet>(), (SLOTS / 2..SLOTS).collect()];
    for (name, set) in ["new", "old"].iter().zip(&sets) {
        now.own(name, set);
    }
    for slot in 0..SLOTS {
        now.see(slot);
        now.fail(slot);
        now.raise_latency(slot, LATENCY_CELLS - 1);
        now.raise_doubt(slot, CELLS - 1);
    }
    let [candidate, stable] = sets;
    SlotRound { candidate, stable, now, earlier: Slots::default() }
}

#[test]
fn a_full_state_fits_where_it_is_stored() {
    // rule: C6. 32 KiB of ModelRollout status; as many metrics with names as long as the schema allows, all tests,
    // all slots, and more classes than are told apart, of names as long on the page as routers keep (48 bytes).
    let class = |i: usize| format!("{i:04}{}", "é\"".repeat(11));
    let counts = busy(class);
    let reference = profile(&{
        let mut like = counts.clone();
        like.outcomes = Counts::default().outcomes;
        like.outcomes[Outcome::Ok.index()] = 400;
        like.features = Counts::default().features;
        like
    });
    let references = References { candidate: Some(&reference), stable: Some(&reference) };
    let metrics: Vec<Metric> =
        (0..16).map(|i| Metric { name: format!("m{i:039}"), ..errors(Bound::Max(0.0)) }).collect();
    let tests = Tests::default().with_labels();
    let (mut windows, mut state) = (Windows::new(at(0)), State::default());
    let late = |i: i64| at(15 * i) + SignedDuration::from_nanos(123_456_789);
    for i in 0..40 {
        let arms = Interval { from: late(i), to: late(i + 1), ..interval(0, 1, &counts, &counts) };
        let by_slots = i >= 30;
        let slots = by_slots.then(|| Box::new(worst()));
        assert!(windows.push(Interval { split: (!by_slots).then_some(0.5), slots, ..arms }));
        let rules = Rules { accept: true, ..rules(&metrics, &tests) };
        judge(&rules, &windows, references, &mut state, late(i + 1));
    }
    // Then nothing for a while: since when is remembered too.
    judge(&rules(&metrics, &tests), &windows, references, &mut state, late(7_000));
    let json = serde_json::to_value(&state).unwrap();
    for part in ["errors", "slow", "unsure", "change", "wrong", "accept"] {
        assert!(json["running"].get(part).is_some(), "{part} runs");
    }
    for slots in ["failed", "slow", "unsure"] {
        assert!(json["running"]["slots"].get(slots).is_some(), "{slots} slots");
    }
    let classes = json["running"]["change"]["classes"].as_array().unwrap().len();
    assert!((100..256).contains(&classes), "as many as their names leave room for: {classes}");
    assert!(json["tracks"].as_object().unwrap().values().all(|track| track.get("withoutData").is_some()));
    let text = json.to_string();
    let size = |part: &serde_json::Value| part.to_string().len();
    let sizes = [&json["tracks"], &json["running"]["slots"], &json["running"]["change"]].map(size);
    assert!(text.len() <= 32 * 1024, "{} bytes, of which {sizes:?}", text.len());
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}

fn sequential(readings: &[Reading]) -> Vec<&str> {
    readings.iter().filter(|r| r.layer == Layer::Sequential).map(|r| r.metric.as_str()).collect()
}

#[test]
fn tests_that_are_switched_on_in_mid_rollout_wait_for_the_next() {
    // rule: I3
    let counts = busy(|_| "a".into());
    let windows = one(&counts, &counts);
    let errors = Some(Harm { tolerance: 1.1, on_breach: OnBreach::Rollback });
    let (off, on) = (Tests::OFF, Tests { errors, ..Tests::OFF });
    let mut state = State::default();
    let judged = |state: &mut State, tests: &Tests| {
        judge(&rules(&[], tests), &windows, References::default(), state, at(15))
    };
    assert_eq!(judged(&mut state, &off), []);
    assert_eq!(judged(&mut state, &on), []);
    // Nor after a restart.
    let mut state: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    assert_eq!(judged(&mut state, &on), []);
    let next = judged(&mut State::default(), &on);
    assert_eq!(sequential(&next), ["sequential/errors", "sequential/split"]);
}

#[test]
fn a_state_that_cannot_be_read_spends_no_budget_a_second_time() {
    // rule: S2, J3
    let mut bad = busy(|_| "a".into());
    fail(&mut bad, Outcome::Error, 20);
    let windows = one(&bad, &busy(|_| "a".into()));
    let (metrics, tests) = ([Metric { min_samples: 1, ..errors(Bound::Max(0.01)) }], Tests::default());
    let mut state = State::unreadable();
    for _ in 0..2 {
        let readings = judge(&rules(&metrics, &tests), &windows, References::default(), &mut state, at(15));
        assert_eq!(readings[0].check, 10_001);
        assert_eq!(readings[0].level, check_level(metric_budget(&metrics, 0.01), 10_001));
        assert_eq!(sequential(&readings), ["sequential"]);
        assert_eq!(
            (readings[1].verdict, readings[1].reason.as_str(), readings[1].holds()),
            (
                Verdict::NoData,
                "sequential: the state that another release wrote cannot be read: sequential tests do not run in \
                 this rollout",
                false
            )
        );
        // It stays so over a restart, and then it is one that can be read.
        assert!(state.is_unreadable());
        state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    }
    // A metric that comes later has not been checked more often either.
    let late = [Metric { name: "late".into(), min_samples: 1, ..errors(Bound::Max(0.01)) }];
    let readings = judge(&rules(&late, &tests), &windows, References::default(), &mut state, at(15));
    assert_eq!(readings[0].check, 10_001);
    // Who wanted no test need not hear of it.
    let readings = judge(&rules(&late, &Tests::OFF), &windows, References::default(), &mut state, at(15));
    assert_eq!(sequential(&readings), [""; 0]);
}

#[test]
fn what_may_be_spent_beyond_the_budget_is_little() {
    // rule: J3. The tail of the Basel series beyond 10,000 checks, of which the sum to 5 million leaves 1e-7.
    let beyond: f64 = (10_001..5_000_000).map(|check| check_level(1.0, check)).sum();
    assert!(beyond + 1.3e-7 < 6.1e-5, "{beyond}");
}
