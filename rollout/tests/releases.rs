//! An upgrade of the operator starts no rollout and takes nothing back: states that an earlier release stored
//! (`fixtures/<release>`, written by its own worlds) are read, and the rollout goes on as it would have.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod world;

use std::path::Path;

use rollout::{Phase, Reason, State};
use world::{Start, World};

/// The states of a release, by the name of the phase.
fn stored(release: &str) -> Vec<(String, State)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(release);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        all.push((name, serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()));
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// A world in the same phase, by the same steps as the fixtures were made.
fn same(phase: &str) -> World {
    match phase {
        "healthy" => World::serving(),
        "canary" => World::canary(),
        "watching" => World::promoted(),
        "first" => {
            let mut world = World::new();
            world.starts.insert("a".into(), Start::After(60));
            world.run(3);
            world
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_stored_state_is_read() {
    let states = stored("before-strategies");
    assert_eq!(states.len(), 9);
    for (name, state) in states {
        // What is new has its default, and is not written until it is needed.
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state, "{name}");
        assert!(state.sequence > 0 && state.took.is_empty(), "{name}");
    }
}

#[test]
fn an_upgrade_decides_nothing_by_itself() {
    for (name, state) in stored("before-strategies") {
        if !matches!(name.as_str(), "healthy" | "canary" | "watching" | "first") {
            continue;
        }
        let mut world = same(&name);
        let (sequence, shares) = (state.sequence, world.route.clone().map(|r| r.shares));
        // The table of the earlier release named no candidate.
        if let Some(route) = &mut world.route {
            route.candidate = None;
        }
        world.state = state;
        let told = world.story.len();
        world.run(3);
        let new = &world.story[told..];
        let started = |line: &&String| {
            [Reason::RolloutStarted, Reason::RollingBack, Reason::StageServed]
                .iter()
                .any(|r| line.contains(&r.to_string()))
        };
        assert_eq!(new.iter().find(started), None, "{name}");
        assert_eq!(
            (world.state.sequence, world.route.clone().map(|r| r.shares)),
            (sequence, shares),
            "{name}"
        );
        if name == "canary" {
            world.run_until("promoted", 90, |w| matches!(w.state.phase, Phase::Watching(_)));
        }
    }
}
