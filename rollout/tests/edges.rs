//! The corners that a story does not pass: one short world each.

mod world;

use std::time::Duration;

use evidence::OnBreach;
use rollout::{Pause, Phase, Summary};
use world::{Says, Start, World};

fn index(world: &World) -> Option<usize> {
    match &world.state.phase {
        Phase::Rolling(r) => Some(r.index),
        _ => None,
    }
}

fn answer(world: &World) -> &str {
    &world.state.verb.as_ref().expect("a verb was carried out").answer
}

// rule: I5
#[test]
fn pods_with_different_digests_get_no_raise() {
    let mut world = World::serving();
    world.conflicts.insert("b".into());
    world.spec("b");
    world.run(30);
    assert_eq!(world.share("b"), 0);
    world.run(50);
    assert_eq!(world.summary, Some(Summary::RolledBack));
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
    world.wanted.stages[0].hold = Duration::from_secs(40);
    world.wanted.stages[1].hold = Duration::from_secs(3);
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
    let mut world = World::canary();
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
    assert!(world.share("b") >= 50, "{:?}", world.route);
}

// rule: R8, R2
#[test]
fn a_pinned_revision_keeps_its_pods_after_the_watch() {
    let mut world = World::promoted();
    world.pin(Some("a"));
    world.run(200);
    assert_eq!(world.state.phase, Phase::Idle);
    assert_eq!(world.pods("a").ready, 2);
    world.pin(None);
    world.run(10);
    assert_eq!(world.pods("a").replicas, 0);
}

// rule: I2
#[test]
fn an_intent_that_another_one_replaced_is_tried_anew() {
    let mut world = World::canary();
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
    world.wanted.paused = Some(Pause::Asked);
    world.spec("b");
    world.run(2);
    world.spec("a");
    world.run(2);
    world.wanted.paused = None;
    world.comes_to_rest();
    assert_eq!(world.state.stable.as_deref(), Some("a"));
}

// rule: T4
#[test]
fn resume_is_refused_while_the_metric_asks_for_the_pause() {
    let mut world = World::canary();
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
    let mut world = World::canary();
    world.says.insert("b".into(), Says::Breach(OnBreach::Pause));
    world.run(10);
    assert!(world.state.halt.is_some());
    world.spec("c");
    world.run(10);
    assert!(world.state.halt.is_none() && world.share("c") == 10);
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
    let mut world = World::canary();
    world.run_until("100 %", 90, |w| w.share("b") == 100);
    world.wanted.paused = Some(Pause::Asked);
    world.run(30);
    assert_eq!((world.state.stable.as_deref(), world.summary), (Some("a"), Some(Summary::Paused)));
    assert_eq!(world.pods("a").ready, 2);
    world.wanted.paused = None;
    world.run(1);
    assert_eq!(world.state.stable.as_deref(), Some("b"));
}

// rule: T3, I5
#[test]
fn nobody_is_late_because_the_operator_has_not_asked_yet() {
    let mut world = World::canary();
    world.run_until("10 %", 30, |w| w.share("b") == 10);
    let deadline = i64::try_from(world.wanted.progress_deadline.as_secs()).unwrap();
    world.deaf_until = world.now + world::seconds(deadline + 30);
    world.run(deadline + 20);
    assert_eq!((world.share("b"), world.summary), (10, Some(Summary::Progressing)));
    world.comes_to_rest();
    assert_eq!(world.state.stable.as_deref(), Some("b"));
}

// rule: R4
#[test]
fn stable_keeps_the_pods_it_had_and_the_candidate_gets_its_part_of_them() {
    let mut world = World::serving();
    world.wanted.replicas = 8;
    world.run(5);
    world.spec("b");
    world.run_until("50 %", 60, |w| w.share("b") == 50);
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
    assert_eq!(world.share("a"), 10);
    world.spec("a");
    let before = world.route_writes;
    world.comes_to_rest();
    assert_eq!(world.state.stable.as_deref(), Some("a"));
    assert!(world.route_writes - before <= 6, "{} writes", world.route_writes - before);
}

// rule: R4
#[test]
fn an_edited_holdback_is_not_raised_onto_a_revision_without_pods() {
    let mut world = World::promoted();
    world.starts.insert("a".into(), Start::Never);
    world.kill("a");
    world.wanted.holdback = 5;
    world.run(10);
    assert_eq!(world.share("a"), 0);
}

// rule: J5
#[test]
fn a_source_that_fails_for_too_long_does_what_the_user_chose() {
    let mut world = World::canary();
    world.says.insert("b".into(), Says::Overdue(evidence::OnNoData::Rollback)); // verdict: Error
    world.run(10);
    assert_eq!(world.summary, Some(Summary::RolledBack));
}

// rule: V2
#[test]
fn the_same_word_again_is_a_new_request_once_the_first_was_withdrawn() {
    let mut world = World::serving();
    world.press("rollback"); // refused: nothing to go back to
    world.crash = Some((1, 3)); // the state is written, the annotation still stands
    world.run(2);
    world.annotation = None; // a person takes it away
    world.spec("b");
    world.run_until("canary", 20, |w| w.share("b") == 10);
    world.press("rollback");
    world.run(2);
    assert_eq!(world.share("b"), 0, "{:?}", world.state.verb);
}

// rule: I2, T4
#[test]
fn a_spec_reverted_while_paused_counts_as_acted_upon() {
    let mut world = World::canary();
    world.wanted.paused = Some(Pause::Asked);
    world.spec("a");
    world.run(5);
    assert_eq!((world.state.acted.as_deref(), world.summary), (Some("a"), Some(Summary::Healthy)));
}

// rule: I4
#[test]
fn a_warm_revision_is_let_go_in_time_while_the_next_rollout_runs() {
    let mut world = World::promoted();
    world.wanted.stages[0].approval = true;
    world.spec("c");
    world.run(60);
    assert_eq!(world.pods("a").ready, 2);
    world.run(70);
    assert_eq!((world.pods("a").replicas, world.share("c")), (0, 10));
}

// rule: S3
#[test]
fn lack_of_data_takes_no_promoted_revision_back() {
    for what in [evidence::OnNoData::Rollback, evidence::OnNoData::Pause] {
        let mut world = World::promoted();
        world.says.insert("b".into(), Says::Overdue(what));
        world.run(30);
        assert!(matches!(world.state.phase, Phase::Watching(_)), "{:?}", world.state.phase);
        assert_eq!((world.share("b"), &world.state.halt), (100, &None));
        // A breach still does.
        world.says.insert("b".into(), Says::Breach(OnBreach::Rollback));
        world.run(7);
        assert_eq!(world.share("a"), 100);
    }
}

// rule: T4
#[test]
fn a_halt_by_a_breach_ends_with_the_watch() {
    let mut world = World::promoted();
    world.says.insert("b".into(), Says::Breach(OnBreach::Pause));
    world.run(10);
    assert!(world.state.halt.is_some());
    world.run_until("cold", 140, |w| w.state.phase == Phase::Idle);
    assert_eq!(world.state.halt, None);
}

// rule: T4
#[test]
fn a_halt_by_a_breach_in_the_watch_holds_up_no_new_intent_and_a_persons_does() {
    let mut world = World::promoted();
    world.says.insert("b".into(), Says::Breach(OnBreach::Pause));
    world.run(10);
    world.spec("c");
    world.run_until("next", 20, |w| w.share("c") == 10);
    assert_eq!(world.state.halt, None);
    let mut world = World::promoted();
    world.press("pause");
    world.run(2);
    world.spec("c");
    world.run(20);
    assert_eq!((world.share("c"), world.summary), (0, Some(Summary::Paused)));
}

// rule: T4, V1
#[test]
fn a_verb_that_a_refused_spec_holds_up_says_why_it_is_refused() {
    let mut world = World::canary();
    world.wanted.paused = Some(Pause::Refused("spec.strategy: found no strategy, set canary".into()));
    let why = "the spec is refused: spec.strategy: found no strategy, set canary";
    for (verb, said) in [
        ("resume", format!("refused: {why}")),
        ("promote", format!("stage 1 approved; it is left once this is over: {why}")),
        ("abort", "back to a".to_owned()),
        ("retry", format!("refused: no rollout starts: {why}")),
    ] {
        world.press(verb);
        world.run(10);
        assert_eq!(answer(&world), said);
    }
    assert_eq!((world.share("b"), &world.state.phase), (0, &Phase::Idle));
}

/// How many pods the old revision still has.
fn kept(world: &World) -> u32 {
    world.pods("a").replicas
}

#[test]
fn an_edited_keep_warm_acts_on_the_watch_that_runs() {
    // 120 s, counted from the promotion.
    let mut world = World::promoted();
    world.run(30);
    world.wanted.keep_warm = Duration::from_secs(60);
    world.run(25);
    assert!(matches!(world.state.phase, Phase::Watching(_)), "{:?}", world.state.phase);
    world.run(10);
    assert_eq!((&world.state.phase, kept(&world)), (&Phase::Idle, 0));

    let mut world = World::promoted();
    world.wanted.keep_warm = Duration::from_secs(300);
    world.run(200);
    assert!(matches!(world.state.phase, Phase::Watching(_)), "{:?}", world.state.phase);
    assert_eq!(kept(&world), 2);
    world.wanted.keep_warm = Duration::from_secs(100);
    world.run(1);
    assert_eq!(world.state.phase, Phase::Idle, "over already: it ends at once");

    // rule: I4. The one before is kept by it too, while the next rollout runs.
    let mut world = World::promoted();
    world.wanted.stages[0].approval = true;
    world.spec("c");
    world.run(20);
    assert_eq!(kept(&world), 2);
    world.wanted.keep_warm = Duration::ZERO;
    world.run(5);
    assert_eq!((world.state.warm.len(), kept(&world), world.share("c")), (0, 0, 10));
}

#[test]
fn an_edited_holdback_acts_on_the_watch_that_runs() {
    // rule: S3
    let mut world = World::serving();
    world.wanted.holdback = 10;
    world.spec("b");
    world.run_until("watched", 120, |w| matches!(w.state.phase, Phase::Watching(_)));
    for percent in [3, 7, 0] {
        world.wanted.holdback = percent;
        world.run(5);
        assert_eq!((world.share("a"), kept(&world)), (percent, 2));
    }
}
