//! Whole rollouts, to be read: time, phase, shares, pods (ready/asked), and what was decided.

mod world;

use evidence::OnBreach;
use rollout::Phase;
use world::reading::tell;
use world::{Mode, Says, Start, World};

/// `b` runs at 10 % beside `a`.
fn canary() -> World {
    let mut world = World::serving();
    world.spec("b");
    world.run(10);
    world
}

#[test]
fn a_good_candidate_is_promoted_watched_and_the_old_one_let_go() {
    let mut world = World::serving();
    world.spec("b");
    world.run(200);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_breach_takes_the_candidate_back() {
    let mut world = canary();
    world.says.insert("b".into(), Says::Breach(OnBreach::Rollback));
    world.run(60);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_first_deployment_is_replaced_after_its_share_was_granted() {
    let mut world = World::new();
    world.routers[1].mode = Mode::Stuck;
    world.run(10);
    world.spec("b");
    world.starts.insert("b".into(), Start::After(8));
    world.run(15);
    world.routers(Mode::Fine);
    world.run(10);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_changed_spec_goes_back_first_and_starts_anew() {
    let mut world = canary();
    world.spec("c");
    world.run(200);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_reverted_spec_ends_the_rollout_and_may_be_tried_again() {
    let mut world = canary();
    world.spec("a");
    world.run(30);
    world.spec("b");
    world.run(20);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_candidate_that_never_gets_ready_hits_the_deadline() {
    let mut world = World::serving();
    world.starts.insert("b".into(), Start::Never);
    world.failing.insert("b".into(), "pod b-x cannot fetch its model: it is not there".into());
    world.spec("b");
    world.run(100);
    insta::assert_snapshot!(tell(&world));
}

// The story of the demo.
#[test]
fn on_call_goes_further_back_while_the_old_revision_is_warm() {
    let mut world = World::serving();
    world.spec("b");
    world.run_until("b is stable", 100, |w| w.state.stable.as_deref() == Some("b"));
    world.spec("c");
    world.says.insert("c".into(), Says::Breach(OnBreach::Rollback));
    world.run(30);
    world.press("rollback");
    world.run(5);
    world.press("rollback:a");
    world.run(10);
    insta::assert_snapshot!(format!("{}\n{:#?}", tell(&world), world.state.verb));
}

#[test]
fn the_operator_dies_between_route_and_state() {
    let mut world = canary();
    // The raise to 50 %: route, then death.
    world.crash = Some((1, 4));
    world.run_until("dead", 60, |w| w.crash.is_none());
    world.run(10);
    // The way back: route, then death; the numbers are fine again afterwards.
    world.says.insert("b".into(), Says::Breach(OnBreach::Rollback));
    world.crash = Some((1, 4));
    world.run_until("dead", 60, |w| w.crash.is_none());
    world.says.insert("b".into(), Says::Pass);
    world.run(20);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_router_that_does_not_let_go_loses_the_candidates_pods() {
    let mut world = canary();
    world.routers[0].mode = Mode::Stuck;
    world.press("abort");
    world.run(20);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_pin_to_stable_is_an_abort_and_nothing_starts_until_it_is_gone() {
    let mut world = canary();
    world.pin(Some("a"));
    world.run(20);
    world.spec("c");
    world.run(10);
    world.pin(None);
    world.run(10);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_paused_rollout_is_still_judged() {
    let mut world = canary();
    world.press("pause");
    world.run(60);
    world.says.insert("b".into(), Says::Breach(OnBreach::Rollback));
    world.run(20);
    world.spec("c");
    world.run(10);
    world.press("resume");
    world.run(10);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_stage_waits_for_approval() {
    let mut world = World::serving();
    world.wanted.stages[0].approval = true;
    world.spec("b");
    world.run(60);
    world.press("promote");
    world.run(40);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_cold_revision_gets_its_pods_before_its_share() {
    let mut world = World::serving();
    world.spec("b");
    world.run(200);
    assert_eq!(world.state.phase, Phase::Idle);
    world.starts.insert("a".into(), Start::After(10));
    world.press("rollback");
    world.run(30);
    insta::assert_snapshot!(tell(&world));
}
