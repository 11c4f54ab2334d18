//! A world in which plans are carried out step by step: pods start and die, routers follow or do not, people
//! press verbs, and the operator dies between any two writes. Time is simulated.

// Each test file uses a part of it.
#![allow(dead_code, unreachable_pub, reason = "shared by several test files")]

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evidence::{OnBreach, OnNoData, Reading, Verdict};
use jiff::{SignedDuration, Timestamp};
use rollout::{
    Observed, Plan, Pods, Request, RouteSeen, Sampling, Shares, Stage, StageEvidence, State, Undo, Wanted,
    decide,
};
pub use rules::Rules;

/// What the numbers say of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    Pass,
    Breach(OnBreach),
    Inconclusive,
    NoData,
    Overdue(OnNoData),
}

/// How a revision's pods behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    After(i64),
    Never,
    /// Ready for 7 s, then not for 7 s.
    Flapping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Fine,
    /// Keeps its old table and does not answer.
    Stuck,
    /// Follows, but does not answer.
    Mute,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    pub version: u64,
    pub changed: Timestamp,
    pub shares: Shares,
    pub stable: Option<String>,
    pub salt: String,
    pub undo: Option<Undo>,
    pub pin: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Router {
    pub delay: i64,
    pub mode: Mode,
    pub table: Route,
}

#[derive(Debug, Clone, Default)]
pub struct Deployment {
    pub replicas: u32,
    /// When each pod became or becomes ready.
    pods: Vec<Timestamp>,
    /// When each terminating pod is gone.
    leaving: Vec<Timestamp>,
}

/// The operator died right after a write.
pub struct Crash;

pub struct World {
    pub now: Timestamp,
    pub wanted: Wanted,
    pub state: State,
    pub deployments: BTreeMap<String, Deployment>,
    pub route: Option<Route>,
    pub routers: Vec<Router>,
    pub annotation: Option<String>,
    pub done: Option<String>,
    pub says: BTreeMap<String, Says>,
    pub starts: BTreeMap<String, Start>,
    known: BTreeSet<String>,
    sampling: Option<Sampling>,
    evidence: Option<StageEvidence>,
    /// Writes until the operator dies, and for how long it is away then.
    pub crash: Option<(usize, i64)>,
    pub away_until: Timestamp,
    pub summary: Option<rollout::Summary>,
    pub route_writes: usize,
    pub story: Vec<String>,
    pub rules: Rules,
}

pub fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

pub fn stage(weight: u8, hold: u64) -> Stage {
    Stage { weight, hold: Duration::from_secs(hold), min_requests: 0, approval: false }
}

impl World {
    /// Wants revision `a` with 2 pods and steps of 10 and 50 %, 20 s each; two routers follow in 1 s.
    pub fn new() -> Self {
        let now = Timestamp::UNIX_EPOCH;
        let wanted = Wanted {
            revision: "a".into(),
            stages: vec![stage(10, 20), stage(50, 20)],
            judged: true,
            interval: Duration::from_secs(5),
            replicas: 2,
            keep_warm: Duration::from_secs(120),
            holdback: 0,
            progress_deadline: Duration::from_secs(60),
            paused: false,
        };
        let router = Router { delay: 1, mode: Mode::Fine, table: Route::default() };
        Self {
            now,
            wanted,
            state: State::default(),
            deployments: BTreeMap::new(),
            route: None,
            routers: vec![router.clone(), router],
            annotation: None,
            done: None,
            says: BTreeMap::new(),
            starts: BTreeMap::new(),
            known: BTreeSet::from(["a".to_owned()]),
            sampling: None,
            evidence: None,
            crash: None,
            away_until: now,
            summary: None,
            route_writes: 0,
            story: Vec::new(),
            rules: Rules::default(),
        }
    }

    /// A world in which `a` serves.
    pub fn serving() -> Self {
        let mut world = Self::new();
        world.run(10);
        assert_eq!(world.state.stable.as_deref(), Some("a"));
        world
    }

    pub fn spec(&mut self, revision: &str) {
        if self.wanted.revision != revision {
            self.rules.intents += 1;
        }
        self.wanted.revision = revision.into();
        self.known.insert(revision.into());
    }

    pub fn press(&mut self, text: &str) {
        // Overwritten before it was seen: it counts once. The same text again: the same request (V2).
        let stored = self.state.verb.as_ref().filter(|v| !v.closed && self.done.as_ref() != Some(&v.id));
        let seen = stored.is_some_and(|v| self.annotation.as_ref() == Some(&v.text) && v.text != text);
        if self.annotation.is_none() || seen {
            self.rules.presses += 1;
        }
        if text == "retry" {
            self.rules.intents += 1;
        }
        self.annotation = Some(text.into());
    }

    pub fn pin(&mut self, revision: Option<&str>) {
        let now = self.now;
        if let Some(route) = &mut self.route {
            route.pin = revision.map(Into::into);
            (route.version, route.changed) = (route.version + 1, now);
        }
    }

    /// The pods die; their Deployment starts others.
    pub fn kill(&mut self, revision: &str) {
        let ready = self.ready_at(revision);
        if let Some(deployment) = self.deployments.get_mut(revision) {
            deployment.pods.iter_mut().for_each(|pod| *pod = ready);
        }
    }

    /// No faults any more, and nothing that stands still: from here on every rollout must come to an end.
    pub fn heal(&mut self) {
        self.routers(Mode::Fine);
        self.starts.clear();
        self.says.clear();
        self.wanted.paused = false;
        self.crash = None;
        for revision in self.deployments.keys().cloned().collect::<Vec<_>>() {
            self.kill(&revision);
        }
        self.pin(None);
        self.run(3);
        if self.state.halt.is_some() {
            self.run_until("annotation cleared", 20, |w| w.annotation.is_none());
            self.press("resume");
        }
    }

    pub fn at_rest(&self) -> bool {
        let ended = matches!(self.summary, Some(rollout::Summary::Healthy | rollout::Summary::RolledBack));
        ended && self.state.phase == rollout::Phase::Idle && self.annotation.is_none()
    }

    /// Heals, waits for the end, and looks at what must be true then.
    pub fn comes_to_rest(&mut self) {
        self.heal();
        self.run_until("rest", 900, Self::at_rest);
        self.run(15);
        let story = self.story.join("\n");
        assert_eq!(self.rules.carried_out.len(), self.rules.presses, "each press once\n{story}");
        let stable = self.state.stable.clone().expect("something serves");
        let shares = &self.route.as_ref().expect("written").shares;
        assert_eq!(shares.get(&stable), Some(&100), "{story}");
        let left: Vec<&String> = self.deployments.keys().collect();
        assert!(left.len() == 1 + self.state.warm.len(), "{left:?} are left\n{story}");
    }

    pub fn routers(&mut self, mode: Mode) {
        self.routers.iter_mut().for_each(|router| router.mode = mode);
    }

    /// Lets time pass, second by second.
    pub fn run(&mut self, for_seconds: i64) {
        for _ in 0..for_seconds {
            self.tick();
        }
    }

    pub fn run_until(&mut self, what: &str, within: i64, done: impl Fn(&Self) -> bool) {
        for _ in 0..within {
            if done(self) {
                return;
            }
            self.tick();
        }
        assert!(done(self), "{what} not within {within} s:\n{}\n{:#?}", self.story.join("\n"), self.state);
    }

    pub fn tick(&mut self) {
        self.now += seconds(1);
        let now = self.now;
        for router in &mut self.routers {
            if let Some(route) = &self.route
                && router.mode != Mode::Stuck
                && route.changed + seconds(router.delay) <= now
            {
                router.table = route.clone();
            }
        }
        for deployment in self.deployments.values_mut() {
            deployment.leaving.retain(|gone| *gone > now);
        }
        self.sample();
        if self.away_until > now {
            return;
        }
        for _ in 0..20 {
            match self.reconcile() {
                Ok(true) => {}
                Ok(false) => return,
                Err(Crash) => {
                    self.tell("operator dies".into());
                    // The windows are in memory, the totals are not.
                    self.evidence.iter_mut().for_each(|e| e.readings.clear());
                    return;
                }
            }
        }
        panic!("no end of decisions:\n{}\n{:#?}", self.story.join("\n"), self.state);
    }

    /// One turn of the operator. Says whether it wrote anything.
    pub fn reconcile(&mut self) -> Result<bool, Crash> {
        let observed = self.observe();
        let plan = decide(&self.wanted, &self.state, &observed, self.now);
        rules::check_plan(self, &observed, &plan);
        self.sampling.clone_from(&plan.sampling);
        let told = self.summary != Some(plan.summary) || !plan.notes.is_empty();
        self.summary = Some(plan.summary);
        let result = self.apply(&plan);
        if told {
            self.tell_plan(&plan);
        }
        result
    }

    fn apply(&mut self, plan: &Plan) -> Result<bool, Crash> {
        let mut wrote = false;
        for (revision, workload) in &plan.workloads {
            if self.deployments.get(revision).is_none_or(|d| d.replicas < workload.replicas) {
                self.scale(revision, workload.replicas);
                wrote = true;
                self.may_die()?;
            }
        }
        if self.write_route(plan) {
            wrote = true;
            self.may_die()?;
        }
        if let Some(revision) = &plan.evict
            && self.deployments.get(revision).is_some_and(|d| d.replicas > 0)
        {
            self.evict(revision);
            wrote = true;
            self.may_die()?;
        }
        if self.state != plan.state {
            rules::check_state(self, plan);
            self.state = plan.state.clone();
            wrote = true;
            self.may_die()?;
        }
        if let Some(verb) = self.state.verb.as_ref().filter(|v| self.annotation.as_ref() == Some(&v.text)) {
            (self.annotation, self.done) = (None, Some(verb.id.clone()));
            wrote = true;
            self.may_die()?;
        }
        let names: Vec<String> = self.deployments.keys().cloned().collect();
        for revision in names {
            let replicas = plan.workloads.get(&revision).map_or(0, |w| w.replicas);
            if self.deployments[&revision].replicas > replicas {
                rules::check_shrink(self, &revision, replicas, plan);
                self.scale(&revision, replicas);
                wrote = true;
                self.may_die()?;
            }
            if !plan.workloads.contains_key(&revision) {
                self.deployments.remove(&revision);
            }
        }
        Ok(wrote)
    }

    fn may_die(&mut self) -> Result<(), Crash> {
        if let Some((writes, away)) = &mut self.crash {
            *writes = writes.saturating_sub(1);
            if *writes == 0 {
                self.away_until = self.now + seconds(*away);
                self.crash = None;
                return Err(Crash);
            }
        }
        Ok(())
    }

    fn write_route(&mut self, plan: &Plan) -> bool {
        let seen = self.route.clone().unwrap_or_default();
        let next = Route {
            version: seen.version + 1,
            changed: self.now,
            shares: plan.route.shares.iter().filter(|(_, w)| **w > 0).map(|(r, w)| (r.clone(), *w)).collect(),
            stable: plan.route.stable.clone(),
            salt: plan.route.salt.clone(),
            undo: plan.route.undo.clone(),
            pin: seen.pin.clone(),
        };
        let same = Route { version: seen.version, changed: seen.changed, ..next.clone() } == seen;
        if self.route.is_some() && same {
            return false;
        }
        rules::check_route(self, &seen, &next, plan);
        self.route = Some(next);
        self.route_writes += 1;
        true
    }

    fn evict(&mut self, revision: &str) {
        let gone = self.now + seconds(1);
        let deployment = self.deployments.get_mut(revision).expect("looked at by the caller");
        deployment.replicas = 0;
        deployment.leaving.extend(std::mem::take(&mut deployment.pods).iter().map(|_| gone));
    }

    fn ready_at(&self, revision: &str) -> Timestamp {
        match self.starts.get(revision) {
            Some(Start::After(delay)) => self.now + seconds(*delay),
            Some(Start::Never) => Timestamp::MAX,
            Some(Start::Flapping) | None => self.now + seconds(2),
        }
    }

    fn scale(&mut self, revision: &str, replicas: u32) {
        let (ready, gone) = (self.ready_at(revision), self.now + seconds(3));
        let deployment = self.deployments.entry(revision.to_owned()).or_default();
        deployment.replicas = replicas;
        while deployment.pods.len() > replicas as usize {
            deployment.pods.pop();
            deployment.leaving.push(gone);
        }
        deployment.pods.resize(replicas as usize, ready);
    }

    pub fn pods(&self, revision: &str) -> Pods {
        let Some(deployment) = self.deployments.get(revision) else { return Pods::default() };
        let up = self.starts.get(revision) != Some(&Start::Flapping) || (self.now.as_second() / 7) % 2 == 0;
        let ready = deployment.pods.iter().filter(|at| up && **at <= self.now).count();
        let existing = deployment.pods.len() + deployment.leaving.len();
        Pods {
            replicas: deployment.replicas,
            ready: u32::try_from(ready).expect("few"),
            existing: u32::try_from(existing).expect("few"),
            conflict: false,
        }
    }

    pub fn served(&self) -> bool {
        let Some(route) = &self.route else { return false };
        self.routers.iter().all(|r| r.mode == Mode::Fine && r.table == *route)
    }

    pub fn observe(&self) -> Observed {
        let route = self.route.as_ref().map(|route| RouteSeen {
            shares: route.shares.clone(),
            salt: route.salt.clone(),
            undo: route.undo.clone(),
            pin: route.pin.clone(),
            served: self.served(),
            acknowledged: self.served() && route.shares.keys().all(|r| self.pods(r).ready > 0),
            behind: if self.served() { Vec::new() } else { vec!["router-0".into()] },
        });
        Observed {
            workloads: self.deployments.keys().map(|r| (r.clone(), self.pods(r))).collect(),
            known: self.known.clone(),
            route,
            evidence: self.evidence.clone().filter(|e| !e.readings.is_empty()),
            request: self.annotation.clone().map(|text| Request { text, done: self.done.clone() }),
        }
    }

    /// The sampler: once per interval, for the stage that the last plan named.
    fn sample(&mut self) {
        let Some(sampling) = self.sampling.clone() else {
            self.evidence = None;
            return;
        };
        let interval = self.wanted.interval.as_secs().cast_signed();
        if (self.now.as_second() - sampling.since.as_second()) % interval != 0 || self.now <= sampling.since {
            return;
        }
        let shares: Vec<u8> = self.routers.iter().map(|r| effective(&r.table, &sampling.candidate)).collect();
        let before = self.evidence.take().filter(|e| e.key == sampling.key).map_or(0, |e| e.requests);
        let seen = shares.iter().map(|w| u64::from(*w)).sum::<u64>();
        let says = if seen == 0 { Says::NoData } else { self.says(&sampling.candidate) };
        self.evidence = Some(StageEvidence {
            key: sampling.key,
            at: self.now,
            requests: before + seen,
            readings: vec![reading(says, self.now)],
        });
    }

    pub fn says(&self, revision: &str) -> Says {
        self.says.get(revision).copied().unwrap_or(Says::Pass)
    }

    /// One line of the story.
    pub fn tell(&mut self, what: String) {
        let shares =
            |shares: &Shares| shares.iter().map(|(r, w)| format!("{r}={w}")).collect::<Vec<_>>().join(" ");
        let pods: Vec<String> = self
            .deployments
            .keys()
            .map(|r| format!("{r}:{}/{}", self.pods(r).ready, self.pods(r).replicas))
            .collect();
        let route = self.route.as_ref().map(|r| shares(&r.shares)).unwrap_or_default();
        let phase = self.summary.map(|s| s.to_string()).unwrap_or_default();
        self.story.push(format!(
            "{:>4}s  {phase:<11}  {route:<9}  {:<16}  {what}",
            self.now.as_second(),
            pods.join(" ")
        ));
    }

    fn tell_plan(&mut self, plan: &Plan) {
        if plan.notes.is_empty() {
            self.tell("-".into());
        }
        for note in &plan.notes {
            self.tell(format!("#{} {}: {}", note.sequence, note.reason, note.message));
        }
    }
}

/// The share that a router gives, by its table.
pub fn effective(table: &Route, revision: &str) -> u8 {
    match &table.pin {
        Some(pin) if pin == revision => 100,
        Some(_) => 0,
        None => table.shares.get(revision).copied().unwrap_or(0),
    }
}

fn reading(says: Says, now: Timestamp) -> Reading {
    let (verdict, on_breach, overdue) = match says {
        Says::Pass => (Verdict::Pass, OnBreach::Rollback, None),
        Says::Breach(on_breach) => (Verdict::Fail, on_breach, None),
        Says::Inconclusive => (Verdict::Inconclusive, OnBreach::Rollback, None),
        Says::NoData => (Verdict::NoData, OnBreach::Rollback, None),
        Says::Overdue(what) => (Verdict::Error, OnBreach::Rollback, Some(what)),
    };
    Reading {
        metric: "errors".into(),
        verdict,
        on_breach,
        overdue,
        value: None,
        threshold: 0.02,
        n: 0,
        n_stable: None,
        low: None,
        high: None,
        critical: None,
        level: 0.0,
        check: 0,
        window_from: now,
        window_to: now,
        cells: Vec::new(),
        reason: format!("errors: {verdict:?}"),
    }
}
