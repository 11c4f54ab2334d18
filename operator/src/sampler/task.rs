//! The task of one deployment: one loop over orders, answers and two clocks.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use wire::{Page, Profile, RouteReport};

use super::acknowledged::{acknowledgement, ask_again, is_settled};
use super::judging::Judging;
use super::metrics::Metrics;
use super::page::{PageError, Pages};
use super::pods::{self, Target};
use super::profiles::Profiles;
use super::{Inner, Order, Snapshot};
use crate::index::{Index, Key};
use crate::scaling::{Load, Meter};

/// How long a settled task sleeps if nothing happens: it wakes by orders.
const IDLE: Duration = Duration::from_secs(3600);

/// An answer that was waited for.
enum Heard {
    Route { router: Target, answer: Result<RouteReport, PageError> },
    Profile { server: Target, answer: Result<Profile, PageError> },
    Round { at: Timestamp, asked: Instant, pages: BTreeMap<String, Option<Page>> },
}

type Reads = FuturesUnordered<Pin<Box<dyn Future<Output = Heard> + Send>>>;

/// One deployment's sampler.
pub(super) struct Task {
    key: Key,
    pods: Index<Pod>,
    pages: Pages,
    metrics: Metrics,
    wake: mpsc::UnboundedSender<Key>,
    published: Arc<ArcSwap<Snapshot>>,

    order: Arc<Order>,
    routers: Vec<Target>,
    reports: BTreeMap<String, Result<RouteReport, String>>,
    /// When the ordered state or the set of routers changed.
    changed: Instant,
    /// When each router was asked last, by name.
    asked: BTreeMap<String, Instant>,
    /// Routers whose answer is on its way.
    asking: BTreeSet<String>,
    profiles: Profiles,
    judging: Option<Judging>,
    meter: Option<Meter>,
    load: Option<Load>,
    /// A round of pages is on its way.
    reading: bool,
}

impl Task {
    pub(super) fn new(key: Key, all: &Inner, published: Arc<ArcSwap<Snapshot>>) -> Self {
        Self {
            key,
            pods: all.pods.clone(),
            pages: all.pages.clone(),
            metrics: all.metrics.clone(),
            wake: all.wake.clone(),
            published,
            order: Arc::default(),
            routers: Vec::new(),
            reports: BTreeMap::new(),
            changed: Instant::now(),
            asked: BTreeMap::new(),
            asking: BTreeSet::new(),
            profiles: Profiles::default(),
            judging: None,
            meter: None,
            load: None,
            reading: false,
        }
    }

    /// Runs until the orders end.
    pub(super) async fn run(mut self, mut orders: watch::Receiver<Arc<Order>>) {
        let mut reads = Reads::new();
        let mut ticks: Option<Interval> = None;
        orders.mark_changed();
        loop {
            let due = self.ask(&mut reads);
            tokio::select! {
                order = orders.changed() => {
                    if order.is_err() {
                        return;
                    }
                    let order = orders.borrow_and_update().clone();
                    self.follow(order, &mut ticks);
                }
                Some(heard) = reads.next() => self.hear(heard),
                planned = tick(&mut ticks) => self.start_round(planned, &reads),
                () = sleep_until(due) => {}
            }
        }
    }

    /// Takes an order, and looks at the pods again.
    fn follow(&mut self, order: Arc<Order>, ticks: &mut Option<Interval>) {
        let before = std::mem::replace(&mut self.order, order);
        if before.route != self.order.route {
            self.changed = Instant::now();
        }
        self.look();
        let begins = self.judging.is_none() && self.order.sampling.is_some();
        let ended = self.follow_judging() | self.follow_scaling();
        let forgets = before.remembers && !self.order.remembers;
        if ended || forgets {
            self.publish();
        }
        if !self.counts() {
            *ticks = None;
        } else if begins || ticks.as_ref().is_none_or(|t| t.period() != pace(&self.order)) {
            // The first tick is now: the first pages are only a baseline, the sooner they are read the better.
            let mut fresh = interval_at(Instant::now(), pace(&self.order));
            fresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
            *ticks = Some(fresh);
        }
    }

    /// Whether anybody wants to know what routers count.
    fn counts(&self) -> bool {
        self.judging.is_some() || self.meter.is_some()
    }

    /// Returns whether judging ended.
    fn follow_judging(&mut self) -> bool {
        match (&self.order.sampling, &mut self.judging) {
            (None, judging) => return judging.take().is_some(),
            (Some(sampling), Some(judging)) => judging.follow(sampling, &self.order),
            (Some(sampling), none) => *none = Some(Judging::new(sampling.clone(), &self.order)),
        }
        false
    }

    /// Returns whether autoscaling ended.
    fn follow_scaling(&mut self) -> bool {
        match (self.order.scaling, &mut self.meter) {
            (None, meter) => {
                self.load = None;
                return meter.take().is_some();
            }
            (Some(settings), Some(meter)) => meter.follow(settings),
            (Some(settings), none) => *none = Some(Meter::new(settings)),
        }
        false
    }

    /// Looks at the pods of now.
    fn look(&mut self) {
        let own: Vec<Arc<Pod>> = self.pods.of(&self.key).into_values().collect();
        let routers = pods::routers(&own);
        let now = Instant::now();
        if routers != self.routers {
            let before = self.acknowledgement();
            self.changed = now;
            let stays = |name: &String| routers.iter().any(|r| r.name == *name && self.routers.contains(r));
            self.reports.retain(|name, _| stays(name));
            self.asked.retain(|name, _| stays(name));
            self.routers = routers;
            self.publish();
            if before != self.acknowledgement() {
                self.call();
            }
        }
        let exists = |uid: &str| own.iter().any(|pod| pod.metadata.uid.as_deref() == Some(uid));
        self.profiles.look(pods::servers(&own), exists, now);
        let sampling = self.order.sampling.as_ref();
        self.profiles.prune(|revision| {
            sampling.is_some_and(|s| {
                s.stable.as_deref() == Some(revision) || s.candidates.iter().any(|c| c == revision)
            })
        });
    }

    /// Asks the pods that are due, and says when to come back.
    fn ask(&mut self, reads: &mut Reads) -> Instant {
        let now = Instant::now();
        for server in self.profiles.due(now) {
            let pages = self.pages.clone();
            reads.push(Box::pin(async move {
                let answer = pages.profile(server.address).await;
                Heard::Profile { server, answer }
            }));
        }
        let mut next = self.profiles.next().unwrap_or(now + IDLE);
        let Some(route) = &self.order.route else { return next };
        for router in &self.routers {
            let settled = is_settled(route, &self.order.with_share, self.reports.get(&router.name));
            if settled || self.asking.contains(&router.name) {
                continue;
            }
            let at = ask_again(self.changed, self.asked.get(&router.name).copied(), pace(&self.order));
            if at > now {
                next = next.min(at);
                continue;
            }
            self.asked.insert(router.name.clone(), now);
            self.asking.insert(router.name.clone());
            let (pages, router) = (self.pages.clone(), router.clone());
            reads.push(Box::pin(async move {
                let answer = pages.route(router.address).await;
                Heard::Route { router, answer }
            }));
        }
        next
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Route { router, answer } => {
                self.asking.remove(&router.name);
                if !self.routers.contains(&router) {
                    return;
                }
                let before = self.acknowledgement();
                self.reports.insert(router.name, answer.map_err(|error| error.to_string()));
                self.publish();
                if before != self.acknowledgement() {
                    self.call();
                }
            }
            Heard::Profile { server, answer } => {
                let before = self.profiles.servers();
                self.profiles.heard(&server.uid, answer, Instant::now());
                if before != self.profiles.servers() {
                    self.publish();
                    self.call();
                }
            }
            Heard::Round { at, asked, pages } => self.count(at, asked, pages),
        }
    }

    fn acknowledgement(&self) -> Option<super::Acknowledgement> {
        let route = self.order.route.as_ref()?;
        let routers = self.routers.iter().map(|router| router.name.as_str());
        Some(acknowledgement(route, &self.order.with_share, routers, &self.reports))
    }

    /// Asks every router for its counters, unless the round before still waits for one: then this interval
    /// and the next are one.
    fn start_round(&mut self, planned: Instant, reads: &Reads) {
        self.metrics.late(Instant::now().duration_since(planned));
        if self.reading || !self.counts() {
            return;
        }
        self.reading = true;
        // The pods may have changed without an order.
        self.look();
        let (at, asked) = (Timestamp::now(), Instant::now());
        let (pages, routers) = (self.pages.clone(), self.routers.clone());
        reads.push(Box::pin(async move {
            let read = routers.into_iter().map(async |router| {
                let page = pages.evidence(router.address).await;
                if let Err(error) = &page {
                    tracing::debug!(router = %router.name, %error, "its counters are missing in this interval");
                }
                (router.uid, page.ok())
            });
            Heard::Round { at, asked, pages: join_all(read).await.into_iter().collect() }
        }));
    }

    fn count(&mut self, at: Timestamp, asked: Instant, pages: BTreeMap<String, Option<Page>>) {
        self.reading = false;
        if !self.counts() {
            return;
        }
        self.load = self.meter.as_mut().and_then(|meter| meter.round(&pages, asked.into_std()));
        if let Some(judging) = &mut self.judging {
            for why in judging.round(pages, at, &self.order, &self.profiles).into_values() {
                self.metrics.dropped(why);
            }
        }
        self.publish();
        self.call();
    }

    fn publish(&self) {
        let (evidence, memory) = match &self.judging {
            Some(judging) => judging.evidence(),
            // As it was when it led to the way back.
            None if self.order.remembers => {
                let last = self.published.load();
                (last.evidence.clone(), last.memory.clone())
            }
            None => Default::default(),
        };
        let allotment = self.judging.as_ref().and_then(Judging::allotment);
        let servers = self.profiles.servers();
        let (reports, load) = (self.reports.clone(), self.load);
        self.published.store(Arc::new(Snapshot { reports, evidence, allotment, load, memory, servers }));
    }

    /// Has the deployment reconciled. Nobody listens any more only while the operator stops.
    fn call(&self) {
        let _ = self.wake.send(self.key.clone());
    }
}

/// The interval of an order; a zero would never let the clock rest.
fn pace(order: &Order) -> Duration {
    order.interval.max(Duration::from_millis(10))
}

/// The next planned sampling; never without a clock.
async fn tick(ticks: &mut Option<Interval>) -> Instant {
    match ticks {
        Some(ticks) => ticks.tick().await,
        None => std::future::pending().await,
    }
}
