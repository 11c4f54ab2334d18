//! Random worlds: whatever happens, in whatever order, the rules hold at every step, and once nothing
//! disturbs any more the rollout comes to its end.

mod world;

use std::time::Duration;

use evidence::{OnBreach, OnNoData};
use proptest::prelude::*;
use rollout::{Pause, Standing};
use world::programs::PROGRAMS;
use world::{Mode, Says, Start, World};

#[derive(Debug, Clone)]
enum Event {
    Spec(&'static str),
    Press(&'static str),
    Pin(Option<&'static str>),
    Router(usize, Mode),
    Delay(usize, i64),
    Start(&'static str, Start),
    Kill(&'static str),
    Says(&'static str, Says),
    Paused(bool),
    Replicas(u32),
    Holdback(u8),
    KeepWarm(u64),
    Crash(usize, i64),
    Program(&'static str),
    Compete(&'static str, Vec<&'static str>),
    Trial(&'static str, Standing),
    Rewards(u8, u8, Option<&'static str>),
}

fn revision() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

fn arm() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "d", "e"])
}

fn event() -> impl Strategy<Value = Event> {
    let verbs = vec![
        "rollback",
        "rollback:a",
        "rollback:b",
        "rollback:c",
        "abort",
        "promote",
        "promote-full",
        "skip",
        "pause",
        "resume",
        "retry",
        "huh",
    ];
    let says = vec![
        Says::Pass,
        Says::Pass,
        Says::Breach(OnBreach::Rollback),
        Says::Breach(OnBreach::Pause),
        Says::Breach(OnBreach::Alert),
        Says::Inconclusive,
        Says::NoData,
        Says::Overdue(OnNoData::Rollback),
        Says::Overdue(OnNoData::Pause),
    ];
    let starts = vec![Start::After(0), Start::After(2), Start::After(12), Start::Never, Start::Flapping];
    prop_oneof![
        4 => revision().prop_map(Event::Spec),
        5 => prop::sample::select(verbs).prop_map(Event::Press),
        1 => prop::option::of(prop::sample::select(vec!["a", "b", "c", "x"])).prop_map(Event::Pin),
        2 => (0..2usize, prop::sample::select(vec![Mode::Fine, Mode::Fine, Mode::Stuck, Mode::Mute]))
            .prop_map(|(i, m)| Event::Router(i, m)),
        1 => (0..2usize, 0..8i64).prop_map(|(i, d)| Event::Delay(i, d)),
        2 => (revision(), prop::sample::select(starts)).prop_map(|(r, s)| Event::Start(r, s)),
        1 => revision().prop_map(Event::Kill),
        3 => (revision(), prop::sample::select(says)).prop_map(|(r, s)| Event::Says(r, s)),
        1 => any::<bool>().prop_map(Event::Paused),
        1 => (1..6u32).prop_map(Event::Replicas),
        1 => (0..30u8).prop_map(Event::Holdback),
        1 => prop::sample::select(vec![0, 10, 60, 300]).prop_map(Event::KeepWarm),
        4 => (1..7usize, 1..10i64).prop_map(|(writes, away)| Event::Crash(writes, away)),
        2 => prop::sample::select(&PROGRAMS[..]).prop_map(Event::Program),
        2 => (revision(), prop::sample::subsequence(vec!["c", "d", "e"], 0..3)).prop_map(|(r, c)| Event::Compete(r, c)),
        2 => (arm(), prop::sample::select(vec![Standing::Open, Standing::Shown, Standing::RuledOut]))
            .prop_map(|(arm, standing)| Event::Trial(arm, standing)),
        2 => (0..60u8, 0..60u8, prop::option::of(arm())).prop_map(|(b, c, best)| Event::Rewards(b, c, best)),
    ]
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Spec(revision) => world.spec(revision),
        Event::Press(text) => world.press(text),
        Event::Pin(revision) => world.pin(*revision),
        Event::Router(i, mode) => world.routers[*i].mode = *mode,
        Event::Delay(i, delay) => world.routers[*i].delay = *delay,
        Event::Start(revision, start) => {
            world.starts.insert((*revision).into(), *start);
        }
        Event::Kill(revision) => world.kill(revision),
        Event::Says(revision, says) => {
            world.says.insert((*revision).into(), *says);
        }
        Event::Paused(paused) => world.wanted.paused = paused.then_some(Pause::Asked),
        Event::Replicas(n) => world.wanted.replicas = *n,
        Event::Holdback(percent) => world.wanted.holdback = *percent,
        Event::KeepWarm(seconds) => world.wanted.keep_warm = Duration::from_secs(*seconds),
        Event::Crash(writes, away) => world.crash = Some((*writes, *away)),
        Event::Program(name) => world.program(name),
        Event::Compete(revision, challengers) => {
            let challengers: Vec<&str> = challengers.iter().filter(|c| *c != revision).copied().collect();
            world.compete(revision, &challengers);
        }
        Event::Trial(arm, standing) => drop(world.trials.insert((*arm).into(), *standing)),
        Event::Rewards(b, c, best) => {
            let shares = [("b", *b), ("c", *c), ("x", 3)].map(|(arm, share)| (arm.to_owned(), share));
            world.rewards = Some((shares.into(), best.map(Into::into)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_shrink_iters: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_rules_hold_and_every_world_ends(
        events in prop::collection::vec((1..25i64, event()), 1..16),
        served in any::<bool>(),
        holdback in 0..10u8,
        program in prop::sample::select(&PROGRAMS[..]),
    ) {
        let mut world = if served { World::serving() } else { World::new() };
        world.wanted.holdback = holdback;
        world.program(program);
        for (after, event) in &events {
            world.run(*after);
            world.tell(&format!("{event:?}"));
            happen(&mut world, event);
        }
        world.run(5);
        world.comes_to_rest();
    }
}
