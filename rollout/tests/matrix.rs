//! Every phase x every verb x every fault: the rules hold at each step, each press is carried out once, and
//! once the fault is over the rollout comes to its end.

mod world;

use std::collections::BTreeMap;

use evidence::OnBreach;
use rollout::{Kind, Pause, Phase};
use world::{Mode, Says, Start, World};

const PHASES: [&str; 14] = [
    "first",
    "first granted",
    "stage",
    "next waits",
    "copies",
    "preview",
    "arms",
    "bandit",
    "promotion",
    "returning",
    "going back",
    "watching",
    "rolled back",
    "healthy",
];
const VERBS: [&str; 11] = [
    "",
    "rollback",
    "rollback:a",
    "rollback:x",
    "abort",
    "promote",
    "promote-full",
    "skip",
    "pause",
    "resume",
    "retry",
];
const FAULTS: [&str; 14] = [
    "none",
    "crash",
    "stuck",
    "mute",
    "late",
    "unready",
    "dead",
    "flapping",
    "pin stable",
    "pin new",
    "paused",
    "breach",
    "new spec",
    "old spec",
];
/// Writes after which the operator dies, one world each.
const CRASHES: usize = 8;

fn rolling(world: &World) -> Option<(Kind, usize, bool)> {
    match &world.state.phase {
        Phase::Rolling(r) => Some((r.kind, r.index, r.since().is_some())),
        _ => None,
    }
}

/// A world in this phase.
fn reach(phase: &str) -> World {
    let mut world = if phase.starts_with("first") { World::new() } else { World::serving() };
    world.wanted.keep_warm = std::time::Duration::from_secs(60);
    world.wanted.replicas = if phase == "next waits" { 4 } else { 2 };
    match phase {
        "first" => {
            world.starts.insert("a".into(), Start::After(10));
            world.run(3);
        }
        "first granted" => {
            world.routers(Mode::Mute);
            world.run_until(phase, 10, |w| w.share("a") == 100);
        }
        "healthy" => {}
        "copies" | "preview" | "arms" | "bandit" => {
            let program = match phase {
                "copies" => "shadow first",
                "preview" => "blue/green",
                "arms" => "A/B",
                _ => "bandit",
            };
            world.program(program);
            world.compete("b", &["d"]);
            world.run_until(phase, 20, |w| rolling(w) == Some((Kind::Rollout, 0, true)));
            let shares = [("b".to_owned(), 15), ("d".to_owned(), 5)];
            world.rewards = Some((shares.into(), None));
        }
        _ => {
            world.run(5);
            world.spec("b");
            world.run_until(phase, 20, |w| rolling(w) == Some((Kind::Rollout, 0, true)));
        }
    }
    match phase {
        "next waits" => {
            world.starts.insert("b".into(), Start::After(15));
            world.run_until(phase, 40, |w| rolling(w) == Some((Kind::Rollout, 1, false)));
        }
        "promotion" => world.run_until(phase, 60, |w| w.share("b") == 100),
        "returning" => {
            world.press("abort");
            world.routers[1].delay = 4;
            world.run_until(phase, 5, |w| matches!(w.state.phase, Phase::Returning(_)));
        }
        "watching" | "going back" => {
            world.run_until(phase, 90, |w| matches!(w.state.phase, Phase::Watching(_)));
        }
        "rolled back" => {
            world.press("abort");
            world.run_until(phase, 10, |w| w.state.phase == Phase::Idle);
        }
        _ => {}
    }
    if phase == "going back" {
        world.run_until("cold", 130, |w| w.state.phase == Phase::Idle);
        world.press("rollback");
        world.run_until(phase, 10, |w| rolling(w).is_some_and(|(kind, ..)| kind == Kind::Rollback));
    }
    world
}

fn strike(world: &mut World, fault: &str) {
    let stable = world.state.stable.clone().unwrap_or_else(|| "a".into());
    let new = match &world.state.phase {
        Phase::Rolling(r) => r.to.clone(),
        _ => "b".into(),
    };
    match fault {
        "none" => {}
        "stuck" => world.routers[0].mode = Mode::Stuck,
        "mute" => world.routers[1].mode = Mode::Mute,
        "late" => world.routers[0].delay = 9,
        "unready" => {
            world.starts.insert(stable.clone(), Start::Never);
            world.kill(&stable);
        }
        "dead" => {
            world.starts.insert(new.clone(), Start::Never);
            world.kill(&new);
        }
        "flapping" => {
            world.starts.insert(new, Start::Flapping);
        }
        "pin stable" => world.pin(Some(&stable)),
        "pin new" => world.pin(Some(&new)),
        "paused" => world.wanted.paused = Some(Pause::Asked),
        "breach" => {
            world.says.insert("b".into(), Says::Breach(OnBreach::Rollback));
        }
        "new spec" => world.spec("c"),
        "old spec" => world.spec("a"),
        other => panic!("{other}"),
    }
}

/// Lives through it. Says whether the fault came: an operator that writes nothing does not die of it.
fn live(phase: &str, verb: &str, fault: &str, crash: usize) -> bool {
    let mut world = reach(phase);
    if crash > 0 {
        world.crash = Some((crash, 3));
    } else {
        strike(&mut world, fault);
    }
    if !verb.is_empty() {
        world.press(verb);
    }
    world.run(90);
    let came = world.crash.is_none();
    world.comes_to_rest();
    came
}

#[test]
fn every_phase_verb_and_fault() {
    let mut worlds: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for phase in PHASES {
        for verb in VERBS {
            for fault in FAULTS {
                let crashes = if fault == "crash" { 1..=CRASHES } else { 0..=0 };
                for crash in crashes {
                    match std::panic::catch_unwind(|| live(phase, verb, fault, crash)) {
                        Ok(came) => *worlds.entry((phase, verb, fault)).or_default() += usize::from(came),
                        Err(_) => failures.push(format!("{phase} x {verb:?} x {fault} ({crash})")),
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} worlds fail:\n{}", failures.len(), failures.join("\n"));
    println!("worlds by phase x verb; each cell: {}", FAULTS.join(", "));
    print!("{:<14}", "");
    VERBS.iter().for_each(|verb| print!("{:>13}", if verb.is_empty() { "no verb" } else { verb }));
    println!();
    for phase in PHASES {
        print!("{phase:<14}");
        for verb in VERBS {
            let cell = |fault: &&str| worlds.get(&(phase, verb, *fault)).copied().unwrap_or(0);
            let full = FAULTS.iter().filter(|f| cell(f) > 0).count();
            // At rest nothing is written without a verb, so there is nothing to die of.
            let still = verb.is_empty() && matches!(phase, "rolled back" | "healthy");
            let left_out = FAULTS.iter().find(|f| cell(f) == 0 && !(still && **f == "crash"));
            assert_eq!(left_out, None, "{phase} x {verb:?}");
            print!("{:>13}", format!("{full}/{} {}", FAULTS.len(), FAULTS.iter().map(cell).sum::<usize>()));
        }
        println!();
    }
}
