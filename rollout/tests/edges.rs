//! The corners that a story does not pass: one short world each.

mod world;

use evidence::OnBreach;
use rollout::{Kind, Outcome, Phase, State, Summary};
use world::{Mode, Says, Start, World};

fn share(world: &World, revision: &str) -> u8 {
    world.route.as_ref().and_then(|r| r.shares.get(revision)).copied().unwrap_or(0)
}

fn index(world: &World) -> Option<usize> {
    match &world.state.phase {
        Phase::Rolling(r) => Some(r.index),
        _ => None,
    }
}

fn answer(world: &World) -> &str {
    &world.state.verb.as_ref().expect("a verb was carried out").answer
}

/// `b` runs at 10 % beside `a`.
fn canary() -> World {
    let mut world = World::serving();
    world.spec("b");
    world.run_until("canary", 20, |w| matches!(&w.state.phase, Phase::Rolling(r) if r.since().is_some()));
    world
}

/// `b` is stable, `a` is warm.
fn promoted() -> World {
    let mut world = canary();
    world.run_until("promoted", 90, |w| matches!(w.state.phase, Phase::Watching(_)));
    world
}

fn last(state: &State) -> (Kind, Outcome) {
    let last = state.last.as_ref().expect("something ended");
    (last.kind, last.outcome)
}

// rule: I5
#[test]
fn pods_with_different_digests_get_no_raise() {
    let mut world = World::serving();
    world.conflicts.insert("b".into());
    world.spec("b");
    world.run(30);
    assert_eq!(share(&world, "b"), 0);
    world.run(50);
    assert_eq!(world.summary, Some(Summary::RolledBack));
}

// rule: R5
#[test]
fn a_conflict_in_the_old_revision_does_not_hold_up_the_way_back() {
    let mut world = promoted();
    world.conflicts.insert("a".into());
    world.press("rollback");
    world.run(1);
    assert_eq!(share(&world, "a"), 100);
}

// rule: T2
#[test]
fn a_stage_waits_for_its_requests() {
    let mut world = World::serving();
    world.wanted.stages[0].min_requests = 200; // 2 routers x 10 per interval of 5 s: 50 s
    world.spec("b");
    world.run(50);
    assert_eq!(index(&world), Some(0));
    world.run(10);
    assert_eq!(index(&world), Some(1));
}

// rule: J1
#[test]
fn numbers_that_are_old_or_of_another_stage_leave_no_stage() {
    let mut world = World::serving();
    world.wanted.stages[0].hold = std::time::Duration::from_secs(40);
    world.spec("b");
    world.run(20);
    world.pages = false;
    world.run(60);
    assert_eq!(index(&world), Some(0), "left on old numbers");
    world.pages = true;
    world.run_until(
        "next stage served",
        20,
        |w| matches!(&w.state.phase, Phase::Rolling(r) if r.index == 1 && r.since().is_some()),
    );
    world.pages = false;
    world.run(60);
    assert_eq!(index(&world), Some(1), "left on the numbers of the stage before");
}

// rule: T1
#[test]
fn a_hold_goes_on_while_the_operator_is_away() {
    let mut world = canary();
    let Phase::Rolling(before) = world.state.phase.clone() else { panic!("rolling") };
    world.run(4);
    world.away_until = world.now + world::seconds(10);
    world.run(10);
    let Phase::Rolling(after) = &world.state.phase else { panic!("rolling") };
    assert_eq!(after.served, before.served);
    world.run(7);
    assert_eq!(index(&world), Some(1), "repeated");
}

// rule: R8
#[test]
fn a_pin_to_an_unknown_revision_is_ignored() {
    let mut world = World::serving();
    world.pin(Some("no-such"));
    world.spec("b");
    world.run(60);
    assert!(share(&world, "b") >= 50, "{:?}", world.route);
}

// rule: R8, R2
#[test]
fn a_pinned_revision_keeps_its_pods_after_the_watch() {
    let mut world = promoted();
    world.pin(Some("a"));
    world.run(200);
    assert_eq!(world.state.phase, Phase::Idle);
    assert_eq!(world.pods("a").ready, 2);
    world.pin(None);
    world.run(10);
    assert_eq!(world.pods("a").replicas, 0);
}

// rule: R8, R5
#[test]
fn a_candidate_that_a_person_pinned_is_not_called_rolled_back() {
    let mut world = canary();
    world.pin(Some("b"));
    world.press("abort");
    world.run(30);
    assert_eq!(world.summary, Some(Summary::RollingBack));
    assert!(world.pods("b").ready > 0);
    world.pin(None);
    world.run(5);
    assert_eq!(world.summary, Some(Summary::RolledBack));
}

// rule: V2
#[test]
fn a_withdrawn_annotation_does_not_swallow_the_next_press() {
    let mut world = canary();
    world.press("pause");
    world.crash = Some((1, 3)); // the state is written, the annotation still stands
    world.run(2);
    assert!(world.state.halt.is_some() && world.annotation.is_some());
    world.annotation = None; // a person takes it away
    world.run(5);
    world.press("resume");
    world.run(2);
    world.press("pause");
    world.run(2);
    assert!(world.state.halt.is_some(), "{:?}", world.state.verb);
}

// rule: V1, V2, R5
#[test]
fn a_rollback_that_reached_the_route_goes_on_without_its_annotation() {
    let mut world = promoted();
    world.run_until("cold", 140, |w| w.state.phase == Phase::Idle);
    world.press("rollback");
    world.crash = Some((2, 5)); // pods, route
    world.run(2);
    assert_eq!(world.state.phase, Phase::Idle);
    world.annotation = None;
    world.run(15);
    assert_eq!(world.state.stable.as_deref(), Some("a"));
}

// rule: R5
#[test]
fn a_rollback_does_not_visit_the_bad_revision_on_its_way() {
    let mut world = promoted();
    world.spec("c");
    world.run_until("candidate", 20, |w| share(w, "c") == 10);
    world.routers[0].mode = Mode::Mute;
    world.press("rollback:a");
    world.run(3);
    assert_eq!((share(&world, "a"), world.state.stable.as_deref()), (100, Some("b")));
    world.starts.insert("c".into(), Start::After(10));
    world.kill("c");
    world.press("rollback:c");
    world.run(5);
    assert_eq!(share(&world, "a"), 100, "back to the bad one: {:?}", world.route);
    world.routers(Mode::Fine);
    world.run(10);
    assert_eq!(world.state.stable.as_deref(), Some("c"));
}

// rule: R5
#[test]
fn a_rollback_evicts_the_candidate_that_it_found() {
    let mut world = promoted();
    world.spec("c");
    world.run_until("candidate", 20, |w| share(w, "c") == 10 && w.served());
    world.routers[0].mode = Mode::Stuck;
    world.press("rollback:a");
    world.run(9);
    assert_eq!(world.pods("c").existing, 0);
    world.routers(Mode::Fine);
    world.run(3);
    assert_eq!(world.state.stable.as_deref(), Some("a"));
}

// rule: R5
#[test]
fn a_rollback_that_cannot_begin_says_so_and_gives_way_to_a_new_spec() {
    let mut world = promoted();
    world.run_until("cold", 140, |w| w.state.phase == Phase::Idle);
    world.starts.insert("a".into(), Start::Never);
    world.press("rollback");
    world.run(70);
    assert_eq!((world.summary, share(&world, "b")), (Some(Summary::Degraded), 100));
    assert!(matches!(&world.state.phase, Phase::Rolling(r) if r.kind == Kind::Rollback));
    world.spec("c");
    world.comes_to_rest();
    assert_eq!(world.state.stable.as_deref(), Some("c"));
}

#[test]
fn a_rollback_can_be_called_off() {
    let mut world = promoted();
    world.run_until("cold", 140, |w| w.state.phase == Phase::Idle);
    world.starts.insert("a".into(), Start::Never);
    world.press("rollback");
    world.run(5);
    world.press("rollback:b");
    world.run(5);
    assert_eq!(
        (&world.state.phase, last(&world.state)),
        (&Phase::Idle, (Kind::Rollback, Outcome::RolledBack))
    );
    assert_eq!(world.summary, Some(Summary::Healthy));
}

// rule: V1
#[test]
fn a_second_press_never_removes_a_good_model() {
    let mut world = promoted();
    world.press("rollback");
    world.run(5);
    assert_eq!(world.state.stable.as_deref(), Some("a"));
    world.press("rollback");
    world.run(5);
    assert!(answer(&world).contains("already undone"), "{}", answer(&world));
    assert_eq!(world.state.stable.as_deref(), Some("a"));
}

// rule: T3
#[test]
fn a_deadline_does_not_hand_users_to_a_stable_without_pods() {
    let mut world = canary();
    world.starts.insert("a".into(), Start::Never);
    world.kill("a");
    world.run(90);
    assert_eq!((world.summary, share(&world, "b")), (Some(Summary::Degraded), 10));
    world.starts.clear();
    world.kill("a");
    world.run_until("promoted", 90, |w| w.state.stable.as_deref() == Some("b"));
}

// rule: R5
#[test]
fn a_stable_without_pods_does_not_stop_a_breach() {
    let mut world = canary();
    world.starts.insert("a".into(), Start::Never);
    world.kill("a");
    world.says.insert("b".into(), Says::Breach(OnBreach::Rollback));
    world.run(7);
    assert_eq!(share(&world, "b"), 0);
}

// rule: I2
#[test]
fn an_intent_that_another_one_replaced_is_tried_anew() {
    let mut world = canary();
    world.routers[1].delay = 6;
    world.spec("c");
    world.run(3);
    assert!(matches!(world.state.phase, Phase::Returning(_)));
    world.spec("b");
    world.comes_to_rest();
    assert_eq!(world.state.stable.as_deref(), Some("b"));
}

// rule: I2
#[test]
fn a_first_deployment_replaced_while_paused_is_tried_anew() {
    let mut world = World::new();
    world.starts.insert("a".into(), Start::After(8));
    world.run(2);
    world.wanted.paused = true;
    world.spec("b");
    world.run(2);
    world.spec("a");
    world.run(2);
    world.wanted.paused = false;
    world.comes_to_rest();
    assert_eq!(world.state.stable.as_deref(), Some("a"));
}

// rule: T4
#[test]
fn resume_is_refused_while_the_metric_asks_for_the_pause() {
    let mut world = canary();
    world.says.insert("b".into(), Says::Breach(OnBreach::Pause));
    world.run(10);
    world.press("resume");
    world.run(2);
    assert!(answer(&world).contains("still asks"), "{}", answer(&world));
    world.says.clear();
    world.run(6);
    world.press("resume");
    world.run(2);
    assert_eq!((answer(&world), &world.state.halt), ("resumed", &None));
}

// rule: T4
#[test]
fn a_pause_of_a_person_outlives_the_rollout_and_that_of_a_breach_does_not() {
    let mut world = canary();
    world.says.insert("b".into(), Says::Breach(OnBreach::Pause));
    world.run(10);
    assert!(world.state.halt.is_some());
    world.spec("c");
    world.run(10);
    assert!(world.state.halt.is_none() && share(&world, "c") == 10);
    world.press("pause");
    world.run(2);
    world.press("abort");
    world.run(5);
    world.spec("b");
    world.run(10);
    assert_eq!((world.summary, &world.state.phase), (Some(Summary::Paused), &Phase::Idle));
}

// rule: T4, R8
#[test]
fn nothing_is_promoted_while_it_stands_still() {
    let mut world = canary();
    world.run_until("100 %", 90, |w| share(w, "b") == 100);
    world.wanted.paused = true;
    world.run(30);
    assert_eq!((world.state.stable.as_deref(), world.summary), (Some("a"), Some(Summary::Paused)));
    assert_eq!(world.pods("a").ready, 2);
    world.wanted.paused = false;
    world.run(1);
    assert_eq!(world.state.stable.as_deref(), Some("b"));
}

// rule: R4
#[test]
fn stable_keeps_the_pods_it_had_and_the_candidate_gets_its_part_of_them() {
    let mut world = World::serving();
    world.wanted.replicas = 8;
    world.run(5);
    world.spec("b");
    world.run_until("50 %", 60, |w| share(w, "b") == 50);
    world.wanted.replicas = 2;
    world.run(5);
    assert_eq!((world.pods("a").replicas, world.pods("b").replicas), (8, 4));
    world.comes_to_rest();
    assert_eq!(world.pods("b").replicas, 2);
}

// rule: I4, R3
#[test]
fn going_back_to_the_watched_revision_by_the_spec_starts_without_its_holdback() {
    let mut world = World::serving();
    world.wanted.holdback = 10;
    world.spec("b");
    world.run_until("watched", 120, |w| matches!(w.state.phase, Phase::Watching(_)));
    assert_eq!(share(&world, "a"), 10);
    world.spec("a");
    let before = world.route_writes;
    world.comes_to_rest();
    assert_eq!(world.state.stable.as_deref(), Some("a"));
    assert!(world.route_writes - before <= 6, "{} writes", world.route_writes - before);
}

// rule: R4
#[test]
fn an_edited_holdback_is_not_raised_onto_a_revision_without_pods() {
    let mut world = promoted();
    world.starts.insert("a".into(), Start::Never);
    world.kill("a");
    world.wanted.holdback = 5;
    world.run(10);
    assert_eq!(share(&world, "a"), 0);
}

// rule: J5
#[test]
fn a_source_that_fails_for_too_long_does_what_the_user_chose() {
    let mut world = canary();
    world.says.insert("b".into(), Says::Overdue(evidence::OnNoData::Rollback)); // verdict: Error
    world.run(10);
    assert_eq!(world.summary, Some(Summary::RolledBack));
}

// rule: I4
#[test]
fn another_rollback_does_not_cool_the_watched_revision() {
    let mut world = promoted();
    world.spec("c");
    world.run_until("c", 120, |w| w.state.stable.as_deref() == Some("c"));
    world.press("rollback:a");
    world.run(5);
    assert_eq!(world.state.stable.as_deref(), Some("a"));
    assert_eq!(world.pods("b").ready, 2, "b was promised to stay warm");
}

// rule: I2
#[test]
fn a_rollback_gives_way_in_the_decision_that_finds_it_stuck() {
    let mut world = promoted();
    world.run_until("cold", 140, |w| w.state.phase == Phase::Idle);
    world.starts.insert("a".into(), Start::Never);
    world.press("rollback");
    world.run(5);
    world.wanted.paused = true;
    world.spec("c");
    world.run(70);
    assert_eq!((&world.state.phase, world.summary), (&Phase::Idle, Some(Summary::Paused)));
    assert_eq!(last(&world.state), (Kind::Rollback, Outcome::Superseded));
}
