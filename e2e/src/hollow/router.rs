//! A router as the operator sees it: which table it serves since when, and what it counted.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use api::{ModelRoute, names};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::{Assignment, EndpointCounts, Key, Page, RouteReport, RouteState, SLOTS, TableSource, Trip};

use super::controllers::Controllers;
use super::copies;
use super::script::Script;
use super::traffic::{self, Book};

/// States whose counters a page keeps.
const STATES: usize = 2;

/// A router began to serve a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Adopted {
    /// Name of the router pod.
    pub router: String,
    /// When.
    pub at: Instant,
    /// Which state of the table.
    pub state: RouteState,
    /// Percent per revision.
    pub shares: BTreeMap<String, f64>,
}

/// What the pages and the test see.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) routers: BTreeMap<String, RouterPage>,
    /// Model version and asked digest of each revision.
    pub(super) models: BTreeMap<String, (String, Option<String>)>,
    pub(super) adopted: Vec<Adopted>,
    /// When evidence pages were read.
    pub(super) pages: Vec<Instant>,
    pub(super) reads: u64,
    /// When each pod was read last, by name.
    pub(super) read: BTreeMap<String, Instant>,
}

impl Seen {
    /// Notes that a page of this pod is read.
    pub(super) fn note(&mut self, pod: &str, now: Instant) {
        self.reads += 1;
        self.read.insert(pod.to_owned(), now);
    }

    /// Brings every router up to now.
    pub(super) fn advance(&mut self, now: Instant, script: &Script) {
        for (name, router) in &mut self.routers {
            router.advance(name, now, script, &self.models, &mut self.adopted);
        }
    }
}

/// A state of the route table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) state: RouteState,
    /// Slots per revision; also of those without any.
    pub(super) slots: BTreeMap<String, u16>,
    /// Who answers those that are copied.
    pub(super) stable: Option<String>,
    /// Who gets copies, and of how many of a hundred.
    pub(super) mirror: Option<(String, u8)>,
    /// Who gets what is matched.
    pub(super) candidate: Option<String>,
    /// Whether requests have sticky keys.
    pub(super) sticky: bool,
    unknown_pin: Option<String>,
}

impl Table {
    /// Whether nobody answers, and a shadow gets copies.
    fn is_alone(&self) -> bool {
        self.stable.is_none() && self.state.pin.is_none() && self.slots.values().all(|slots| *slots == 0)
    }
}

/// One router.
#[derive(Debug)]
pub(super) struct RouterPage {
    table: Option<Table>,
    /// Tables that the watch has brought, with the time at which they are served.
    coming: VecDeque<(Instant, Table)>,
    pub(super) endpoints: BTreeMap<String, EndpointCounts>,
    /// States in the order in which they were served.
    served: VecDeque<RouteState>,
    page: Page,
    random: StdRng,
    upto: Instant,
    /// The part of a request that is still to come.
    rest: f64,
}

impl RouterPage {
    pub(super) fn new(name: &str, now: Instant) -> Self {
        let seed = name.bytes().fold(7u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let instance = format!("{name}-{:08x}", rand::random::<u32>());
        Self {
            table: None,
            coming: VecDeque::new(),
            endpoints: BTreeMap::new(),
            served: VecDeque::new(),
            page: Page { instance, ..Page::default() },
            random: StdRng::seed_from_u64(seed),
            upto: now,
            rest: 0.0,
        }
    }

    pub(super) fn serves(&self) -> bool {
        self.table.is_some() || self.coming.front().is_some_and(|(due, _)| *due <= Instant::now())
    }

    /// Brings a table, to be served from `due` on.
    pub(super) fn offer(&mut self, table: Table, due: Instant) {
        let newest = self.coming.back().map(|(_, table)| table).or(self.table.as_ref());
        if newest != Some(&table) {
            self.coming.push_back((due, table));
        }
    }

    pub(super) fn advance(
        &mut self,
        name: &str,
        now: Instant,
        script: &Script,
        models: &BTreeMap<String, (String, Option<String>)>,
        adopted: &mut Vec<Adopted>,
    ) {
        while self.coming.front().is_some_and(|(due, _)| *due <= now) {
            let Some((due, table)) = self.coming.pop_front() else { return };
            self.count(due, script, models);
            let percent = |slots: &u16| f64::from(*slots) * 100.0 / f64::from(SLOTS);
            adopted.push(Adopted {
                router: name.to_owned(),
                at: due,
                state: table.state.clone(),
                shares: table.slots.iter().map(|(r, slots)| (r.clone(), percent(slots))).collect(),
            });
            if !self.served.contains(&table.state) {
                self.served.push_back(table.state.clone());
            }
            if self.served.len() > STATES {
                self.served.pop_front();
            }
            self.page.states.retain(|state, _| self.served.contains(state));
            self.page.slots.retain(|state, _| self.served.contains(state));
            self.page.pairs.retain(|state, _| self.served.contains(state));
            self.page.feedback.retain(|state, _| self.served.contains(state));
            self.table = Some(table);
        }
        self.count(now, script, models);
        self.page.tripped = self.tripped(script, models);
    }

    fn tripped(
        &self,
        script: &Script,
        models: &BTreeMap<String, (String, Option<String>)>,
    ) -> BTreeMap<String, Trip> {
        let with_share = self.table.iter().flat_map(|table| &table.slots).filter(|(_, slots)| **slots > 0);
        let trips = |name: &String| models.get(name).and_then(|(version, _)| script.model(version).trips);
        with_share.filter_map(|(name, _)| Some((name.clone(), trips(name)?))).collect()
    }

    /// Counts what came in until then.
    fn count(
        &mut self,
        until: Instant,
        script: &Script,
        models: &BTreeMap<String, (String, Option<String>)>,
    ) {
        let seconds = until.saturating_duration_since(self.upto).as_secs_f64();
        self.upto = self.upto.max(until);
        let due = seconds * script.routers.rate + self.rest;
        self.rest = due.fract();
        let Some(table) = &self.table else { return };
        let counts = self.page.states.entry(table.state.clone()).or_default();
        let counts_slots = table.sticky && table.state.pin.is_none();
        let mut slots = counts_slots
            .then(|| self.page.slots.entry(table.state.clone()).or_insert_with(|| traffic::slots(table)));
        let feedback = self.page.feedback.entry(table.state.clone()).or_default();
        for _ in 0..due as u64 {
            let slot = self.random.random_range(0..SLOTS);
            let book = Book { counts: &mut *counts, slots: slots.as_deref_mut(), feedback: &mut *feedback };
            let random = &mut self.random;
            let answer = traffic::one(table, slot, &self.endpoints, script, models, random, book);
            let is_alone = table.is_alone();
            if let Some((revision, percent)) = &table.mirror
                && (answer.is_some() || is_alone)
                && random.random_range(0..100) < *percent
            {
                let pairs = self.page.pairs.entry(table.state.clone()).or_default();
                let pairs = pairs.entry(revision.clone()).or_default();
                let key = Key { revision: revision.clone(), assignment: Assignment::Shadow };
                let has_pods = self.endpoints.get(revision).is_some_and(|e| e.ready > 0);
                let model =
                    models.get(revision).map(|(version, _)| script.model(version)).unwrap_or_default();
                let (model, counts) = (has_pods.then_some(&model), counts.entry(key).or_default());
                match answer {
                    Some(answer) => copies::one(&answer, model, random, counts, pairs),
                    None => copies::unanswered(model, script.routers.brightness, random, counts, pairs),
                }
            }
        }
    }

    pub(super) fn report(&self) -> Option<RouteReport> {
        let table = self.table.as_ref()?;
        let endpoints =
            table.slots.keys().map(|r| (r.clone(), self.endpoints.get(r).copied().unwrap_or_default()));
        Some(RouteReport {
            state: table.state.clone(),
            source: TableSource::Live,
            endpoints: endpoints.collect(),
            tripped: BTreeMap::new(),
            unknown_pin: table.unknown_pin.clone(),
            instance: self.page.instance.clone(),
        })
    }

    pub(super) fn render(&self) -> String {
        self.page.render()
    }
}

impl Controllers {
    /// Shows the routers what their watches would bring: the table, and the endpoints of its revisions.
    pub(super) fn routers(&mut self) {
        let now = Instant::now();
        let routes = self.world.all::<ModelRoute>();
        let slices = self.world.all::<EndpointSlice>();
        let script = self.shared.script().clone();
        let mut seen = self.shared.seen();
        for route in &routes {
            for revision in &route.spec.revisions {
                if let Some(model) = self.world.model(&revision.name) {
                    seen.models.insert(revision.name.clone(), model);
                }
            }
        }
        for life in self.pods.values() {
            if !life.is_router {
                if let Some(model) = self.world.model(&life.revision) {
                    seen.models.insert(life.revision.clone(), model);
                }
                continue;
            }
            let router =
                seen.routers.entry(life.name.clone()).or_insert_with(|| RouterPage::new(&life.name, now));
            let route = routes.iter().find(|r| r.labels().get(names::DEPLOYMENT) == Some(&life.deployment));
            let Some(route) = route else { continue };
            if script.routers.deaf.contains(&life.ordinal) && router.table.is_some() {
                continue;
            }
            router.offer(table(route), now + script.routers.delay);
            router.endpoints = endpoints(route, &slices);
        }
        seen.advance(now, &script);
    }
}

pub(super) fn table(route: &ModelRoute) -> Table {
    let mut slots = BTreeMap::new();
    for revision in &route.spec.revisions {
        slots.insert(revision.name.clone(), revision.slots.iter().map(|s| s.to - s.from).sum());
    }
    let pin = route.annotations().get(names::PIN).cloned();
    let (pin, unknown_pin) = match pin {
        Some(pin) if slots.contains_key(&pin) => (Some(pin), None),
        other => (None, other),
    };
    let state = RouteState {
        uid: route.uid().unwrap_or_default(),
        generation: route.metadata.generation.unwrap_or_default(),
        pin,
    };
    let spec = &route.spec;
    Table {
        state,
        slots,
        stable: spec.stable.clone(),
        mirror: spec.mirror.as_ref().map(|m| (m.revision.clone(), m.percent)),
        candidate: spec.candidate.clone(),
        sticky: spec.sticky.is_some(),
        unknown_pin,
    }
}

fn endpoints(route: &ModelRoute, slices: &[EndpointSlice]) -> BTreeMap<String, EndpointCounts> {
    let mut all = BTreeMap::new();
    for revision in &route.spec.revisions {
        let mut counts = EndpointCounts::default();
        let mine =
            slices.iter().filter(|s| s.labels().get("kubernetes.io/service-name") == Some(&revision.service));
        for endpoint in mine.flat_map(|slice| slice.endpoints.iter()) {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            if conditions.terminating == Some(true) {
                counts.terminating += 1;
            } else if conditions.ready == Some(true) {
                counts.ready += 1;
            } else {
                counts.unready += 1;
            }
        }
        all.insert(revision.name.clone(), counts);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use api::{ModelRouteSpec, RouteRevision, SlotRange, Sticky};

    // rule: C5
    #[test]
    fn a_sticky_route_shows_its_slots() {
        let revision = |name: &str, from, to| RouteRevision {
            name: name.into(),
            service: name.into(),
            slots: vec![SlotRange { from, to }],
            trip_wire: None,
        };
        let spec = ModelRouteSpec {
            revisions: vec![revision("a", 0, 9_000), revision("b", 9_000, SLOTS)],
            stable: Some("a".into()),
            shares: String::new(),
            candidate: None,
            mirror: None,
            matches: vec![],
            targeting: false,
            sticky: Some(Sticky::by_header("x-user-id")),
            salt: String::new(),
            request_timeout: Duration::from_secs(1).into(),
            retry: true,
            max_in_flight: None,
            automation: None,
        };
        let mut route = ModelRoute::new("digits", spec);
        let (start, mut script) = (Instant::now(), Script::default());
        script.routers.rate = 500.0;
        script.models.entry("bad".into()).or_default().errors = 1.0;
        let models = [("a", "good"), ("b", "bad")].map(|(r, v)| (r.to_owned(), (v.to_owned(), None))).into();
        let mut router = RouterPage::new("router", start);
        let ready = EndpointCounts { ready: 1, ..EndpointCounts::default() };
        router.endpoints = ["a", "b"].map(|r| (r.to_owned(), ready)).into();
        router.offer(table(&route), start);
        router.advance("router", start + Duration::from_secs(4), &script, &models, &mut Vec::new());
        let page = Page::parse(&router.render()).unwrap();
        let (state, counts) = page.states.first_key_value().unwrap();
        let slots = &page.slots[state];
        let of = |revision: &str| &counts[&Key { revision: revision.into(), assignment: Assignment::Split }];
        assert_eq!((slots.owned("a").len(), slots.owned("b").len()), (9_000, 1_000));
        assert_eq!(slots.failed(), &slots.seen().and(&slots.owned("b")));
        assert!(!slots.failed().is_empty() && slots.failed().len() <= of("b").requests());
        assert_eq!(slots.slow_from(0), *slots.seen());
        assert_eq!(slots.unsure_from(0), slots.seen().and(&slots.owned("a")));
        assert!(slots.seen().len() <= of("a").requests() + of("b").requests());
        // Without keys there is nothing to show.
        route.spec.sticky = None;
        route.metadata.generation = Some(2);
        let later = start + Duration::from_secs(5);
        router.offer(table(&route), later);
        router.advance("router", later + Duration::from_secs(4), &script, &models, &mut Vec::new());
        assert_eq!((router.page.states.len(), router.page.slots.len()), (2, 1));
    }
}
