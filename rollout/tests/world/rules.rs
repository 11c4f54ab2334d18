//! What must hold at every step of every world, judged from outside: from what routers serve and what was
//! written, not from what the decision says of itself.

use std::collections::{BTreeMap, BTreeSet};

use evidence::OnBreach;
use jiff::Timestamp;
use rollout::{Kind, Observed, OnLimit, Phase, Plan, Reason, Rolling, Standing, Until, Verb, decide};

use super::{Mode, Route, World, effective};

/// What the rules remember of a world.
#[derive(Debug, Default)]
pub struct Rules {
    /// Intents and retries so far; 0 is the first.
    pub intents: usize,
    opened: BTreeMap<usize, BTreeSet<u64>>,
    /// Presses of a verb, and the ids under which they were carried out.
    pub presses: usize,
    pub carried_out: BTreeSet<String>,
    /// When each stage was first acknowledged.
    since: BTreeMap<(u64, usize), Timestamp>,
    /// Greatest share that was acknowledged, by rollout and revision.
    earned: BTreeMap<(u64, String), u8>,
    /// Rollouts in which a person left stages out.
    jumped: BTreeSet<u64>,
    /// Pods of stable when the rollout or watch began.
    floor: Option<u32>,
    /// Writes of the route since a candidate is taken back.
    pub writes_back: usize,
}

fn rolling(phase: &Phase, kind: Kind) -> Option<&Rolling> {
    match phase {
        Phase::Rolling(r) if r.kind == kind => Some(r),
        _ => None,
    }
}

fn share(plan: &Plan, revision: &str) -> u8 {
    plan.route.shares.get(revision).copied().unwrap_or(0)
}

/// What a decision must be, whatever becomes of it.
pub fn check_plan(world: &mut World, observed: &Observed, plan: &Plan) {
    let twice = decide(&world.wanted, &plan.state, observed, world.now);
    let once = Plan { notes: Vec::new(), ..plan.clone() };
    assert_eq!(twice, once, "deciding twice changes something\n{}", world.story.join("\n"));
    assert!(plan.check_again.is_none_or(|at| at > world.now));
    if let Some(stable) = &plan.state.stable {
        assert!(plan.workloads.contains_key(stable), "stable has no workload");
    }
    check_back(world, observed, plan);
    check_alone(world, observed, plan);
    check_passed(world, observed, plan);
    if plan.notes.iter().any(|n| matches!(n.reason, Reason::RolledBack | Reason::Reported)) {
        let Phase::Returning(returning) = &world.state.phase else { return };
        for to in returning.candidates() {
            let gone = world.pods(to).existing == 0;
            let released = world.routers.iter().all(|r| !reaches(&r.table, to));
            assert!(gone || released, "RolledBack, but {to} serves\n{}", world.story.join("\n"));
        }
    }
}

/// Whether a router with this table sends anything to this revision, or copies it.
fn reaches(table: &Route, revision: &str) -> bool {
    let copies = table.mirror.as_ref().is_some_and(|m| m.revision == revision);
    effective(table, revision) > 0 || copies || table.candidate.as_deref() == Some(revision)
}

/// Whether there is something to go back to: stable, or that nobody is answered.
fn can_go_back(r: &Rolling, observed: &Observed) -> bool {
    let answers = observed.route.as_ref().is_some_and(|route| route.shares.contains_key(&r.to));
    r.from.is_some() || (!r.stages.is_empty() && !answers)
}

// A first deployment that gets copies answers nobody, asked for or not.
fn check_alone(world: &World, observed: &Observed, plan: &Plan) {
    let Some(r) = rolling(&plan.state.phase, Kind::Rollout).filter(|r| r.from.is_none()) else { return };
    if r.index < r.stages.len() {
        let route = &plan.route;
        let silent = share(plan, &r.to) == 0 && route.candidate.is_none() && route.stable.is_none();
        assert!(silent, "{} answers in a stage of copies\n{}", r.to, world.story.join("\n"));
    }
    // Whoever answers meanwhile goes on.
    let before = observed.route.iter().flat_map(|route| &route.shares);
    for (revision, weight) in before.filter(|(revision, _)| **revision != r.to && share(plan, &r.to) == 0) {
        assert_eq!(share(plan, revision), *weight, "{revision} is cut\n{}", world.story.join("\n"));
    }
}

/// The verb that this decision is the first to see.
fn new_verb(world: &World, observed: &Observed) -> Option<Verb> {
    let request = observed.request.as_ref()?;
    let stored = world.state.verb.as_ref();
    let new =
        stored.is_none_or(|v| v.closed || v.text != request.text || request.done.as_ref() == Some(&v.id));
    if new { Verb::parse(&request.text).ok() } else { None }
}

// rule: R5, T4, J5. Back in the very decision that learns of it.
fn check_back(world: &World, observed: &Observed, plan: &Plan) {
    let verb = new_verb(world, observed);
    let back = matches!(verb, Some(Verb::Abort | Verb::Rollback));
    let judged = world.state.judged_stage().map(|(key, _)| key);
    let candidate = match &world.state.phase {
        Phase::Rolling(r) => Some(&r.to),
        _ => world.state.stable.as_ref(),
    };
    let evidence = candidate.and_then(|c| observed.evidence.get(c)).filter(|e| Some(e.key) == judged);
    // rule: S3. After a promotion lack of data is no reason.
    let watched = matches!(world.state.phase, Phase::Watching(_));
    let breach = evidence.is_some_and(|e| {
        e.readings.iter().any(|r| {
            (r.verdict == evidence::Verdict::Fail && r.on_breach == OnBreach::Rollback)
                || (r.overdue == Some(evidence::OnNoData::Rollback) && !watched)
        })
    });
    let story = || world.story.join("\n");
    if let Some(r) = rolling(&world.state.phase, Kind::Rollout).filter(|r| can_go_back(r, observed)) {
        if back {
            let none = r.arms().all(|arm| share(plan, arm) == 0);
            let silent = plan.route.mirror.is_none() && plan.route.candidate.is_none();
            assert!(none && silent, "something of it is kept\n{}", story());
        }
        if breach {
            let copies = plan.route.mirror.as_ref().is_some_and(|m| m.revision == r.to);
            let asked = plan.route.candidate.as_ref() == Some(&r.to);
            assert!(share(plan, &r.to) == 0 && !copies && !asked, "{} is kept\n{}", r.to, story());
        }
    } else if let Phase::Watching(watch) = &world.state.phase
        && (matches!(verb, Some(Verb::Rollback)) || (breach && verb.is_none()))
        && world.pods(&watch.old).ready > 0
    {
        assert_eq!(share(plan, &watch.old), 100, "no way back\n{}", story());
    }
    if let Some(Verb::RollbackTo(to)) = &verb
        && observed.known.contains(to)
        && rolling(&world.state.phase, Kind::Rollout).is_none_or(|r| r.to != *to)
        && world.state.stable.as_ref().is_some_and(|stable| stable != to)
        && world.pods(to).ready > 0
    {
        assert_eq!(share(plan, to), 100, "rollback:{to} does not move\n{}", story());
    }
}

// rule: J1, T1, T2. A stage is left with a reason only.
fn check_passed(world: &mut World, observed: &Observed, plan: &Plan) {
    let Some(before) = rolling(&world.state.phase, Kind::Rollout).cloned() else { return };
    let Some(after) = rolling(&plan.state.phase, Kind::Rollout) else { return };
    if before.sequence != after.sequence || before.index == after.index {
        return;
    }
    let verb = new_verb(world, observed);
    if matches!(verb, Some(Verb::Skip | Verb::PromoteFull)) {
        world.rules.jumped.insert(before.sequence);
        return;
    }
    let story = || world.story.join("\n");
    let route = observed.route.as_ref().expect("it was acknowledged");
    if route.shares
        == plan.route.shares.iter().filter(|(_, w)| **w > 0).map(|(r, w)| (r.clone(), *w)).collect()
        && (&route.mirror, &route.candidate) == (&plan.route.mirror, &plan.route.candidate)
        && route.shares.get(&after.to).copied().unwrap_or(0) != before.stages[before.index].weight
    {
        return; // Left before a crash: the route says so.
    }
    assert!(after.index == before.index + 1, "jumped\n{}", story());
    let pinned = route.pin.as_ref().is_some_and(|p| world.deployments.contains_key(p));
    assert!(world.wanted.paused.is_none() && !pinned, "left while it stands still\n{}", story());
    let approved = before.approved || verb == Some(Verb::Promote);
    if approved {
        return;
    }
    let stage = before.stages[before.index];
    let since = world.rules.since.get(&(before.sequence, before.index));
    let lasted = since.map(|since| world.now.duration_since(*since).unsigned_abs());
    if let Some(lasted) = lasted {
        assert!(lasted >= stage.hold, "hold cut short\n{}", story());
    }
    assert!(!stage.approval, "left without approval\n{}", story());
    // Silence is never a pass, whatever else lets the stage be left.
    if !world.wanted.judged {
        return;
    }
    let unproven = stage.limit.is_some_and(|limit| {
        limit.then == OnLimit::Promote && lasted.is_none_or(|lasted| lasted >= limit.after)
    });
    let evidence = observed.evidence.get(&after.to).expect("evidence");
    let good = |r: &evidence::Reading| match r.verdict {
        evidence::Verdict::Pass => true,
        evidence::Verdict::Inconclusive => unproven,
        _ => r.on_breach == OnBreach::Alert,
    };
    let says = world.says(&after.to);
    assert!(
        !evidence.readings.is_empty() && evidence.readings.iter().all(good),
        "left while it says {says:?}\n{}",
        story()
    );
    assert!(evidence.requests >= stage.min_requests, "too few requests\n{}", story());
    let wins = match stage.until {
        Until::Passed => true,
        Until::Shown { .. } => evidence.trial.as_ref().is_some_and(|t| t.standing == Standing::Shown),
        Until::Best => observed.allotment.as_ref().is_some_and(|a| a.best.as_ref() == Some(&after.to)),
    };
    assert!(wins || unproven, "{} did not win\n{}", after.to, story());
}

/// What may be written into the route.
pub fn check_route(world: &mut World, seen: &Route, next: &Route, plan: &Plan) {
    let story = || format!("{next:?}\n{}", world.story.join("\n"));
    let sum: u32 = next.shares.values().map(|w| u32::from(*w)).sum();
    let never_served = plan.state.stable.is_none() && seen.shares.is_empty();
    assert!(sum == 100 || (sum == 0 && never_served), "shares sum to {sum}: {}", story());
    let stable = plan.state.stable.as_ref();
    for (revision, weight) in &next.shares {
        let had = seen.shares.get(revision).copied().unwrap_or(0);
        let up = *weight > had;
        assert!(
            !up || stable == Some(revision) || world.pods(revision).ready > 0,
            "onto {revision}: {}",
            story()
        );
    }
    // rule: R2. Copies and previews, too, go to ready pods only.
    for revision in next.mirror.iter().map(|m| &m.revision).chain(&next.candidate) {
        let had = reaches(seen, revision);
        assert!(had || world.pods(revision).ready > 0, "copies to {revision}: {}", story());
    }
    if let Some(r) = rolling(&plan.state.phase, Kind::Rollout) {
        let (had, has) =
            (seen.shares.get(&r.to).copied().unwrap_or(0), next.shares.get(&r.to).copied().unwrap_or(0));
        if has > had {
            // rule: T4, R8
            let pinned = seen.pin.as_ref().is_some_and(|p| world.deployments.contains_key(p));
            let halted = world.wanted.paused.is_some() || pinned || plan.state.halt.is_some();
            assert!(!halted, "raised while it stands still: {}", story());
            // rule: I4, R2. A share is earned by the same code, stage by stage.
            let earned = world.rules.earned.get(&(r.sequence, r.to.clone())).copied().unwrap_or(0);
            let before = r.stages.iter().map(|s| s.weight).filter(|w| *w < has).max().unwrap_or(0);
            let jumped = world.rules.jumped.contains(&r.sequence);
            let bandit = r.stages.iter().any(|s| s.until == Until::Best);
            assert!(
                earned >= before || r.from.is_none() || jumped || bandit,
                "{has} % not earned: {}",
                story()
            );
        }
        if seen.salt != next.salt && r.from.is_some() {
            // rule: R3
            assert_eq!(next.shares.values().max(), Some(&100), "salt: {}", story());
        }
    }
    if matches!(plan.state.phase, Phase::Returning(_)) {
        world.rules.writes_back += 1;
        assert!(world.rules.writes_back <= 4, "too many writes on the way back");
    } else {
        world.rules.writes_back = 0;
    }
}

/// Whether pods may go.
pub fn check_shrink(world: &World, revision: &str, replicas: u32, plan: &Plan) {
    let story = || format!("{revision} -> {replicas}\n{}", world.story.join("\n"));
    if plan.evict.iter().any(|r| r == revision) {
        return;
    }
    // rule: R2, R4. What each running router still sends there, answering or not.
    for router in &world.routers {
        let weight = u32::from(effective(&router.table, revision));
        let needed = (weight * world.wanted.replicas).div_ceil(100);
        assert!(replicas >= needed, "a router gives it {weight} %: {}", story());
        assert!(replicas > 0 || weight == 0 || router.mode == Mode::Fine, "{}", story());
        let used = reaches(&router.table, revision);
        assert!(replicas > 0 || !used, "a router still knows it: {}", story());
    }
    let stable = world.state.stable.as_deref() == Some(revision);
    if stable && !matches!(world.state.phase, Phase::Idle) {
        assert!(replicas >= world.rules.floor.unwrap_or(0), "below the floor: {}", story());
    }
}

/// Called before a state is persisted.
pub fn check_state(world: &mut World, plan: &Plan) {
    let (now, before, after) = (world.now, &world.state, &plan.state);
    let rules = &mut world.rules;
    if let Some(r) = rolling(&after.phase, Kind::Rollout) {
        // rule: I2
        let opened = rules.opened.entry(rules.intents).or_default();
        if before.sequence < r.sequence {
            opened.insert(r.sequence);
            assert!(opened.len() <= 1, "an intent is carried out twice\n{}", world.story.join("\n"));
        }
        if let Some(served) = r.served {
            // rule: T1
            let since = *rules.since.entry((r.sequence, served.index)).or_insert(now);
            assert_eq!(served.since, since, "hold repeated\n{}", world.story.join("\n"));
            let weight = r.stages.get(served.index).map_or(100, |s| s.weight);
            for arm in r.arms() {
                let earned = rules.earned.entry((r.sequence, arm.clone())).or_default();
                *earned = weight.max(*earned);
            }
        }
    }
    if let Some(verb) = after.verb.as_ref().filter(|v| before.verb.as_ref().is_none_or(|b| b.id != v.id)) {
        // rule: V2
        rules.carried_out.insert(verb.id.clone());
        assert!(rules.carried_out.len() <= rules.presses, "a verb runs twice\n{}", world.story.join("\n"));
    }
    if matches!(after.phase, Phase::Idle) {
        rules.floor = None;
    } else if before.sequence < after.sequence || rules.floor.is_none() {
        let stable = after.stable.as_ref().and_then(|s| world.deployments.get(s));
        rules.floor = stable.map(|d| d.replicas.min(world.wanted.replicas));
    }
}
