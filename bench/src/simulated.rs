//! One simulated rollout, through what ships: the page's writer and parser, baselines, windows, judge, `decide`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evidence::{
    Arms, Baselines, Metric, OnBreach, Reading, References, Rules, State, Tests, Verdict, Windows,
};
use jiff::{SignedDuration, Timestamp};
use rollout::{Observed, Outcome, Pods, RoutePlan, RouteSeen, Sampling, Stage, StageEvidence, Then, Wanted};
use wire::{Assignment, Counts, Key, Page, Profile, RouteState, SLOTS};

use crate::traffic::Answer;

const STABLE: &str = "digits-aaaaaaaa";
const CANDIDATE: &str = "digits-bbbbbbbb";
/// The operator's.
pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(30);
/// Deciding again must come to rest long before this.
const DECISIONS: usize = 20;

/// What a rollout is judged by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Shares of the candidate and how long each is held.
    pub stages: Vec<Stage>,
    /// Thresholds.
    pub metrics: Vec<Metric>,
    /// Sequential tests.
    pub tests: Tests,
    /// Budget (S2).
    pub false_rollback: f64,
    /// Seconds between two samplings.
    pub interval: u32,
}

impl Settings {
    /// Time between two samplings.
    pub fn every(&self) -> SignedDuration {
        SignedDuration::from_secs(self.interval.into())
    }

    /// What the judge gets.
    pub fn rules(&self) -> Rules<'_> {
        Rules {
            metrics: &self.metrics,
            tests: &self.tests,
            false_rollback: self.false_rollback,
            interval: self.every(),
            timeout: TIMEOUT,
            accept: false,
            ends: None,
        }
    }
}

/// How requests find their arm.
#[derive(Debug, Clone, Copy)]
pub enum Draw<'a> {
    /// One by one, with this share for the candidate.
    Requests(f64),
    /// By the slot of their user; what each slot got.
    Users(f64, &'a [(u16, Answer)]),
}

/// How a rollout ended, as far as it has.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Taken back, by the sentence of the reading that did it.
    RolledBack(String),
    /// Every stage was passed.
    Promoted,
}

/// A rollout in a world without faults: pods are ready and routers follow at once.
pub struct Simulated<'a> {
    settings: &'a Settings,
    profiles: Option<[&'a Profile; 2]>,
    wanted: Wanted,
    state: rollout::State,
    table: RoutePlan,
    sampling: Option<Sampling>,
    seen: Option<StageEvidence>,
    now: Timestamp,
    /// Readings of the newest interval.
    pub readings: Vec<Reading>,
    /// Set once it is over.
    pub end: Option<End>,
    page: Page,
    route: RouteState,
    shown: Option<f64>,
    split: Option<f64>,
    baselines: Baselines,
    windows: Windows,
    evidence: State,
}

impl<'a> Simulated<'a> {
    /// A candidate at its first stage. `profiles` are the candidate's and stable's.
    pub fn new(settings: &'a Settings, profiles: Option<[&'a Profile; 2]>) -> Self {
        let wanted = Wanted {
            revision: STABLE.into(),
            challengers: Vec::new(),
            stages: settings.stages.clone(),
            then: Then::Promote,
            alone: false,
            judged: true,
            trip_wire: true,
            interval: Duration::from_secs(settings.interval.into()),
            replicas: 2,
            keep_warm: Duration::ZERO,
            holdback: 0,
            progress_deadline: Duration::from_secs(600),
            paused: None,
        };
        let route = RouteState { uid: "bench".into(), generation: 0, pin: None };
        let mut simulated = Self {
            settings,
            profiles,
            wanted,
            state: rollout::State::default(),
            table: RoutePlan::default(),
            sampling: None,
            seen: None,
            now: Timestamp::from_second(1_700_000_000).expect("in range"),
            readings: Vec::new(),
            end: None,
            page: Page { instance: "router-0".into(), ..Page::default() },
            route,
            shown: None,
            split: None,
            baselines: Baselines::default(),
            windows: Windows::default(),
            evidence: State::default(),
        };
        simulated.decide();
        simulated.wanted.revision = CANDIDATE.into();
        simulated.decide();
        // The first page is a baseline (C4).
        simulated.sample();
        simulated
    }

    /// The candidate's share now, 0..=1.
    pub fn share(&self) -> f64 {
        f64::from(self.table.shares.get(CANDIDATE).copied().unwrap_or(0)) / 100.0
    }

    /// Seconds since it began.
    pub fn age(&self) -> i64 {
        self.now.as_second() - 1_700_000_000
    }

    /// The persisted state of the judge, and bytes that the windows take.
    pub fn memory(&self) -> (usize, usize) {
        let state = serde_json::to_string(&self.evidence).expect("the state has string keys");
        (state.len(), self.windows.bytes())
    }

    /// Lets an interval pass in which the arms did this. The share is [`Simulated::share`] unless someone else
    /// sets it, as a bandit does.
    pub fn pass(&mut self, [candidate, stable]: [&Counts; 2], draw: Draw<'_>) {
        let share = match draw {
            Draw::Requests(share) | Draw::Users(share, _) => share,
        };
        if self.shown != Some(share) {
            self.shown = Some(share);
            self.route.generation += 1;
        }
        self.split = matches!(draw, Draw::Requests(_)).then_some(share);
        if let Draw::Users(share, answers) = draw {
            self.show_slots(share, answers);
        }
        self.now += self.settings.every();
        let keys = self.page.states.entry(self.route.clone()).or_default();
        for (revision, counts) in [(CANDIDATE, candidate), (STABLE, stable)] {
            let key = Key { revision: revision.into(), assignment: Assignment::Split };
            keys.entry(key).or_default().add(counts);
        }
        while self.page.states.len() > 2 {
            self.page.states.pop_first();
        }
        while self.page.slots.len() > 2 {
            self.page.slots.pop_first();
        }
        let from = self.now - self.settings.every();
        self.judge(from);
        self.decide();
    }

    /// What a router notes of the slots of its sticky route.
    fn show_slots(&mut self, share: f64, answers: &[(u16, Answer)]) {
        let slots = self.page.slots.entry(self.route.clone()).or_default();
        let first = (share * f64::from(SLOTS)).ceil() as u16;
        slots.own(CANDIDATE, &(0..first).collect());
        slots.own(STABLE, &(first..SLOTS).collect());
        for (slot, answer) in answers {
            slots.see(*slot);
            if answer.failed {
                slots.fail(*slot);
            }
            if let Some(cell) = answer.doubt {
                slots.raise_latency(*slot, answer.latency);
                slots.raise_doubt(*slot, cell);
            }
        }
    }

    fn sample(&mut self) -> evidence::Round {
        let page = Page::parse(&self.page.render()).expect("it was just written");
        let arms = Arms {
            draw: evidence::Draw::Split,
            states: vec![self.route.clone()],
            split: self.split,
            stable: Some(STABLE.into()),
            candidate: CANDIDATE.into(),
        };
        self.baselines.round(BTreeMap::from([("router-0".to_owned(), Some(page))]), &arms)
    }

    fn judge(&mut self, from: Timestamp) {
        let Some(sampling) = self.sampling.clone() else { return };
        self.windows.enter_stage(sampling.since);
        if let Some(interval) = self.sample().interval(from, self.now) {
            self.windows.push(interval);
        }
        let [candidate, stable] = self.profiles.map_or([None, None], |p| p.map(Some));
        let references = References { candidate, stable };
        self.readings =
            evidence::judge(&self.settings.rules(), &self.windows, references, &mut self.evidence, self.now);
        self.seen = Some(StageEvidence {
            key: sampling.key,
            at: self.now,
            requests: self.evidence.candidate,
            readings: self.readings.clone(),
            trial: None,
        });
    }

    fn decide(&mut self) {
        for _ in 0..DECISIONS {
            let plan = rollout::decide(&self.wanted, &self.state, &self.observed(), self.now);
            let rest = plan.state == self.state && plan.route == self.table;
            (self.state, self.table, self.sampling) = (plan.state, plan.route, plan.sampling);
            if rest {
                break;
            }
        }
        self.end =
            self.state.last.as_ref().filter(|last| last.to == CANDIDATE).map(|last| match last.outcome {
                Outcome::Promoted => End::Promoted,
                _ => End::RolledBack(last.reason.clone()),
            });
    }

    fn observed(&self) -> Observed {
        let pods = Pods { replicas: 2, ready: 2, unheard: 0, existing: 2, conflict: false };
        Observed {
            workloads: [STABLE, CANDIDATE].map(|r| (r.to_owned(), pods)).into(),
            failing: BTreeMap::new(),
            known: BTreeSet::from([STABLE.to_owned(), CANDIDATE.to_owned()]),
            route: (!self.table.shares.is_empty()).then(|| RouteSeen {
                shares: self.table.shares.clone().into_iter().filter(|(_, percent)| *percent > 0).collect(),
                mirror: self.table.mirror.clone(),
                candidate: self.table.candidate.clone(),
                salt: self.table.salt.clone(),
                undo: self.table.undo.clone(),
                pin: None,
                served: true,
                acknowledged: true,
                behind: Vec::new(),
            }),
            evidence: self.seen.clone().map(|seen| (CANDIDATE.to_owned(), seen)).into_iter().collect(),
            allotment: None,
            request: None,
        }
    }

    /// The metric whose reading takes the candidate back now, if one does.
    pub fn culprit(&self) -> Option<&str> {
        let guilty = |r: &&Reading| r.verdict == Verdict::Fail && r.on_breach == OnBreach::Rollback;
        self.readings.iter().find(guilty).map(|r| r.metric.as_str())
    }
}
