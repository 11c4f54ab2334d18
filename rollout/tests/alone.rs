//! A first deployment under `strategy.shadow`, to be read like `strategies.rs`: it gets copies (`a+50`), answers nobody,
//! and nothing is stable.

mod world;

use evidence::OnBreach;
use rollout::{OnLimit, Outcome, Stage, Summary};
use world::programs::{copies, limit};
use world::reading::{is_served, tell};
use world::{Mode, Says, Start, World};

/// Nothing serves, and `a` is asked for by this program.
fn first(program: &str) -> World {
    let mut world = World::new();
    world.program(program);
    world
}

/// `a` gets its copies.
fn copied(program: &str) -> World {
    let mut world = first(program);
    world.run_until("copies", 20, is_served);
    world
}

fn outcome(world: &World) -> Option<Outcome> {
    world.state.last.as_ref().map(|last| last.outcome)
}

#[test]
fn it_ends_in_its_report() {
    let mut world = first("shadow report");
    world.run(60);
    insta::assert_snapshot!(tell(&world));
    assert_eq!((world.state.stable.as_deref(), world.deployments.len()), (None, 0));
}

#[test]
fn it_is_promoted_when_its_gates_pass() {
    let mut world = first("shadow promote");
    world.says.insert("a".into(), Says::Inconclusive);
    world.run(40);
    world.says.clear();
    world.run(60);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn one_that_fails_is_taken_back_and_tried_again_when_asked_to() {
    let mut world = copied("shadow promote");
    world.says.insert("a".into(), Says::Breach(OnBreach::Rollback));
    world.run(30);
    world.says.clear();
    world.press("retry");
    world.run(60);
    insta::assert_snapshot!(tell(&world));
}

// rule: R5
#[test]
fn an_abort_ends_its_copies_and_deletes_the_pods_of_one_that_a_router_does_not_let_go_of() {
    let mut world = copied("shadow report");
    world.routers[1].mode = Mode::Stuck;
    world.press("abort");
    world.run(20);
    insta::assert_snapshot!(tell(&world));
}

// rule: I4
#[test]
fn another_intent_takes_its_place() {
    let mut world = copied("shadow promote");
    world.spec("b");
    world.run(60);
    insta::assert_snapshot!(tell(&world));
}

// rule: I4
#[test]
fn without_pods_it_misses_its_deadline_and_nothing_is_better() {
    let mut world = first("shadow report");
    world.starts.insert("a".into(), Start::Never);
    world.run(70);
    assert_eq!(world.summary, Some(Summary::Degraded), "{}", tell(&world));
    world.starts.clear();
    world.kill("a");
    world.run(60);
    assert_eq!(outcome(&world), Some(Outcome::Reported), "{}", tell(&world));
}

#[test]
fn a_person_may_leave_the_report_out() {
    let mut world = copied("shadow report");
    world.press("promote-full");
    world.run(20);
    assert_eq!((world.state.stable.as_deref(), world.share("a")), (Some("a"), 100), "{}", tell(&world));
}

// rule: J1
#[test]
fn no_data_are_no_pass() {
    let mut world = first("shadow promote");
    world.wanted.stages = vec![Stage { limit: limit(30, OnLimit::Promote), ..copies(100, 10) }];
    world.says.insert("a".into(), Says::NoData);
    world.run(120);
    assert!(is_served(&world) && world.share("a") == 0, "{}", tell(&world));
}

// The operator dies between any two writes of an abort, of a report, and of a promotion.
#[test]
fn a_crash_neither_gives_its_copies_back_nor_takes_its_share() {
    for writes in 1..8 {
        let mut world = copied("shadow report");
        world.press("abort");
        world.crash = Some((writes, 9));
        world.run(40);
        assert_eq!(outcome(&world), Some(Outcome::RolledBack), "{writes}: {}", tell(&world));
        let mut world = copied("shadow promote");
        world.run(19);
        world.crash = Some((writes, 9));
        world.run(40);
        assert_eq!((outcome(&world), world.share("a")), (Some(Outcome::Promoted), 100), "{}", tell(&world));
    }
}

// Users that a first deployment answers already, though it is not stable, are not left without an answer.
#[test]
fn whoever_answers_by_now_goes_on_beside_it() {
    let mut world = World::new();
    world.wanted.replicas = 3;
    world.run_until("share", 20, |w| w.share("a") == 100 && w.state.stable.is_none());
    world.program("shadow report");
    world.spec("b");
    world.run(60);
    insta::assert_snapshot!(tell(&world));
    assert_eq!((outcome(&world), world.share("a")), (Some(Outcome::Reported), 100));
    assert_eq!(world.deployments.keys().map(String::as_str).collect::<Vec<_>>(), ["a"]);
}
