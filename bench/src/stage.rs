//! One stage from both ends: routers that write pages, and the operator's part that reads and judges them.

use std::collections::BTreeMap;

use evidence::{Arms, Baselines, Draw, Interval, Labelled, Reading, References, State, Windows};
use jiff::Timestamp;
use wire::{Assignment, Counts, Key, Page, Profile, RouteState};

use crate::simulated::Settings;

const STABLE: &str = "stable";
const CANDIDATE: &str = "candidate";

fn route() -> RouteState {
    RouteState { uid: "bench".into(), generation: 1, pin: None }
}

/// Counters of one router.
pub struct Router {
    page: Page,
    starts: u32,
}

impl Router {
    /// One that has seen nothing.
    pub fn new() -> Self {
        let mut router = Self { page: Page::default(), starts: 0 };
        router.restart();
        router
    }

    /// Another process, whose counters begin at zero.
    pub fn restart(&mut self) {
        self.starts += 1;
        self.page = Page { instance: format!("process-{}", self.starts), ..Page::default() };
        self.count(&Default::default());
    }

    /// Counts what candidate and stable did.
    pub fn count(&mut self, arms: &[Counts; 2]) {
        let keys = self.page.states.entry(route()).or_default();
        for (revision, counts) in [CANDIDATE, STABLE].into_iter().zip(arms) {
            let key = Key { revision: revision.into(), assignment: Assignment::Split };
            keys.entry(key).or_default().add(counts);
        }
    }

    /// Its page.
    pub fn text(&self) -> String {
        self.page.render()
    }
}

impl Default for Router {
    fn default() -> Self {
        Self::new()
    }
}

/// Who samples and judges; a stage without end.
pub struct Operator<'a> {
    settings: &'a Settings,
    profiles: [&'a Profile; 2],
    split: f64,
    now: Timestamp,
    baselines: Baselines,
    windows: Windows,
    state: State,
}

impl<'a> Operator<'a> {
    /// One that begins a stage with this share. `profiles` are the candidate's and stable's.
    pub fn new(settings: &'a Settings, profiles: [&'a Profile; 2], split: f64) -> Self {
        let now = Timestamp::from_second(1_700_000_000).expect("in range");
        let (baselines, windows) = (Baselines::default(), Windows::new(now));
        Self { settings, profiles, split, now, baselines, windows, state: State::default() }
    }

    /// Another process: what it knows is the state that was written last.
    pub fn restart(&mut self, written: &str) {
        let since = self.windows.since().expect("it has begun a stage");
        (self.baselines, self.windows) = (Baselines::default(), Windows::new(since));
        self.state = serde_json::from_str(written).expect("a state reads what it wrote");
    }

    /// The state as it is persisted.
    pub fn written(&self) -> String {
        serde_json::to_string(&self.state).expect("the state has string keys")
    }

    /// Bytes of the state as it is persisted, and of the windows.
    pub fn bytes(&self) -> [usize; 2] {
        [self.written().len(), self.windows.bytes()]
    }

    /// Lets the time between two samplings pass.
    pub fn wait(&mut self) {
        self.now += self.settings.every();
    }

    /// Reads the pages of the routers; `None` if no page was counted.
    pub fn sample(&mut self, pages: &[Option<&str>]) -> Option<Interval> {
        let parse = |text: &str| Page::parse(text).expect("it was written by a router");
        let pages: BTreeMap<String, Option<Page>> =
            pages.iter().enumerate().map(|(i, text)| (format!("router-{i}"), text.map(parse))).collect();
        let arms = Arms {
            draw: Draw::Split,
            states: vec![route()],
            split: Some(self.split),
            stable: Some(STABLE.into()),
            candidate: CANDIDATE.into(),
        };
        self.baselines.round(pages, &arms).interval(self.now - self.settings.every(), self.now)
    }

    /// The interval that ends now, if these are its counts.
    pub fn dated(&self, [candidate, stable]: [Counts; 2]) -> Interval {
        let from = self.now - self.settings.every();
        Interval {
            from,
            to: self.now,
            draw: Draw::Split,
            split: Some(self.split),
            candidate,
            stable,
            pairs: None,
            labelled: Labelled::default(),
            slots: None,
        }
    }

    /// Judges, with an interval more or without.
    pub fn judge(&mut self, interval: Option<Interval>) -> Vec<Reading> {
        if let Some(interval) = interval {
            self.windows.push(interval);
        }
        let [candidate, stable] = self.profiles.map(Some);
        let references = References { candidate, stable };
        evidence::judge(&self.settings.rules(), &self.windows, references, &mut self.state, self.now)
    }
}
