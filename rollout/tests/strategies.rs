//! One rollout of each strategy, to be read: time, phase, shares and copies (`b+50`), pods (ready/asked), and what
//! was decided.

mod world;

use std::time::Duration;

use evidence::OnBreach;
use rollout::{OnLimit, Phase, Shares, Stage, Standing};
use world::programs::{ab, copies, limit, preview};
use world::reading::{is_served, tell};
use world::{Says, Start, World, stage};

/// `a` serves, and what is asked for next follows this program.
fn serving(program: &str) -> World {
    let mut world = World::serving();
    world.program(program);
    world
}

#[test]
fn copies_come_first_and_users_never_see_them() {
    let mut world = serving("shadow first");
    world.spec("b");
    world.run(200);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_shadow_ends_in_its_report() {
    let mut world = serving("shadow report");
    world.spec("b");
    world.run(60);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_shadow_that_fails_is_taken_back_by_its_copies() {
    let mut world = serving("shadow promote");
    world.spec("b");
    world.run_until("copies", 20, is_served);
    world.says.insert("b".into(), Says::Breach(OnBreach::Rollback));
    world.run(30);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn green_gets_all_its_pods_is_previewed_and_switched_to_by_a_person() {
    let mut world = serving("blue/green");
    world.wanted.replicas = 3;
    world.wanted.stages = vec![Stage { approval: true, ..preview(10) }];
    world.run(10);
    world.spec("b");
    world.run(40);
    world.press("promote");
    world.run(200);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_gradual_switch_goes_by_steps_on_full_pods() {
    let mut world = serving("gradual blue/green");
    world.spec("b");
    world.run(60);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn an_abort_cuts_the_preview_too() {
    let mut world = serving("blue/green");
    world.spec("b");
    world.run_until("preview", 20, is_served);
    world.routers[1].delay = 3;
    world.press("abort");
    world.run(20);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn an_ab_test_is_won() {
    let mut world = serving("A/B");
    world.spec("b");
    world.run(40);
    world.trials.insert("b".into(), Standing::Shown);
    world.run(20);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn an_ab_test_is_lost_even_while_it_stands_still() {
    let mut world = serving("A/B");
    world.spec("b");
    world.run(20);
    world.press("pause");
    world.run(5);
    world.trials.insert("b".into(), Standing::RuledOut);
    world.run(20);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn an_ab_test_runs_out_of_time_but_not_while_it_stands_still() {
    let mut world = serving("A/B");
    world.spec("b");
    world.run(20);
    world.press("pause");
    world.run(300);
    world.press("resume");
    world.run(100);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn of_three_arms_the_bad_one_goes_and_a_challenger_wins() {
    let mut world = serving("A/B");
    world.compete("b", &["c", "d"]);
    world.run(20);
    world.says.insert("b".into(), Says::Breach(OnBreach::Rollback));
    world.run(10);
    world.trials.insert("d".into(), Standing::Shown);
    world.run(20);
    insta::assert_snapshot!(tell(&world));
    assert_eq!(world.summary, Some(rollout::Summary::Healthy), "what the spec lists is what it asks for");
}

#[test]
fn a_challenger_that_never_gets_ready_does_not_hold_up_the_others() {
    let mut world = serving("A/B");
    world.starts.insert("c".into(), Start::Never);
    world.compete("b", &["c"]);
    world.run(70);
    world.trials.insert("b".into(), Standing::Shown);
    world.run(20);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_bandit_moves_shares_freezes_without_data_and_ends_with_the_best_arm() {
    let mut world = serving("bandit");
    world.wanted.replicas = 4;
    world.compete("b", &["c"]);
    world.run(15);
    let shares = |b: u8, c: u8| Shares::from([("b".to_owned(), b), ("c".to_owned(), c)]);
    world.rewards = Some((shares(15, 5), None));
    world.run(15);
    world.rewards = None;
    world.run(20);
    world.rewards = Some((shares(25, 5), None));
    world.run(10);
    world.rewards = Some((shares(35, 5), Some("b".into())));
    world.run(20);
    insta::assert_snapshot!(tell(&world));
}

#[test]
fn a_bandit_that_finds_stable_the_best_goes_back() {
    let mut world = serving("bandit");
    world.spec("b");
    world.run(20);
    world.rewards = Some((Shares::from([("b".to_owned(), 5)]), Some("a".into())));
    world.run(20);
    let last = world.state.last.clone().expect("it ended");
    assert_eq!((world.share("a"), last.outcome), (100, rollout::Outcome::RolledBack), "{}", tell(&world));
}

#[test]
fn a_bandit_gives_no_arm_nothing_since_a_restart_would_take_it_for_dropped() {
    let mut world = serving("bandit");
    world.compete("b", &["c"]);
    world.run(20);
    world.rewards = Some((Shares::from([("b".to_owned(), 20), ("c".to_owned(), 0)]), None));
    world.run(20);
    assert_eq!((world.share("b"), world.share("c")), (5, 5), "{}", tell(&world));
}

#[test]
fn a_stage_that_is_not_proven_in_its_time_waits_goes_on_or_back() {
    for (then, name) in
        [(OnLimit::Hold, "hold"), (OnLimit::Promote, "promote"), (OnLimit::Rollback, "rollback")]
    {
        let mut world = serving("canary");
        world.wanted.stages = vec![Stage { limit: limit(30, then), ..stage(10, 10) }];
        world.says.insert("b".into(), Says::Inconclusive);
        world.spec("b");
        world.run(60);
        insta::assert_snapshot!(name, tell(&world));
    }
}

// rule: J1
#[test]
fn no_data_are_no_pass_however_long_it_takes() {
    for stage in [copies(100, 10), ab(20, OnLimit::Promote), stage(10, 10)] {
        let mut world = serving("canary");
        world.wanted.stages = vec![Stage { limit: limit(30, OnLimit::Promote), ..stage }];
        world.says.insert("b".into(), Says::NoData);
        world.spec("b");
        world.run(120);
        assert_eq!(world.state.stable.as_deref(), Some("a"), "{}", tell(&world));
    }
}

// rule: T2
#[test]
fn copies_and_previews_count_as_requests() {
    for stage in [copies(100, 0), preview(0)] {
        let mut world = serving("canary");
        world.wanted.stages = vec![Stage { min_requests: 1000, ..stage }];
        world.spec("b");
        world.run(20);
        assert!(matches!(world.state.phase, Phase::Rolling(_)), "{}", tell(&world));
        world.run_until("enough", 3000, |w| w.state.stable.as_deref() == Some("b"));
    }
}

#[test]
fn stages_with_the_same_traffic_are_not_taken_for_one_another() {
    let mut world = serving("canary");
    world.wanted.stages = vec![copies(100, 20), Stage { approval: true, ..copies(100, 20) }];
    world.spec("b");
    world.run(15);
    assert!(matches!(&world.state.phase, Phase::Rolling(r) if r.index == 0), "{}", tell(&world));
    world.run(40);
    assert!(matches!(&world.state.phase, Phase::Rolling(r) if r.index == 1), "{}", tell(&world));
}

#[test]
fn an_intent_with_challengers_is_carried_out_once() {
    let mut world = serving("A/B");
    world.compete("a", &["c"]);
    world.run(20);
    assert_eq!(world.share("c"), 20, "the spec's own model is stable: only the challenger competes");
    world.trials.insert("c".into(), Standing::RuledOut);
    world.run(60);
    assert_eq!((world.state.sequence, world.state.stable.as_deref()), (2, Some("a")), "{}", tell(&world));
    assert_eq!(world.summary, Some(rollout::Summary::Healthy));
    // The same challengers again are no new intent; others are.
    world.run(60);
    assert_eq!(world.state.sequence, 2);
    world.trials.clear();
    world.compete("a", &["d"]);
    world.run(20);
    assert_eq!(world.state.sequence, 3);
}

#[test]
fn keep_warm_that_the_strategy_sets_counts() {
    let mut world = serving("blue/green");
    world.wanted.keep_warm = Duration::from_secs(300);
    world.spec("b");
    world.run(100);
    world.press("rollback");
    world.run(3);
    assert_eq!(world.share("a"), 100, "warm: at once\n{}", tell(&world));
}
