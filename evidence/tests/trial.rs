//! A/B by intervals: what counts, what is said of it, and what ends it.

#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

mod common;

use common::{alike, at, fail, interval, with_errors};
use evidence::experiment::Direction;
use evidence::{
    Draw, Interval, Labelled, Measure, Share, SlotRound, Trial, TrialReading, TrialState, TrialVerdict,
};
use wire::{Counts, Grid, Outcome, SLOTS, SlotSet, Slots};

const TRIAL: Trial = Trial {
    measure: Measure::SuccessRate,
    direction: Direction::Increase,
    minimum_effect: 0.02,
    significance: 0.05,
};

/// Intervals of 15 s of a trial, with this share.
struct Run {
    trial: Trial,
    state: TrialState,
    split: Option<f64>,
    seconds: i64,
    ripe: i64,
    labelled: Labelled,
}

impl Run {
    fn new(trial: Trial) -> Self {
        Self {
            trial,
            state: TrialState::default(),
            split: Some(0.5),
            seconds: 0,
            ripe: 0,
            labelled: Labelled::default(),
        }
    }

    fn pass(&mut self, arms: &[Counts; 2], slots: Option<&SlotRound>) -> TrialReading {
        let (from, to) = (self.seconds, self.seconds + 15);
        self.seconds = to;
        let slots = slots.map(|slots| Box::new(slots.clone()));
        let (split, labelled) = (self.split, self.labelled);
        let interval = Interval { split, labelled, slots, ..interval(from, to, &arms[0], &arms[1]) };
        self.state.observe(&self.trial, &interval, at(self.ripe));
        // rule: C4. The same one again changes nothing, and what is stored and read again goes on.
        let before = self.state.clone();
        self.state.observe(&self.trial, &interval, at(self.ripe));
        assert_eq!(self.state, before);
        self.state = serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();
        assert_eq!(self.state, before);
        self.state.reading(&self.trial, false)
    }
}

/// A thousand requests of each arm, of which so many fail.
fn arms(failed: u64, failed_stable: u64) -> [Counts; 2] {
    [with_errors(1000, failed), with_errors(1000, failed_stable)]
}

#[test]
fn a_gain_wins_and_is_final() {
    let mut run = Run::new(TRIAL);
    let learning = run.pass(&arms(30, 80), None);
    assert_eq!((learning.verdict, learning.n, learning.value), (TrialVerdict::Running, 0, None));
    assert_eq!(learning.reason, "success rate: nothing was counted yet");
    let running = run.pass(&arms(60, 80), None);
    assert_eq!((running.verdict, running.n, running.n_stable), (TrialVerdict::Running, 1000, 1000));
    assert_eq!(
        running.reason,
        "success rate: 94 % against 92 % over 1,000/1,000 samples, difference 2 points (-1.4 to 5.45): neither is an \
         increase shown nor one of 2 points ruled out (2,034/2,034 planned, significance 0.05, any number of looks)"
    );
    let mut last = running;
    for _ in 0..5 {
        last = run.pass(&arms(30, 80), None);
    }
    assert_eq!(last.verdict, TrialVerdict::Won, "{}", last.reason);
    assert!(last.low.unwrap() > 0.0 && last.p_value.unwrap() <= 0.05, "{last:?}");
    assert!(last.reason.contains(": an increase is shown (p "), "{}", last.reason);
    for _ in 0..20 {
        assert_eq!(run.pass(&arms(300, 0), None), last, "a win stays");
    }
    assert_eq!(run.state.reading(&TRIAL, true).verdict, TrialVerdict::Won);
}

#[test]
fn too_small_a_gain_loses_and_time_ends_it() {
    let mut run = Run::new(Trial { minimum_effect: 0.03, ..TRIAL });
    run.pass(&arms(80, 80), None);
    let open = run.pass(&arms(80, 80), None);
    assert_eq!(open.verdict, TrialVerdict::Running);
    let out = run.state.reading(&run.trial, true);
    assert_eq!(out.verdict, TrialVerdict::Undecided);
    assert!(out.reason.ends_with("any number of looks); time is out"), "{}", out.reason);
    let last = (0..10).map(|_| run.pass(&arms(80, 80), None)).last().unwrap();
    assert_eq!(last.verdict, TrialVerdict::Lost);
    assert!(last.reason.contains("an increase of 3 points or more is ruled out"), "{}", last.reason);
}

#[test]
fn less_can_be_better() {
    let surer = alike(1000, 0.99, "a", 0.5, 0.05);
    let unsure = alike(1000, 0.89, "a", 0.5, 0.05);
    let trial = Trial { measure: Measure::HighConfidence, direction: Direction::Decrease, ..TRIAL };
    let mut run = Run::new(trial);
    let last = (0..3).map(|_| run.pass(&[unsure.clone(), surer.clone()], None)).last().unwrap();
    assert_eq!((last.verdict, last.value), (TrialVerdict::Won, Some(-1.0)));
}

#[test]
fn arms_without_their_shares_freeze_it() {
    let mut run = Run::new(TRIAL);
    let lost = [with_errors(700, 7), with_errors(1000, 80)];
    let last = (0..5).map(|_| run.pass(&lost, None)).last().unwrap();
    assert_eq!(last.verdict, TrialVerdict::Frozen);
    assert!(
        last.reason.contains("frozen: the arms did not get their shares of the traffic"),
        "{}",
        last.reason
    );
}

#[test]
fn what_fails_slowly_lacks_at_first_and_is_waited_for() {
    // rule: C2. The candidate's failures are timeouts of 30 s; stable fails as often, at once.
    for (ripe, won) in [(30, false), (0, true)] {
        let mut run = Run::new(Trial { minimum_effect: 0.1, ..TRIAL });
        run.ripe = ripe;
        let last = (0..3).map(|i| run.pass(&arms(if i < 2 { 0 } else { 300 }, 300), None)).last().unwrap();
        assert_eq!(last.verdict == TrialVerdict::Won, won, "counted from {ripe} s: {}", last.reason);
    }
}

#[test]
fn a_trial_has_one_split_and_only_what_is_drawn_counts() {
    let mut run = Run::new(TRIAL);
    (0..2).for_each(|_| drop(run.pass(&arms(80, 80), None)));
    run.split = Some(0.4);
    let other = run.pass(&arms(0, 80), None);
    assert_eq!(other.n, 1000);
    assert!(other.reason.ends_with("; 1 intervals with other shares are not counted"), "{}", other.reason);
    let counts = with_errors(1000, 1);
    let copies = Interval { draw: Draw::Preview, split: Some(0.5), ..interval(99, 100, &counts, &counts) };
    let before = run.state.clone();
    run.state.observe(&TRIAL, &copies, at(0));
    assert_eq!(run.state.reading(&TRIAL, false), before.reading(&TRIAL, false));
    // Nor what nobody can attribute to users.
    run.split = None;
    assert_eq!(run.pass(&arms(0, 80), None).n, 1000);
}

/// Labels of each arm, of which so many percent are right.
fn labels(candidate: (u64, u64), stable: (u64, u64)) -> Labelled {
    let share = |(n, percent): (u64, u64)| Share::new(n * percent / 100, n);
    Labelled { candidate: share(candidate), stable: share(stable) }
}

#[test]
fn accuracy_is_judged_by_labels_and_nobody_wins_without_any() {
    let accuracy = Trial { measure: Measure::Accuracy, ..TRIAL };
    let mut run = Run::new(accuracy);
    let silent = (0..9).map(|_| run.pass(&arms(0, 800), None)).last().unwrap();
    assert_eq!((silent.verdict, silent.n), (TrialVerdict::Running, 0));
    assert!(silent.reason.contains("nothing was counted yet"), "{}", silent.reason);
    let mut run = Run::new(accuracy);
    run.labelled = labels((100, 95), (100, 80));
    let won = (0..40).map(|_| run.pass(&arms(0, 0), None)).last().unwrap();
    assert_eq!(won.verdict, TrialVerdict::Won, "{}", won.reason);
    assert!(won.reason.starts_with("accuracy: 95 % against 80 %"), "{}", won.reason);
}

#[test]
fn labels_that_do_not_arrive_in_the_ratio_of_the_shares_decide_nothing() {
    let mut run = Run::new(Trial { measure: Measure::Accuracy, ..TRIAL });
    // The requests are as they should be.
    run.labelled = labels((150, 95), (50, 80));
    let frozen = (0..40).map(|_| run.pass(&arms(0, 0), None)).last().unwrap();
    assert_eq!(frozen.verdict, TrialVerdict::Frozen, "{}", frozen.reason);
    assert!(frozen.reason.ends_with("; answers of both arms must be labelled alike"), "{}", frozen.reason);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    assert_eq!(TRIAL.check(), Ok(()));
    for (trial, field) in [
        (Trial { minimum_effect: 0.0, ..TRIAL }, "minimumEffect"),
        (Trial { significance: 0.5, ..TRIAL }, "significance"),
        (Trial { significance: f64::NAN, ..TRIAL }, "significance"),
    ] {
        let error = trial.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field}: found ")), "{error}");
        let mut run = Run::new(trial);
        let reading = (0..3).map(|_| run.pass(&arms(0, 800), None)).last().unwrap();
        assert_eq!((reading.verdict, reading.value), (TrialVerdict::Running, None));
        assert!(reading.reason.contains(&error), "{}", reading.reason);
    }
    // The largest effects that can be written have somewhere to go, whatever stable does.
    for direction in [Direction::Increase, Direction::Decrease] {
        let mut run = Run::new(Trial { minimum_effect: 0.5, direction, significance: 0.4, ..TRIAL });
        run.pass(&arms(0, 0), None);
        assert!(run.pass(&arms(500, 500), None).value.is_some());
    }
}

#[test]
fn a_request_without_a_sure_answer_is_none_whatever_became_of_it() {
    let mut counts = alike(60, 0.95, "a", 0.5, 0.05);
    counts.add(&alike(20, 0.9, "a", 0.5, 0.05));
    fail(&mut counts, Outcome::Error, 15);
    fail(&mut counts, Outcome::Fallback, 5);
    fail(&mut counts, Outcome::Cancelled, 50);
    let events = |measure: Measure| {
        let share = measure.of(&counts, Share::new(7, 9));
        (share.events, share.trials)
    };
    assert_eq!(events(Measure::HighConfidence), (60, 100), "0.9 lies in the cell below 0.907");
    assert_eq!(events(Measure::SuccessRate), (80, 100));
    assert_eq!(events(Measure::Accuracy), (7, 9));
}

#[test]
fn a_slot_counts_once_by_what_it_had_shown_when_it_counts() {
    // rule: C5
    let half = SLOTS / 2;
    let (candidate, stable): (SlotSet, SlotSet) = ((0..half).collect(), (half..SLOTS).collect());
    let mut round = SlotRound { candidate, stable, now: Slots::default(), earlier: Slots::default() };
    let (sure, unsure) = (Grid::Doubt.cell(0.01).unwrap(), Grid::Doubt.cell(0.3).unwrap());
    // 400 slots of each arm, every second one failing or unsure; of them every tenth teaches.
    for slot in (0..400).flat_map(|i| [i, half + i]) {
        round.now.see(slot);
        round.now.raise_doubt(slot, sure);
        match slot % 4 {
            0 => round.now.fail(slot),
            2 => round.now.raise_doubt(slot, unsure),
            _ => {}
        }
    }
    let nothing = <[Counts; 2]>::default();
    for (measure, value) in [(Measure::SuccessRate, "77.8 %"), (Measure::HighConfidence, "55.6 %")] {
        let mut run = Run::new(Trial { measure, ..TRIAL });
        (run.split, run.ripe) = (None, 30);
        // Until it is ripe slots wait, and then they count with all that was shown.
        assert_eq!(run.pass(&nothing, Some(&round)).n, 0);
        round.earlier.merge(&round.now);
        assert_eq!(run.pass(&nothing, Some(&round)).n, 0);
        let first = run.pass(&nothing, Some(&round));
        assert_eq!((first.n, first.n_stable), (360, 360));
        let expected = format!("{} by slot: {value} against {value} over 360/360 samples", measure.as_str());
        assert!(first.reason.starts_with(&expected), "{}", first.reason);
        let mut later = round.clone();
        (0..SLOTS).for_each(|slot| later.now.fail(slot));
        assert_eq!(run.pass(&nothing, Some(&later)), first, "what its users do later is the same draw");
        let json = serde_json::to_string(&run.state).unwrap();
        assert!(json.len() < 2600, "{}", json.len());
    }
}
