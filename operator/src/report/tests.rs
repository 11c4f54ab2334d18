use std::time::Duration;

use jiff::Timestamp;
use rollout::{Observed, State, Wanted, decide};

use super::*;

pub(crate) fn plan(state: &State) -> Plan {
    let wanted = Wanted {
        revision: "b".into(),
        challengers: Vec::new(),
        stages: Vec::new(),
        then: rollout::Then::Promote,
        alone: false,
        judged: false,
        trip_wire: false,
        interval: Duration::from_secs(1),
        replicas: 1,
        keep_warm: Duration::ZERO,
        holdback: 0,
        progress_deadline: Duration::from_secs(60),
        paused: Some(rollout::Pause::Asked),
    };
    decide(&wanted, state, &Observed::default(), Timestamp::UNIX_EPOCH)
}

fn ended(sequence: u64, outcome: Outcome) -> State {
    let last = rollout::Ended {
        sequence,
        kind: Kind::Rollout,
        from: Some("a".into()),
        to: "b".into(),
        outcome,
        reason: "why".into(),
        undo: None,
    };
    State {
        stable: Some("a".into()),
        acted: Some("b".into()),
        sequence,
        last: Some(last),
        ..State::default()
    }
}

#[test]
fn an_outcome_is_written_whenever_it_is_missing_and_then_stays() {
    let plan = plan(&ended(2, Outcome::RolledBack));
    let now = Timestamp::UNIX_EPOCH;
    let status = record(ModelRolloutStatus::default(), &[], 2, (&plan, now));
    assert_eq!((status.outcome, status.reason.as_deref()), (Some(api::Outcome::RolledBack), Some("why")));
    let later = Timestamp::from_second(100).unwrap();
    assert_eq!(record(status.clone(), &[], 2, (&plan, later)), status, "nothing is written twice");
    // One that a crash left without an outcome.
    let lost = record(ModelRolloutStatus::default(), &[], 1, (&plan, now));
    assert_eq!(lost.outcome, Some(api::Outcome::Superseded));
    // One whose outcome is known keeps it.
    let promoted = ModelRolloutStatus { outcome: Some(api::Outcome::Promoted), ..lost };
    assert_eq!(record(promoted.clone(), &[], 1, (&plan, now)), promoted);
}

#[test]
fn what_a_rollback_has_undone_is_told_also_once_it_is_over() {
    // rule: V1
    let mut state = ended(3, Outcome::Promoted);
    let undo = rollout::Undo { sequence: 2, to: None, outcome: Outcome::RolledBack, reason: "asked".into() };
    state.last.as_mut().unwrap().undo = Some(undo);
    let promoted =
        ModelRolloutStatus { outcome: Some(api::Outcome::Promoted), ..ModelRolloutStatus::default() };
    let status = record(promoted, &[], 2, (&plan(&state), Timestamp::UNIX_EPOCH));
    assert_eq!((status.outcome, status.reason.as_deref()), (Some(api::Outcome::RolledBack), Some("asked")));
}

#[test]
fn the_record_is_bounded_and_keeps_the_newest() {
    let plan = plan(&ended(1, Outcome::Promoted));
    let note = |n: usize| Record {
        time: MicroTime(Timestamp::UNIX_EPOCH),
        reason: "StageServed".into(),
        message: format!("note {n}"),
        weight: 0,
    };
    let notes: Vec<Record> = (0..250).map(note).collect();
    let added: Vec<&Record> = notes.iter().collect();
    let status = record(ModelRolloutStatus::default(), &added, 1, (&plan, Timestamp::UNIX_EPOCH));
    assert_eq!(status.record.len(), RECORDS);
    assert_eq!(status.record[0].message, "note 150");
}

#[test]
fn people_hear_once_of_a_pin_that_is_ignored() {
    let with = |reason: &str| {
        let mut status = api::ModelDeploymentStatus::default();
        let answer = ("Paused", "False", reason);
        status::set(&mut status.conditions, answer, "why".into(), None, Timestamp::UNIX_EPOCH);
        status
    };
    let (fine, ignored) = (with("NotPaused"), with("PinIgnored"));
    assert_eq!(troubles(Some(&fine), Some(&ignored)).len(), 1);
    assert_eq!(troubles(Some(&ignored), Some(&ignored)).len(), 0);
    assert_eq!(troubles(Some(&ignored), Some(&fine)).len(), 0);
}

#[test]
fn two_events_that_differ_in_the_end_of_a_long_message_are_two() {
    let of = |end: &str| warning("InvalidSpec", &format!("{}{end}", "ü".repeat(100))).action;
    assert_eq!(of("tolerationz"), of("tolerationz"));
    assert_ne!(of("tolerationz"), of("priority"));
    assert!(of("x").len() <= 128, "the API server takes no more");
    assert_eq!(warning("InvalidSpec", "short").action, "short");
}

#[test]
fn people_hear_once_of_a_refused_spec_although_several_conditions_tell_of_it() {
    let mut status = api::ModelDeploymentStatus::default();
    for (kind, is) in [("Progressing", "False"), ("SpecServed", "False"), ("Paused", "True")] {
        let answer = (kind, is, "InvalidSpec");
        status::set(&mut status.conditions, answer, "why".into(), None, Timestamp::UNIX_EPOCH);
    }
    let events = troubles(None, Some(&status));
    assert_eq!(events.iter().map(|e| e.note.as_deref()).collect::<Vec<_>>(), [Some("why")]);
    assert!(troubles(Some(&status), Some(&status)).is_empty());
}

#[test]
fn a_state_that_is_too_large_is_told_and_the_one_before_stays() {
    // rule: C6
    let mut status = ModelRolloutStatus::default();
    let fits = "x".repeat(EVIDENCE);
    assert_eq!(store(&mut status, fits.clone()), None);
    let told = store(&mut status, "x".repeat(EVIDENCE + 1)).unwrap();
    assert_eq!(
        (told.name.as_str(), told.verdict.as_str(), told.value),
        ("evidence-state", "Error", Some(32_769.0))
    );
    assert!(
        told.reason.starts_with("evidence-state: 32769 bytes, at most 32768 can be stored"),
        "{}",
        told.reason
    );
    assert_eq!((status.verdicts.len(), status.evidence), (1, Some(fits)));
}
