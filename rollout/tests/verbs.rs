//! Every verb in every phase: what it answers, cell by cell. The table is a page of the documentation
//! (`docs/verbs.md`); `UPDATE_DOCS=1 cargo test -p rollout --test verbs` writes it anew.

mod world;

use rollout::{Kind, Outcome, Phase};
use world::{Mode, Start, World};

const VERBS: [&str; 11] = [
    "rollback",
    "rollback:a",
    "rollback:b",
    "rollback:x",
    "abort",
    "promote",
    "promote-full",
    "skip",
    "pause",
    "resume",
    "retry",
];

/// Gets a world into a phase.
type Reach = fn() -> World;

/// Name in the page, and how to get there.
const PHASES: [(&str, Reach); 15] = [
    ("First deployment, pods are starting", first),
    ("First deployment under `strategy.shadow`, its copies are judged", alone),
    ("Stage waits for pods", starting),
    ("Stage is served", World::canary),
    ("Last stage is served", last_stage),
    ("Copies are compared", || stage_of("shadow first", &[])),
    ("A/B test with two candidates runs", || stage_of("A/B", &["c"])),
    ("Stage is served, paused", paused),
    ("Stage is served, `spec.paused`", spec_paused),
    ("Stage is served, the route is pinned to the candidate", pinned),
    ("Share is being taken away", returning),
    ("Rolled back", rolled_back),
    ("Promoted, the old revision is warm", World::promoted),
    ("Promoted, the old revision has no pods", cold),
    ("Going back to a revision without pods", going_back),
];

fn first() -> World {
    let mut world = World::new();
    world.starts.insert("a".into(), Start::After(60));
    world.run(3);
    world
}

fn alone() -> World {
    let mut world = World::new();
    world.program("shadow report");
    world.run_until("copies", 20, |w| matches!(&w.state.phase, Phase::Rolling(r) if r.since().is_some()));
    world
}

fn starting() -> World {
    let mut world = World::serving();
    world.starts.insert("b".into(), Start::After(30));
    world.spec("b");
    world.run(3);
    world
}

fn last_stage() -> World {
    let mut world = World::canary();
    let is_last =
        |w: &World| matches!(&w.state.phase, Phase::Rolling(r) if r.index == 1 && r.since().is_some());
    world.run_until("last stage", 60, is_last);
    world
}

fn stage_of(program: &str, challengers: &[&str]) -> World {
    let mut world = World::serving();
    world.program(program);
    world.compete("b", challengers);
    world.run_until(program, 20, |w| matches!(&w.state.phase, Phase::Rolling(r) if r.since().is_some()));
    world
}

fn paused() -> World {
    let mut world = World::canary();
    world.press("pause");
    world.run(2);
    world
}

fn spec_paused() -> World {
    let mut world = World::canary();
    world.wanted.paused = Some(rollout::Pause::Asked);
    world.run(2);
    world
}

fn pinned() -> World {
    let mut world = World::canary();
    world.pin(Some("b"));
    world.run(2);
    world
}

fn returning() -> World {
    let mut world = World::canary();
    world.routers[0].mode = Mode::Stuck;
    world.press("abort");
    world.run(2);
    world
}

fn rolled_back() -> World {
    let mut world = World::canary();
    world.press("abort");
    world.run(10);
    world
}

fn cold() -> World {
    let mut world = World::promoted();
    world.run_until("cold", 140, |w| w.state.phase == Phase::Idle);
    world
}

fn going_back() -> World {
    let mut world = cold();
    world.starts.insert("a".into(), Start::After(30));
    world.press("rollback");
    world.run(2);
    world
}

/// What it answers, in the decision that sees it.
fn answer(reach: Reach, verb: &str) -> String {
    let mut world = reach();
    world.press(verb);
    world.run(1);
    world.state.verb.expect("it was seen").answer
}

fn page() -> String {
    let mut page = String::from(
        "# What each verb does in each phase\n\n\
         Written by `rollout/tests/verbs.rs`, which tries each cell. `a` is the old revision, `b` the new one, `x` is \
         unknown. A verb is the annotation `sluice.dev/action`; a refusal is an event `ActionRefused` with the same \
         words.\n\n\
         A pin (`sluice.dev/pin` on the ModelRoute) is no verb: routers obey it in every phase, the operator adopts a pin \
         to stable as an abort, and only a person removes it.\n",
    );
    for (name, reach) in PHASES {
        page += &format!("\n## {name}\n\n| verb | answer |\n|---|---|\n");
        for verb in VERBS {
            page += &format!("| `{verb}` | {} |\n", answer(reach, verb));
        }
    }
    page
}

// rule: V1
#[test]
fn the_page_says_what_each_verb_does_in_each_phase() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verbs.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page, "run it with UPDATE_DOCS=1");
}

// rule: R5, V1
#[test]
fn abort_and_rollback_win_with_everything_broken() {
    for (name, reach) in PHASES {
        for verb in ["abort", "rollback"] {
            let mut world = reach();
            let candidate = match &world.state.phase {
                Phase::Rolling(r) if r.kind == Kind::Rollout && r.from.is_some() => r.to.clone(),
                _ => continue,
            };
            // Candidate and stable have no ready pod, no page can be read, one router is silent, all stands still.
            world.starts.insert("a".into(), Start::Never);
            world.starts.insert(candidate.clone(), Start::Never);
            world.kill("a");
            world.kill(&candidate);
            world.pages = false;
            world.routers[1].mode = Mode::Mute;
            world.wanted.paused = Some(rollout::Pause::Asked);
            if world.route.as_ref().is_some_and(|r| r.pin.is_some()) {
                world.pin(None);
            }
            world.press(verb);
            world.run(1);
            assert_eq!((world.share(&candidate), world.share("a")), (0, 100), "{name}: {verb}");
            world.run(30);
            let last = world.state.last.clone().expect("it ended");
            assert_eq!(last.outcome, Outcome::RolledBack, "{name}: {verb}\n{}", world.story.join("\n"));
        }
    }
}

// rule: T2, V1
#[test]
fn skip_leaves_out_one_stage_and_promote_full_all() {
    let mut world = starting();
    world.press("skip");
    world.run(40);
    assert_eq!(world.share("b"), 50, "{}", world.story.join("\n"));
    world.starts.clear();
    world.press("promote-full");
    world.run(10);
    assert_eq!(world.state.stable.as_deref(), Some("b"), "{}", world.story.join("\n"));
}
