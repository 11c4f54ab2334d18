//! A world in which plans are carried out step by step: pods start and die, routers follow or do not, people
//! press verbs, and the operator dies between any two writes. Time is simulated.

// Each test file uses a part of it.
#![allow(dead_code, unreachable_pub, reason = "shared by several test files")]

mod operator;
mod people;
pub mod programs;
pub mod reading;
mod rules;
mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evidence::{OnBreach, OnNoData};
use jiff::{SignedDuration, Timestamp};
use rollout::{
    Allotment, Mirror, Plan, Pods, Sampling, Shares, Stage, StageEvidence, Standing, State, Then, Undo,
    Wanted,
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
    pub mirror: Option<Mirror>,
    pub candidate: Option<String>,
    /// All revisions of the table, those without a share too.
    pub revisions: BTreeSet<String>,
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
    /// How each candidate's hypothesis stands.
    pub trials: BTreeMap<String, Standing>,
    /// How a bandit would share, and who is the best.
    pub rewards: Option<(Shares, Option<String>)>,
    pub starts: BTreeMap<String, Start>,
    /// Revisions whose pods report different digests.
    pub conflicts: BTreeSet<String>,
    /// Why pods of revisions are not ready.
    pub failing: BTreeMap<String, String>,
    /// Whether routers' pages can be read.
    pub pages: bool,
    known: BTreeSet<String>,
    /// The strategy takes challengers.
    pub has_arms: bool,
    /// The intent that people gave last.
    asked_for: String,
    sampling: Option<Sampling>,
    evidence: BTreeMap<String, StageEvidence>,
    allotment: Option<Allotment>,
    /// Writes until the operator dies, and for how long it is away then.
    pub crash: Option<(usize, i64)>,
    pub away_until: Timestamp,
    /// Until then nobody has read what the candidates' pods loaded.
    pub deaf_until: Timestamp,
    pub summary: Option<rollout::Summary>,
    pub route_writes: usize,
    pub story: Vec<String>,
    pub rules: Rules,
}

pub fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

pub fn stage(weight: u8, hold: u64) -> Stage {
    Stage { weight, hold: Duration::from_secs(hold), ..Stage::default() }
}

impl World {
    /// Wants revision `a` with 2 pods and steps of 10 and 50 %, 20 s each; two routers follow in 1 s.
    pub fn new() -> Self {
        let now = Timestamp::UNIX_EPOCH;
        let wanted = Wanted {
            revision: "a".into(),
            challengers: Vec::new(),
            stages: vec![stage(10, 20), stage(50, 20)],
            then: Then::Promote,
            alone: false,
            judged: true,
            trip_wire: true,
            interval: Duration::from_secs(5),
            replicas: 2,
            keep_warm: Duration::from_secs(120),
            holdback: 0,
            progress_deadline: Duration::from_secs(60),
            paused: None,
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
            trials: BTreeMap::new(),
            rewards: None,
            starts: BTreeMap::new(),
            conflicts: BTreeSet::new(),
            failing: BTreeMap::new(),
            pages: true,
            known: BTreeSet::from(["a".to_owned()]),
            has_arms: false,
            asked_for: "a".into(),
            sampling: None,
            evidence: BTreeMap::new(),
            allotment: None,
            crash: None,
            away_until: now,
            deaf_until: now,
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

    /// No faults any more, and nothing that stands still: from here on every rollout must come to an end.
    pub fn heal(&mut self) {
        self.routers(Mode::Fine);
        self.starts.clear();
        self.says.clear();
        self.trials.clear();
        self.wanted.paused = None;
        self.crash = None;
        for revision in self.deployments.keys().cloned().collect::<Vec<_>>() {
            self.kill(&revision);
        }
        self.pin(None);
        self.run(10);
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
        let route = self.route.as_ref().expect("written");
        let left: Vec<&String> = self.deployments.keys().collect();
        let Some(stable) = self.state.stable.clone() else {
            // A first shadow is over: what nobody is answered by is gone.
            assert!(
                route.shares.keys().eq(left.iter().copied()) && route.mirror.is_none(),
                "{left:?}\n{story}"
            );
            return;
        };
        assert_eq!(route.shares.get(&stable), Some(&100), "{story}");
        assert!(left.len() == 1 + self.state.warm.len(), "{left:?} are left\n{story}");
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
                    self.tell("operator dies");
                    // The windows are in memory, the totals are not.
                    self.evidence.values_mut().for_each(|e| e.readings.clear());
                    self.allotment = None;
                    return;
                }
            }
        }
        panic!("no end of decisions:\n{}\n{:#?}", self.story.join("\n"), self.state);
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
            unheard: 0,
            existing: u32::try_from(existing).expect("few"),
            conflict: self.conflicts.contains(revision),
        }
    }

    pub fn served(&self) -> bool {
        let Some(route) = &self.route else { return false };
        self.routers.iter().all(|r| r.mode == Mode::Fine && r.table == *route)
    }

    /// One line of the story.
    pub fn tell(&mut self, what: &str) {
        let shares =
            |shares: &Shares| shares.iter().map(|(r, w)| format!("{r}={w}")).collect::<Vec<_>>().join(" ");
        let pods: Vec<String> = self
            .deployments
            .keys()
            .map(|r| format!("{r}:{}/{}", self.pods(r).ready, self.pods(r).replicas))
            .collect();
        let copies = |r: &Route| {
            r.mirror.as_ref().map(|m| format!(" {}+{}", m.revision, m.percent)).unwrap_or_default()
        };
        let route = self.route.as_ref().map(|r| shares(&r.shares) + &copies(r)).unwrap_or_default();
        let phase = self.summary.map(|s| s.to_string()).unwrap_or_default();
        self.story.push(format!(
            "{:>4}s  {phase:<11}  {route:<9}  {:<16}  {what}",
            self.now.as_second(),
            pods.join(" ")
        ));
    }

    fn tell_plan(&mut self, plan: &Plan) {
        if plan.notes.is_empty() {
            self.tell("-");
        }
        for note in &plan.notes {
            self.tell(&format!("#{} {}: {}", note.sequence, note.reason, note.message));
        }
    }
}

/// The share that a router gives, by its table.
pub fn effective(table: &Route, revision: &str) -> u8 {
    match table.pin.as_ref().filter(|pin| table.revisions.contains(*pin)) {
        Some(pin) if pin == revision => 100,
        Some(_) => 0,
        None => table.shares.get(revision).copied().unwrap_or(0),
    }
}
