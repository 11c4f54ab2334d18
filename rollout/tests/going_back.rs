//! The corners of going back: bad stables, stuck routers, second thoughts.

mod world;

use evidence::OnBreach;
use rollout::{Kind, Outcome, Pause, Phase, State, Summary};
use world::{Mode, Says, Start, World};

fn answer(world: &World) -> &str {
    &world.state.verb.as_ref().expect("a verb was carried out").answer
}

fn last(state: &State) -> (Kind, Outcome) {
    let last = state.last.as_ref().expect("something ended");
    (last.kind, last.outcome)
}

// rule: R5
#[test]
fn a_conflict_in_the_old_revision_does_not_hold_up_the_way_back() {
    let mut world = World::promoted();
    world.conflicts.insert("a".into());
    world.press("rollback");
    world.run(1);
    assert_eq!(world.share("a"), 100);
}

// rule: R8, R5
#[test]
fn a_candidate_that_a_person_pinned_is_not_called_rolled_back() {
    let mut world = World::canary();
    world.pin(Some("b"));
    world.press("abort");
    world.run(30);
    assert_eq!(world.summary, Some(Summary::RollingBack));
    assert!(world.pods("b").ready > 0);
    world.pin(None);
    world.run(5);
    assert_eq!(world.summary, Some(Summary::RolledBack));
}

// rule: V1, V2, R5
#[test]
fn a_rollback_that_reached_the_route_goes_on_without_its_annotation() {
    let mut world = World::promoted();
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
    let mut world = World::promoted();
    world.spec("c");
    world.run_until("candidate", 20, |w| w.share("c") == 10);
    world.routers[0].mode = Mode::Mute;
    world.press("rollback:a");
    world.run(3);
    assert_eq!((world.share("a"), world.state.stable.as_deref()), (100, Some("b")));
    world.starts.insert("c".into(), Start::After(10));
    world.kill("c");
    world.press("rollback:c");
    world.run(5);
    assert_eq!(world.share("a"), 100, "back to the bad one: {:?}", world.route);
    world.routers(Mode::Fine);
    world.run(10);
    assert_eq!(world.state.stable.as_deref(), Some("c"));
}

// rule: R5
#[test]
fn a_rollback_evicts_the_candidate_that_it_found() {
    let mut world = World::promoted();
    world.spec("c");
    world.run_until("candidate", 20, |w| w.share("c") == 10 && w.served());
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
    let mut world = World::promoted();
    world.run_until("cold", 140, |w| w.state.phase == Phase::Idle);
    world.starts.insert("a".into(), Start::Never);
    world.press("rollback");
    world.run(70);
    assert_eq!((world.summary, world.share("b")), (Some(Summary::Degraded), 100));
    assert!(matches!(&world.state.phase, Phase::Rolling(r) if r.kind == Kind::Rollback));
    world.spec("c");
    world.comes_to_rest();
    assert_eq!(world.state.stable.as_deref(), Some("c"));
}

/// The outcome of a rollout, as whoever records each plan's memory knows it.
fn recorded(world: &mut World, sequence: u64, seconds: i64, before: Outcome) -> Outcome {
    let mut outcome = before;
    for _ in 0..seconds {
        world.run(1);
        if let Some(last) = world.state.last.as_ref().filter(|l| l.sequence == sequence) {
            outcome = last.outcome;
        }
    }
    outcome
}

// rule: V1
#[test]
fn a_rollout_is_undone_when_the_way_back_takes_its_share_and_not_when_it_is_called_off() {
    let mut world = World::promoted();
    let number = world.state.sequence;
    world.run_until("cold", 140, |w| w.state.phase == Phase::Idle);
    world.starts.insert("a".into(), Start::Never);
    world.press("rollback");
    assert_eq!(recorded(&mut world, number, 5, Outcome::Promoted), Outcome::Promoted);
    world.press("rollback:b");
    assert_eq!(recorded(&mut world, number, 5, Outcome::Promoted), Outcome::Promoted);
    assert_eq!(world.state.stable.as_deref(), Some("b"));

    // Called off after users were moved: a router has not said yet that it serves the way back.
    let mut world = World::promoted();
    world.routers[0].mode = Mode::Mute;
    world.press("rollback");
    let undone = recorded(&mut world, number, 3, Outcome::Promoted);
    assert_eq!((undone, world.share("a")), (Outcome::RolledBack, 100));
    world.press("rollback:b");
    assert_eq!(recorded(&mut world, number, 3, undone), Outcome::Promoted);
    world.routers(Mode::Fine);
    world.run(5);
    assert_eq!((world.state.stable.as_deref(), world.share("b")), (Some("b"), 100));
}

#[test]
fn a_rollback_can_be_called_off() {
    let mut world = World::promoted();
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
    let mut world = World::promoted();
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
    let mut world = World::canary();
    world.starts.insert("a".into(), Start::Never);
    world.kill("a");
    world.run(90);
    assert_eq!((world.summary, world.share("b")), (Some(Summary::Degraded), 10));
    world.starts.clear();
    world.kill("a");
    world.run_until("promoted", 90, |w| w.state.stable.as_deref() == Some("b"));
}

// rule: R5
#[test]
fn a_stable_without_pods_does_not_stop_a_breach() {
    let mut world = World::canary();
    world.starts.insert("a".into(), Start::Never);
    world.kill("a");
    world.says.insert("b".into(), Says::Breach(OnBreach::Rollback));
    world.run(7);
    assert_eq!(world.share("b"), 0);
}

// rule: I4
#[test]
fn another_rollback_does_not_cool_the_watched_revision() {
    let mut world = World::promoted();
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
    let mut world = World::promoted();
    world.run_until("cold", 140, |w| w.state.phase == Phase::Idle);
    world.starts.insert("a".into(), Start::Never);
    world.press("rollback");
    world.run(5);
    world.wanted.paused = Some(Pause::Asked);
    world.spec("c");
    world.run(70);
    assert_eq!((&world.state.phase, world.summary), (&Phase::Idle, Some(Summary::Paused)));
    assert_eq!(last(&world.state), (Kind::Rollback, Outcome::Superseded));
}
